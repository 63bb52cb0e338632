"""Labels: the class that each head of the networks should predict for a candidate (spec/training.md B.1, B.2)."""

from collections.abc import Sequence

import numpy as np

from clair3.genotype import classes
from clair3.genotype.classes import (
    FULL_ALIGNMENT,
    GENOTYPE,
    GT21,
    HOM_REF,
    LENGTH_1,
    LENGTH_2,
    WIDTH,
    length_index,
    zygosity,
)
from clair3.records import BASES, base_index

HEADS = (GT21, GENOTYPE, LENGTH_1, LENGTH_2)
"""Columns of each head in a one-hot label, in order."""

_SAME_BASES = np.array([classes.INDEX[base + base] for base in BASES])


def reference_classes(letters: np.ndarray) -> np.ndarray:
    """Return the classes of candidates that are no variants.

    letters  (n,)    uint8  ASCII, upper case: the reference at each candidate
    returns  (n, 4)  int64  class of each head
    Raises InputError when a letter is no nucleotide code.
    """
    classes = np.full((len(letters), len(HEADS)), length_index(0))
    classes[:, 0], classes[:, 1] = _SAME_BASES[base_index(letters)], HOM_REF
    return classes


def variant_classes(ref: str, alts: Sequence[str], genotype: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the class of each head for a true variant; genotype holds numbers of alleles, 0 being REF.

    Alleles that the genotype does not name have no influence. An allele as long as REF counts as its first base, also
    when it differs elsewhere. Letters are A, C, G and T.
    """
    pair = [(ref, *alts)[number] for number in genotype]
    pair_class = classes.pair_index(*(classes.allele_name(ref, allele) for allele in pair))
    assert pair_class is not None, f"{ref} {alts}: letters other than A, C, G, T"
    shorter, longer = sorted(length_index(len(allele) - len(ref)) for allele in pair)
    return pair_class, zygosity(*genotype), shorter, longer


def one_hot(classes: np.ndarray) -> np.ndarray:
    """Return labels, (n, 90) int8, of the classes of each head, (n, 4) int64."""
    label = np.zeros((len(classes), WIDTH[FULL_ALIGNMENT]), np.int8)
    np.put_along_axis(label, classes + [head.start for head in HEADS], 1, axis=1)
    return label


def labels_to_classes(label: np.ndarray, heads: int = len(HEADS)) -> np.ndarray:
    """Return the classes of the first heads, (n, heads) int64, of labels, (n, 90) of any integer type."""
    return np.stack([label[:, head].argmax(axis=1) for head in HEADS[:heads]], axis=1)


def find_bad_label(label: np.ndarray) -> int | None:
    """Find the first of labels, (n, 90) of any integer type, that is not one-hot in each head; None without any."""
    good = ((label == 0) | (label == 1)).all(axis=1)
    for head in HEADS:
        good &= label[:, head].sum(axis=1) == 1
    return None if good.all() else int(good.argmin())


def is_variant(label: np.ndarray) -> np.ndarray:
    """Return which labels, (n, 90), are those of variants: (n,) bool."""
    return label[:, GENOTYPE.start + HOM_REF] == 0
