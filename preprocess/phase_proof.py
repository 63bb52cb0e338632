"""WhatsHap's optimum from a part of the reads, with the proof that all of them have the same one.

The solver's work doubles with every read over a SNP, and most reads only repeat what others say. So haplotypes are
guessed (phase_guess) and the solver is asked to find better ones, with few of the reads: all that the guess does not
explain in full, for others cost nothing and leaving them out can only make other haplotypes cheaper. A little is taken
off what contradicts the guess (SCALE), so that haplotypes as good as the guess would be found as better ones. If there
are none, the guess is the only optimum of these reads and of all.

The same holds part by part. Reads are cut where both parts of each are still nearest to its haplotype, so that the cost
of the whole is the sum of what windows cost. Windows with several optima, or a better one, are doubtful: there the
solver gets all reads, over a stretch of which its choice among equals cannot depend on what lies beyond (Doubts).
Where this does not work out, it gets the whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np

from preprocess.phase_guess import AlleleMatrix, guess

EASY = 300_000
"""States (2 to the power of the reads, summed over SNPs) up to which the solver is as fast as a proof: some 30 ms."""

WINDOW = 16
"""SNPs of a window, at least."""

SUPPORTS = (2, 4, 100)
"""Reads without errors of each haplotype that a proof takes at least; more where fewer left doubts, in the end all."""

SCALE = 64
"""Of the costs in a proof, to take 1 off. The larger, the seldomer is a guess doubted for nothing; it is never trusted
for nothing."""

WORTHWHILE = 1 / 4
"""States of a proof, of those of the whole, up to which it is tried; and columns that are solved anyway, of all."""

WIDENINGS = 3
"""Times that windows are joined with their neighbours, where the haplotypes are no optimum of them alone."""

MOST = 1 << 30
"""Cost of a proof, for the solver adds up in 32 bits."""

EQUAL = 3
"""What the solver says instead of an allele when both are as good."""


class Problem(Protocol):
    """Reads, and the solver for them."""

    matrix: AlleleMatrix

    def part(self, reads: slice) -> "Problem":
        """Only these reads, and the columns that they show."""

    def solve(self, parts: "Parts", cost: np.ndarray, genotypes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """The optimum of these parts of the reads.

        cost       (k,) int64    of each entry of the matrix
        genotypes  (m, 3) int64  of no, one and two alternative alleles
        returns    (c,) columns that the parts show, (2, c) int64 alleles, 0, 1 or EQUAL, and the cost
        """


@dataclass(frozen=True, eq=False)
class Parts:
    """Entries begin .. end of the matrix, of a read each; all (p,) int64."""

    read: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    def chosen(self, which: np.ndarray) -> "Parts":
        return Parts(self.read[which], self.begin[which], self.end[which])

    @cached_property
    def entries(self) -> np.ndarray:
        """Those of all parts, in order."""
        size = self.end - self.begin
        return np.arange(size.sum()) + np.repeat(self.begin - np.r_[0, size.cumsum()[:-1]], size)

    @cached_property
    def first(self) -> np.ndarray:
        """Where each part begins among these."""
        return np.r_[0, (self.end - self.begin).cumsum()[:-1]]


def optimum(problem: Problem) -> np.ndarray:
    """The haplotypes that the solver finds for all reads, (2, m) int64: 0, 1 or EQUAL."""
    matrix = problem.matrix
    found = np.empty((2, matrix.columns), np.int64)
    easy = np.zeros(matrix.reads, bool)
    for reads, columns in connected(matrix):
        part = problem.part(reads)
        if states(part.matrix.low, part.matrix.high) > EASY:
            proven = prove(part)
            found[:, columns] = solve_all(part) if proven is None else proven
        else:
            easy[reads] = True
    if easy.any():
        columns, alleles, _ = solve_reads(problem, np.flatnonzero(easy))
        found[:, columns] = alleles
    return found


def connected(matrix: AlleleMatrix) -> Iterator[tuple[slice, slice]]:
    """Reads and columns of stretches that no read leaves."""
    reach = np.maximum.accumulate(matrix.high)
    edges = np.r_[0, np.flatnonzero(matrix.low[1:] > reach[:-1]) + 1, matrix.reads].tolist()
    for start, end in pairwise(edges):
        yield slice(start, end), slice(int(matrix.low[start]), int(reach[end - 1]) + 1)


def states(low: np.ndarray, high: np.ndarray) -> float:
    """How many ways there are to give reads, from a first to a last column, to two haplotypes, summed over columns."""
    size = int(high.max()) + 2
    reads = np.cumsum(np.bincount(low, minlength=size) - np.bincount(high + 1, minlength=size))
    return float((2.0 ** reads[reads > 0]).sum())


def plain_genotypes(matrix: AlleleMatrix) -> np.ndarray:
    """(m, 3) int64: what genotypes cost."""
    return np.tile([matrix.genotype_cost, 0, matrix.genotype_cost], (matrix.columns, 1))


def solve_reads(problem: Problem, reads: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    matrix = problem.matrix
    parts = Parts(reads, matrix.first[reads], matrix.first[reads + 1])
    return problem.solve(parts, matrix.cost, plain_genotypes(matrix))


def solve_all(problem: Problem) -> np.ndarray:
    return solve_reads(problem, np.arange(problem.matrix.reads))[1]


@dataclass(eq=False)
class CutReads:
    """Reads cut into windows, by haplotypes, (2, m), that may be the optimum.

    cuts  (w + 1,) int64  columns where windows begin; the last is m. None: they are placed
    """

    matrix: AlleleMatrix
    haplotypes: np.ndarray
    cuts: np.ndarray | None = None

    def __post_init__(self):
        self.wrong = self.matrix.wrong(self.haplotypes)
        self.upto = np.concatenate([np.zeros((2, 1), np.int64), self.wrong.cumsum(axis=1)], axis=1)
        self.key = self.matrix.read * self.matrix.columns + self.matrix.column
        self.reach = np.maximum.accumulate(self.matrix.high)
        if self.cuts is None:
            self.cuts = np.array(list(self.place()))

    def entry(self, reads: np.ndarray, column: np.ndarray | int) -> np.ndarray:
        """The first entry of reads at or behind a column."""
        return np.searchsorted(self.key, reads * self.matrix.columns + column)

    def between(self, reads: np.ndarray, start: int, end: int) -> np.ndarray:
        """(2, n) int64: what reads cost on each haplotype in columns [start, end); end at most m."""
        after = self.matrix.first[reads + 1] if end == self.matrix.columns else self.entry(reads, end)
        return self.upto[:, after] - self.upto[:, self.entry(reads, start)]

    def crossing(self, column: int) -> np.ndarray:
        """Reads that begin before a column and do not end there."""
        reads = np.arange(np.searchsorted(self.reach, column), np.searchsorted(self.matrix.low, column))
        return reads[self.matrix.high[reads] >= column]

    def place(self) -> Iterator[int]:
        """Columns where reads can be cut: both parts cost together what the whole does."""
        start, last = 0, self.matrix.columns
        yield start
        for column in range(WINDOW, last - WINDOW + 1):
            if column - start < WINDOW:
                continue
            reads = self.crossing(column)
            left, right = self.between(reads, start, column), self.between(reads, column, last)
            if (left.min(axis=0) + right.min(axis=0) == (left + right).min(axis=0)).all():
                start = column
                yield start
        yield last

    @cached_property
    def parts(self) -> Parts:
        """By read and window."""
        window = np.searchsorted(self.cuts, self.matrix.column, side="right")
        begin = np.flatnonzero(np.r_[True, (np.diff(window) != 0) | (np.diff(self.matrix.read) != 0)])
        return Parts(self.matrix.read[begin], begin, np.r_[begin[1:], len(window)])

    @cached_property
    def window(self) -> np.ndarray:
        """(p,) int64: the window of each part."""
        return np.searchsorted(self.cuts, self.matrix.column[self.parts.begin], side="right") - 1

    @cached_property
    def distance(self) -> np.ndarray:
        """(2, p) int64: what each part costs on each haplotype."""
        return np.add.reduceat(self.wrong, self.parts.begin, axis=1)

    @cached_property
    def side(self) -> np.ndarray:
        """(p,) int64: the haplotype that each part is nearer to."""
        return (self.distance[1] < self.distance[0]).astype(np.int64)

    @cached_property
    def strict(self) -> np.ndarray:
        """(p,) bool: it is nearer to one of them."""
        return self.distance[0] != self.distance[1]

    @cached_property
    def low(self) -> np.ndarray:
        """(p,) int64: first column of each part."""
        return self.matrix.column[self.parts.begin]

    @cached_property
    def high(self) -> np.ndarray:
        """(p,) int64: last column of each part."""
        return self.matrix.column[self.parts.end - 1]

    @cached_property
    def window_cost(self) -> np.ndarray:
        """(w,) int64."""
        same = (self.haplotypes[0] == self.haplotypes[1]) * self.matrix.genotype_cost
        found = np.add.reduceat(same, self.cuts[:-1])
        np.add.at(found, self.window, self.distance.min(axis=0))
        return found


def prove(problem: Problem) -> np.ndarray | None:
    """The optimum of connected reads, (2, m); None where that is no less work than to solve the whole."""
    matrix = problem.matrix
    haplotypes = guess(matrix)
    if SCALE * matrix.total(haplotypes) > MOST:
        return None
    cuts = None
    for _ in range(WIDENINGS + 1):
        cut = CutReads(matrix, haplotypes, cuts)
        doubtful = np.ones(len(cut.cuts) - 1, bool)
        for support in SUPPORTS:
            chosen = choose(cut, support)
            chosen = chosen[doubtful[cut.window[chosen]]]
            if not len(chosen) or (doubtful.all() and not is_worthwhile(cut, chosen)):
                return None
            doubtful &= doubts(problem, cut, chosen)
            if not doubtful.any():
                break
        if not doubtful.any() or is_optimal(problem, cut, doubtful):
            return Settling(problem, cut, ~doubtful).run()
        edges = np.r_[False, doubtful[1:] | doubtful[:-1], False]
        cuts = cut.cuts[~edges]
    return None


def is_worthwhile(cut: CutReads, chosen: np.ndarray) -> bool:
    """Is a proof with these parts much less work than to solve the whole?"""
    return states(cut.low[chosen], cut.high[chosen]) <= states(cut.matrix.low, cut.matrix.high) * WORTHWHILE


def is_optimal(problem: Problem, cut: CutReads, windows: np.ndarray) -> bool:
    """Are the haplotypes an optimum of each of these windows, (w,) bool?"""
    matrix = cut.matrix
    parts = cut.parts.chosen(np.flatnonzero(windows[cut.window]))
    columns, _, paid = problem.solve(parts, matrix.cost, plain_genotypes(matrix))
    return len(columns) == np.diff(cut.cuts)[windows].sum() and paid == cut.window_cost[windows].sum()


def doubts(problem: Problem, cut: CutReads, chosen: np.ndarray) -> np.ndarray:
    """(w,) bool: windows of which the haplotypes are not proven to be the only optimum, up to changed places.

    chosen: the parts that the proof takes (choose).
    """
    matrix, haplotypes, parts, strict = cut.matrix, cut.haplotypes, cut.parts, cut.strict
    part = np.repeat(np.arange(len(parts.read)), parts.end - parts.begin)  # of each entry; parts are all entries
    right = (matrix.allele == haplotypes[cut.side[part], matrix.column]) & strict[part]
    cost = SCALE * matrix.cost - right
    genotypes = SCALE * plain_genotypes(matrix)
    genotypes[np.arange(matrix.columns), haplotypes.sum(axis=0)] += 1  # one less for the others
    kept, window = parts.chosen(chosen), cut.window[chosen]
    columns, found, _ = problem.solve(kept, cost, genotypes)

    doubtful = np.zeros(len(cut.cuts) - 1, bool)
    of_column = np.repeat(np.arange(len(doubtful)), np.diff(cut.cuts))
    whole = haplotypes.copy()
    whole[:, columns] = found
    doubtful[of_column[(whole == EQUAL).any(axis=0)]] = True
    whole[whole == EQUAL] = 0

    def costs(alleles: np.ndarray) -> np.ndarray:
        at = kept.entries
        wrong = cost[at] * (matrix.allele[at] != alleles[:, matrix.column[at]])
        paid = np.add.reduceat(genotypes[np.arange(matrix.columns), alleles.sum(axis=0)], cut.cuts[:-1])
        np.add.at(paid, window, np.add.reduceat(wrong, kept.first, axis=1).min(axis=0))
        return paid

    doubtful |= costs(whole) < costs(haplotypes)
    shown = np.zeros(matrix.columns, bool)
    shown[columns] = True
    doubtful[of_column[~shown]] = True
    doubtful[of_column[unlinked(cut, right)]] = True
    joined = np.zeros(len(doubtful), bool)  # with the next window
    pair = (np.diff(parts.read) == 0) & (np.diff(cut.window) == 1) & strict[1:] & strict[:-1]
    joined[cut.window[:-1][pair]] = True
    apart = np.flatnonzero(~joined[:-1])
    doubtful[apart] = doubtful[apart + 1] = True
    return doubtful


def unlinked(cut: CutReads, right: np.ndarray) -> np.ndarray:
    """Columns with two alleles that no read ties to the one before in the window; right (k,) bool: entries that do."""
    matrix = cut.matrix
    different = cut.haplotypes[0] != cut.haplotypes[1]
    number = different.cumsum() - 1
    at = np.flatnonzero(right & different[matrix.column])
    column, read = number[matrix.column[at]], matrix.read[at]
    tied = np.zeros(int(different.sum()), bool)
    tied[column[1:][(np.diff(column) == 1) & (np.diff(read) == 0)]] = True
    columns = np.flatnonzero(different)
    window = np.searchsorted(cut.cuts, columns, side="right")
    tied[np.flatnonzero(np.diff(window, prepend=-1))] = True  # the first of a window
    return columns[~tied]


def choose(cut: CutReads, support: int) -> np.ndarray:
    """Parts for a proof: all that cost something, and so many others that each haplotype has such support."""
    costly = cut.distance.min(axis=0) > 0
    cover = np.zeros((2, cut.matrix.columns), np.int64)
    for p in np.flatnonzero(costly & cut.strict).tolist():
        cover[cut.side[p], cut.low[p] : cut.high[p] + 1] += 1
    taken = costly.copy()
    size = cut.parts.end - cut.parts.begin
    others = np.flatnonzero(~costly & cut.strict & (size > 1))
    for p in others[np.argsort(-size[others], kind="stable")].tolist():
        here = cover[cut.side[p], cut.low[p] : cut.high[p] + 1]
        if here.min() < support:
            here += 1
            taken[p] = True
    return np.flatnonzero(taken)


@dataclass(eq=False)
class Settling:
    """From windows that are sure, but for which haplotype comes first, to the solver's whole answer.

    The solver takes of all optima the first in an order of its own, beginning at the last SNP: of the reads there that
    it has last, the last is on the first haplotype. What it takes at a SNP depends on the reads there and behind it
    only. So of a doubtful zone it is asked again, with all reads over a piece that holds these whole, and ends where
    its order begins alike (ends_alike).
    """

    problem: Problem
    cut: CutReads
    sure: np.ndarray
    pieces: list[tuple[int, int, int, int]] = field(default_factory=list)  # windows: piece from, to, zone from, to

    def run(self) -> np.ndarray | None:
        """The haplotypes, (2, m); None if most of the reads would have to be solved."""
        matrix = self.cut.matrix
        self.found = self.cut.haplotypes.copy()
        last = int(np.flatnonzero(matrix.high == matrix.columns - 1)[-1])
        distance = self.cut.between(np.array([last]), 0, matrix.columns)[:, 0]
        if distance[0] == distance[1]:
            self.sure[-1] = False
        elif distance[1] < distance[0]:
            self.found = self.found[::-1].copy()
        w = len(self.sure) - 1
        while w >= 0:
            if self.sure[w]:
                w -= 1
                continue
            piece = self.piece_around(w)
            if piece is None or not self.solve(*piece):
                return None
            w = piece[2] - 1
        return self.found

    def piece_around(self, window: int) -> tuple[int, int, int, int] | None:
        """Windows of a piece and of the zone in it, from and to, whose last window this is; None when too large."""
        first, last = window, window + 1
        while first and not self.sure[first - 1]:
            first -= 1
        while True:
            end = self.end_behind(first, last)
            start = self.start_before(first, last)
            inner = np.flatnonzero(~self.sure[start:first])
            behind = np.flatnonzero(~self.sure[last:end])
            if len(inner):
                first = start + int(inner[0])
            elif len(behind):
                last = last + int(behind[-1]) + 1
            elif self.pieces and end > self.pieces[-1][0]:
                last = max(last, self.pieces.pop()[3])
            else:
                break
            if self.columns(start, end) > self.cut.matrix.columns * 2 * WORTHWHILE:
                return None
        if self.columns(start, end) > self.cut.matrix.columns * 2 * WORTHWHILE:
            return None
        return start, end, first, last

    def columns(self, start: int, end: int) -> int:
        return int(self.cut.cuts[end] - self.cut.cuts[start])

    def start_before(self, first: int, last: int) -> int:
        """The window with which a piece begins: reads over the zone do not begin before it."""
        matrix, cuts = self.cut.matrix, self.cut.cuts
        start, end = cuts[first], cuts[last]
        reads = np.arange(np.searchsorted(self.cut.reach, start), np.searchsorted(matrix.low, end))
        reads = reads[matrix.high[reads] >= start]
        return int(np.searchsorted(cuts, min(int(matrix.low[reads].min()), int(start)), side="right")) - 1

    def end_behind(self, first: int, last: int) -> int:
        """The window before which a piece ends."""
        for end in range(last + 1, len(self.sure)):
            if self.ends_alike(int(self.cut.cuts[last]), int(self.cut.cuts[end])):
                return end
        return len(self.sure)

    def ends_alike(self, zone_end: int, end: int) -> bool:
        """Does the solver, when reads end before column `end`, give those over the end of the zone to the haplotypes
        they have in the whole? Each must be nearer to one of them there, and the last read of the last SNP to the first
        one."""
        distance = self.cut.between(self.cut.crossing(zone_end), zone_end, end)
        if (distance[0] == distance[1]).any():
            return False
        last = int(self.cut.matrix.read[np.flatnonzero(self.cut.matrix.column == end - 1)[-1]])
        distance = self.cut.between(np.array([last]), zone_end, end)[:, 0]
        turned = (self.found[:, zone_end:end] != self.cut.haplotypes[:, zone_end:end]).any()
        return bool(distance[1] < distance[0]) if turned else bool(distance[0] < distance[1])

    def solve(self, start: int, end: int, first: int, last: int) -> bool:
        """Take the haplotypes of a zone from the piece around it; False if the rest of the piece is not what it was."""
        matrix, cut = self.cut.matrix, self.cut
        low, high, zone_low, zone_high = (int(cut.cuts[w]) for w in (start, end, first, last))
        reads = np.arange(np.searchsorted(cut.reach, low), np.searchsorted(matrix.low, high))
        begin = cut.entry(reads, low)
        stop = matrix.first[reads + 1] if high == matrix.columns else cut.entry(reads, high)
        parts = Parts(reads, begin, stop).chosen(np.flatnonzero(stop > begin))
        columns, found, paid = self.problem.solve(parts, matrix.cost, plain_genotypes(matrix))
        if len(columns) != high - low or paid != cut.window_cost[start:end].sum():
            return False
        before, inside, behind = np.split(found, [zone_low - low, zone_high - low], axis=1)
        if (behind != self.found[:, zone_high:high]).any():
            return False
        known = self.found[:, low:zone_low]
        if (before != known).any():
            if (before[::-1] != known).any():
                return False
            self.found[:, :zone_low] = self.found[::-1, :zone_low].copy()
        self.found[:, zone_low:zone_high] = inside
        self.pieces.append((start, end, first, last))
        return True
