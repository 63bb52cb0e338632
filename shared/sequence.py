"""Letters of sequences: the four bases and the IUPAC codes (spec/calling.md 1.2, 3)."""

import re

import numpy as np

from shared.errors import InputError

BASES = "ACGT"

IUPAC_TO_BASE = dict(zip("ACGTURYSWKMBDHVN", "ACGTTACCAGACAAAA", strict=True))
"""The base that a code of the reference counts as."""

_NO_BASE = 255
_BASE_INDEX = np.full(256, _NO_BASE, np.uint8)
for _code, _base in IUPAC_TO_BASE.items():
    _BASE_INDEX[ord(_code)] = BASES.index(_base)

_IUPAC = re.compile("[^ACGTNacgtn]")


def base_index(letters: np.ndarray) -> np.ndarray:
    """Index into BASES of the base that each nucleotide code counts as.

    letters  (n,)  uint8  ASCII, upper case
    returns  (n,)  uint8  0..3
    Raises InputError when a letter is not an upper-case nucleotide code.
    """
    index = _BASE_INDEX[letters]
    if (index == _NO_BASE).any():
        letter = chr(letters[index == _NO_BASE][0])
        raise InputError(f"reference letter {letter!r}: expected one of {''.join(IUPAC_TO_BASE)}")
    return index


def agree(ref: str, letters: str) -> bool:
    """Whether a REF is what the reference has there: as long, and equal where both have A, C, G or T; upper case."""
    if ref == letters or len(ref) != len(letters):
        return ref == letters
    return all(a == b for a, b in zip(ref, letters, strict=True) if a in BASES and b in BASES)


def iupac_to_n(sequence: str) -> str:
    """Replace every letter but A, C, G, T and N by N; the case of the others stays (spec/calling.md 3)."""
    return _IUPAC.sub("N", sequence)
