"""The content of training bins held against what their format promises: one-hot labels, counts that fit their type."""

import numpy as np

from clair3.errors import InputError
from clair3.genotype.classes import PILEUP
from clair3.genotype.labels import find_bad_label
from clair3.io.bins import Bin

TENSOR_TYPES = {PILEUP: np.int16}
"""Type that the values of a kind of tensor must fit, int8 unless it stands here."""


def check_labels(one: Bin, first: int, labels: np.ndarray) -> None:
    """Raises InputError naming the row of a bin whose label is not one-hot.

    labels  (n, 90)  integers; first is the number of the first row, from 0
    """
    bad = find_bad_label(labels)
    if bad is not None:
        raise InputError(
            f"{one.path}: row {first + bad + 1}: the label is not one-hot (one 1 for each head); make the bin again"
        )


def check_counts(one: Bin, first: int, tensors: np.ndarray) -> None:
    """Raises InputError naming the row of a bin whose tensor has values beyond the type that networks take.

    tensors  (n, 33, 18) or (n, depth, 33, channels)  integers; first is the number of the first row, from 0
    """
    limits = np.iinfo(TENSOR_TYPES.get(one.kind, np.int8))
    if not tensors.size or (tensors.max() <= limits.max and tensors.min() >= limits.min):
        return
    wrong = ((tensors > limits.max) | (tensors < limits.min)).reshape(len(tensors), -1).any(axis=1)
    raise InputError(
        f"{one.path}: row {first + int(wrong.argmax()) + 1}: values in the tensor beyond {limits.min} to {limits.max}; "
        "make the bin again"
    )
