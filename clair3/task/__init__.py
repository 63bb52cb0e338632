"""What the network's outputs mean."""
