"""Merging pileup and full alignment of one contig, file by file (spec/calling.md 6.5, 8)."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysam

from clair3.calling.selection import within
from clair3.calling.tasks import file_name, merge_rows
from clair3.cli import arguments
from clair3.cli.arguments import haploid_mode
from clair3.config import OutputFilter
from clair3.errors import InputError
from clair3.io import gvcf
from clair3.io.atomic import write_lines
from clair3.io.candidate_files import read_block_rows
from clair3.io.text import is_number, read_rows
from clair3.io.vcf import COLUMNS, VcfWriter, filter_row, header_contigs, iter_rows, read_header, record_pos
from clair3.legacy import options
from clair3.legacy.sort_vcf import compressed_name, in_contig_order
from clair3.platforms import PLATFORMS

logger = logging.getLogger(__name__)

BLOCK_ROWS = 10_000
"""Block lines that are looked at in one piece."""


def merge_contig(
    pileup: Path,
    full_alignment: Path,
    contig: str,
    rule: OutputFilter,
    output: Path,
    bins: np.ndarray | None = None,
) -> list[str]:
    """Write the merged rows of a contig as a plain VCF, with the full-alignment header; the rows.

    bins are the rows of the files of short reads' candidates, (n, 2) int64, see Block.rows; with them the header is
    that of the pileup. The inputs are sorted, one row per position. Raises InputError when one is missing or damaged.
    """
    stages = {"Pileup": list(iter_rows(pileup, contig)), "Full-alignment": list(iter_rows(full_alignment, contig))}
    for name, rows in stages.items():
        logger.info("%s variants processed in %s: %d", name, contig, len(rows))
    places = None if bins is None else within(bins)
    kept = [kept for row in merge_rows(*stages.values(), places) if (kept := filter_row(row, rule)) is not None]
    write_lines(output, [*read_header(full_alignment if bins is None else pileup), *kept])
    return kept


def merge_gvcf(rows: list[str], blocks: Path, contig: str, reference: Path, haploid: bool, output: Path) -> None:
    """Write a contig's gVCF as plain text: its merged rows among the blocks of a sorted file, which has the header.

    Raises InputError when the blocks are missing or damaged.
    """
    with pysam.FastaFile(str(reference)) as fasta:
        letter = gvcf.letter_reader(fasta, contig)
        merged = gvcf.merge(rows, pieces(iter_rows(blocks, contig)), letter, haploid)
        lines = (line for piece in merged for line in piece.decode().splitlines())
        write_lines(output, [*read_header(blocks), *lines])


def pieces(rows: Iterator[str]) -> Iterator[bytes]:
    """Records in pieces of many, each whole lines with line ends."""
    piece = []
    for row in rows:
        piece.append(f"{row}\n")
        if len(piece) == BLOCK_ROWS:
            yield "".join(piece).encode()
            piece = []
    yield "".join(piece).encode()


def add_back(known: Path, merged: Path, output: Path, switch_genotype: bool) -> None:
    """Write the rows of the merged VCF at the known sites, and the known row where there is none.

    switch_genotype makes `./.` of a known row; without it the row is copied as it is. The output is bgzipped, with an
    index, complete or absent. Raises InputError when a file is missing or damaged, or a site's contig is unknown.
    """
    header = read_header(merged)
    contigs = header_contigs(header)
    sites = read_known_rows(known, switch_genotype)
    if unknown := sorted(sites.keys() - contigs.keys()):
        raise InputError(f"{known}: contig {unknown[0]} is not in the header of {merged}")
    total, called = sum(map(len, sites.values())), 0
    with VcfWriter(compressed_name(output), "".join(f"{line}\n" for line in header), contigs.items()) as writer:
        for contig in in_contig_order(name for name in contigs if name in sites):
            found = {record_pos(row): row for row in iter_rows(merged, contig)}
            for pos, row in sorted(sites[contig].items()):
                called += pos in found
                writer.write(contig, pos, found.get(pos, row))
    logger.info(
        "Total variants for genotyping: %d, total Clair3 variant output: %d, added %d variants into output VCF",
        *(total, called, total - called),
    )


def read_known_rows(path: Path, switch_genotype: bool) -> dict[str, dict[int, str]]:
    """Records of the known sites per contig and 0-based position; of several at one position the last counts.

    Raises InputError when the file is missing or damaged, or a row has no position.
    """
    sites: dict[str, dict[int, str]] = {}
    for number, line in read_rows(path):
        fields = line.split("\t")
        if line.startswith("#") or not line:
            continue
        if len(fields) < 4 or not is_number(fields[1]) or int(fields[1]) < 1:
            raise InputError(f"Invalid vcf input in {number}-th row {line[:80]!r} of {path}")
        if switch_genotype:
            fields = [*fields[:3], fields[3][:1], *"....", "GT", "./."]
        row = "\t".join([*fields, *"." * (COLUMNS - len(fields))])
        sites.setdefault(fields[0], {})[int(fields[1]) - 1] = row
    return sites


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
        rule = OutputFilter(args.qual, args.print_ref_calls, haploid_mode(args))
        if args.gvcf:
            options.require(args, "non_var_gvcf_fn", "gvcf_fn", "ref_fn")
        bins = None
        if PLATFORMS[args.platform].short_reads:
            options.require(args, "bed_fn_prefix")
            bins = read_block_rows(Path(f"{args.bed_fn_prefix}_{file_name(args.ctgName)}"), args.ctgName)
        inputs = Path(args.pileup_vcf_fn), Path(args.full_alignment_vcf_fn)
        rows = merge_contig(*inputs, args.ctgName, rule, Path(args.output_fn), bins)
        if args.gvcf:
            blocks, haploid = Path(args.non_var_gvcf_fn), rule.haploid is not None
            merge_gvcf(rows, blocks, args.ctgName, Path(args.ref_fn), haploid, Path(args.gvcf_fn))


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
