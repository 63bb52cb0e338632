"""The zygosity classes (spec/calling.md 1.1)."""

HOM_REF, HOM_ALT, HET = range(3)
"""0/0; 1/1; 0/1 and 1/2."""


def zygosity(first: int, second: int) -> int:
    """Class of a pair of allele numbers, 0 being the reference."""
    if first != second:
        return HET
    return HOM_ALT if first else HOM_REF
