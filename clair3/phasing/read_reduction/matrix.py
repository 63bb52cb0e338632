"""The allele matrix, reads by SNPs, fragments of its reads, and the phasing problem that a solver gets."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

EQUAL = 3
"""What the solver reports in place of an allele when 0 and 1 cost the same."""


@dataclass(frozen=True, eq=False)
class AlleleMatrix:
    """Alleles of n reads at m SNPs, row by row; entries of read r are first[r] .. first[r + 1] of the other arrays.

    first          (n + 1,) int64  reads are sorted by their first column
    column         (k,) int64      SNP, ascending in a read; every SNP is shown by a read
    allele         (k,) int64      0 or 1
    cost           (k,) int64      weight of the entry, paid when the haplotype of its read has the other allele
    genotype_cost  weight of a homozygous SNP
    """

    first: np.ndarray
    column: np.ndarray
    allele: np.ndarray
    cost: np.ndarray
    genotype_cost: int

    @cached_property
    def reads(self) -> int:
        """The number of reads, n."""
        return len(self.first) - 1

    @cached_property
    def columns(self) -> int:
        """The number of SNPs, m."""
        return int(self.column.max()) + 1

    @cached_property
    def read(self) -> np.ndarray:
        """The read of each entry, (k,) int64."""
        return np.repeat(np.arange(self.reads), np.diff(self.first))

    @cached_property
    def low(self) -> np.ndarray:
        """The first column of each read, (n,) int64."""
        return self.column[self.first[:-1]]

    @cached_property
    def high(self) -> np.ndarray:
        """The last column of each read, (n,) int64."""
        return self.column[self.first[1:] - 1]

    def entry_costs(self, haplotypes: np.ndarray) -> np.ndarray:
        """Return what each entry costs on either of the haplotypes, (2, m): (2, k) int64."""
        return self.cost * (self.allele != haplotypes[:, self.column])

    def read_costs(self, haplotypes: np.ndarray) -> np.ndarray:
        """Return what each read costs on either of the haplotypes, (2, m): (2, n) int64."""
        return np.add.reduceat(self.entry_costs(haplotypes), self.first[:-1], axis=1)

    def total_cost(self, haplotypes: np.ndarray) -> int:
        """Return the wMEC cost of haplotypes, (2, m): each read on the nearer one, and the homozygous SNPs."""
        homozygous = self.genotype_cost * int((haplotypes[0] == haplotypes[1]).sum())
        return int(self.read_costs(haplotypes).min(axis=0).sum()) + homozygous

    def genotype_costs(self) -> np.ndarray:
        """Return the cost of 0, 1 and 2 alternative alleles at each SNP, (m, 3) int64."""
        return np.tile([self.genotype_cost, 0, self.genotype_cost], (self.columns, 1))


@dataclass(frozen=True, eq=False)
class ReadFragments:
    """Fragments of reads: entries begin[f] .. end[f] of the matrix, which belong to read[f]; all (f,) int64."""

    read: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    def select(self, which: np.ndarray) -> "ReadFragments":
        """Return the fragments at these indices."""
        return ReadFragments(self.read[which], self.begin[which], self.end[which])

    @cached_property
    def size(self) -> np.ndarray:
        """The number of entries of each fragment."""
        return self.end - self.begin

    @cached_property
    def first(self) -> np.ndarray:
        """The index in `entries` at which each fragment begins."""
        return np.r_[0, self.size.cumsum()[:-1]]

    @cached_property
    def entries(self) -> np.ndarray:
        """The indices in the matrix of the entries of all fragments, in order, int64."""
        return np.arange(self.size.sum()) + np.repeat(self.begin - self.first, self.size)


class PhasingProblem(Protocol):
    """An allele matrix with a solver for its reads (clair3.phasing.whatshap_reads.SelectedReads)."""

    matrix: AlleleMatrix

    def select_reads(self, reads: slice) -> "PhasingProblem":
        """Return the problem of these reads alone, and of the columns that they show."""

    def solve(
        self, fragments: ReadFragments, cost: np.ndarray, genotype_costs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the optimum of these fragments of reads.

        cost            (k,) int64    weight of each entry of the matrix
        genotype_costs  (m, 3) int64  cost of 0, 1 and 2 alternative alleles at each SNP
        returns         (c,) columns that the fragments show, (2, c) int64 alleles, 0, 1 or EQUAL, and the cost
        """


def solve_reads(problem: PhasingProblem, reads: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Solve for whole reads, (n,) int64, with the costs of the matrix; see PhasingProblem.solve."""
    matrix = problem.matrix
    fragments = ReadFragments(reads, matrix.first[reads], matrix.first[reads + 1])
    return problem.solve(fragments, matrix.cost, matrix.genotype_costs())


def solve_all_reads(problem: PhasingProblem) -> np.ndarray:
    """Return the haplotypes that the solver finds for all reads, (2, m) int64: 0, 1 or EQUAL."""
    return solve_reads(problem, np.arange(problem.matrix.reads))[1]


def count_bipartitions(low: np.ndarray, high: np.ndarray) -> float:
    """Return the solver's work: the bipartitions of the reads over a column, 2 to their number, summed over columns.

    low, high  (n,) int64  first and last column of each read
    """
    first, size = int(low.min()), int(high.max()) - int(low.min()) + 2
    begun, ended = np.bincount(low - first, minlength=size), np.bincount(high + 1 - first, minlength=size)
    coverage = np.cumsum(begun - ended)
    return float((2.0 ** coverage[coverage > 0]).sum())
