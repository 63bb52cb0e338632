"""The certificate, block by block, that heuristic haplotypes are the only optimum, and the optimum of all reads."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from clair3.phasing.read_reduction.blocks import BlockDecomposition
from clair3.phasing.read_reduction.fallback import UncertainBlockSolver
from clair3.phasing.read_reduction.heuristic import find_haplotypes
from clair3.phasing.read_reduction.matrix import (
    EQUAL,
    AlleleMatrix,
    PhasingProblem,
    count_bipartitions,
    solve_all_reads,
    solve_reads,
)

MAX_DIRECT_BIPARTITIONS = 300_000
"""Work (count_bipartitions) up to which the solver is as fast as a certificate: some 30 ms."""

SUPPORT_STEPS = (2, 4, 100)
"""Error-free reads of each haplotype that a certificate takes at least; more where fewer left blocks uncertain, in the
end all that are informative."""

COST_SCALE = 64
"""Factor of the costs in a certificate, from which a discount of 1 is taken. With a larger one fewer blocks are
uncertain for no reason; none is ever certified for no reason (find_supporting_entries)."""

MAX_WORK_SHARE = 1 / 4
"""Largest work of a certificate, in shares of the work for the whole, for which it is tried."""

MAX_MERGES = 3
"""Times that uncertain blocks are merged with their neighbours, where the haplotypes are no optimum of them alone."""

MAX_COST = 1 << 30
"""Largest cost in a certificate. The solver adds up in 32 bits, in between also the cost of all reads over a SNP."""


def find_optimum(problem: PhasingProblem) -> np.ndarray:
    """Return the haplotypes that the solver finds for all reads, (2, m) int64: 0, 1 or EQUAL.

    Connected components of much work are certified, if possible; all others are solved at once.
    """
    matrix = problem.matrix
    optimum = np.empty((2, matrix.columns), np.int64)
    is_direct = np.ones(matrix.reads, bool)
    for reads, columns in iter_components(matrix):
        if count_bipartitions(matrix.low[reads], matrix.high[reads]) > MAX_DIRECT_BIPARTITIONS:
            is_direct[reads] = False
            component = problem.select_reads(reads)
            certified = find_certified_optimum(component)
            optimum[:, columns] = solve_all_reads(component) if certified is None else certified
    if is_direct.any():
        columns, alleles, _ = solve_reads(problem, np.flatnonzero(is_direct))
        optimum[:, columns] = alleles
    return optimum


def iter_components(matrix: AlleleMatrix) -> Iterator[tuple[slice, slice]]:
    """Yield the reads and columns of each connected component: no read leaves its columns."""
    reach = np.maximum.accumulate(matrix.high)
    edges = np.r_[0, np.flatnonzero(matrix.low[1:] > reach[:-1]) + 1, matrix.reads].tolist()
    for start, end in pairwise(edges):
        yield slice(start, end), slice(int(matrix.low[start]), int(reach[end - 1]) + 1)


def find_certified_optimum(problem: PhasingProblem) -> np.ndarray | None:
    """Return the optimum of a connected component, (2, m); None where that is no less work than to solve the whole."""
    matrix = problem.matrix
    haplotypes = find_haplotypes(matrix)
    if COST_SCALE * matrix.total_cost(haplotypes) > MAX_COST:
        return None
    edges = None
    for _ in range(MAX_MERGES + 1):
        decomposition = BlockDecomposition(matrix, haplotypes, edges)
        uncertain = np.ones(len(decomposition.edges) - 1, bool)
        for support in SUPPORT_STEPS:
            selected = select_fragments(decomposition, support, uncertain)
            if not len(selected):
                break
            if uncertain.all() and not is_worthwhile(decomposition, selected):
                return None
            uncertain &= find_uncertain_blocks(problem, decomposition, selected)
            if not uncertain.any():
                break
        if not uncertain.any() or is_optimal(problem, decomposition, uncertain):
            return UncertainBlockSolver(problem, decomposition, ~uncertain).run()
        is_merged = np.r_[False, uncertain[1:] | uncertain[:-1], False]
        edges = decomposition.edges[~is_merged]
        if len(edges) == len(decomposition.edges):
            break
    return None


def select_fragments(decomposition: BlockDecomposition, support: int, blocks: np.ndarray) -> np.ndarray:
    """Return the indices of the fragments for a certificate of these blocks, (b,) bool.

    These are all fragments that cost something, and so many of the others that each haplotype has `support` of them
    over each column, the largest first.
    """
    fragments, haplotype = decomposition.fragments, decomposition.haplotype
    low, high, informative = decomposition.low, decomposition.high, decomposition.is_informative
    in_blocks = blocks[decomposition.block]
    costly = in_blocks & (decomposition.costs.min(axis=0) > 0)
    coverage = np.zeros((2, decomposition.matrix.columns), np.int64)
    for f in np.flatnonzero(costly & informative).tolist():
        coverage[haplotype[f], low[f] : high[f] + 1] += 1
    selected = costly.copy()
    others = np.flatnonzero(in_blocks & ~costly & informative & (fragments.size > 1))
    for f in others[np.argsort(-fragments.size[others], kind="stable")].tolist():
        covered = coverage[haplotype[f], low[f] : high[f] + 1]
        if covered.min() < support:
            covered += 1
            selected[f] = True
    return np.flatnonzero(selected)


def is_worthwhile(decomposition: BlockDecomposition, selected: np.ndarray) -> bool:
    """Return whether a certificate with these fragments is much less work than to solve the whole."""
    work = count_bipartitions(decomposition.low[selected], decomposition.high[selected])
    return work <= MAX_WORK_SHARE * count_bipartitions(decomposition.matrix.low, decomposition.matrix.high)


def find_uncertain_blocks(
    problem: PhasingProblem, decomposition: BlockDecomposition, selected: np.ndarray
) -> np.ndarray:
    """Return the blocks whose haplotypes are not certified to be the only optimum, up to their order: (b,) bool.

    selected  indices of the fragments that the certificate takes (select_fragments)
    """
    supporting = find_supporting_entries(decomposition)
    uncertain = find_improvable_blocks(problem, decomposition, selected, supporting)
    uncertain[decomposition.block_of_column[find_unlinked_columns(decomposition, supporting)]] = True
    unlinked = np.flatnonzero(~decomposition.is_linked)
    uncertain[unlinked] = uncertain[unlinked + 1] = True
    return uncertain


def find_supporting_entries(decomposition: BlockDecomposition) -> np.ndarray:
    """Return the entries that get the discount, (k,) bool: they agree with the haplotype of their fragment.

    Only fragments count that stay on their haplotype when each such entry costs one less on the other. So the cost of
    the haplotypes is known: COST_SCALE times as much as before, and 1 for each genotype.
    """
    matrix, size = decomposition.matrix, decomposition.fragments.size
    is_clear = COST_SCALE * np.abs(decomposition.costs[0] - decomposition.costs[1]) > size
    fragment = np.repeat(np.arange(len(size)), size)
    expected = decomposition.haplotypes[decomposition.haplotype[fragment], matrix.column]
    return (matrix.allele == expected) & is_clear[fragment]


def find_improvable_blocks(
    problem: PhasingProblem, decomposition: BlockDecomposition, selected: np.ndarray, supporting: np.ndarray
) -> np.ndarray:
    """Return the blocks, (b,) bool, where other haplotypes cost less with the discount, or some columns have no read.

    The selected fragments pay less where they contradict a supporting entry, (k,) bool, and columns pay less for
    another genotype than that of the haplotypes.
    """
    matrix, haplotypes = decomposition.matrix, decomposition.haplotypes
    cost = COST_SCALE * matrix.cost - supporting
    genotype_costs = COST_SCALE * matrix.genotype_costs()
    genotype_costs[np.arange(matrix.columns), haplotypes.sum(axis=0)] += 1  # that is 1 less for the others
    fragments, block = decomposition.fragments.select(selected), decomposition.block[selected]
    columns, alleles, _ = problem.solve(fragments, cost, genotype_costs)
    others, is_open = haplotypes.copy(), np.ones(matrix.columns, bool)
    others[:, columns], is_open[columns] = alleles, (alleles == EQUAL).any(axis=0)
    others[others == EQUAL] = 0

    def block_costs(alleles: np.ndarray) -> np.ndarray:
        at = fragments.entries
        entry_costs = cost[at] * (matrix.allele[at] != alleles[:, matrix.column[at]])
        total = np.add.reduceat(
            genotype_costs[np.arange(matrix.columns), alleles.sum(axis=0)], decomposition.edges[:-1]
        )
        np.add.at(total, block, np.add.reduceat(entry_costs, fragments.first, axis=1).min(axis=0))
        return total

    improvable = block_costs(others) < block_costs(haplotypes)
    improvable[decomposition.block_of_column[is_open]] = True
    return improvable


def find_unlinked_columns(decomposition: BlockDecomposition, supporting: np.ndarray) -> np.ndarray:
    """Return the heterozygous columns that no read links to the one before in their block.

    supporting  (k,) bool  entries that link, see find_supporting_entries
    """
    matrix = decomposition.matrix
    heterozygous = decomposition.haplotypes[0] != decomposition.haplotypes[1]
    number = heterozygous.cumsum() - 1
    at = np.flatnonzero(supporting & heterozygous[matrix.column])
    column, read = number[matrix.column[at]], matrix.read[at]
    linked = np.zeros(int(heterozygous.sum()), bool)
    linked[column[1:][(np.diff(column) == 1) & (np.diff(read) == 0)]] = True
    columns = np.flatnonzero(heterozygous)
    linked[np.flatnonzero(np.diff(decomposition.block_of_column[columns], prepend=-1))] = True  # first of a block
    return columns[~linked]


def is_optimal(problem: PhasingProblem, decomposition: BlockDecomposition, blocks: np.ndarray) -> bool:
    """Return whether the haplotypes are an optimum of each of these blocks, (b,) bool."""
    matrix = decomposition.matrix
    fragments = decomposition.fragments.select(np.flatnonzero(blocks[decomposition.block]))
    columns, _, cost = problem.solve(fragments, matrix.cost, matrix.genotype_costs())
    shows_all = len(columns) == np.diff(decomposition.edges)[blocks].sum()
    return bool(shows_all and cost == decomposition.block_cost[blocks].sum())
