"""The reads that WhatsHap chooses, and its solver for them. Imports WhatsHap, so only its workers import this.

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
from clair3.phasing.read_reduction import AlleleMatrix, Parts, optimum

COVERAGE, ALLELE_QUALITY, GENOTYPE_QUALITY, RECOMBINATION_RATE = 15, 30, 30, 1.26
"""The command's defaults: reads at a site that the solver sees, cost of an allele and of changing a genotype, cM/Mb."""

MOST_ALIGNMENTS = 2
"""Of one read name; WhatsHap leaves out what has more."""


def iter_templates(alleles: PhaseAlleles) -> Iterator[tuple[str, int, int, list[tuple[int, int]]]]:
    """Name, MAPQ, start and (SNP, allele) pairs of each read name, by the rules of WhatsHap.

    Two alignments of one name are one template: what they agree in or only one shows, at the start of the first with
    the MAPQ of the second.
    """
    groups: dict[str, list[int]] = {}
    for r, name in enumerate(alleles.names):
        groups.setdefault(name, []).append(r)
    first, snp, allele = alleles.first.tolist(), alleles.snp.tolist(), alleles.allele.tolist()
    for name, members in groups.items():
        if len(members) > MOST_ALIGNMENTS:
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
    """Reads that the solver sees, in its order, and the solver for them (phase_proof.Problem).

    reads  name, MAPQ and start of each
    pos    (m,) 0-based positions of the columns of the matrix
    """

    matrix: AlleleMatrix
    reads: Sequence[tuple[str, int, int]]
    pos: Sequence[int]

    def part(self, reads: slice) -> "SelectedReads":
        whole = self.matrix
        first = whole.first[reads.start : reads.stop + 1]
        entries = slice(first[0], first[-1])
        low, high = int(whole.column[entries].min()), int(whole.column[entries].max())
        shown = (whole.column[entries] - low, whole.allele[entries], whole.cost[entries], whole.genotype_cost)
        return SelectedReads(AlleleMatrix(first - first[0], *shown), self.reads[reads], self.pos[low : high + 1])

    def solve(self, parts: Parts, cost: np.ndarray, genotypes: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        reads, several = ReadSet(), len(np.unique(parts.read)) < len(parts.read)
        at = parts.entries
        shown = zip(self.matrix.column[at].tolist(), self.matrix.allele[at].tolist(), cost[at].tolist(), strict=True)
        for number, (r, size) in enumerate(zip(parts.read.tolist(), parts.size.tolist(), strict=True)):
            name, mapq, start = self.reads[r]
            read = Read(str(number) if several else name, mapq, 0, 0, start)
            for column, allele, wrong in islice(shown, size):
                read.add_variant(self.pos[column], allele, wrong)
            reads.add(read)
        reads.sort()
        columns = np.unique(self.matrix.column[at])
        return columns, *solve_haplotypes(reads, [self.pos[c] for c in columns.tolist()], genotypes[columns].tolist())


def solve_haplotypes(reads, positions: list[int], genotypes: list[list[int]]) -> tuple[np.ndarray, int]:
    """WhatsHap's two haplotypes at the positions that its reads show, (2, n) int64, and what they cost."""
    pedigree = Pedigree(NumericSampleIds())
    pedigree.add_individual("sample", [Genotype([0, 1])] * len(positions), [*map(PhredGenotypeLikelihoods, genotypes)])
    costs = UniformRecombinationCostComputer(RECOMBINATION_RATE).compute(positions)
    table = PedigreeDPTable(reads, costs, pedigree, True, positions)
    (haplotypes,), _ = table.get_super_reads()
    return np.array([[variant.allele for variant in one] for one in haplotypes], np.int64), table.get_optimal_cost()


def select(alleles: PhaseAlleles, pos: np.ndarray) -> SelectedReads:
    """The reads that WhatsHap chooses, with their alleles; pos (n,) are the positions of all SNPs."""
    positions, templates, reads = pos.tolist(), {}, ReadSet()
    for name, mapq, start, pairs in iter_templates(alleles):
        if len(pairs) < 2:
            continue  # says nothing about phase
        templates[name] = mapq, start, pairs
        read = Read(name, mapq, 0, 0, start)
        for snp, allele in pairs:
            read.add_variant(positions[snp], allele, ALLELE_QUALITY)
        reads.add(read)
    reads.sort()
    reads = reads.subset(readselection(reads, COVERAGE, set()))
    reads.sort()
    chosen = [(read.name, *templates[read.name]) for read in reads]
    shown = np.array([pair for *_, pairs in chosen for pair in pairs], np.int64).reshape(-1, 2)
    reached, column = np.unique(shown[:, 0], return_inverse=True)
    first = np.cumsum([0, *(len(pairs) for *_, pairs in chosen)])
    matrix = AlleleMatrix(first, column, shown[:, 1], np.full(len(shown), ALLELE_QUALITY), GENOTYPE_QUALITY)
    return SelectedReads(matrix, [(name, mapq, start) for name, mapq, start, _ in chosen], pos[reached].tolist())


def solve(alleles: PhaseAlleles, pos: np.ndarray) -> tuple[list, dict[int, int]]:
    """WhatsHap's two haplotypes ("superreads"), and the first position of the phase set of each position reached."""
    selected = select(alleles, pos)
    reached, matrix = selected.pos, selected.matrix
    found = optimum(selected) if reached else np.empty((2, 0), np.int64)
    haplotypes = [Read(f"haplotype {number}", 0, 0, 0) for number in (1, 2)]
    for haplotype, row in zip(haplotypes, found.tolist(), strict=True):
        for position, allele in zip(reached, row, strict=True):
            haplotype.add_variant(position, allele, 0)
    heterozygous = (found == 0).any(axis=0) & (found == 1).any(axis=0)
    sets = ComponentFinder(reached)
    of_read = np.split(matrix.column, matrix.first[1:-1]) if reached else []
    for columns in of_read:
        joined = [reached[column] for column in columns[heterozygous[columns]].tolist()]
        for other in joined[1:]:
            sets.merge(joined[0], other)
    return haplotypes, {position: sets.find(position) for position in reached}
