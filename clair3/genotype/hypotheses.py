"""Genotype hypotheses: what a row of network output can mean, and how probable each is (spec/calling.md 2.1, 2.2)."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from clair3.genotype.classes import (
    FULL_ALIGNMENT,
    GENOTYPE,
    GT21,
    HET,
    HOM_ALT,
    HOM_REF,
    INDEX,
    LENGTH_1,
    LENGTH_2,
    LONGEST,
    PILEUP,
    length_index,
)
from clair3.records import BASES


class Event(IntEnum):
    """Classes of genotype hypotheses, in the order that resolves ties."""

    REFERENCE = 0
    HOM_SNP = 1
    HET_SNP = 2
    HOM_INS = 3
    BASE_INS = 4
    INS_INS = 5
    HOM_DEL = 6
    BASE_DEL = 7
    DEL_DEL = 8
    INS_DEL = 9

    @property
    def zygosity(self) -> int:
        """The class of the zygosity head that belongs to the event."""
        if self is Event.REFERENCE:
            return HOM_REF
        return HOM_ALT if self in (Event.HOM_SNP, Event.HOM_INS, Event.HOM_DEL) else HET


class GenotypeHypothesis(NamedTuple):
    """One hypothesis: its event, its label of the gt21 head, and the length changes of the two alleles in bases.

    The pileup network has no length heads: then has_lengths is False, and the lengths are meaningless.
    """

    event: Event
    label: str
    length_1: int = 0
    length_2: int = 0
    has_lengths: bool = True


def _make_hypotheses(has_lengths: bool) -> list[GenotypeHypothesis]:
    """Make all hypotheses in table order (spec/calling.md 2.2); without lengths an indel has one, "of any length"."""
    lengths = range(1, LONGEST + 1) if has_lengths else (LONGEST,)
    pairs = [(i, j) for i in lengths for j in lengths]
    return [
        # The first one stands for all four reference bases, see hypothesis_probabilities.
        GenotypeHypothesis(Event.REFERENCE, "AA", has_lengths=has_lengths),
        *[GenotypeHypothesis(Event.HOM_SNP, a + a, has_lengths=has_lengths) for a in BASES],
        *[GenotypeHypothesis(Event.HET_SNP, a + b, has_lengths=has_lengths) for a in BASES for b in BASES if a < b],
        *[GenotypeHypothesis(Event.HOM_INS, "InsIns", n, n, has_lengths) for n in lengths],
        *[GenotypeHypothesis(Event.BASE_INS, base + "Ins", 0, n, has_lengths) for n in lengths for base in BASES],
        *[GenotypeHypothesis(Event.INS_INS, "InsIns", i, j, has_lengths) for i, j in pairs if i <= j],
        *[GenotypeHypothesis(Event.HOM_DEL, "DelDel", -n, -n, has_lengths) for n in lengths],
        *[GenotypeHypothesis(Event.BASE_DEL, base + "Del", -n, 0, has_lengths) for n in lengths for base in BASES],
        # Two deletions of one length would be one allele; 16 is "16 or more", where two may differ.
        *[GenotypeHypothesis(Event.DEL_DEL, "DelDel", -i, -j, has_lengths) for i, j in pairs if i != j or i == LONGEST],
        *[GenotypeHypothesis(Event.INS_DEL, "InsDel", -i, j, has_lengths) for i, j in pairs],
    ]


class HypothesisTable:
    """The h hypotheses of one kind of network, with the columns of network output whose product is the probability.

    gt21, zygosity, length_1, length_2  (h,) int64  columns of network output
    event                               (h,) int64  Event of each hypothesis
    """

    def __init__(self, has_lengths: bool):
        self.has_lengths = has_lengths
        self.hypotheses = tuple(_make_hypotheses(has_lengths))
        self.gt21 = np.array([GT21.start + INDEX[h.label] for h in self.hypotheses])
        self.zygosity = np.array([GENOTYPE.start + h.event.zygosity for h in self.hypotheses])
        self.length_1 = np.array([LENGTH_1.start + length_index(h.length_1) for h in self.hypotheses])
        self.length_2 = np.array([LENGTH_2.start + length_index(h.length_2) for h in self.hypotheses])
        self.event = np.array([h.event for h in self.hypotheses])


TABLES = {PILEUP: HypothesisTable(has_lengths=False), FULL_ALIGNMENT: HypothesisTable(has_lengths=True)}
"""The tables of 24 and 804 hypotheses, by kind of network."""

# Products are in float32 and in the order of the table in 2.2: ties are decided on their last bits.


def reference_probability(heads: np.ndarray, base: np.ndarray, table: HypothesisTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of the reference call, and which rows are certain to be one (spec/calling.md 2.1).

    heads    (n, 24|90)  float32  network output
    base     (n,)        uint8    index of the reference base in ACGT
    returns  (n,) float32, (n,) bool
    """
    same_base = np.array([GT21.start + INDEX[b + b] for b in BASES])
    g = heads[np.arange(len(heads)), same_base[base]]
    z = heads[:, GENOTYPE.start + HOM_REF]
    certain = (z >= 0.5) & (g >= 0.5)
    if not table.has_lengths:
        return z * g, certain
    same_length = length_index(0)
    first, second = heads[:, LENGTH_1.start + same_length], heads[:, LENGTH_2.start + same_length]
    return first * second * z * g, certain & (first >= 0.5) & (second >= 0.5)


def hypothesis_probabilities(heads: np.ndarray, reference: np.ndarray, table: HypothesisTable) -> np.ndarray:
    """Return the probability of every hypothesis; the first maximum of a row is the call (spec/calling.md 2.2, 2.3).

    heads      (n, 24|90)   float32  network output
    reference  (n,)         float32  probability of the reference call, column 0 of the result
    returns    (n, 24|804)  float32  columns as table.hypotheses
    """
    g, z = heads[:, table.gt21], heads[:, table.zygosity]
    if table.has_lengths:
        lengths = heads[:, table.length_1] * heads[:, table.length_2]
        result = lengths * (z * g)
        snp = table.event <= Event.HET_SNP
        base_and_indel = (table.event == Event.BASE_INS) | (table.event == Event.BASE_DEL)
        for columns, first, second in ((snp, z, g), (base_and_indel, g, z)):
            result[:, columns] = lengths[:, columns] * first[:, columns] * second[:, columns]
    else:
        result = z * g
    result[:, 0] = reference
    return result
