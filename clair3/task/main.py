"""Where each head's probabilities stand in a row of network output (spec/calling.md 1.1)."""

from clair3.task import gt21, variant_length

PILEUP, FULL_ALIGNMENT = "pileup", "full_alignment"

GT21 = slice(0, len(gt21.LABELS))
GENOTYPE = slice(GT21.stop, GT21.stop + 3)
LENGTH_1 = slice(GENOTYPE.stop, GENOTYPE.stop + variant_length.CLASSES)
"""Smaller (more negative) length change of the two alleles."""
LENGTH_2 = slice(LENGTH_1.stop, LENGTH_1.stop + variant_length.CLASSES)
"""Larger length change of the two alleles."""

WIDTH = {PILEUP: GENOTYPE.stop, FULL_ALIGNMENT: LENGTH_2.stop}
"""Columns of each network's output: the pileup network has no length heads."""
