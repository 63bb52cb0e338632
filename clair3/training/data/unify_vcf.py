"""The truth of a contig, or a part of it, unified with the alignments and written to a VCF (spec/training.md A.5)."""

import argparse
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pysam

from clair3.errors import UsageError, check_range
from clair3.io.atomic import write_lines
from clair3.io.bed import read_intervals
from clair3.io.candidate_files import Part, parse_part
from clair3.io.fasta import Contig, Reference, find_contig, read_reference
from clair3.io.inputs import check_header, check_lengths, open_alignments, read_alignments
from clair3.io.vcf import reference_header
from clair3.training.data.truth import read_truth
from clair3.training.data.unify import MARGIN, unify
from clair3.training.data.unify.read_alleles import Site, details_files, iter_sites, read_details
from clair3.training.data.unify.variants import UnifyOptions, Variant

logger = logging.getLogger(__name__)

GROUPING = {"ont": (100, 15), "ilmn": (100, 15), "hifi": (200, 20)}
"""Default distance and partition of each platform."""

Range = tuple[int, int]


def write_unified(args: argparse.Namespace) -> None:
    """Do what the options of UnifyRepresentation say.

    Raises UsageError for options that do not go together, ConfigError for values out of range, InputError for files
    that cannot be used; then no output is written.
    """
    rule, part = unify_options(args), parse_part(args)
    if args.bam_fn is None and args.candidate_details_fn is None:
        raise UsageError("--bam_fn or --candidate_details_fn is needed: without reads there is nothing to unify with")
    reference = read_reference(Path(args.ref_fn))
    contig = find_contig(reference, args.ctgName)
    known = read_truth(Path(args.var_fn), contig.name).variants
    truths = {pos: Variant(pos, truth.ref, truth.alts, truth.genotype) for pos, truth in known.items()}
    bed = None if args.bed_fn is None else read_intervals(Path(args.bed_fn), contig.name)
    with pysam.FastaFile(str(reference.path), filepath_index=str(reference.index)) as fasta:
        sequence = fasta.fetch(contig.name).upper()
    if args.candidate_details_fn is not None:
        sites = list(read_details(details_files(Path(args.candidate_details_fn)), contig.name))
        whole = (min((site.pos for site in sites), default=0), max((site.pos + 1 for site in sites), default=0))
        start, end = work_range(args, whole, part)
    else:
        start, end = work_range(args, (0, contig.length), part)
        sites = sites_in_reads(Path(args.bam_fn), reference, contig, sequence, (start, end))
    records = unify(sites, truths, sequence, start, end, rule, bed)
    header = reference_header(reference, args.sampleName, args.command_line).splitlines()
    write_lines(Path(args.output_vcf_fn), [*header, *(f"{contig.name}\t{record.row}" for record in records)])
    wanted = sum(start <= pos < end for pos in truths)
    logger.info("%d truth variants of %s:%d-%d, %d records", wanted, contig.name, start + 1, end, len(records))


def unify_options(args: argparse.Namespace) -> UnifyOptions:
    """The rule, with the platform's defaults where the user said nothing. Raises ConfigError."""
    distance, partition = GROUPING[args.platform]
    given = (args.max_candidates_distance, args.partition_size)
    distance, partition = (
        value if value is not None else default for value, default in zip(given, (distance, partition), strict=True)
    )
    check_range("max_candidates_distance", distance, 1)
    check_range("partition_size", partition, 1)
    check_range("max_calculate_count", args.max_calculate_count, 1)
    check_range("minimum_allele_gap", args.minimum_allele_gap, 0, 0.5)
    return UnifyOptions(distance, args.max_calculate_count, partition, args.minimum_allele_gap, args.platform == "ilmn")


def work_range(args: argparse.Namespace, whole: Range, part: Part) -> Range:
    """The 0-based [start, end) to work on: --ctgStart to --ctgEnd or else the whole, of that the part."""
    start = whole[0] if args.ctgStart is None else args.ctgStart - 1
    end = whole[1] if args.ctgEnd is None else args.ctgEnd
    if start < 0 or end < start:
        raise UsageError(f"--ctgStart and --ctgEnd ask for {start + 1} to {end}; expected positions from 1, ascending")
    size = -(-(end - start) // part.count)
    first = min(start + size * part.index, end)
    return first, min(first + size, end)


def sites_in_reads(path: Path, reference: Reference, contig: Contig, sequence: str, span: Range) -> Iterable[Site]:
    """The candidate sites of a BAM or CRAM in and around a range. Raises InputError when it does not fit."""
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
