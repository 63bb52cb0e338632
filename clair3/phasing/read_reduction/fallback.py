"""The fallback for uncertain blocks: the solver gets all their reads, with context, and chooses as for the whole."""

from dataclasses import dataclass

import numpy as np

from clair3.phasing.read_reduction.blocks import BlockDecomposition
from clair3.phasing.read_reduction.matrix import PhasingProblem, ReadFragments

MAX_SOLVED_SHARE = 1 / 2
"""Largest share of the columns that is solved in intervals; to solve the whole is not much more work."""


@dataclass(eq=False)
class UncertainBlockSolver:
    """Completes certified blocks, of which only the order of the haplotypes is open, to the solver's whole solution.

    certified  (b,) bool; the haplotypes of the decomposition are an optimum in the other blocks, too

    The solver takes of all optima the first in an order of its own, which begins at the last SNP: the last read there
    is on the first haplotype. An uncertain interval of blocks is solved again with all reads of a context, which begins
    and ends with certified blocks. Reads over the interval are whole before its end; behind it each is nearer to one
    haplotype, so that it is assigned as in the whole, if the context ends on a read of the first haplotype
    (keeps_assignments). Then the same reads of the interval may be on the same haplotypes, in the same order, and the
    solver makes the same choice. At the start of the context reads are cut, which may change their order; no choice can
    follow from that, for certified blocks are linked, and only reads that end before the interval are cut there.
    """

    problem: PhasingProblem
    decomposition: BlockDecomposition
    certified: np.ndarray

    def __post_init__(self):
        matrix = self.decomposition.matrix
        self.genotype_costs = matrix.genotype_costs()
        self.haplotypes = self.decomposition.haplotypes.copy()
        self.columns_left = MAX_SOLVED_SHARE * matrix.columns
        self.last_read = np.zeros(matrix.columns, np.int64)  # of each column
        np.maximum.at(self.last_read, matrix.column, matrix.read)

    def run(self) -> np.ndarray | None:
        """Return the haplotypes, (2, m) int64; None if that is hardly less work than to solve the whole."""
        edges, columns = self.decomposition.edges, self.decomposition.matrix.columns
        costs = self.decomposition.costs_between(self.last_read[-1:], int(edges[-2]), columns)[:, 0]
        if costs[0] == costs[1]:
            self.certified[-1] = False
        elif costs[1] < costs[0]:
            self.haplotypes = self.haplotypes[::-1].copy()
        block = len(self.certified) - 1
        while block >= 0:
            if self.certified[block]:
                block -= 1
                continue
            start, end, first, last = self.find_context(block)
            self.columns_left -= edges[end] - edges[start]
            if self.columns_left < 0 or not self.solve(start, end, first, last):
                return None
            block = first - 1
        return self.haplotypes

    def find_context(self, block: int) -> tuple[int, int, int, int]:
        """Return the context [start, end) and the uncertain interval [first, last) in it that ends with a block."""
        first, last = block, block + 1
        while True:
            while last < len(self.certified) and self.has_uninformative_read(last):
                last += 1
            start, end = self.find_context_start(first, last), self.find_context_end(last)
            before, behind = np.flatnonzero(~self.certified[start:first]), np.flatnonzero(~self.certified[last:end])
            if not len(before) and not len(behind):
                return start, end, first, last
            first = start + int(before[0]) if len(before) else first
            last = last + int(behind[-1]) + 1 if len(behind) else last

    def has_uninformative_read(self, block: int) -> bool:
        """Return whether a read across the start of a block is uninformative from there on, free to go either way."""
        column = int(self.decomposition.edges[block])
        reads = self.decomposition.reads_across(column)
        costs = self.decomposition.costs_between(reads, column, self.decomposition.matrix.columns)
        return bool((costs[0] == costs[1]).any())

    def find_context_start(self, first: int, last: int) -> int:
        """Return the block with which the context of [first, last) begins: no read over the interval begins before."""
        edges, matrix = self.decomposition.edges, self.decomposition.matrix
        reads = self.decomposition.reads_over(int(edges[first]), int(edges[last]))
        lowest = min(int(matrix.low[reads].min()), max(int(edges[first]) - 1, 0))
        return int(np.searchsorted(edges, lowest, side="right")) - 1

    def find_context_end(self, last: int) -> int:
        """Return the block before which the context of an uncertain interval, which ends before `last`, ends."""
        edges = self.decomposition.edges
        for end in range(last + 1, len(self.certified)):
            if self.keeps_assignments(int(edges[last]), int(edges[end])):
                return end
        return len(self.certified)

    def keeps_assignments(self, interval_end: int, end: int) -> bool:
        """Return whether the solver assigns reads across the end of the interval as in the whole, without columns from
        `end` on: each must be nearer to one haplotype there, and the last read of the last SNP to the first one.
        """
        decomposition = self.decomposition
        costs = decomposition.costs_between(decomposition.reads_across(interval_end), interval_end, end)
        if (costs[0] == costs[1]).any():
            return False
        costs = decomposition.costs_between(self.last_read[end - 1 : end], interval_end, end)[:, 0]
        swapped = (self.haplotypes[:, interval_end:end] != decomposition.haplotypes[:, interval_end:end]).any()
        return bool(costs[1] < costs[0]) if swapped else bool(costs[0] < costs[1])

    def solve(self, start: int, end: int, first: int, last: int) -> bool:
        """Solve the context [start, end) and take over the haplotypes of the interval [first, last).

        Returns False when the haplotypes of the rest of the context are not what they were.
        """
        decomposition, matrix = self.decomposition, self.decomposition.matrix
        low, high, interval_low, interval_high = (int(decomposition.edges[b]) for b in (start, end, first, last))
        reads = decomposition.reads_over(low, high)
        begin = decomposition.first_entry(reads, low)
        stop = matrix.first[reads + 1] if high == matrix.columns else decomposition.first_entry(reads, high)
        fragments = ReadFragments(reads, begin, stop).select(np.flatnonzero(stop > begin))
        columns, solution, cost = self.problem.solve(fragments, matrix.cost, self.genotype_costs)
        if len(columns) != high - low or cost != decomposition.block_cost[start:end].sum():
            return False
        before, inside, behind = np.split(solution, [interval_low - low, interval_high - low], axis=1)
        if (behind != self.haplotypes[:, interval_high:high]).any():
            return False
        known = self.haplotypes[:, low:interval_low]
        if (before != known).any():
            if (before[::-1] != known).any():
                return False
            self.haplotypes[:, :interval_low] = self.haplotypes[::-1, :interval_low].copy()
        self.haplotypes[:, interval_low:interval_high] = inside
        return True
