"""The matching of calls and true variants that spell the same haplotypes.

Two sets of variants are equal when they turn the reference into the same two sequences, however they are written. So
the variants of both sides are taken in order of position, each one left out or put on the haplotypes in one of its
orientations, and the two sequences of the calls are compared with those of the truth as they grow. What remains of
a path through the variants is how far each sequence has come on the reference and what the longer one has more; paths
that agree in this are one state, of which the one with most matched variants survives. Where all sequences are level,
a cluster ends: phase between clusters is free, as in RTG vcfeval, whose idea this is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from clair3.evaluation.variants import Change, Variant

MAX_STATES = 3000
"""States that are followed at a time; of more the best half, and the cluster is reported."""

STEP = 64
"""Reference bases that unequal sequences are compared over at a time, before the step grows."""

CALL, TRUTH = 0, 1


class HaplotypePair(NamedTuple):
    """One haplotype of calls and truth. call, truth: twice the 0-based position that comes next, one more behind an
    insertion there. ahead: what the longer sequence has more; longer: CALL or TRUTH, whose sequence that is."""

    call: int
    truth: int
    ahead: str = ""
    longer: int = CALL


class MatchPath(NamedTuple):
    """The best path to a state: matched variants of finished groups, calls and truths taken since, and the steps back:
    (earlier steps, side, index), where side None ends a group."""

    score: int
    taken: tuple[int, int]
    steps: tuple | None

    @property
    def total(self) -> int:
        return self.score + sum(self.taken)


State = tuple[HaplotypePair, ...]
States = dict[State, MatchPath]


@dataclass
class Matches:
    """Groups of calls and truths (indices) that spell the same, in order of position; and clusters, 0-based
    [start, end), in which not every path was followed: a better match may exist there."""

    groups: list[tuple[list[int], list[int]]] = field(default_factory=list)
    cut: list[tuple[int, int]] = field(default_factory=list)


def match(calls: Sequence[Variant], truths: Sequence[Variant], sequence: str, ploidy: int = 2) -> Matches:
    """Match the calls and true variants of a contig so that as many as possible are matched.

    sequence is the contig, upper case. ploidy 1 compares alleles instead of genotypes.
    """
    return Matcher(sequence, ploidy).run(calls, truths)


def list_orientations(variant: Variant, ploidy: int) -> list[tuple[Change | None, ...]]:
    """List the ways to put a variant on haplotypes: both orientations; with one haplotype, any of its alleles."""
    if ploidy == 1:
        return [(change,) for change in variant.changes]
    return list(dict.fromkeys([variant.haplotypes, variant.haplotypes[::-1]]))


class Matcher:
    """Follows all paths through the variants of a contig, see the module."""

    def __init__(self, sequence: str, ploidy: int):
        self.sequence, self.ploidy = sequence, ploidy
        self.result, self.is_cut = Matches(), False

    def run(self, calls: Sequence[Variant], truths: Sequence[Variant]) -> Matches:
        """Match the calls and true variants of the contig."""
        both = [(CALL, i, variant) for i, variant in enumerate(calls)]
        both += [(TRUTH, i, variant) for i, variant in enumerate(truths)]
        both.sort(key=lambda entry: (entry[2].start, min(change.end for change in entry[2].changes), entry[0]))
        states, start = {self.level(0): MatchPath(0, (0, 0), None)}, 0
        for side, index, variant in both:
            states = self.advance(states, variant.start)
            if len(states) == 1:
                self.finish(states, start, variant.start)
                states, start = {self.level(variant.start): MatchPath(0, (0, 0), None)}, variant.start
            states = self.take(states, side, index, variant)
        end = len(self.sequence) + 1  # behind an insertion at the very end
        states = self.advance(states, end)
        self.finish({self.level(end): states[self.level(end)]}, start, end)
        return self.result

    def level(self, pos: int) -> State:
        """Return the state in which all sequences have come to a position alike."""
        return (HaplotypePair(2 * pos, 2 * pos),) * self.ploidy

    def advance(self, states: States, pos: int) -> States:
        """Return the states where all sequences have come to a position, or further by a deletion."""
        level, reached = self.level(pos), {}
        for state, path in states.items():
            pairs = [self.add_reference(pair, pos) for pair in state]
            if None in pairs:
                continue
            key = tuple(sorted(pairs))
            if key == level and path.taken != (0, 0):
                gained = sum(path.taken) if all(path.taken) else 0
                path = MatchPath(path.score + gained, (0, 0), (path.steps, None, None))
            keep_best(reached, key, path)
        return reached

    def add_reference(self, pair: HaplotypePair, pos: int) -> HaplotypePair | None:
        """Add the reference to both sides of a pair up to a position; None when the sequences come to differ."""
        at, step = min(pair.call, pair.truth) >> 1, STEP
        while at < pos:
            if pair.call == pair.truth and not pair.ahead:
                return HaplotypePair(2 * pos, 2 * pos)
            at, step = min(at + step, pos), 2 * step
            call, truth = self.sequence[pair.call >> 1 : at], self.sequence[pair.truth >> 1 : at]
            pair = extend_pair(pair, call, truth, max(pair.call, 2 * at), max(pair.truth, 2 * at))
            if pair is None:
                return None
        return pair

    def take(self, states: States, side: int, index: int, variant: Variant) -> States:
        """Return the states with and without a variant; all have come to its start."""
        reached = dict(states)
        for state, path in states.items():
            taken = (path.taken[0] + (side == CALL), path.taken[1] + (side == TRUTH))
            longer = MatchPath(path.score, taken, (path.steps, side, index))
            for changes in list_orientations(variant, self.ploidy):
                pairs = [self.apply_change(pair, side, change) for pair, change in zip(state, changes, strict=True)]
                if None not in pairs:
                    keep_best(reached, tuple(sorted(pairs)), longer)
        if len(reached) > MAX_STATES:
            self.is_cut = True
            best = sorted(reached.items(), key=lambda item: -item[1].total)[: MAX_STATES // 2]
            level = self.level(variant.start)
            reached = dict([*best, (level, reached[level])])
        return reached

    def apply_change(self, pair: HaplotypePair, side: int, change: Change | None) -> HaplotypePair | None:
        """Apply a change to one side of a pair; None when it overlaps an earlier one or the sequences come to
        differ."""
        if change is None:
            return pair
        start, end, bases = change
        place = pair[side]
        if place > 2 * start + (end > start):
            return None
        text = self.sequence[place >> 1 : start] + bases
        place = 2 * end if end > start else 2 * start + 1
        if side == CALL:
            return extend_pair(pair, text, "", place, pair.truth)
        return extend_pair(pair, "", text, pair.call, place)

    def finish(self, states: States, start: int, end: int) -> None:
        """Keep the groups of the cluster that ends where all sequences are level: the only state left."""
        ((_, path),) = states.items()
        groups, steps = [], path.steps
        while steps is not None:
            steps, side, index = steps
            if side is None:
                groups.append(([], []))
            else:
                groups[-1][side].append(index)
        self.result.groups += [(calls[::-1], truths[::-1]) for calls, truths in groups[::-1] if calls and truths]
        if self.is_cut:
            self.result.cut.append((start, end))
            self.is_cut = False


def keep_best(states: States, key: State, path: MatchPath) -> None:
    """Keep the better of two paths to a state."""
    if key not in states or path.total > states[key].total:
        states[key] = path


def extend_pair(pair: HaplotypePair, call: str, truth: str, call_place: int, truth_place: int) -> HaplotypePair | None:
    """Extend the sequences of a pair by bases; None when they differ."""
    texts = [call, truth]
    texts[pair.longer] = pair.ahead + texts[pair.longer]
    call, truth = texts
    shared = min(len(call), len(truth))
    if call[:shared] != truth[:shared]:
        return None
    longer = TRUTH if len(truth) > shared else CALL
    return HaplotypePair(call_place, truth_place, texts[longer][shared:], longer)
