"""Alleles of a genotype hypothesis, taken from the reads (spec/calling.md 2.4, 3.3). Letters A1 - A12: section 15."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clair3.genotype.classes import LONGEST
from clair3.genotype.hypotheses import Event, GenotypeHypothesis
from clair3.records import SupportBatch

OWN_ANCHOR = "i"
"""Kind of an insertion whose bases begin with the reads' own anchor base, which may differ from the reference:
only the full alignment of short reads tells these apart (spec/features.md C.13). Kind I has no anchor."""
INSERTIONS = ("I", OWN_ANCHOR)
"""Kinds of support that are insertions."""

LONGEST_KEY = {False: 50, True: 100_000}
"""Longest indel in bases that is called, without and with --enable_long_indel. Insertions are measured with their
anchor base, so that 50 inserted bases are reported by the pileup but never called (A5)."""

_SUBSTITUTION_GAP = 9
"""Reads by which the best base must lead to replace the predicted one (A4)."""
_LONG_INSERTION = 50
"""Length of an insertion, with its anchor, above which insertions of similar length count as the same."""


class Alleles(NamedTuple):
    """REF and ALT of a hypothesis, and the depths of the AD entries after the first."""

    ref: str
    alts: tuple[str, ...]
    depths: tuple[int, ...]


@dataclass(slots=True)
class AlleleCounts:
    """Read counts of the alleles at one candidate, in alt-info order: SNVs, insertions and deletions by their bases.

    Keys of ins begin with the anchor base. ref is the reference letter unchanged: an IUPAC code equals no base, so that
    every predicted pair there has two alternatives (A9). Deleted bases keep the reference's case, and so do REF and
    ALT (A10).
    """

    ref: str
    snv: dict[str, int]
    ins: dict[str, int]
    dele: dict[str, int]

    @classmethod
    def from_support(cls, support: SupportBatch, i: int, ref: str, longest: int) -> "AlleleCounts":
        """Collect the alleles of candidate i, without indels of more than `longest` bases."""
        counts = cls(ref, {}, {}, {})
        for kind, bases, count in support.items(i):
            if kind == "X":
                counts.snv[bases] = count
            elif kind == "D" and len(bases) <= longest:
                counts.dele[bases] = count
            elif kind in INSERTIONS and len(key := ref + bases if kind == "I" else bases) <= longest:
                counts.ins[key] = count
        return counts

    def rank_snvs(self) -> list[str]:
        """Return the bases by descending count, of equals the first seen first."""
        return sorted(self.snv, key=self.snv.get, reverse=True)

    def choose_snv(self, predicted: str) -> str:
        """Return the predicted base, or the best one if that leads by 9 reads or the predicted base has none (A4)."""
        best = self.rank_snvs()[0]
        if predicted not in self.snv or self.snv[best] - self.snv[predicted] >= _SUBSTITUTION_GAP:
            return best
        return predicted

    def choose_insertion(self, length: int, ignore: str | None = None) -> str:
        """Return the best supported insertion of a length in bases, else of any length, but never `ignore`."""
        return _pick(self.ins, length + 1 if length < LONGEST else None, ignore)

    def choose_deletion(self, length: int, ignore: str | None = None) -> str:
        """Return the best supported deletion of a length in bases, else of any length, but never `ignore`."""
        return _pick(self.dele, length if length < LONGEST else None, ignore)

    def insertion_depth(self, insertion: str) -> int:
        """Count the reads with an insertion; of a long one also those within 10% of its length (3.3).

        The window compares lengths without the anchor to lengths with it; deletions have no such window (A6).
        """
        depth = self.ins[insertion]
        if len(insertion) <= _LONG_INSERTION:
            return depth
        length = len(insertion) - 1
        shortest, longest = max(0.9 * length, _LONG_INSERTION), 1.1 * length
        return depth + sum(n for key, n in self.ins.items() if key != insertion and shortest <= len(key) <= longest)

    def deletion_depth(self, length: int) -> int:
        """Return the reads of the first deletion of a length in bases."""
        return next(count for key, count in self.dele.items() if len(key) == length)


def _pick(keys: dict[str, int], length: int | None, ignore: str | None) -> str:
    """Return the best supported key of a length, else of any length; of equals the first seen."""
    others = [key for key in keys if key != ignore]
    return max([key for key in others if len(key) == length] or others, key=keys.get)


def _top_two(keys: dict[str, int]) -> list[str]:
    """Return the two best supported keys; of equals the last seen comes first, unlike everywhere else."""
    return sorted(keys, key=keys.get)[:-3:-1]


# One function per event makes alleles (2.4) with their depths (3.3). possible_events has made sure of the reads that
# every hypothesis of the event needs; None where a hypothesis needs more.


def _hom_snp_alleles(hypothesis: GenotypeHypothesis, counts: AlleleCounts) -> Alleles:
    alt = counts.choose_snv(hypothesis.label[0])
    return Alleles(counts.ref, (alt,), (counts.snv[alt],))


def _het_snp_alleles(hypothesis: GenotypeHypothesis, counts: AlleleCounts) -> Alleles | None:
    if counts.ref in hypothesis.label:
        alt = counts.choose_snv(hypothesis.label.replace(counts.ref, ""))
        return Alleles(counts.ref, (alt,), (counts.snv[alt],))
    alts = tuple(counts.rank_snvs()[:2])  # whatever two bases were predicted (A3)
    return Alleles(counts.ref, alts, tuple(counts.snv[alt] for alt in alts)) if len(alts) == 2 else None


def _insertion_alleles(hypothesis: GenotypeHypothesis, counts: AlleleCounts) -> Alleles:
    insertion = counts.choose_insertion(hypothesis.length_2)
    depth = counts.insertion_depth(insertion)
    # Without SNP reads a SNP + insertion becomes the insertion alone, and keeps its probability (A2).
    if hypothesis.event is Event.BASE_INS and hypothesis.label[0] != counts.ref and counts.snv:
        base = counts.rank_snvs()[0]
        return Alleles(counts.ref, (base, insertion), (counts.snv[base], depth))
    return Alleles(counts.ref, (insertion,), (depth,))


def _two_insertion_alleles(hypothesis: GenotypeHypothesis, counts: AlleleCounts) -> Alleles:
    if hypothesis.has_lengths:
        first = counts.choose_insertion(hypothesis.length_1)
        second = counts.choose_insertion(hypothesis.length_2, ignore=first)
    else:
        first, second = _top_two(counts.ins)
    return Alleles(counts.ref, (second, first), (counts.insertion_depth(second), counts.insertion_depth(first)))


def _deletion_alleles(hypothesis: GenotypeHypothesis, counts: AlleleCounts) -> Alleles:
    deleted = counts.choose_deletion(-hypothesis.length_1)
    ref, depth, base = counts.ref + deleted, counts.dele[deleted], hypothesis.label[0]
    if hypothesis.event is Event.BASE_DEL and base != counts.ref:
        # The SNP allele is the predicted one and needs no read (A3); AD and AF have it first, ALT last (A1).
        return Alleles(ref, (counts.ref, base + deleted), (counts.snv.get(base, 0), depth))
    return Alleles(ref, (counts.ref,), (depth,))


def _two_deletion_alleles(hypothesis: GenotypeHypothesis, counts: AlleleCounts) -> Alleles | None:
    if hypothesis.has_lengths:
        shorter, longer = sorted((-hypothesis.length_1, -hypothesis.length_2))
        first = counts.choose_deletion(longer)
        two = first, counts.choose_deletion(shorter, ignore=first)
    else:
        two = _top_two(counts.dele)
    short, long = sorted(two, key=len)
    if len(short) == len(long):
        return None
    depths = counts.deletion_depth(len(long)), counts.deletion_depth(len(short))
    return Alleles(counts.ref + long, (counts.ref, counts.ref + long[len(short) :]), depths)


def _insertion_and_deletion_alleles(hypothesis: GenotypeHypothesis, counts: AlleleCounts) -> Alleles:
    insertion, deleted = counts.choose_insertion(hypothesis.length_2), counts.choose_deletion(-hypothesis.length_1)
    depths = counts.deletion_depth(len(deleted)), counts.insertion_depth(insertion)
    return Alleles(counts.ref + deleted, (counts.ref, insertion + deleted), depths)


_TO_ALLELES: dict[Event, Callable[[GenotypeHypothesis, AlleleCounts], Alleles | None]] = {
    Event.HOM_SNP: _hom_snp_alleles,
    Event.HET_SNP: _het_snp_alleles,
    Event.HOM_INS: _insertion_alleles,
    Event.BASE_INS: _insertion_alleles,
    Event.INS_INS: _two_insertion_alleles,
    Event.HOM_DEL: _deletion_alleles,
    Event.BASE_DEL: _deletion_alleles,
    Event.DEL_DEL: _two_deletion_alleles,
    Event.INS_DEL: _insertion_and_deletion_alleles,
}


def possible_events(support: SupportBatch, longest: int) -> np.ndarray:
    """Return whether each candidate has the reads that all hypotheses of an event need: (n, 10) bool, columns as Event.

    An event without them is impossible for all lengths alike, because any indel is taken when none has the predicted
    length; so whole events are ruled out here, where the specification rejects one hypothesis after the other.
    """
    row = np.repeat(np.arange(len(support)), np.diff(support.item_start))
    key_length = np.diff(support.seq_start) + (support.kind == ord("I"))  # with the anchor

    def count_alleles(*kinds: str) -> np.ndarray:
        """Return the number of distinct alleles of these kinds at each candidate, (n,) int64."""
        items = np.isin(support.kind, [ord(kind) for kind in kinds]) & (key_length <= longest)
        return np.bincount(row[items], minlength=len(support))

    snv, ins, dele = count_alleles("X"), count_alleles(*INSERTIONS), count_alleles("D")
    needs = {
        Event.REFERENCE: snv >= 0,
        Event.HOM_SNP: snv >= 1,
        Event.HET_SNP: snv >= 1,
        Event.HOM_INS: ins >= 1,
        Event.BASE_INS: ins >= 1,
        Event.INS_INS: ins >= 2,
        Event.HOM_DEL: dele >= 1,
        Event.BASE_DEL: dele >= 1,
        Event.DEL_DEL: dele >= 2,
        Event.INS_DEL: (ins >= 1) & (dele >= 1),
    }
    return np.stack([needs[event] for event in Event], axis=1)


def to_alleles(hypothesis: GenotypeHypothesis, counts: AlleleCounts) -> Alleles | None:
    """Return the alleles of a hypothesis whose event is possible; None when no reads support this hypothesis."""
    return _TO_ALLELES[hypothesis.event](hypothesis, counts)
