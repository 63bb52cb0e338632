"""A calling run: its stages, its ledger, its final files."""
