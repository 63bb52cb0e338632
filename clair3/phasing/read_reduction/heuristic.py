"""Heuristic haplotypes of low wMEC cost: neighbouring SNPs linked by votes of reads, then local search.

They need not be an optimum: the certificate finds out (clair3.phasing.read_reduction.certificate).
"""

import numpy as np

from clair3.phasing.read_reduction.matrix import AlleleMatrix

MAX_ROUNDS = 30
"""Rounds of each local search."""

GENOTYPES = ((0, 1), (1, 0), (0, 0), (1, 1))
"""Alleles of the two haplotypes, the cheapest genotype first."""


def find_haplotypes(matrix: AlleleMatrix) -> np.ndarray:
    """Return haplotypes, (2, m) int64, that no switch at one or several columns makes cheaper."""
    haplotypes = refine(matrix, link_by_votes(matrix))
    for _ in range(MAX_ROUNDS):
        gain = switch_gains(matrix, haplotypes)
        if not (gain > 0).any():
            break
        cheaper = refine(matrix, apply_switches(haplotypes, best_switches(gain)))
        if matrix.total_cost(cheaper) >= matrix.total_cost(haplotypes):
            cheaper = refine(matrix, apply_switches(haplotypes, [int(gain.argmax())]))
            if matrix.total_cost(cheaper) >= matrix.total_cost(haplotypes):
                break
        haplotypes = cheaper
    return haplotypes


def link_by_votes(matrix: AlleleMatrix) -> np.ndarray:
    """Return haplotypes of opposite alleles, (2, m) int64: reads over two neighbouring SNPs vote for the link."""
    i = np.flatnonzero((np.diff(matrix.read) == 0) & (np.diff(matrix.column) == 1))
    vote = np.where(matrix.allele[i] == matrix.allele[i + 1], matrix.cost[i], -matrix.cost[i])
    differs = np.bincount(matrix.column[i], vote, matrix.columns)[: matrix.columns - 1] < 0
    first = np.r_[0, np.cumsum(differs) % 2]
    return np.stack([first, 1 - first])


def refine(matrix: AlleleMatrix, haplotypes: np.ndarray) -> np.ndarray:
    """Assign reads to the nearer haplotype, give each SNP its cheapest alleles, and repeat until nothing changes.

    haplotypes (2, m) int64, as is the result. The cost never rises.
    """
    for _ in range(MAX_ROUNDS):
        read_costs = matrix.read_costs(haplotypes)
        on_second = (read_costs[1] < read_costs[0])[matrix.read]
        column_cost = np.empty((2, 2, matrix.columns))  # by haplotype and its allele
        for haplotype in (0, 1):
            for allele in (0, 1):
                cost = matrix.cost * ((on_second == haplotype) & (matrix.allele != allele))
                column_cost[haplotype, allele] = np.bincount(matrix.column, cost, matrix.columns)
        choices = np.array([column_cost[0, a] + column_cost[1, b] + matrix.genotype_cost * (a == b)
                            for a, b in GENOTYPES])  # fmt: skip
        current = np.take_along_axis(column_cost, haplotypes[:, None], axis=1)[:, 0].sum(axis=0)
        current += matrix.genotype_cost * (haplotypes[0] == haplotypes[1])
        refined = np.where(choices.min(axis=0) < current, np.array(GENOTYPES)[choices.argmin(axis=0)].T, haplotypes)
        if (refined == haplotypes).all():
            break
        haplotypes = refined
    return haplotypes


def switch_gains(matrix: AlleleMatrix, haplotypes: np.ndarray) -> np.ndarray:
    """Return by how much the cost falls when the haplotypes are swapped behind each column j: (m - 1,) int64."""
    cost = matrix.entry_costs(haplotypes)
    cumulative = np.cumsum(cost, axis=1)
    i = np.flatnonzero(np.diff(matrix.read) == 0)  # entries with another entry of their read behind them
    read = matrix.read[i]
    left = cumulative[:, i] - (cumulative - cost)[:, matrix.first[:-1]][:, read]
    right = cumulative[:, matrix.first[1:] - 1][:, read] - cumulative[:, i]
    gain = (left + right).min(axis=0) - (left + right[::-1]).min(axis=0)
    change = np.zeros(matrix.columns + 1, np.int64)
    np.add.at(change, matrix.column[i], gain)
    np.add.at(change, matrix.column[i + 1], -gain)
    return change.cumsum()[: matrix.columns - 1]


def best_switches(gain: np.ndarray) -> list[int]:
    """Return the column with the largest gain in each run of neighbouring columns with a gain."""
    positive = np.flatnonzero(gain > 0)
    runs = np.split(positive, np.flatnonzero(np.diff(positive) > 1) + 1)
    return [int(run[gain[run].argmax()]) for run in runs]


def apply_switches(haplotypes: np.ndarray, columns: list[int]) -> np.ndarray:
    """Return the haplotypes, (2, m), swapped behind each of these columns."""
    switch = np.zeros(haplotypes.shape[1], np.int64)
    switch[np.array(columns) + 1] = 1
    return np.where(switch.cumsum() % 2 == 1, haplotypes[::-1], haplotypes)
