"""Simulated genomes and reads, and the error profiles they are made with."""
