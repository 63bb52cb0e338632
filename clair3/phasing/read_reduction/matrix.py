"""What reads show of SNPs, parts of it, and what is asked of the solver."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

EQUAL = 3
"""What the solver says instead of an allele when both are as good."""


@dataclass(frozen=True, eq=False)
class AlleleMatrix:
    """What n reads show of m SNPs; entries of read r are first[r] .. first[r + 1] of the other arrays.

    first          (n + 1,) int64  reads are sorted by their first column
    column         (k,) int64      SNP, ascending in a read; every SNP is shown by a read
    allele         (k,) int64      0 or 1
    cost           (k,) int64      of being wrong
    genotype_cost  of a SNP whose alleles are equal
    """

    first: np.ndarray
    column: np.ndarray
    allele: np.ndarray
    cost: np.ndarray
    genotype_cost: int

    @cached_property
    def reads(self) -> int:
        return len(self.first) - 1

    @cached_property
    def columns(self) -> int:
        return int(self.column.max()) + 1

    @cached_property
    def read(self) -> np.ndarray:
        """(k,) int64: the read of each entry."""
        return np.repeat(np.arange(self.reads), np.diff(self.first))

    @cached_property
    def low(self) -> np.ndarray:
        """(n,) int64: first column of each read."""
        return self.column[self.first[:-1]]

    @cached_property
    def high(self) -> np.ndarray:
        """(n,) int64: last column of each read."""
        return self.column[self.first[1:] - 1]

    def wrong(self, haplotypes: np.ndarray) -> np.ndarray:
        """(2, k) int64: what each entry costs on each of the haplotypes, (2, m)."""
        return self.cost * (self.allele != haplotypes[:, self.column])

    def distance(self, haplotypes: np.ndarray) -> np.ndarray:
        """(2, n) int64: what each read costs on each of the haplotypes, (2, m)."""
        return np.add.reduceat(self.wrong(haplotypes), self.first[:-1], axis=1)

    def total(self, haplotypes: np.ndarray) -> int:
        """What the haplotypes, (2, m), cost altogether."""
        same = self.genotype_cost * int((haplotypes[0] == haplotypes[1]).sum())
        return int(self.distance(haplotypes).min(axis=0).sum()) + same


@dataclass(frozen=True, eq=False)
class Parts:
    """Entries begin .. end of the matrix, of a read each; all (p,) int64."""

    read: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    def chosen(self, which: np.ndarray) -> "Parts":
        return Parts(self.read[which], self.begin[which], self.end[which])

    @cached_property
    def size(self) -> np.ndarray:
        """Entries of each part."""
        return self.end - self.begin

    @cached_property
    def first(self) -> np.ndarray:
        """Where each part begins among the entries of all."""
        return np.r_[0, self.size.cumsum()[:-1]]

    @cached_property
    def entries(self) -> np.ndarray:
        """(k,) int64: those of all parts, in order."""
        return np.arange(self.size.sum()) + np.repeat(self.begin - self.first, self.size)


class Problem(Protocol):
    """Reads, and the solver for them."""

    matrix: AlleleMatrix

    def part(self, reads: slice) -> "Problem":
        """Only these reads, and the columns that they show."""

    def solve(self, parts: Parts, cost: np.ndarray, genotypes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """The optimum of these parts of the reads.

        cost       (k,) int64    of each entry of the matrix
        genotypes  (m, 3) int64  of no, one and two alternative alleles
        returns    (c,) columns that the parts show, (2, c) int64 alleles, 0, 1 or EQUAL, and the cost
        """


def states(low: np.ndarray, high: np.ndarray) -> float:
    """How many ways there are to give reads, from a first to a last column, to two haplotypes, summed over columns."""
    first, size = int(low.min()), int(high.max()) - int(low.min()) + 2
    begun, ended = np.bincount(low - first, minlength=size), np.bincount(high + 1 - first, minlength=size)
    reads = np.cumsum(begun - ended)
    return float((2.0 ** reads[reads > 0]).sum())


def plain_genotypes(matrix: AlleleMatrix) -> np.ndarray:
    """(m, 3) int64: what genotypes cost."""
    return np.tile([matrix.genotype_cost, 0, matrix.genotype_cost], (matrix.columns, 1))


def solve_reads(problem: Problem, reads: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """What Problem.solve says of these whole reads, (n,) numbers, with the plain costs."""
    matrix = problem.matrix
    parts = Parts(reads, matrix.first[reads], matrix.first[reads + 1])
    return problem.solve(parts, matrix.cost, plain_genotypes(matrix))


def solve_all(problem: Problem) -> np.ndarray:
    """The haplotypes that the solver finds for all reads, (2, m) int64: 0, 1 or EQUAL."""
    return solve_reads(problem, np.arange(problem.matrix.reads))[1]


ROUNDS = 30
"""Of mending; a guess need not be perfect."""

GENOTYPES = ((0, 1), (1, 0), (0, 0), (1, 1))
"""Alleles of the two haplotypes, the cheapest genotype first."""


def guess(matrix: AlleleMatrix) -> np.ndarray:
    """Haplotypes, (2, m) int64: neighbouring SNPs by vote, then mended as long as the cost falls."""
    found = settled(matrix, by_votes(matrix))
    for _ in range(ROUNDS):
        gain = switch_gain(matrix, found)
        if not (gain > 0).any():
            break
        better = settled(matrix, switched(found, best_cuts(gain)))
        if matrix.total(better) >= matrix.total(found):
            better = settled(matrix, switched(found, [int(gain.argmax())]))
            if matrix.total(better) >= matrix.total(found):
                break
        found = better
    return found


def by_votes(matrix: AlleleMatrix) -> np.ndarray:
    """Haplotypes, (2, m) int64, of opposite alleles: reads that show two neighbouring SNPs vote which go together."""
    i = np.flatnonzero((np.diff(matrix.read) == 0) & (np.diff(matrix.column) == 1))
    vote = np.where(matrix.allele[i] == matrix.allele[i + 1], matrix.cost[i], -matrix.cost[i])
    turned = np.bincount(matrix.column[i], vote, matrix.columns)[: matrix.columns - 1] < 0
    one = np.r_[0, np.cumsum(turned) % 2]
    return np.stack([one, 1 - one])


def settled(matrix: AlleleMatrix, haplotypes: np.ndarray) -> np.ndarray:
    """Give reads to the nearer haplotype and each SNP the cheapest alleles, until nothing changes."""
    for _ in range(ROUNDS):
        distance = matrix.distance(haplotypes)
        second = (distance[1] < distance[0])[matrix.read]
        column_cost = np.empty((2, 2, matrix.columns))  # of a haplotype's allele
        for side in (0, 1):
            for allele in (0, 1):
                paid = matrix.cost * ((second == side) & (matrix.allele != allele))
                column_cost[side, allele] = np.bincount(matrix.column, paid, matrix.columns)
        choices = np.array([column_cost[0, a] + column_cost[1, b] + matrix.genotype_cost * (a == b)
                            for a, b in GENOTYPES])  # fmt: skip
        now = np.take_along_axis(column_cost, haplotypes[:, None], axis=1)[:, 0].sum(axis=0)
        now += matrix.genotype_cost * (haplotypes[0] == haplotypes[1])
        better = np.where(choices.min(axis=0) < now, np.array(GENOTYPES)[choices.argmin(axis=0)].T, haplotypes)
        if (better == haplotypes).all():
            break
        haplotypes = better
    return haplotypes


def switch_gain(matrix: AlleleMatrix, haplotypes: np.ndarray) -> np.ndarray:
    """(m - 1,) int64: what is saved if behind column j, for each j, the haplotypes change places."""
    wrong = matrix.wrong(haplotypes)
    upto = np.cumsum(wrong, axis=1)
    i = np.flatnonzero(np.diff(matrix.read) == 0)  # an entry with another one of its read behind it
    read = matrix.read[i]
    left = upto[:, i] - (upto - wrong)[:, matrix.first[:-1]][:, read]
    right = upto[:, matrix.first[1:] - 1][:, read] - upto[:, i]
    gain = (left + right).min(axis=0) - (left + right[::-1]).min(axis=0)
    change = np.zeros(matrix.columns + 1, np.int64)
    np.add.at(change, matrix.column[i], gain)
    np.add.at(change, matrix.column[i + 1], -gain)
    return change.cumsum()[: matrix.columns - 1]


def best_cuts(gain: np.ndarray) -> list[int]:
    """Of each row of neighbouring columns with a gain the best."""
    good = np.flatnonzero(gain > 0)
    rows = np.split(good, np.flatnonzero(np.diff(good) > 1) + 1)
    return [int(row[gain[row].argmax()]) for row in rows]


def switched(haplotypes: np.ndarray, cuts: list[int]) -> np.ndarray:
    """The haplotypes with changed places behind each of these columns."""
    turn = np.zeros(haplotypes.shape[1], np.int64)
    turn[np.array(cuts) + 1] = 1
    return np.where(turn.cumsum() % 2 == 1, haplotypes[::-1], haplotypes)
