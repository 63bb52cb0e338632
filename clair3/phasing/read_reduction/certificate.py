"""The proof: what is chosen for it, what the solver is asked, and what its answer leaves in doubt."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from clair3.phasing.read_reduction.blocks import CutReads, Settling
from clair3.phasing.read_reduction.matrix import (
    EQUAL,
    AlleleMatrix,
    Problem,
    guess,
    plain_genotypes,
    solve_all,
    solve_reads,
    states,
)

EASY = 300_000
"""States (2 to the power of the reads, summed over SNPs) up to which the solver is as fast as a proof: some 30 ms."""

SUPPORTS = (2, 4, 100)
"""Reads without errors of each haplotype that a proof takes at least; more where fewer left doubts, in the end all that
say something."""

SCALE = 64
"""Of the costs in a proof, to take 1 off. The larger, the seldomer is a guess doubted for nothing; it is never trusted
for nothing (right_entries)."""

WORTHWHILE = 1 / 4
"""States of a proof, of those of the whole, up to which it is tried."""

WIDENINGS = 3
"""Times that windows are joined with their neighbours, where the haplotypes are no optimum of them alone."""

MOST = 1 << 30
"""Cost of a proof. The solver adds up in 32 bits, on its way some more: what the reads over one SNP cost altogether."""


def optimum(problem: Problem) -> np.ndarray:
    """The haplotypes that the solver finds for all reads, (2, m) int64: 0, 1 or EQUAL."""
    matrix = problem.matrix
    found = np.empty((2, matrix.columns), np.int64)
    easy = np.ones(matrix.reads, bool)
    for reads, columns in connected(matrix):
        if states(matrix.low[reads], matrix.high[reads]) > EASY:
            easy[reads] = False
            part = problem.part(reads)
            proven = prove(part)
            found[:, columns] = solve_all(part) if proven is None else proven
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
            chosen = choose(cut, support, doubtful)
            if not len(chosen):
                break
            if doubtful.all() and not is_worthwhile(cut, chosen):
                return None
            doubtful &= doubts(problem, cut, chosen)
            if not doubtful.any():
                break
        if not doubtful.any() or is_optimal(problem, cut, doubtful):
            return Settling(problem, cut, ~doubtful).run()
        edges = np.r_[False, doubtful[1:] | doubtful[:-1], False]
        cuts = cut.cuts[~edges]
        if len(cuts) == len(cut.cuts):
            break
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
    right = right_entries(cut)
    doubtful = cheaper_windows(problem, cut, chosen, right)
    doubtful[cut.of_column[unlinked(cut, right)]] = True
    apart = np.flatnonzero(~cut.joined)
    doubtful[apart] = doubtful[apart + 1] = True
    return doubtful


def right_entries(cut: CutReads) -> np.ndarray:
    """(k,) bool: entries that agree with the haplotype of their part, of parts that stay on its side when each such
    entry costs one less. So what the haplotypes cost is known: SCALE times as much as before, and 1 for each genotype.
    """
    clear = SCALE * np.abs(cut.distance[0] - cut.distance[1]) > cut.parts.size
    part = np.repeat(np.arange(len(cut.parts.size)), cut.parts.size)
    return (cut.matrix.allele == cut.haplotypes[cut.side[part], cut.matrix.column]) & clear[part]


def cheaper_windows(problem: Problem, cut: CutReads, chosen: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(w,) bool: windows where other haplotypes cost less, when these parts have to pay less for what contradicts the
    right entries, (k,) bool, and columns less for other genotypes; and windows with columns that no part shows."""
    matrix, haplotypes = cut.matrix, cut.haplotypes
    cost = SCALE * matrix.cost - right
    genotypes = SCALE * plain_genotypes(matrix)
    genotypes[np.arange(matrix.columns), haplotypes.sum(axis=0)] += 1  # one less for the others
    kept, window = cut.parts.chosen(chosen), cut.window[chosen]
    columns, alleles, _ = problem.solve(kept, cost, genotypes)
    found, unclear = haplotypes.copy(), np.ones(matrix.columns, bool)
    found[:, columns], unclear[columns] = alleles, (alleles == EQUAL).any(axis=0)
    found[found == EQUAL] = 0

    def costs(alleles: np.ndarray) -> np.ndarray:
        at = kept.entries
        wrong = cost[at] * (matrix.allele[at] != alleles[:, matrix.column[at]])
        paid = np.add.reduceat(genotypes[np.arange(matrix.columns), alleles.sum(axis=0)], cut.cuts[:-1])
        np.add.at(paid, window, np.add.reduceat(wrong, kept.first, axis=1).min(axis=0))
        return paid

    cheaper = costs(found) < costs(haplotypes)
    cheaper[cut.of_column[unclear]] = True
    return cheaper


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
    tied[np.flatnonzero(np.diff(cut.of_column[columns], prepend=-1))] = True  # the first of a window
    return columns[~tied]


def choose(cut: CutReads, support: int, windows: np.ndarray) -> np.ndarray:
    """Parts for a proof in these windows, (w,) bool: all that cost something, and so many others that each haplotype
    has such support."""
    here = windows[cut.window]
    costly = here & (cut.distance.min(axis=0) > 0)
    cover = np.zeros((2, cut.matrix.columns), np.int64)
    for p in np.flatnonzero(costly & cut.strict).tolist():
        cover[cut.side[p], cut.low[p] : cut.high[p] + 1] += 1
    taken = costly.copy()
    others = np.flatnonzero(here & ~costly & cut.strict & (cut.parts.size > 1))
    for p in others[np.argsort(-cut.parts.size[others], kind="stable")].tolist():
        covered = cover[cut.side[p], cut.low[p] : cut.high[p] + 1]
        if covered.min() < support:
            covered += 1
            taken[p] = True
    return np.flatnonzero(taken)
