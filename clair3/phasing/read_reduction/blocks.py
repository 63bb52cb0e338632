"""Blocks of SNPs between which reads can be cut, so that the cost of the whole is the sum over the blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clair3.phasing.read_reduction.matrix import AlleleMatrix, ReadFragments

MIN_BLOCK = 16
"""Smallest number of SNPs in a block."""


@dataclass(eq=False)
class BlockDecomposition:
    """Reads cut into fragments between b blocks of columns, for haplotypes, (2, m), that may be the optimum.

    edges  (b + 1,) int64  columns where blocks begin, and m; None: they are placed wherever reads can be cut
    """

    matrix: AlleleMatrix
    haplotypes: np.ndarray
    edges: np.ndarray | None = None

    def __post_init__(self):
        self.entry_costs = self.matrix.entry_costs(self.haplotypes)
        self.cumulative = np.concatenate([np.zeros((2, 1), np.int64), self.entry_costs.cumsum(axis=1)], axis=1)
        self.key = self.matrix.read * self.matrix.columns + self.matrix.column  # ascending over all entries
        self.reach = np.maximum.accumulate(self.matrix.high)
        if self.edges is None:
            self.edges = np.array(list(self.iter_edges()))

    def first_entry(self, reads: np.ndarray, column: np.ndarray | int) -> np.ndarray:
        """Return the index of the first entry of each read at or behind a column."""
        return np.searchsorted(self.key, reads * self.matrix.columns + column)

    def costs_between(self, reads: np.ndarray, start: int, end: int) -> np.ndarray:
        """Return what reads, (n,), cost on either haplotype in columns [start, end), end at most m: (2, n) int64."""
        after = self.matrix.first[reads + 1] if end == self.matrix.columns else self.first_entry(reads, end)
        return self.cumulative[:, after] - self.cumulative[:, self.first_entry(reads, start)]

    def reads_over(self, start: int, end: int) -> np.ndarray:
        """Return the reads that begin before column `end` and do not end before `start`."""
        reads = np.arange(np.searchsorted(self.reach, start), np.searchsorted(self.matrix.low, end))
        return reads[self.matrix.high[reads] >= start]

    def reads_across(self, column: int) -> np.ndarray:
        """Return the reads that begin before a column and do not end before it."""
        return self.reads_over(column, column)

    def iter_edges(self) -> Iterator[int]:
        """Yield the columns where all reads can be cut: the fragments together cost what the whole read does."""
        start, last = 0, self.matrix.columns
        yield start
        for column in range(MIN_BLOCK, last - MIN_BLOCK + 1):
            if column - start < MIN_BLOCK:
                continue
            reads = self.reads_across(column)
            left, right = self.costs_between(reads, start, column), self.costs_between(reads, column, last)
            if (left.min(axis=0) + right.min(axis=0) == (left + right).min(axis=0)).all():
                start = column
                yield start
        yield last

    @cached_property
    def block_of_column(self) -> np.ndarray:
        """The block of each column, (m,) int64."""
        return np.repeat(np.arange(len(self.edges) - 1), np.diff(self.edges))

    @cached_property
    def fragments(self) -> ReadFragments:
        """The fragments, by read and block; together they have all entries."""
        block = self.block_of_column[self.matrix.column]
        begin = np.flatnonzero(np.r_[True, (np.diff(block) != 0) | (np.diff(self.matrix.read) != 0)])
        return ReadFragments(self.matrix.read[begin], begin, np.r_[begin[1:], len(block)])

    @cached_property
    def low(self) -> np.ndarray:
        """The first column of each fragment, (f,) int64."""
        return self.matrix.column[self.fragments.begin]

    @cached_property
    def high(self) -> np.ndarray:
        """The last column of each fragment, (f,) int64."""
        return self.matrix.column[self.fragments.end - 1]

    @cached_property
    def block(self) -> np.ndarray:
        """The block of each fragment, (f,) int64."""
        return self.block_of_column[self.low]

    @cached_property
    def costs(self) -> np.ndarray:
        """What each fragment costs on either haplotype, (2, f) int64."""
        return np.add.reduceat(self.entry_costs, self.fragments.begin, axis=1)

    @cached_property
    def haplotype(self) -> np.ndarray:
        """The haplotype that each fragment is nearer to, (f,) int64."""
        return (self.costs[1] < self.costs[0]).astype(np.int64)

    @cached_property
    def is_informative(self) -> np.ndarray:
        """Whether each fragment is nearer to one haplotype than to the other, (f,) bool."""
        return self.costs[0] != self.costs[1]

    @cached_property
    def is_linked(self) -> np.ndarray:
        """Whether a read with informative fragments on both sides links two neighbouring blocks, (b - 1,) bool.

        Then it would cost more to swap the haplotypes on one side of the edge only.
        """
        informative = self.is_informative
        both = (np.diff(self.fragments.read) == 0) & (np.diff(self.block) == 1) & informative[1:] & informative[:-1]
        linked = np.zeros(len(self.edges) - 2, bool)
        linked[self.block[:-1][both]] = True
        return linked

    @cached_property
    def block_cost(self) -> np.ndarray:
        """The wMEC cost of each block, (b,) int64."""
        homozygous = (self.haplotypes[0] == self.haplotypes[1]) * self.matrix.genotype_cost
        cost = np.add.reduceat(homozygous, self.edges[:-1])
        np.add.at(cost, self.block, self.costs.min(axis=0))
        return cost
