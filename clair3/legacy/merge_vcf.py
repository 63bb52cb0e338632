"""Merging pileup and full alignment of one contig, file by file (spec/calling.md 6.5, 8)."""

import logging
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pysam

from clair3.calling.record_sources import FileRecords, GenotypedRecords, MergedRecords
from clair3.calling.selection import within
from clair3.calling.tasks import file_name
from clair3.cli import arguments
from clair3.cli.arguments import haploid_mode
from clair3.config import OutputFilter
from clair3.io.atomic import write_lines
from clair3.io.candidate_files import read_block_rows
from clair3.io.gvcf import letter_reader, merge_blocks
from clair3.io.known_sites import read_known_sites
from clair3.io.vcf import VcfRecord, VcfWriter, format_record, header_contigs, iter_records, join_header, read_header
from clair3.legacy import options
from clair3.legacy.sort_vcf import compressed_name
from clair3.platforms import PLATFORMS

logger = logging.getLogger(__name__)

BLOCK_LINES = 10_000
"""Block lines that are looked at in one piece."""


def merge_contig(
    pileup: Path,
    full_alignment: Path,
    contig: str,
    output_filter: OutputFilter,
    output: Path,
    bins: np.ndarray | None = None,
) -> None:
    """Write the merged records of a contig as a plain VCF, with the full-alignment header.

    bins are the rows of the files of short reads' candidates, (n, 2) int64, see Block.rows; with them the header is
    that of the pileup. The inputs are sorted, one record per position. Raises InputError when one is missing or
    damaged.
    """
    for name, path in (("Pileup", pileup), ("Full-alignment", full_alignment)):
        count = sum(1 for _ in iter_records(path, contig))
        logger.info("%s variants processed in %s: %d", name, contig, count)
    stages = FileRecords({contig: pileup}), FileRecords({contig: full_alignment})
    intervals = None if bins is None else {contig: within(bins)}
    merged = MergedRecords(stages[0], output_filter, stages[1], intervals)
    header = read_header(full_alignment if bins is None else pileup)
    write_lines(output, chain(header, map(format_record, merged.iter_contig(contig))))


def merge_gvcf(
    records: Iterable[VcfRecord], blocks: Path, contig: str, reference: Path, haploid: bool, output: Path
) -> None:
    """Write a contig's gVCF as plain text: merged records among the blocks of a sorted file, which has the header.

    Raises InputError when the blocks are missing or damaged.
    """
    with pysam.FastaFile(str(reference)) as fasta:
        letter = letter_reader(fasta, contig)
        merged = merge_blocks(records, join_lines(iter_records(blocks, contig)), letter, haploid)
        lines = (line for text in merged for line in text.decode().splitlines())
        write_lines(output, chain(read_header(blocks), lines))


def join_lines(records: Iterator[VcfRecord]) -> Iterator[bytes]:
    """Yield the lines of records in pieces of many, each whole lines with line ends."""
    lines = []
    for record in records:
        lines.append(f"{format_record(record)}\n")
        if len(lines) == BLOCK_LINES:
            yield "".join(lines).encode()
            lines = []
    yield "".join(lines).encode()


def add_back(known: Path, merged: Path, output: Path, switch_genotype: bool) -> None:
    """Write the records of the merged VCF at the known sites, and the known record where there is none.

    switch_genotype makes `./.` of a known record; without it the record is copied as it is. The output is bgzipped,
    with an index, complete or absent. Raises InputError when a file is missing or damaged, or no site is on a contig of
    the merged VCF.
    """
    header = read_header(merged)
    contigs = header_contigs(header)
    sites = read_known_sites(known, contigs, keep_records=not switch_genotype)
    records = GenotypedRecords(FileRecords(dict.fromkeys(contigs, merged)), sites)
    with VcfWriter(compressed_name(output), join_header(header), contigs.items()) as writer:
        for record in records.iter_all():
            writer.write(record)


class MergeVcf:
    """Merge the pileup and full-alignment calls of one contig, and with --gvcf also its blocks."""

    @staticmethod
    def add_arguments(parser):
        options.add_platform(parser)
        for name in ("pileup_vcf_fn", "full_alignment_vcf_fn", "output_fn", "ctgName"):
            parser.add_argument(f"--{name}", required=True, metavar="TEXT")
        options.add_final_filters(parser)
        arguments.add_switch(parser, "--gvcf", help="also write --gvcf_fn from the blocks in --non_var_gvcf_fn")
        options.add_texts(parser, "non_var_gvcf_fn", "gvcf_fn", "ref_fn")
        parser.add_argument(
            "--bed_fn_prefix", metavar="PREFIX", help="ilmn: the rows of candidates are in PREFIX_<contig>"
        )
        options.add_accepted(parser, "sampleName", "samtools")
        options.add_refused(parser, "ctgStart", "ctgEnd")

    @staticmethod
    def run(args):
        options.refuse(args)
        output_filter = OutputFilter(args.qual, args.print_ref_calls, haploid_mode(args))
        if args.gvcf:
            options.require(args, "non_var_gvcf_fn", "gvcf_fn", "ref_fn")
        bins = None
        if PLATFORMS[args.platform].short_reads:
            options.require(args, "bed_fn_prefix")
            bins = read_block_rows(Path(f"{args.bed_fn_prefix}_{file_name(args.ctgName)}"), args.ctgName)
        inputs, output = (Path(args.pileup_vcf_fn), Path(args.full_alignment_vcf_fn)), Path(args.output_fn)
        merge_contig(*inputs, args.ctgName, output_filter, output, bins)
        if args.gvcf:
            blocks, haploid, records = Path(args.non_var_gvcf_fn), bool(output_filter.haploid), iter_records(output)
            merge_gvcf(records, blocks, args.ctgName, Path(args.ref_fn), haploid, Path(args.gvcf_fn))


class AddBackMissingVariantsInGenotyping:
    """Put known sites that were not called back into the VCF of a genotyping run."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--vcf_fn", required=True, metavar="VCF", help="the known sites")
        parser.add_argument("--clair3_input_vcf_fn", required=True, metavar="VCF", help="the merged calls")
        parser.add_argument("--output_fn", required=True, metavar="VCF", help="bgzipped; .gz is added")
        arguments.add_switch(parser, "--switch_genotype", default=True, help="./. where nothing was called")

    @staticmethod
    def run(args):
        add_back(Path(args.vcf_fn), Path(args.clair3_input_vcf_fn), Path(args.output_fn), args.switch_genotype)
