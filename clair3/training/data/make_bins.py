"""Tensors of a part of a contig, as calling makes them, labelled and written as a training bin."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam

from clair3 import core
from clair3.config import CandidateOptions, ReadFeatureOptions
from clair3.core.phasing import haplotypes
from clair3.errors import ConfigError
from clair3.features.chunks import plan_chunks
from clair3.features.pileup import iter_pileup
from clair3.genotype.classes import PILEUP
from clair3.io.alignments import check_header
from clair3.io.bed import check_contig, clip, intersection, is_within, merge, read_extended, read_intervals
from clair3.io.bins import BinFormat, write_bin
from clair3.io.candidate_files import Part, read_candidates
from clair3.io.fasta import Contig, Reference, find_contig
from clair3.io.first_reads import check_moves
from clair3.io.inputs import check_inputs
from clair3.io.known_sites import read_sites, site_positions
from clair3.phasing.phasers import read_phased
from clair3.platforms import PLATFORMS
from clair3.records import PhasedSnps, TrainingExamples
from clair3.training.data.examples import (
    Candidates,
    ExamplePicker,
    Tally,
    gather_examples,
    iter_full_alignment_candidates,
    iter_pileup_candidates,
    iter_realigned_candidates,
    label_candidates,
)
from clair3.training.data.truth import TruthSet, read_truth

logger = logging.getLogger(__name__)

CHUNK_SIZE = 5_000_000
WRITTEN_ROWS = 500
"""Examples copied into a bin at a time."""

BLOCK_ROWS = 50_000
"""Examples of a file of tensors that are drawn from and ordered together, as v2.0.2 does."""


@dataclass(frozen=True)
class TensorJob:
    """The candidates of a part of a contig, and how they become tensors. Raises ConfigError for what does not go
    together.

    candidates         when a column is one, and which reads count
    part               of the contig, or of its extended BED
    span               [start, end), 0-based, of it to look at; None: all
    bed, extended_bed  candidates lie in both; the second decides what the parts are parts of
    sites              VCF of the only positions that may be candidates
    regions            file of SelectHetSnp with the candidates for full alignment, instead of those that the rule
                       finds; it is a part already, so part is not looked at
    phased             phased VCF that gives reads their haplotypes; haplotype_tags: the HP tags do
    unphased_copies    candidates with phased reads come a second time without haplotypes
    """

    bam: Path
    reference: Path
    contig: str
    platform: str
    kind: str
    candidates: CandidateOptions = field(default_factory=CandidateOptions)
    part: Part = field(default_factory=Part)
    span: tuple[int, int] | None = None
    bed: Path | None = None
    extended_bed: Path | None = None
    sites: Path | None = None
    regions: Path | None = None
    phased: Path | None = None
    haplotype_tags: bool = False
    unphased_copies: bool = False
    dwell: bool = False

    def __post_init__(self):
        if self.span is not None and not 0 <= self.span[0] < self.span[1]:
            start, end = self.span[0] + 1, self.span[1]
            raise ConfigError(f"--ctgStart={start} --ctgEnd={end}: expected a first and a last position, from 1")
        if self.kind == PILEUP and (self.regions or self.phased or self.haplotype_tags or self.unphased_copies):
            raise ConfigError("--pileup knows no candidate files and no phasing; leave these options or --pileup out")
        assert self.format  # refuses a pileup with dwell time

    @property
    def format(self) -> BinFormat:
        return BinFormat.of(self.kind, self.platform, self.dwell)

    @property
    def short_reads(self) -> bool:
        return PLATFORMS[self.platform].short_reads

    @property
    def read_features(self) -> ReadFeatureOptions:
        """Options by which reads become read rows of a full-alignment tensor."""
        return ReadFeatureOptions.of(
            self.candidates, self.platform, self.dwell, self.haplotype_tags and self.phased is None
        )


def iter_candidates(job: TensorJob) -> Iterator[Candidates]:
    """Yield the candidates of a job, in genome order, in batches.

    Raises InputError or CoreError when files cannot be read or do not fit together.
    """
    inputs = check_inputs(job.bam, job.reference, names=[job.contig])
    contig = find_contig(inputs.reference, job.contig)
    check_header(inputs.alignments, job.contig)
    if job.dwell:
        check_moves(inputs.alignments, inputs.reference)
    allowed = find_allowed_positions(job, inputs.reference, contig)
    if contig not in inputs.contigs:  # no reads; check_inputs has warned
        return
    alignments, reference = inputs.alignments, inputs.reference
    indices = {"index": alignments.index, "fai": reference.index, "block_index": reference.block_index}
    fasta = pysam.FastaFile(str(reference.path), filepath_index=str(reference.index))
    with fasta, core.Source(alignments.path, reference.path, **indices) as source:
        chunks = plan_chunks([contig], {contig.name: allowed}, CHUNK_SIZE)
        if job.kind == PILEUP:
            yield from iter_pileup_candidates(source, fasta, chunks, job.candidates)
            return
        if job.regions is None:
            batches = (batch for chunk in chunks for batch in iter_pileup(source, chunk, job.candidates))
            pos = np.concatenate([np.empty(0, np.int64), *(batch.pos for batch in batches)])
        else:
            pos = read_candidate_positions(job, allowed)
        snps, arguments = read_phased_snps(job), (source, fasta, contig.name, pos, job.read_features)
        if not job.short_reads:
            yield from iter_full_alignment_candidates(*arguments, snps, job.unphased_copies)
            return
        tagged = haplotypes(source, contig.name, snps) if snps is not None else None
        # realigned reads show candidates around `pos` that are not in it
        yield from iter_realigned_candidates(*arguments, tagged, allowed, job.unphased_copies)


def read_candidate_positions(job: TensorJob, allowed: np.ndarray) -> np.ndarray:
    """Read the candidates of the file of a job: (n,) int64, 0-based, ascending; of short reads, the middles of their
    bins.

    Raises InputError when it cannot be read.
    """
    pos = read_candidates(job.regions, job.contig, job.short_reads, training=True)
    if not len(pos):
        logger.warning("%s: no candidates on %s", job.regions, job.contig)
    return pos if job.short_reads else pos[is_within(pos, allowed)]


def read_phased_snps(job: TensorJob) -> PhasedSnps | None:
    """Read the SNPs that give reads their haplotypes; None without phased VCF. Raises InputError when it cannot be
    read."""
    if job.phased is None:
        return None
    # haplotypes are those of heterozygous SNPs (spec/training.md A.2); calling takes every phased record
    snps = read_phased(job.phased, job.contig, heterozygous=True)
    if not len(snps):
        needed = "0|1 or 1|0, with the phase set as last value"
        logger.warning("%s: no phased SNP on %s (%s): no read has a haplotype", job.phased, job.contig, needed)
    return snps


def find_allowed_positions(job: TensorJob, reference: Reference, contig: Contig) -> np.ndarray:
    """Find where candidates of the job may lie: (k, 2) int64, 0-based [start, end), sorted and disjoint.

    Raises InputError when a BED or VCF cannot be read or calls the contig differently.
    """
    allowed = np.array([[0, contig.length]])
    if job.span:
        allowed = clip(allowed, *job.span)
    if job.bed:
        allowed = intersection(allowed, read_intervals(job.bed, contig.name))
    if job.extended_bed:
        allowed = intersection(allowed, read_extended(job.extended_bed, contig.name))
    if job.sites:
        known = site_positions(read_sites(job.sites, reference))
        check_contig(job.sites, contig.name, known)
        sites = known.get(contig.name, np.empty(0, np.int64))
        allowed = intersection(allowed, merge(np.stack([sites, sites + 1], axis=1)))
    return allowed if job.regions else clip(allowed, *find_owned_range(job, contig))


def find_owned_range(job: TensorJob, contig: Contig) -> tuple[int, int]:
    """Find the positions [start, end) of the job's part; the parts of a contig together have each position once.

    They are cut as in spec/training.md A.7.1; the first also owns what lies before, the last what lies behind.
    """
    first, behind = 0, contig.length
    if job.extended_bed:
        intervals = read_intervals(job.extended_bed, contig.name)
        first, behind = (int(intervals[0, 0]), int(intervals[-1, 1])) if len(intervals) else (0, 0)
    size = -(-(behind - first) // job.part.count)
    start = 0 if job.part.index == 0 else first + size * job.part.index
    end = contig.length if job.part.index == job.part.count - 1 else first + size * (job.part.index + 1)
    return min(start, contig.length), min(end, contig.length)


# Output


def write_training_bin(job: TensorJob, truth: Path, output: Path, picker: ExamplePicker) -> int:
    """Label the candidates of a job and write the examples that the picker takes; return their number.

    A part without any gives a bin without rows. Raises ClairError; the bin is complete or absent.
    """
    known, tally = read_truth(truth, job.contig), Tally()
    parts = [label_candidates(candidates, known, tally) for candidates in iter_candidates(job)]
    logger.info("%s: %s", job.contig, tally)
    return write_examples(output, job.format, job.platform, [parts], picker)


def write_examples(
    output: Path, rows: BinFormat, platform: str, blocks: Iterable[list[TrainingExamples]], picker: ExamplePicker
) -> int:
    """Write a bin of the examples that a picker takes from blocks of parts, and return their number.

    Raises InputError when the disk refuses; what blocks raises passes through.
    """
    with write_bin(output, rows, platform, picker.seed) as writer:
        for parts in blocks:
            chosen = picker.pick(parts)
            for start in range(0, len(chosen), WRITTEN_ROWS):
                writer.append(gather_examples(parts, chosen[start : start + WRITTEN_ROWS]))
    if writer.cut:
        logger.warning("%s: %d texts were longer than the format allows and are cut", output, writer.cut)
    logger.info("%s: %d rows of %s", output, writer.rows, rows)
    return writer.rows


def label_text(batches: Iterable[Candidates], truth: Path, bed: Path | None) -> Iterator[list[TrainingExamples]]:
    """Label candidates that come as text, in blocks of at least BLOCK_ROWS examples; in the last one fewer.

    Raises InputError when truth or BED cannot be read or do not fit the candidates.
    """
    known: dict[str, tuple[TruthSet, np.ndarray | None]] = {}
    tally, parts = Tally(), []
    for candidates in batches:
        contig = candidates.contig
        if contig not in known:
            known[contig] = read_truth(truth, contig), None if bed is None else read_intervals(bed, contig)
        variants, intervals = known[contig]
        if intervals is not None:
            candidates = candidates.select(is_within(candidates.pos, intervals))
        parts.append(label_candidates(candidates, variants, tally))
        if sum(map(len, parts)) >= BLOCK_ROWS:
            yield parts
            parts = []
    if parts:
        yield parts
    logger.info("%s", tally)
