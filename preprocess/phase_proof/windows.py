"""Reads cut into windows, so that the cost of the whole is the sum of what the windows cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from preprocess.phase_proof.matrix import AlleleMatrix, Parts

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
