"""Shape of the full-alignment tensor under v2.0.2's path; clair3.tensor_shapes defines it."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started or imported by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from clair3.platforms import PLATFORMS
from clair3.tensor_shapes import CONV_PADDINGS, DWELL_CHANNEL_COUNT
from clair3.tensor_shapes import FULL_ALIGNMENT_CHANNEL_COUNT as CHANNEL_COUNT
from clair3.tensor_shapes import FULL_ALIGNMENT_CHANNELS as CHANNELS

DEPTH = {name: platform.rows for name, platform in PLATFORMS.items()}
"""Rows of the tensor per platform."""

__all__ = ["CHANNELS", "CHANNEL_COUNT", "CONV_PADDINGS", "DEPTH", "DWELL_CHANNEL_COUNT"]
