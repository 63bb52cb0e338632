"""Classes of the network's outputs: the 21 genotypes of bases, zygosity, and lengths of insertions and deletions."""

DELETION, INSERTION = "Del", "Ins"

PAIRS = (
    *[(a, b) for i, a in enumerate("ACGT") for b in "ACGT"[i:]],
    (DELETION, DELETION),
    *[(base, DELETION) for base in "ACGT"],
    (INSERTION, INSERTION),
    *[(base, INSERTION) for base in "ACGT"],
    (INSERTION, DELETION),
)
LABELS = tuple("".join(pair) for pair in PAIRS)
"""AA AC AG AT CC CG CT GG GT TT DelDel ADel CDel GDel TDel InsIns AIns CIns GIns TIns InsDel, in output order."""

INDEX = {label: index for index, label in enumerate(LABELS)}
"""Class of the gt21 head by label."""
_INDEX_OF_PAIR = {ordered: index for index, (a, b) in enumerate(PAIRS) for ordered in ((a, b), (b, a))}


def allele_name(ref: str, allele: str) -> str:
    """Return the name of an allele against REF: Del when shorter, Ins when longer, else its first base."""
    if len(allele) == len(ref):
        return allele[0]
    return DELETION if len(allele) < len(ref) else INSERTION


def pair_index(first: str, second: str) -> int | None:
    """Return the gt21 class of two allele names in either order; None when there is none, e.g. for an N."""
    return _INDEX_OF_PAIR.get((first, second))


HOM_REF, HOM_ALT, HET = range(3)
"""Classes of the zygosity head: 0/0; 1/1; 0/1 and 1/2."""


def zygosity(first: int, second: int) -> int:
    """Return the zygosity class of a pair of allele numbers, 0 being the reference."""
    if first != second:
        return HET
    return HOM_ALT if first else HOM_REF


LONGEST = 16
"""Length change in bases of the outermost length classes, which mean "this many or more"."""

CLASSES = 2 * LONGEST + 1
"""Classes of a length head."""


def length_index(change: int) -> int:
    """Return the length class of a signed length change in bases."""
    return min(max(change, -LONGEST), LONGEST) + LONGEST


PILEUP, FULL_ALIGNMENT = "pileup", "full_alignment"
"""Kinds of network."""

GT21 = slice(0, len(LABELS))
GENOTYPE = slice(GT21.stop, GT21.stop + 3)
LENGTH_1 = slice(GENOTYPE.stop, GENOTYPE.stop + CLASSES)
"""Smaller (more negative) length change of the two alleles."""
LENGTH_2 = slice(LENGTH_1.stop, LENGTH_1.stop + CLASSES)
"""Larger length change of the two alleles."""

WIDTH = {PILEUP: GENOTYPE.stop, FULL_ALIGNMENT: LENGTH_2.stop}
"""Columns of each network's output: the pileup network has no length heads."""
