"""From an answer of the network and the reads to alleles (spec/calling.md 2.4, 3.3). Letters A1 - A12: section 15."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clair3.genotype.classes import LONGEST
from clair3.genotype.hypotheses import Event, GenotypeHypothesis
from clair3.records import SupportBatch

OWN_ANCHOR = "i"
"""Kind of an insertion whose bases begin with the reads' own anchor base, which may differ from the reference:
only the scripted full-alignment path tells these apart (spec/features.md C.13). Kind I has no anchor."""
INSERTIONS = ("I", OWN_ANCHOR)

LONGEST_KEY = {False: 50, True: 100_000}
"""Longest indel that is called, without and with --enable_long_indel. Insertions are measured with their anchor
base, so that 50 inserted bases are reported by the pileup but never called (A5)."""

_SUBSTITUTION_GAP = 9
_LONG_INSERTION = 50


class Alleles(NamedTuple):
    """A realised event: REF, ALT, and the reads of each AD entry after the first."""

    ref: str
    alts: tuple[str, ...]
    depths: tuple[int, ...]


@dataclass(slots=True)
class Reads:
    """What the reads show at one candidate, in alt-info order; keys of ins begin with the anchor base.

    ref is the reference letter as it stands: an IUPAC code equals no base, so that every predicted pair there
    has two alternatives (A9). Deleted bases keep the reference's case, and so do REF and ALT (A10).
    """

    ref: str
    snv: dict[str, int]
    ins: dict[str, int]
    dele: dict[str, int]

    @classmethod
    def of(cls, support: SupportBatch, i: int, ref: str, longest: int) -> "Reads":
        """Candidate i, without the indels that are too long to be called."""
        reads = cls(ref, {}, {}, {})
        for kind, bases, count in support.items(i):
            if kind == "X":
                reads.snv[bases] = count
            elif kind == "D" and len(bases) <= longest:
                reads.dele[bases] = count
            elif kind in INSERTIONS and len(key := ref + bases if kind == "I" else bases) <= longest:
                reads.ins[key] = count
        return reads

    def top_snvs(self) -> list[str]:
        """Bases by falling count, first-seen first."""
        return sorted(self.snv, key=self.snv.get, reverse=True)

    def snv_for(self, predicted: str) -> str:
        """The predicted base, unless it has no read or 9 reads less than the best, which then overrides it (A4)."""
        best = self.top_snvs()[0]
        if predicted not in self.snv or self.snv[best] - self.snv[predicted] >= _SUBSTITUTION_GAP:
            return best
        return predicted

    def insertion(self, length: int, ignore: str | None = None) -> str:
        return _pick(self.ins, length + 1 if length < LONGEST else None, ignore)

    def deletion(self, length: int, ignore: str | None = None) -> str:
        return _pick(self.dele, length if length < LONGEST else None, ignore)

    def insertion_depth(self, insertion: str) -> int:
        """Reads with this insertion; a long one also counts those within 10% of its length (3.3).

        The window compares lengths without the anchor to lengths with it; deletions have no such window (A6).
        """
        depth = self.ins[insertion]
        if len(insertion) <= _LONG_INSERTION:
            return depth
        length = len(insertion) - 1
        shortest, longest = max(0.9 * length, _LONG_INSERTION), 1.1 * length
        return depth + sum(n for key, n in self.ins.items() if key != insertion and shortest <= len(key) <= longest)

    def deletion_depth(self, length: int) -> int:
        """Reads of the first deletion of this length."""
        return next(count for key, count in self.dele.items() if len(key) == length)


def _pick(keys: dict[str, int], length: int | None, ignore: str | None) -> str:
    """The best supported key of this length, else of any; the first seen of equals."""
    others = [key for key in keys if key != ignore]
    return max([key for key in others if len(key) == length] or others, key=keys.get)


def _top_two(keys: dict[str, int]) -> list[str]:
    """The two best supported keys; unlike everywhere else, the last seen of equals comes first."""
    return sorted(keys, key=keys.get)[:-3:-1]


# How each event becomes alleles (2.4) with their reads (3.3). `possible_events` has made sure that there are the reads
# which every member of the event needs; None where this member needs more.


def _hom_snp(outcome: GenotypeHypothesis, reads: Reads) -> Alleles:
    alt = reads.snv_for(outcome.label[0])
    return Alleles(reads.ref, (alt,), (reads.snv[alt],))


def _het_snp(outcome: GenotypeHypothesis, reads: Reads) -> Alleles | None:
    if reads.ref in outcome.label:
        alt = reads.snv_for(outcome.label.replace(reads.ref, ""))
        return Alleles(reads.ref, (alt,), (reads.snv[alt],))
    alts = tuple(reads.top_snvs()[:2])  # whatever two bases were predicted (A3)
    return Alleles(reads.ref, alts, tuple(reads.snv[alt] for alt in alts)) if len(alts) == 2 else None


def _insertion(outcome: GenotypeHypothesis, reads: Reads) -> Alleles:
    insertion = reads.insertion(outcome.length_2)
    depth = reads.insertion_depth(insertion)
    # Without SNP reads a SNP + insertion becomes the insertion alone, and keeps its probability (A2).
    if outcome.event is Event.BASE_INS and outcome.label[0] != reads.ref and reads.snv:
        base = reads.top_snvs()[0]
        return Alleles(reads.ref, (base, insertion), (reads.snv[base], depth))
    return Alleles(reads.ref, (insertion,), (depth,))


def _two_insertions(outcome: GenotypeHypothesis, reads: Reads) -> Alleles:
    if outcome.sized:
        first = reads.insertion(outcome.length_1)
        second = reads.insertion(outcome.length_2, ignore=first)
    else:
        first, second = _top_two(reads.ins)
    return Alleles(reads.ref, (second, first), (reads.insertion_depth(second), reads.insertion_depth(first)))


def _deletion(outcome: GenotypeHypothesis, reads: Reads) -> Alleles:
    deleted = reads.deletion(-outcome.length_1)
    ref, depth, base = reads.ref + deleted, reads.dele[deleted], outcome.label[0]
    if outcome.event is Event.BASE_DEL and base != reads.ref:
        # The SNP allele is the predicted one and needs no read (A3); AD and AF have it first, ALT last (A1).
        return Alleles(ref, (reads.ref, base + deleted), (reads.snv.get(base, 0), depth))
    return Alleles(ref, (reads.ref,), (depth,))


def _two_deletions(outcome: GenotypeHypothesis, reads: Reads) -> Alleles | None:
    if outcome.sized:
        shorter, longer = sorted((-outcome.length_1, -outcome.length_2))
        first = reads.deletion(longer)
        two = first, reads.deletion(shorter, ignore=first)
    else:
        two = _top_two(reads.dele)
    short, long = sorted(two, key=len)
    if len(short) == len(long):
        return None
    depths = reads.deletion_depth(len(long)), reads.deletion_depth(len(short))
    return Alleles(reads.ref + long, (reads.ref, reads.ref + long[len(short) :]), depths)


def _insertion_and_deletion(outcome: GenotypeHypothesis, reads: Reads) -> Alleles:
    insertion, deleted = reads.insertion(outcome.length_2), reads.deletion(-outcome.length_1)
    depths = reads.deletion_depth(len(deleted)), reads.insertion_depth(insertion)
    return Alleles(reads.ref + deleted, (reads.ref, insertion + deleted), depths)


_REALISE: dict[Event, Callable[[GenotypeHypothesis, Reads], Alleles | None]] = {
    Event.HOM_SNP: _hom_snp,
    Event.HET_SNP: _het_snp,
    Event.HOM_INS: _insertion,
    Event.BASE_INS: _insertion,
    Event.INS_INS: _two_insertions,
    Event.HOM_DEL: _deletion,
    Event.BASE_DEL: _deletion,
    Event.DEL_DEL: _two_deletions,
    Event.INS_DEL: _insertion_and_deletion,
}


def possible_events(support: SupportBatch, longest: int) -> np.ndarray:
    """Whether each candidate has the reads that every member of an event needs. (n, 10) bool, columns as Event

    An event without them is out for all its lengths alike, because any indel will do when none has the predicted
    length; so the events are ruled out at once, where the spec rejects them member by member.
    """
    row = np.repeat(np.arange(len(support)), np.diff(support.item_start))
    key_length = np.diff(support.seq_start) + (support.kind == ord("I"))  # with the anchor

    def alleles(*kinds: str) -> np.ndarray:
        items = np.isin(support.kind, [ord(kind) for kind in kinds]) & (key_length <= longest)
        return np.bincount(row[items], minlength=len(support))

    snv, ins, dele = alleles("X"), alleles(*INSERTIONS), alleles("D")
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


def realise(outcome: GenotypeHypothesis, reads: Reads) -> Alleles | None:
    """The alleles of an answer whose event is possible; None when reads do not support this very answer."""
    return _REALISE[outcome.event](outcome, reads)
