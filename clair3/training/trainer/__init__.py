"""The trainer: plan of rows and batches, loader, loss, optimisers, loop, checkpoints, plots."""
