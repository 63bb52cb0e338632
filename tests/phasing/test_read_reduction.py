"""Read reduction: the optimum is always that of all reads, whatever haplotypes the heuristic gives."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from whatshap.core import Read, ReadSet

from clair3.phasing.read_reduction import blocks, certificate, fallback, find_optimum
from clair3.phasing.read_reduction.certificate import iter_components
from clair3.phasing.read_reduction.heuristic import (
    apply_switches,
    best_switches,
    find_haplotypes,
    link_by_votes,
    refine,
    switch_gains,
)
from clair3.phasing.read_reduction.matrix import (
    EQUAL,
    AlleleMatrix,
    ReadFragments,
    count_bipartitions,
    solve_all_reads,
)
from clair3.phasing.whatshap_reads import ALLELE_QUALITY, GENOTYPE_QUALITY, SelectedReads

COVERAGE = (4, 7, 10)


def matrix_of(*rows: str) -> AlleleMatrix:
    """A read is a row; letters at the columns: 0 and 1 alleles, anything else nothing."""
    shown = [[(c, int(letter)) for c, letter in enumerate(row) if letter in "01"] for row in rows]
    column, allele = np.array([pair for read in shown for pair in read]).T
    first = np.cumsum([0, *map(len, shown)])
    return AlleleMatrix(first, column, allele, np.full(len(column), ALLELE_QUALITY), GENOTYPE_QUALITY)


def problem_of(rows: list[str]) -> SelectedReads:
    """Reads in the order of the solver, which begins with their first columns and takes others as its hash has them."""
    reads = ReadSet()
    for number, row in enumerate(rows):
        read = Read(str(number), 60, 0, 0, 0)
        for column, letter in enumerate(row):
            if letter in "01":
                read.add_variant(10 * column, int(letter), ALLELE_QUALITY)
        reads.add(read)
    reads.sort()
    names = [read.name for read in reads]
    matrix = matrix_of(*(rows[int(name)] for name in names))
    return SelectedReads(matrix, [(name, 60, 0) for name in names], list(range(0, 10 * matrix.columns, 10)))


def random_problem(rng: np.random.Generator) -> SelectedReads | None:
    """Reads of two haplotypes that err, miss columns, and show columns of which nothing is true."""
    columns, length, most = int(rng.integers(4, 60)), int(rng.integers(2, 18)), int(rng.choice(COVERAGE))
    error, missing = rng.choice([0, 0.005, 0.02, 0.05, 0.15, 0.4]), rng.choice([0, 0.05, 0.3])
    truth = rng.integers(0, 2, columns)
    truth = np.stack([truth, np.where(rng.random(columns) < rng.choice([0.8, 1, 1]), 1 - truth, truth)])
    noise = rng.random(columns) < rng.choice([0, 0.05, 0.2])
    cover, rows = np.zeros(columns, int), []
    for start in np.sort(rng.integers(-2, columns, int(rng.integers(2, 4 * columns)))).tolist():
        where = np.arange(max(start, 0), min(start + max(2, int(rng.normal(length, length / 2))), columns))
        where = where[rng.random(len(where)) >= missing]
        if len(where) < 2 or cover[where[0] : where[-1] + 1].max() >= most:
            continue
        cover[where[0] : where[-1] + 1] += 1
        wrong = (rng.random(len(where)) < error) | (noise[where] & (rng.random(len(where)) < 0.5))
        row = np.full(columns, ".")
        row[where] = (truth[rng.integers(0, 2), where] ^ wrong).astype(str)
        rows.append("".join(row))
    shown = np.array([list(row) for row in rows])
    return problem_of([*map("".join, shown[:, (shown != ".").any(axis=0)])]) if rows else None


@dataclass(eq=False)
class CountingProblem:
    """A problem that counts the work of the solver."""

    problem: SelectedReads
    work: list[float] = field(default_factory=list)

    @property
    def matrix(self) -> AlleleMatrix:
        return self.problem.matrix

    def select_reads(self, reads: slice) -> "CountingProblem":
        return CountingProblem(self.problem.select_reads(reads), self.work)

    def solve(self, fragments, cost, genotype_costs):
        self.work.append(count_bipartitions(self.matrix.column[fragments.begin], self.matrix.column[fragments.end - 1]))
        return self.problem.solve(fragments, cost, genotype_costs)


def clean_rows(columns: int, length: int, depth: int, seed: int) -> list[str]:
    """Reads without errors of two opposite haplotypes, `depth` over a column but at the ends."""
    rng = np.random.default_rng(seed)
    truth, rows = rng.integers(0, 2, columns), []
    for start in np.arange(0, columns - length + 0.5, length / depth).astype(int).tolist():
        row = np.full(columns, ".")
        row[start : start + length] = (truth[start : start + length] ^ rng.integers(0, 2)).astype(str)
        rows.append("".join(row))
    return rows


# --- the heuristic -----------------------------------------------------------------------------------------------


def test_costs_of_haplotypes():
    matrix = matrix_of("01.", "110", ".01")
    haplotypes = np.array([[0, 1, 0], [1, 0, 0]])
    assert matrix.low.tolist() == [0, 0, 1] and matrix.high.tolist() == [1, 2, 2]
    assert matrix.read_costs(haplotypes).tolist() == [[0, 30, 60], [60, 30, 30]]
    assert matrix.total_cost(haplotypes) == 0 + 30 + 30 + GENOTYPE_QUALITY


def test_votes_of_neighbours():
    votes = link_by_votes(matrix_of("0110", "0110", "1001", "01..", ".00."))
    assert votes.tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]


def test_a_switch():
    """Two long reads against three votes of short ones."""
    matrix = matrix_of("000000", "111111", "..00..", "..01..", "..10..", "..01..", "..11..")
    wrong = np.array([[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    gain = switch_gains(matrix, wrong)
    assert best_switches(gain) == [2]
    right = apply_switches(wrong, [2])
    assert matrix.total_cost(wrong) - matrix.total_cost(right) == gain[2] > 0
    assert (find_haplotypes(matrix)[0] == right[0]).all() or (find_haplotypes(matrix)[0] == right[1]).all()


@pytest.mark.parametrize("seed", range(40))
def test_refining_never_costs_more(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng)
    if problem is None:
        return
    matrix = problem.matrix
    start = rng.integers(0, 2, (2, matrix.columns))
    assert matrix.total_cost(refine(matrix, start)) <= matrix.total_cost(start)
    gain = switch_gains(matrix, start)
    for cut in range(matrix.columns - 1):
        assert gain[cut] == matrix.total_cost(start) - matrix.total_cost(apply_switches(start, [cut]))
    least = problem.solve(*whole(problem))[2]
    assert matrix.total_cost(find_haplotypes(matrix)) >= least


def whole(problem: SelectedReads):
    matrix = problem.matrix
    fragments = ReadFragments(np.arange(matrix.reads), matrix.first[:-1], matrix.first[1:])
    return fragments, matrix.cost, matrix.genotype_costs()


# --- the optimum -------------------------------------------------------------------------------------------------


def compare(monkeypatch, seeds: range, odd: bool = False) -> tuple[int, int]:
    """The optimum of random reads both ways; how many were certified, and how many have SNPs with equal alleles.

    odd: errors cost little and not the same, and the heuristic gives an optimum, but among equals another one.
    """
    monkeypatch.setattr(certificate, "MAX_DIRECT_BIPARTITIONS", -1)
    monkeypatch.setattr(certificate, "MAX_WORK_SHARE", 1e9)
    monkeypatch.setattr(fallback, "MAX_SOLVED_SHARE", 1e9)
    results, find = [], certificate.find_certified_optimum
    monkeypatch.setattr(
        certificate, "find_certified_optimum", lambda problem: results.append(find(problem)) or results[-1]
    )
    equal = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        monkeypatch.setattr(blocks, "MIN_BLOCK", int(rng.choice([2, 3, 4, 6, 10])))
        monkeypatch.setattr(certificate, "SUPPORT_STEPS", [(1, 100), (2, 4, 100), (3,), (100,)][seed % 4])
        problem = random_problem(rng)
        if problem is None:
            continue
        if odd:
            monkeypatch.setattr(certificate, "COST_SCALE", 2)
            problem = replace(
                problem, matrix=replace(problem.matrix, cost=rng.integers(1, 3, len(problem.matrix.cost)))
            )
            monkeypatch.setattr(certificate, "find_haplotypes", another_optimum)
        expected = solve_all_reads(problem)
        assert (find_optimum(problem) == expected).all(), f"seed {seed}"
        equal += bool((expected == EQUAL).any())
    return sum(one is not None for one in results), equal


def another_optimum(matrix: AlleleMatrix) -> np.ndarray:
    """Return the optimum of the reads under other names, by which the solver chooses among equals."""
    reads = [(f"read {number}", 60, 0) for number in range(matrix.reads)]
    found = solve_all_reads(SelectedReads(matrix, reads, list(range(0, 10 * matrix.columns, 10))))
    one = np.where(found[0] == EQUAL, np.where(found[1] == EQUAL, 0, 1 - found[1]), found[0])
    return np.stack([one, np.where(found[1] == EQUAL, 1 - one, found[1])])


def test_the_optimum_is_that_of_all_reads(monkeypatch):
    certified, equal = compare(monkeypatch, range(200))
    assert certified > 100 and equal > 50


def test_other_costs_and_another_optimum_of_the_heuristic(monkeypatch):
    certified, equal = compare(monkeypatch, range(200, 400), odd=True)
    assert certified > 100 and equal > 50


@pytest.mark.slow
@pytest.mark.parametrize("odd", [False, True])
def test_more_optima(monkeypatch, odd):
    compare(monkeypatch, range(1000, 1500), odd)


def test_a_discount_does_not_turn_reads(monkeypatch):
    """The first read has five wrong entries and six right ones: a discount for each would put it on the other side."""
    monkeypatch.setattr(certificate, "COST_SCALE", 2)
    matrix = problem_of(["00000011111", "11111111111", "01111111111"]).matrix
    matrix = replace(matrix, cost=np.ones_like(matrix.cost))
    haplotypes = np.array([[0] * 11, [1] * 11])
    right = certificate.find_supporting_entries(blocks.BlockDecomposition(matrix, haplotypes, np.array([0, 11])))
    assert right.sum() == 11 + 10
    cost = (2 * matrix.cost - right) * (matrix.allele != haplotypes[:, matrix.column])
    scaled = np.add.reduceat(cost, matrix.first[:-1], axis=1).min(axis=0)
    assert (scaled == 2 * matrix.read_costs(haplotypes).min(axis=0)).all()


def test_a_certificate_is_little_work():
    problem = CountingProblem(problem_of(clean_rows(columns=310, length=22, depth=11, seed=1)))
    found = find_optimum(problem)
    work = sum(problem.work)
    assert (found == solve_all_reads(problem.problem)).all()
    assert work < count_bipartitions(problem.matrix.low, problem.matrix.high) / 50


def test_a_tie_is_left_to_the_solver():
    """A SNP of which the reads show either allele on both haplotypes: its context, not the whole, is solved."""
    rows = [list(row) for row in clean_rows(columns=309, length=22, depth=11, seed=2)]
    for side in "01":
        members = [row for row in rows if row[149] == side and row[150] != "."]
        assert len(members) > 1
        for number, row in enumerate(members):
            row[150] = "." if number == len(members) // 2 * 2 else str(number % 2)
    for row in rows:
        if row[149] == ".":
            row[150] = "."
    problem = CountingProblem(problem_of([*map("".join, rows)]))
    found = find_optimum(problem)
    assert (found == solve_all_reads(problem.problem)).all() and EQUAL in found[:, 150]
    assert sum(problem.work) < count_bipartitions(problem.matrix.low, problem.matrix.high) / 2


WRONG = {
    "an allele": lambda found: np.where(np.arange(found.shape[1]) == 100, found[::-1], found),
    "a switch": lambda found: apply_switches(found, [149]),
    "a genotype": lambda found: np.where(np.arange(found.shape[1]) == 40, 1, found),
    "everything": lambda found: np.zeros_like(found),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_heuristic_is_not_certified(monkeypatch, name):
    monkeypatch.setattr(certificate, "find_haplotypes", lambda matrix: WRONG[name](find_haplotypes(matrix)))
    problem = problem_of(clean_rows(columns=200, length=20, depth=11, seed=3))
    expected = solve_all_reads(problem)
    assert (certificate.find_haplotypes(problem.matrix) != expected).any() and (
        certificate.find_haplotypes(problem.matrix)[::-1] != expected
    ).any()
    assert (find_optimum(problem) == expected).all()


def test_connected_components():
    problem = problem_of(["01....", ".10...", "...01.", "...1.1"])
    matrix = problem.matrix
    assert list(iter_components(matrix)) == [(slice(0, 2), slice(0, 3)), (slice(2, 4), slice(3, 6))]
    part = problem.select_reads(slice(2, 4))
    assert sorted(part.matrix.column.tolist()) == [0, 0, 1, 2] and part.pos == [30, 40, 50]
    assert count_bipartitions(matrix.low, matrix.high) == 2 + 4 + 2 + 4 + 4 + 2
