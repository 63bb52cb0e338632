"""Simulated genomes, variants and reads, and error profiles learned from real reads (spec/training.md E)."""
