"""The answers that a row of network output can give, and their probabilities (spec/calling.md 2.1, 2.2)."""

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
    """The classes of answers, in the order that resolves ties."""

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
        if self is Event.REFERENCE:
            return HOM_REF
        return HOM_ALT if self in (Event.HOM_SNP, Event.HOM_INS, Event.HOM_DEL) else HET


class GenotypeHypothesis(NamedTuple):
    """One answer: a class of events, the 21-genotype label, and the length changes of the two alleles.

    The pileup network has no length heads: `sized` is False and the lengths mean nothing there.
    """

    event: Event
    label: str
    length_1: int = 0
    length_2: int = 0
    sized: bool = True


def _outcomes(sized: bool) -> list[GenotypeHypothesis]:
    """All answers in table order (spec/calling.md 2.2); without sizes every indel has one, "of any length"."""
    sizes = range(1, LONGEST + 1) if sized else (LONGEST,)
    pairs = [(i, j) for i in sizes for j in sizes]
    return [
        GenotypeHypothesis(Event.REFERENCE, "AA", sized=sized),  # stands for every reference base, see `matrix`
        *[GenotypeHypothesis(Event.HOM_SNP, a + a, sized=sized) for a in BASES],
        *[GenotypeHypothesis(Event.HET_SNP, a + b, sized=sized) for a in BASES for b in BASES if a < b],
        *[GenotypeHypothesis(Event.HOM_INS, "InsIns", n, n, sized) for n in sizes],
        *[GenotypeHypothesis(Event.BASE_INS, base + "Ins", 0, n, sized) for n in sizes for base in BASES],
        *[GenotypeHypothesis(Event.INS_INS, "InsIns", i, j, sized) for i, j in pairs if i <= j],
        *[GenotypeHypothesis(Event.HOM_DEL, "DelDel", -n, -n, sized) for n in sizes],
        *[GenotypeHypothesis(Event.BASE_DEL, base + "Del", -n, 0, sized) for n in sizes for base in BASES],
        # Two deletions of one length would be one allele; 16 is "16 or more", where two may differ.
        *[GenotypeHypothesis(Event.DEL_DEL, "DelDel", -i, -j, sized) for i, j in pairs if i != j or i == LONGEST],
        *[GenotypeHypothesis(Event.INS_DEL, "InsDel", -i, j, sized) for i, j in pairs],
    ]


class Table:
    """The answers of one kind of network, with the columns of network output that each one multiplies."""

    def __init__(self, sized: bool):
        self.sized = sized
        self.outcomes = tuple(_outcomes(sized))
        self.gt21 = np.array([GT21.start + INDEX[o.label] for o in self.outcomes])
        self.zygosity = np.array([GENOTYPE.start + o.event.zygosity for o in self.outcomes])
        self.length_1 = np.array([LENGTH_1.start + length_index(o.length_1) for o in self.outcomes])
        self.length_2 = np.array([LENGTH_2.start + length_index(o.length_2) for o in self.outcomes])
        self.event = np.array([o.event for o in self.outcomes])


TABLES = {PILEUP: Table(sized=False), FULL_ALIGNMENT: Table(sized=True)}
"""24 and 804 answers."""

# Products are single-precision and associated exactly as in the spec's table: ties are compared on them.


def reference(heads: np.ndarray, base: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the reference call, and which rows are one at once (spec/calling.md 2.1).

    heads    (n, 24|90)  float32  network output
    base     (n,)        uint8    index of the reference base in ACGT
    returns  (n,) float32, (n,) bool
    """
    same_base = np.array([GT21.start + INDEX[b + b] for b in BASES])
    g = heads[np.arange(len(heads)), same_base[base]]
    z = heads[:, GENOTYPE.start + HOM_REF]
    certain = (z >= 0.5) & (g >= 0.5)
    if not table.sized:
        return z * g, certain
    same_length = length_index(0)
    first, second = heads[:, LENGTH_1.start + same_length], heads[:, LENGTH_2.start + same_length]
    return first * second * z * g, certain & (first >= 0.5) & (second >= 0.5)


def matrix(heads: np.ndarray, reference: np.ndarray, table: Table) -> np.ndarray:
    """Probability of every answer; the first maximum of a row is the answer that wins (spec/calling.md 2.2, 2.3).

    heads      (n, 24|90)   float32  network output
    reference  (n,)         float32  probability of the reference call, column 0 of the result
    returns    (n, 24|804)  float32  columns as table.outcomes
    """
    g, z = heads[:, table.gt21], heads[:, table.zygosity]
    if table.sized:
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
