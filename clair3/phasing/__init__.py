"""Phasing by WhatsHap or LongPhase."""
