"""Training: labelled tensors, the trainer, and the workflow that goes from reads to a model."""
