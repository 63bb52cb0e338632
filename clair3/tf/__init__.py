"""Clair3 v1's TensorFlow checkpoints, read without TensorFlow (spec/models.md 9-12)."""
