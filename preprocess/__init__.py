"""From reads to tensors: candidates, pileup, and the checks before a run."""
