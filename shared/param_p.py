"""The pileup tensor: 33 columns around the candidate, 18 counters each (spec/features.md B.1)."""

FLANK = 16
WINDOW = 2 * FLANK + 1
CHANNELS = ("A", "C", "G", "T", "I", "I1", "D", "D1", "*", "a", "c", "g", "t", "i", "i1", "d", "d1", "#")
CHANNEL_COUNT = len(CHANNELS)
REVERSE = 9
"""Offset of the reverse-strand twin of a channel."""

RESCALE_DEPTH = 144
RESCALE_ABOVE = 216
"""Tensors of candidates deeper than this are divided by depth / RESCALE_DEPTH before the network (B.10)."""
