"""Shape of the pileup tensor under v2.0.2's path; clair3.tensor_shapes defines it."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started or imported by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from clair3.tensor_shapes import FLANK, RESCALE_ABOVE, RESCALE_DEPTH, REVERSE, WINDOW
from clair3.tensor_shapes import PILEUP_CHANNEL_COUNT as CHANNEL_COUNT
from clair3.tensor_shapes import PILEUP_CHANNELS as CHANNELS

__all__ = ["CHANNELS", "CHANNEL_COUNT", "FLANK", "RESCALE_ABOVE", "RESCALE_DEPTH", "REVERSE", "WINDOW"]
