"""Reads cut into windows, so that the cost of the whole is the sum of what the windows cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clair3.phasing.read_reduction.matrix import AlleleMatrix, Parts, Problem, plain_genotypes

WINDOW = 16
"""SNPs of a window, at least."""


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

    def over(self, start: int, end: int) -> np.ndarray:
        """Reads that begin before column `end` and do not end before `start`."""
        reads = np.arange(np.searchsorted(self.reach, start), np.searchsorted(self.matrix.low, end))
        return reads[self.matrix.high[reads] >= start]

    def crossing(self, column: int) -> np.ndarray:
        """Reads that begin before a column and do not end there."""
        return self.over(column, column)

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
    def of_column(self) -> np.ndarray:
        """(m,) int64: the window of each column."""
        return np.repeat(np.arange(len(self.cuts) - 1), np.diff(self.cuts))

    @cached_property
    def parts(self) -> Parts:
        """By read and window; their entries are all entries."""
        window = self.of_column[self.matrix.column]
        begin = np.flatnonzero(np.r_[True, (np.diff(window) != 0) | (np.diff(self.matrix.read) != 0)])
        return Parts(self.matrix.read[begin], begin, np.r_[begin[1:], len(window)])

    @cached_property
    def window(self) -> np.ndarray:
        """(p,) int64: the window of each part."""
        return self.of_column[self.low]

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
    def joined(self) -> np.ndarray:
        """(w - 1,) bool: a read is nearer to one of the haplotypes on both sides of a cut, so that it would cost more
        if they changed places on one side of it only."""
        both = (np.diff(self.parts.read) == 0) & (np.diff(self.window) == 1) & self.strict[1:] & self.strict[:-1]
        found = np.zeros(len(self.cuts) - 2, bool)
        found[self.window[:-1][both]] = True
        return found

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


MOST_COLUMNS = 1 / 2
"""Of a stretch that are solved in pieces; the whole is not much more work."""


@dataclass(eq=False)
class Settling:
    """From windows that are sure, but for which haplotype comes first, to the solver's whole answer.

    sure (w,) bool. The haplotypes are an optimum in the others, too, or nothing is settled.

    The solver takes of all optima the first in an order of its own, which begins at the last SNP: the last read there
    is on the first haplotype. A doubtful zone is solved again with all reads of a piece, between windows that are sure.
    Reads over the zone are whole before its end; behind it each is nearer to one haplotype, so that its side is what
    it is in the whole, if the piece ends on a read of the first haplotype (ends_alike). Then the same reads of the
    zone may be on the same sides, in the same order, and the solver makes the same choice. At the start of the piece
    reads are cut, which may change their order; no choice can follow from that, for windows that are sure are joined,
    and only reads that end before the zone are cut there.
    """

    problem: Problem
    cut: CutReads
    sure: np.ndarray

    def __post_init__(self):
        matrix = self.cut.matrix
        self.genotypes = plain_genotypes(matrix)
        self.found, self.left = self.cut.haplotypes.copy(), MOST_COLUMNS * matrix.columns
        self.last_read = np.zeros(matrix.columns, np.int64)  # of each column
        np.maximum.at(self.last_read, matrix.column, matrix.read)

    def run(self) -> np.ndarray | None:
        """The haplotypes, (2, m); None if that is hardly less work than to solve the whole."""
        cuts, columns = self.cut.cuts, self.cut.matrix.columns
        distance = self.cut.between(self.last_read[-1:], int(cuts[-2]), columns)[:, 0]
        if distance[0] == distance[1]:
            self.sure[-1] = False
        elif distance[1] < distance[0]:
            self.found = self.found[::-1].copy()
        window = len(self.sure) - 1
        while window >= 0:
            if self.sure[window]:
                window -= 1
                continue
            start, end, first, last = self.piece_around(window)
            self.left -= cuts[end] - cuts[start]
            if self.left < 0 or not self.solve(start, end, first, last):
                return None
            window = first - 1
        return self.found

    def piece_around(self, window: int) -> tuple[int, int, int, int]:
        """Windows of a piece, from and to, and of the zone in it, from and to, of which this is the last in doubt."""
        first, last = window, window + 1
        while True:
            while last < len(self.sure) and self.is_torn(last):
                last += 1
            start, end = self.start_before(first, last), self.end_behind(last)
            before, behind = np.flatnonzero(~self.sure[start:first]), np.flatnonzero(~self.sure[last:end])
            if not len(before) and not len(behind):
                return start, end, first, last
            first = start + int(before[0]) if len(before) else first
            last = last + int(behind[-1]) + 1 if len(behind) else last

    def is_torn(self, window: int) -> bool:
        """Does a read over the start of this window say nothing from there on? The solver puts it on either side."""
        column = int(self.cut.cuts[window])
        distance = self.cut.between(self.cut.crossing(column), column, self.cut.matrix.columns)
        return bool((distance[0] == distance[1]).any())

    def start_before(self, first: int, last: int) -> int:
        """The window with which a piece begins: a sure one, and reads over the zone do not begin before it."""
        cuts = self.cut.cuts
        reads = self.cut.over(int(cuts[first]), int(cuts[last]))
        lowest = min(int(self.cut.matrix.low[reads].min()), max(int(cuts[first]) - 1, 0))
        return int(np.searchsorted(cuts, lowest, side="right")) - 1

    def end_behind(self, last: int) -> int:
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
        distance = self.cut.between(self.last_read[end - 1 : end], zone_end, end)[:, 0]
        turned = (self.found[:, zone_end:end] != self.cut.haplotypes[:, zone_end:end]).any()
        return bool(distance[1] < distance[0]) if turned else bool(distance[0] < distance[1])

    def solve(self, start: int, end: int, first: int, last: int) -> bool:
        """Take the haplotypes of a zone from the piece around it; False if the rest of the piece is not what it was."""
        matrix, cut = self.cut.matrix, self.cut
        low, high, zone_low, zone_high = (int(cut.cuts[w]) for w in (start, end, first, last))
        reads = cut.over(low, high)
        begin = cut.entry(reads, low)
        stop = matrix.first[reads + 1] if high == matrix.columns else cut.entry(reads, high)
        parts = Parts(reads, begin, stop).chosen(np.flatnonzero(stop > begin))
        columns, found, paid = self.problem.solve(parts, matrix.cost, self.genotypes)
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
        return True
