"""Training workflows: from reads and truths, or from simulated ones, to a model folder in one command."""
