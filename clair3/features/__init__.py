"""From reads to tensors: chunks of work, candidates, pileup and full-alignment tensors."""
