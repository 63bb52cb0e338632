"""The output folder of a run whose stages are started one by one: its plan under v2.0.2's names (spec/cli.md 4, 7)."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clair3 import errors
from clair3.calling.output_folder import write_plan
from clair3.calling.tasks import file_name
from clair3.cli import arguments
from clair3.config import CallingConfig
from clair3.errors import ConfigError, UsageError
from clair3.io import vcf
from clair3.io.atomic import write_lines
from clair3.io.bed import pad, pad_sites
from clair3.io.fasta import Contig, Reference, read_reference
from clair3.io.inputs import RunInputs, check_inputs
from clair3.io.vcf import VcfWriter
from clair3.legacy import options
from clair3.phasing.phasers import find_whatshap
from clair3.platforms import Platform

logger = logging.getLogger(__name__)

FOLDERS = (
    "log",
    "tmp/split_beds",
    "tmp/pileup_output",
    "tmp/gvcf_tmp_output",
    "tmp/phase_output/phase_vcf",
    "tmp/phase_output/phase_bam",
    "tmp/full_alignment_output/candidate_bed",
    "tmp/merge_output",
)
SMALL_CONTIG = 5
"""A longest contig shorter than a chunk by this factor is worth a word: the work could be cut finer."""


def prepare(args: argparse.Namespace) -> None:
    """Check the inputs that the options of CheckEnvs name and write the plan; an empty VCF when nothing is to call.

    Raises UsageError, ConfigError and InputError for what cannot be used; nothing is written then.
    """
    if args.chunk_num < 0:
        raise UsageError("--chunk_num=-1 is not in this version; leave it out")
    if args.bed_fn and args.vcf_fn:
        raise ConfigError("Please provide either --vcf_fn or --bed_fn only")
    if not args.no_phasing_for_fa:
        find_whatshap(args.whatshap)
    inputs = check_inputs(
        Path(args.bam_fn),
        Path(args.ref_fn),
        bed=Path(args.bed_fn) if args.bed_fn else None,
        sites=Path(args.vcf_fn) if args.vcf_fn else None,
        names=arguments.parse_contig_names(args.ctg_name),
        include_all=args.include_all_ctgs,
        min_contig_size=args.min_contig_size,
    )
    output = Path(args.output_fn_prefix)
    make_folders(output)
    write_plan(output, inputs.contigs, args.chunk_size)
    write_intervals(output, inputs)
    warn_of_small_contigs(inputs.contigs, args.chunk_size)
    if not inputs.contigs:
        command = options.read_command_line(args.cmd_fn)
        write_empty(output / "merge_output.vcf.gz", inputs.reference, args.sampleName, command)


def make_folders(output: Path) -> None:
    """Create what is missing of the folders that the stages write to."""
    for folder in (output, *(output / name for name in FOLDERS)):
        if not folder.is_dir():
            logger.info("Create folder %s", folder)
            folder.mkdir(parents=True)


def split_bed(contig: str, targets: np.ndarray) -> Iterator[str]:
    """Lines of tmp/split_beds/<contig>: BED intervals (k, 2) or known sites (k,) as given, 0-based, with padding."""
    padded = pad(targets) if targets.ndim == 2 else pad_sites(targets)
    return (f"{contig} {start} {end}" for start, end in padded.tolist())


def write_intervals(output: Path, inputs: RunInputs) -> None:
    """Write tmp/split_beds of a restricted run, a file per contig. Raises InputError when the disk refuses."""
    for contig in inputs.contigs if inputs.targets is not None else ():
        targets = inputs.targets[contig.name]
        write_lines(output / "tmp" / "split_beds" / file_name(contig.name), split_bed(contig.name, targets))


def warn_of_small_contigs(contigs: Sequence[Contig], chunk_size: int) -> None:
    """Say that the work could be cut finer, in v2.0.2's words, when no contig is near the length of a chunk."""
    longest = max((contig.length for contig in contigs), default=chunk_size)
    if longest * SMALL_CONTIG < chunk_size:
        logger.warning(
            "Current maximum contig length %d is much smaller than default chunk size %d, You may set a smaller chunk "
            "size by setting --chunk_size=$ for better parallelism.",
            *(longest, chunk_size),
        )


def header_without_files(fasta: str | None, sample: str, command_line: str | None) -> list[str]:
    """Header lines where no file gives any; without a FASTA no contigs are declared."""
    if fasta is None:
        return vcf.header(sample, None, (), command_line).splitlines()
    return vcf.reference_header(read_reference(Path(fasta)), sample, command_line).splitlines()


def write_empty(path: Path, reference: Reference, sample: str, command_line: str | None) -> None:
    """Write a VCF without rows, and its index."""
    logger.warning("No contig intersection found, output header only in %s", path)
    with VcfWriter(path, vcf.reference_header(reference, sample, command_line), reference.lengths.items()):
        pass


class CheckEnvs:
    """Check the inputs of a run and write its plan: contigs, chunks and padded intervals."""

    @staticmethod
    def add_arguments(parser):
        for name in ("bam_fn", "ref_fn", "output_fn_prefix"):
            parser.add_argument(f"--{name}", required=True, metavar="PATH")
        options.add_texts(parser, "ctg_name", "bed_fn", "vcf_fn", "whatshap", "cmd_fn")
        options.add_sample(parser)
        options.add_number(parser, "chunk_size", CallingConfig.chunk_size, "bases per chunk")
        options.add_number(parser, "chunk_num", 0, "no effect")
        options.add_number(parser, "min_contig_size", CallingConfig.min_contig_size, "skip shorter contigs")
        options.add_number(parser, "qual", CallingConfig.qual, "only checked")
        options.add_shares(parser, "var_pct_full", "ref_pct_full", text="only checked")
        options.add_number(parser, "snp_min_af", Platform.snp_min_af, "only checked")
        options.add_number(parser, "indel_min_af", Platform.indel_min_af, "only checked")
        arguments.add_switch(parser, "--include_all_ctgs", help="call every contig of the reference")
        arguments.add_switch(parser, "--no_phasing_for_fa", help=options.HIDDEN)
        options.add_accepted(parser, "threads", "samtools", "pypy", "python", "parallel")

    @staticmethod
    def run(args):
        for name in ("var_pct_full", "ref_pct_full", "snp_min_af", "indel_min_af"):
            errors.check_range(name, getattr(args, name), 0, 1)
        errors.check_range("qual", args.qual, 0)
        errors.check_range("chunk_size", args.chunk_size, 1)
        prepare(args)
