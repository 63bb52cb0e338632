"""WhatsHap's read selection and solver, on alleles from the C core. It imports WhatsHap, so only workers import it.

It gives the haplotypes of the command `whatshap phase --distrust-genotypes --ignore-read-groups --reference FASTA`
(spec/calling.md 7.2).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from whatshap.core import Genotype, NumericSampleIds, Pedigree, PedigreeDPTable, PhredGenotypeLikelihoods, Read, ReadSet
from whatshap.graph import ComponentFinder
from whatshap.pedigree import UniformRecombinationCostComputer
from whatshap.readselect import readselection

from clair3.core.phasing import PhaseAlleles
from clair3.phasing.read_reduction import AlleleMatrix, ReadFragments, find_optimum

COVERAGE, ALLELE_QUALITY, GENOTYPE_QUALITY, RECOMBINATION_RATE = 15, 30, 30, 1.26
"""The command's defaults: coverage after read selection, cost of an allele, cost of changing a genotype, cM/Mb."""

MAX_ALIGNMENTS = 2
"""Alignments of one read name; WhatsHap leaves out names that have more."""


def iter_templates(alleles: PhaseAlleles) -> Iterator[tuple[str, int, int, list[tuple[int, int]]]]:
    """Yield name, MAPQ, start and (SNP, allele) pairs of each template, by the rules of WhatsHap.

    Two alignments of one name are one template. It has the alleles that only one of them shows or both agree in, the
    start of the first and the MAPQ of the second.
    """
    groups: dict[str, list[int]] = {}
    for r, name in enumerate(alleles.names):
        groups.setdefault(name, []).append(r)
    first, snp, allele = alleles.first.tolist(), alleles.snp.tolist(), alleles.allele.tolist()
    for name, members in groups.items():
        if len(members) > MAX_ALIGNMENTS:
            continue
        shown, differing = {}, set()
        for r in members:
            for k in range(first[r], first[r + 1]):
                if shown.setdefault(snp[k], allele[k]) != allele[k]:
                    differing.add(snp[k])
        pairs = sorted(pair for pair in shown.items() if pair[0] not in differing)
        yield name, int(alleles.mapq[members[-1]]), int(alleles.pos[members].min()), pairs


@dataclass(frozen=True, eq=False)
class SelectedReads:
    """Selected reads in the order of the solver, and the solver for them (read_reduction.matrix.PhasingProblem).

    reads  name, MAPQ and start of each read
    pos    (m,) 0-based positions of the columns of the matrix
    """

    matrix: AlleleMatrix
    reads: Sequence[tuple[str, int, int]]
    pos: Sequence[int]

    def select_reads(self, reads: slice) -> "SelectedReads":
        """Return these reads, and the columns that they show."""
        whole = self.matrix
        first = whole.first[reads.start : reads.stop + 1]
        entries = slice(first[0], first[-1])
        low, high = int(whole.column[entries].min()), int(whole.column[entries].max())
        shown = (whole.column[entries] - low, whole.allele[entries], whole.cost[entries], whole.genotype_cost)
        return SelectedReads(AlleleMatrix(first - first[0], *shown), self.reads[reads], self.pos[low : high + 1])

    def solve(
        self, fragments: ReadFragments, cost: np.ndarray, genotype_costs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Solve for fragments of the reads, see PhasingProblem.solve; a fragment is a read of its own."""
        reads, has_cut_reads = ReadSet(), len(np.unique(fragments.read)) < len(fragments.read)
        at = fragments.entries
        entries = zip(self.matrix.column[at].tolist(), self.matrix.allele[at].tolist(), cost[at].tolist(), strict=True)
        for number, (r, size) in enumerate(zip(fragments.read.tolist(), fragments.size.tolist(), strict=True)):
            name, mapq, start = self.reads[r]
            read = Read(str(number) if has_cut_reads else name, mapq, 0, 0, start)
            for column, allele, weight in islice(entries, size):
                read.add_variant(self.pos[column], allele, weight)
            reads.add(read)
        reads.sort()
        columns = np.unique(self.matrix.column[at])
        positions = [self.pos[column] for column in columns.tolist()]
        return columns, *solve_haplotypes(reads, positions, genotype_costs[columns].tolist())


def solve_haplotypes(reads: ReadSet, positions: list[int], genotype_costs: list[list[int]]) -> tuple[np.ndarray, int]:
    """Return WhatsHap's two haplotypes at the positions that the reads show, (2, n) int64, and their wMEC cost."""
    pedigree = Pedigree(NumericSampleIds())
    pedigree.add_individual(
        "sample", [Genotype([0, 1])] * len(positions), [*map(PhredGenotypeLikelihoods, genotype_costs)]
    )
    costs = UniformRecombinationCostComputer(RECOMBINATION_RATE).compute(positions)
    table = PedigreeDPTable(reads, costs, pedigree, True, positions)
    (haplotypes,), _ = table.get_super_reads()
    return np.array([[variant.allele for variant in one] for one in haplotypes], np.int64), table.get_optimal_cost()


def select_reads(alleles: PhaseAlleles, pos: np.ndarray) -> SelectedReads:
    """Select the reads for the solver as WhatsHap does; pos (n,) int64 are the 0-based positions of all SNPs."""
    positions, templates, reads = pos.tolist(), {}, ReadSet()
    for name, mapq, start, pairs in iter_templates(alleles):
        if len(pairs) < 2:
            continue  # is uninformative about phase
        templates[name] = mapq, start, pairs
        read = Read(name, mapq, 0, 0, start)
        for snp, allele in pairs:
            read.add_variant(positions[snp], allele, ALLELE_QUALITY)
        reads.add(read)
    reads.sort()
    reads = reads.subset(readselection(reads, COVERAGE, set()))
    reads.sort()
    selected = [(read.name, *templates[read.name]) for read in reads]
    shown = np.array([pair for *_, pairs in selected for pair in pairs], np.int64).reshape(-1, 2)
    covered, column = np.unique(shown[:, 0], return_inverse=True)
    first = np.cumsum([0, *(len(pairs) for *_, pairs in selected)])
    matrix = AlleleMatrix(first, column, shown[:, 1], np.full(len(shown), ALLELE_QUALITY), GENOTYPE_QUALITY)
    return SelectedReads(matrix, [(name, mapq, start) for name, mapq, start, _ in selected], pos[covered].tolist())


def phase_reads(alleles: PhaseAlleles, pos: np.ndarray) -> tuple[list[Read], dict[int, int]]:
    """Return WhatsHap's two haplotypes ("superreads"), and the phase set of each position that a selected read covers.

    A phase set is named by its first position. pos (n,) int64 are the 0-based positions of all SNPs.
    """
    selected = select_reads(alleles, pos)
    positions, matrix = selected.pos, selected.matrix
    optimum = find_optimum(selected) if positions else np.empty((2, 0), np.int64)
    superreads = [Read(f"haplotype {number}", 0, 0, 0) for number in (1, 2)]
    for superread, row in zip(superreads, optimum.tolist(), strict=True):
        for position, allele in zip(positions, row, strict=True):
            superread.add_variant(position, allele, 0)
    heterozygous = (optimum == 0).any(axis=0) & (optimum == 1).any(axis=0)
    phase_sets = ComponentFinder(positions)
    for columns in np.split(matrix.column, matrix.first[1:-1]) if positions else []:
        linked = [positions[column] for column in columns[heterozygous[columns]].tolist()]
        for other in linked[1:]:
            phase_sets.merge(linked[0], other)
    return superreads, {position: phase_sets.find(position) for position in positions}
