"""Networks loaded from checkpoints and run on devices."""
