"""The length classes: change of an allele's length against REF, from -16 to +16 (spec/calling.md 1.1)."""

LONGEST = 16
"""The outermost classes mean "this many bases or more"."""

CLASSES = 2 * LONGEST + 1


def length_index(change: int) -> int:
    """Class of a signed length change in bases."""
    return min(max(change, -LONGEST), LONGEST) + LONGEST
