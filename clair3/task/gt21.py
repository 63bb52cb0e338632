"""The 21 genotype classes: a pair of alleles, each named by its base or its kind of indel (spec/training.md B.1)."""

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
_INDEX_OF_PAIR = {ordered: index for index, (a, b) in enumerate(PAIRS) for ordered in ((a, b), (b, a))}


def allele_name(ref: str, allele: str) -> str:
    """The name of one allele against REF: Del when shorter, Ins when longer, else its first base."""
    if len(allele) == len(ref):
        return allele[0]
    return DELETION if len(allele) < len(ref) else INSERTION


def pair_index(first: str, second: str) -> int | None:
    """Class of two allele names in either order; None when there is none, e.g. for an N."""
    return _INDEX_OF_PAIR.get((first, second))
