"""Between the networks: which SNPs are phased, and which candidates the full-alignment network sees again.

Both are chosen by QUAL, against cut-offs over the whole run, so the records of the pileup stage are read twice: first
all of them are counted, then those of each contig are chosen from (spec/calling.md 7.1, 7.3).
"""

import logging
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clair3.config import SelectionOptions
from clair3.io.bed import PADDING, merge, realignment_bins
from clair3.io.vcf import VcfRecord, format_record
from clair3.records import Region

logger = logging.getLogger(__name__)

BLOCK_SIZE = 10_000
"""Most candidates of a block. Deep candidates draw their reads from one random generator per block, so this number is
part of the result (spec/features.md A.10, C.6)."""

REACH = 17
"""A candidate is written as the bases up to this far from it (spec/features.md A.10)."""


@dataclass(frozen=True)
class Cutoffs:
    """Variants and reference calls below their QUAL are called again; SNPs from theirs on are phased (None: none)."""

    variant: float
    reference: float
    phasing: float | None


class QualCounts:
    """How often each QUAL occurs, by kind of record: the first pass.

    A QUAL is counted as it is written. It has two decimals and is at most 110, so there are 11,001 of them at most
    and the size of this does not depend on the genome.
    """

    def __init__(self):
        self.variants, self.reference_calls, self.het_snps = Counter(), Counter(), Counter()

    def add(self, records: Iterable[VcfRecord]) -> None:
        """Count records of the pileup stage, in any order."""
        for record in records:
            genotype, qual = record.genotype, record.qual_text
            if genotype == "0/0":
                self.reference_calls[qual] += 1
                continue
            self.variants[qual] += 1
            if genotype == "0/1" and len(record.ref) == len(record.alt_text) == 1:
                self.het_snps[qual] += 1

    def cutoffs(self, options: SelectionOptions) -> Cutoffs:
        """The cut-offs over all counted records; too few records for one give 0.0 and warnings in v2.0.2's words."""
        ref_pct_full = options.ref_pct_full if options.ref_pct_full or options.genotyping else options.var_pct_full
        phasing = None
        if options.var_pct_phasing is not None:
            # in double, as it is: 1 - 0.9 is a little less than 0.1, so that of 10 SNPs none is left out
            left_out = 1 - options.var_pct_phasing
            phasing = _cutoff(self.het_snps, left_out, "0/1 variant", "variant", "heterozygous variants")
        return Cutoffs(
            variant=_cutoff(self.variants, options.var_pct_full, "low-quality variants", "variant", "variants"),
            reference=_cutoff(
                self.reference_calls, ref_pct_full, "low-quality 0/0 reference calls", "reference", "reference calls"
            ),
            phasing=phasing,
        )


def _cutoff(counts: Counter[str], fraction: float, wanted: str, kind: str, total: str) -> float:
    """QUAL number int(fraction * n) of the n counted, from 1 in ascending order."""
    number = int(fraction * counts.total())
    if number == 0:
        logger.warning(
            "Cannot find any %s in pileup output using %s quality cut-off proportion: %s, total %s: %d",
            *(wanted, kind, fraction, total, counts.total()),
        )
        logger.warning("Set low %s quality score cut-off to 0.0", kind)
        return 0.0
    for qual in sorted(counts, key=float):
        number -= counts[qual]
        if number <= 0:
            break
    return float(qual)


@dataclass(frozen=True, eq=False)
class Selection:
    """What is chosen of one contig: the second pass.

    snps  VCF lines of the heterozygous SNPs to phase, without PL, in the order they came. They are only written for
          the phasing program, and the millions of a genome take a quarter of the memory of records
    pos   (n,) int64  0-based candidates for full alignment, ascending, each once
    """

    snps: list[str]
    pos: np.ndarray


def select(contig: str, records: Iterable[VcfRecord], cutoffs: Cutoffs) -> Selection:
    """Choose from the records of one contig, given in genome order. A QUAL equal to a cut-off is not below it (C5)."""
    variant, reference, phasing = cutoffs.variant, cutoffs.reference, cutoffs.phasing
    snps, chosen = [], []
    for record in records:
        ref, alt, qual = record.ref, record.alt_text, record.qual
        if alt == "." or alt == ref:
            if qual < reference:
                chosen.append(record.pos)
            continue
        if qual < variant:
            chosen.append(record.pos)
        if phasing is None or qual < phasing or len(ref) != 1 or len(alt) != 1:
            continue
        if record.genotype.replace("|", "/") in ("0/1", "1/0"):
            snps.append(format_record(without_likelihoods(record)))
    if phasing is not None:
        logger.info("Total heterozygous SNP positions selected: %s: %d", contig, len(snps))
    if not chosen:
        logger.warning("Cannot find any low-quality 0/0, 0/1 or 1/1 variant in pileup output in contig %s", contig)
    return Selection(snps, np.unique(np.array(chosen, dtype=np.int64)))


def without_likelihoods(record: VcfRecord) -> VcfRecord:
    """A record of one sample without its PL: phasing programs would take it into account."""
    values = record.sample_values()
    if values.pop("PL", None) is None:
        return record
    return record.with_sample_values(values)


@dataclass(frozen=True, eq=False)
class Block:
    """Candidates that are called together, with a random generator of their own. index counts from 0 to count - 1.

    pos          (n,) int64  0-based, ascending, at least one
    short_reads  the reads of the candidates' bins are called anew, see realignment_bins
    owned        [start, end): short reads show other candidates, and those that lie here are the block's; None: all
    inputs       fingerprint of pos, owned and of what else the block's calls depend on
    """

    contig: str
    index: int
    count: int
    pos: np.ndarray
    short_reads: bool = False
    owned: tuple[int, int] | None = None
    inputs: str = ""

    @property
    def rows(self) -> np.ndarray:
        """What stands for each candidate in the block's file: (n, 2) int64 [start, end) (spec/features.md A.10)."""
        if self.short_reads:
            return realignment_bins(self.pos)
        first = self.pos + 1  # 1-based arithmetic on 0-based columns
        return np.stack([np.maximum(first - REACH, 0), first + REACH], axis=1)

    @property
    def region(self) -> Region:
        """From the first candidate to the last, with their bins."""
        if self.short_reads:
            return Region(self.contig, int(self.rows[0, 0]), int(self.rows[-1, 1]))
        return Region(self.contig, int(self.pos[0]), int(self.pos[-1]) + 1)

    @property
    def name(self) -> str:
        """v2.0.2's name of its file."""
        return f"{self.contig}.{self.index}_{self.count}"

    def bed(self) -> str:
        """The file's text, one row per candidate."""
        return "".join(f"{self.contig}\t{start}\t{end}\n" for start, end in self.rows.tolist())


def within(rows: np.ndarray) -> np.ndarray:
    """Positions [start, end), 0-based, where the full alignment of short reads alone counts (spec/calling.md 8.2).

    They are the bins that the rows of blocks stand for, (n, 2) int64, but from one base before them to before their
    last (C8); (m, 2) int64, sorted and disjoint.
    """
    return merge(rows + np.array([PADDING - 1, -PADDING - 1]))


def cut_blocks(contig: str, pos: np.ndarray, short_reads: bool = False) -> list[Block]:
    """The blocks of a contig's candidates, in order; none for no candidates. pos as in Selection."""
    parts = [pos[start : start + BLOCK_SIZE] for start in range(0, len(pos), BLOCK_SIZE)]
    if not short_reads:
        return [Block(contig, index, len(parts), part) for index, part in enumerate(parts)]
    # reads beside a block's bins may show candidates, too, as they do in v2.0.2; a bin of two blocks is the second's
    starts = [0, *(int(within(realignment_bins(part[:1]))[0, 0]) for part in parts[1:]), sys.maxsize]
    return [
        Block(contig, index, len(parts), part, short_reads, span)
        for index, (part, span) in enumerate(zip(parts, pairwise(starts), strict=False))
    ]
