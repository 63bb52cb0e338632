"""Shapes of the tensors: pileup (spec/features.md B.1) and full alignment (spec/features.md C.1, C.7)."""

FLANK = 16
WINDOW = 2 * FLANK + 1
PILEUP_CHANNELS = ("A", "C", "G", "T", "I", "I1", "D", "D1", "*", "a", "c", "g", "t", "i", "i1", "d", "d1", "#")
PILEUP_CHANNEL_COUNT = len(PILEUP_CHANNELS)
REVERSE = 9
"""Offset of the reverse-strand twin of a channel."""

RESCALE_DEPTH = 144
RESCALE_ABOVE = 216
"""Tensors of candidates deeper than this are divided by depth / RESCALE_DEPTH before the network (B.10)."""

FULL_ALIGNMENT_CHANNELS = (
    "ref",
    "alt",
    "strand",
    "mapq",
    "base_quality",
    "allele_fraction",
    "inserted",
    "haplotype",
    "dwell",
)
"""Channels in tensor order; `dwell` (signal blocks per base, ONT only) is there only with dwell time."""

FULL_ALIGNMENT_CHANNEL_COUNT = len(FULL_ALIGNMENT_CHANNELS) - 1
DWELL_CHANNEL_COUNT = len(FULL_ALIGNMENT_CHANNELS)

CONV_PADDINGS = ("symmetric", "tf_same")
"""How the network's stride-2 convolutions meet the borders: as Clair3 v2 trains, or TensorFlow (spec/models.md 8)."""
