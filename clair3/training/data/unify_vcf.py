"""The truth of a contig, or a part of it, unified with the alignments and written to a VCF (spec/training.md A.5)."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pysam

from clair3.errors import UsageError, check_range
from clair3.io.alignments import check_header, check_lengths, open_alignments, read_alignments
from clair3.io.atomic import write_lines
from clair3.io.bed import read_intervals
from clair3.io.candidate_files import Part
from clair3.io.fasta import Contig, Reference, find_contig, read_reference
from clair3.io.vcf import reference_header
from clair3.platforms import PLATFORMS
from clair3.training.data.truth import read_truth
from clair3.training.data.unify import MARGIN, unify
from clair3.training.data.unify.read_alleles import Site, find_details_files, iter_sites, read_details
from clair3.training.data.unify.variants import UnifyOptions, Variant

logger = logging.getLogger(__name__)


Range = tuple[int, int]


@dataclass(frozen=True)
class UnifyJob:
    """A part of a contig whose truth is unified, its files and its options.

    truth        file of GetTruth
    reads        BAM or CRAM, haplotagged; details: a file of candidate details instead, or the beginning of the names
                 of several
    bed          regions in which the truth is complete; None: everywhere
    start, end   0-based [start, end) to work on; None: from the beginning, to the end
    part         of that range
    sample       name in the VCF header
    """

    truth: Path
    reference: Path
    contig: str
    output: Path
    options: UnifyOptions
    reads: Path | None = None
    details: Path | None = None
    bed: Path | None = None
    start: int | None = None
    end: int | None = None
    part: Part = field(default_factory=Part)
    sample: str = "SAMPLE"
    command_line: str | None = None

    def __post_init__(self):
        if self.reads is None and self.details is None:
            reason = "without reads there is nothing to unify with"
            raise UsageError(f"--bam_fn or --candidate_details_fn is needed: {reason}")

    def select_range(self, whole: Range) -> Range:
        """Return the 0-based [start, end) of the part: of start to end, where these are None of the whole.

        Raises UsageError for positions that do not ascend.
        """
        start = whole[0] if self.start is None else self.start
        end = whole[1] if self.end is None else self.end
        if start < 0 or end < start:
            raise UsageError(
                f"--ctgStart and --ctgEnd ask for {start + 1} to {end}; expected positions from 1, ascending"
            )
        size = -(-(end - start) // self.part.count)
        first = min(start + size * self.part.index, end)
        return first, min(first + size, end)


def make_unify_options(
    platform: str, distance: int | None, partition: int | None, max_count: int, gap: float
) -> UnifyOptions:
    """Make the options of unification; None: the platform's default. Raises ConfigError for values out of range."""
    known = PLATFORMS[platform]
    distance = known.truth_distance if distance is None else distance
    partition = known.truth_partition if partition is None else partition
    check_range("max_candidates_distance", distance, 1)
    check_range("partition_size", partition, 1)
    check_range("max_calculate_count", max_count, 1)
    check_range("minimum_allele_gap", gap, 0, 0.5)
    return UnifyOptions(distance, max_count, partition, gap, known.short_reads)


def write_unified(job: UnifyJob) -> None:
    """Unify the truth of a job with the alignments and write it as VCF.

    Raises UsageError for a range that is none, InputError for files that cannot be used; then no output is written.
    """
    reference = read_reference(job.reference)
    contig = find_contig(reference, job.contig)
    known = read_truth(job.truth, contig.name).variants
    truths = {pos: Variant(pos, truth.ref, truth.alts, truth.genotype) for pos, truth in known.items()}
    bed = None if job.bed is None else read_intervals(job.bed, contig.name)
    with pysam.FastaFile(str(reference.path), filepath_index=str(reference.index)) as fasta:
        sequence = fasta.fetch(contig.name).upper()
    if job.details is not None:
        sites = list(read_details(find_details_files(job.details), contig.name))
        whole = (min((site.pos for site in sites), default=0), max((site.pos + 1 for site in sites), default=0))
        start, end = job.select_range(whole)
    else:
        start, end = job.select_range((0, contig.length))
        sites = iter_read_sites(job.reads, reference, contig, sequence, (start, end))
    records = unify(sites, truths, sequence, start, end, job.options, bed)
    header = reference_header(reference, job.sample, job.command_line).splitlines()
    write_lines(job.output, [*header, *(f"{contig.name}\t{record.row}" for record in records)])
    in_range = sum(start <= pos < end for pos in truths)
    logger.info("%d truth variants of %s:%d-%d, %d records", in_range, contig.name, start + 1, end, len(records))


def iter_read_sites(path: Path, reference: Reference, contig: Contig, sequence: str, span: Range) -> Iterator[Site]:
    """Yield the candidate sites of a BAM or CRAM in and around a range. Raises InputError when it does not fit."""
    alignments = read_alignments(path, reference)
    check_header(alignments, contig.name)
    check_lengths(alignments, reference, [contig])
    start, end = max(0, span[0] - MARGIN), min(contig.length, span[1] + MARGIN)
    file = open_alignments(path, alignments.index, reference)
    try:
        yield from iter_sites(file, contig.name, sequence, start, end)
    finally:
        with suppress(OSError):  # after a read error, closing fails too and would hide it
            file.close()
