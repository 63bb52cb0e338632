"""Two haplotypes that reads suggest: a good guess at what the solver would find, in NumPy.

Costs are those of the solver: each read pays for what it shows other than the haplotype it is nearer to, and a SNP of
two equal alleles pays for its genotype.
"""

import numpy as np

from preprocess.phase_proof.matrix import AlleleMatrix

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
