"""The full-alignment tensor: reads as rows over the same 33 columns as the pileup (spec/features.md C.1, C.7)."""

DEPTH = {"ont": 89, "hifi": 55, "ilmn": 55}
"""Rows of the tensor per platform."""

CHANNELS = ("ref", "alt", "strand", "mapq", "base_quality", "allele_fraction", "inserted", "haplotype", "dwell")
"""Channels in tensor order; `dwell` (signal blocks per base, ONT only) is there only with dwell time."""

CHANNEL_COUNT = len(CHANNELS) - 1
DWELL_CHANNEL_COUNT = len(CHANNELS)

CONV_PADDINGS = ("symmetric", "tf_same")
"""How the network's stride-2 convolutions meet the borders: as Clair3 v2 trains, or TensorFlow (spec/models.md 8)."""
