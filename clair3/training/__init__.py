"""Training: bins of labelled tensors in, checkpoints out (spec/training.md C)."""
