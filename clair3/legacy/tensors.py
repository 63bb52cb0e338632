"""The options of the submodules that make tensors and training bins, and what they ask for (spec/training.md A.7)."""

import argparse
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from clair3 import errors
from clair3.cli import arguments
from clair3.cli.arguments import add_switch, required_text
from clair3.errors import ConfigError, InputError, UsageError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.io.atomic import write_lines
from clair3.io.bins import CHUNK_ROWS, Bin, BinFormat, merge_bins
from clair3.io.candidate_files import parse_part
from clair3.legacy import options
from clair3.legacy.options import STDOUT
from clair3.legacy.tensor_text import find_files, iter_lines, read_files, read_tensors
from clair3.platforms import PLATFORMS
from clair3.training.data import make_bins
from clair3.training.data.examples import ExamplePicker
from clair3.training.data.make_bins import TensorJob

logger = logging.getLogger(__name__)

DIRECT, LEGACY, TEXT = "direct", "legacy", "text"
"""What the options are for: CreateTrainingTensorDirect, CreateTrainingTensor, and tensors as text."""


def add_arguments(parser: argparse.ArgumentParser, purpose: str, kind: str | None = None) -> None:
    """Options of a submodule that reads alignments; kind None: --pileup decides."""
    options.add_platform(parser)
    for name, what in (("bam_fn", "BAM or CRAM"), ("ref_fn", "FASTA"), ("ctgName", "contig")):
        parser.add_argument(f"--{name}", required=True, type=required_text, metavar="TEXT", help=what)
    options.add_texts(parser, "vcf_fn", "bed_fn", "extend_bed")
    for name in ("ctgStart", "ctgEnd", "chunk_id", "chunk_num"):
        parser.add_argument(f"--{name}", type=int, metavar="N")
    options.add_candidate_thresholds(parser)
    options.add_accepted(parser, "samtools", "sampleName", "min_af", "pypy", "python", "delay", "max_depth")
    if kind is None:
        parser.add_argument("--pileup", action="store_true", help="pileup tensors, else full alignment")
    if kind != PILEUP:
        add_full_alignment(parser)
    if purpose == TEXT:
        parser.add_argument("--tensor_can_fn", default=STDOUT, metavar="FILE", help="default: stdout")
        options.add_accepted(parser, "zstd", "base_err", "gq_bin_size", "temp_file_dir", flags=("bp_resolution",))
        options.add_refused(parser, "indel_fn", "test_pos", flags=("gvcf",))
    else:
        add_output(parser)
        parser.add_argument("--var_fn", required=True, type=required_text, metavar="FILE", help="GetTruth's file")
        options.add_accepted(parser, flags=("test_signal",))
        options.add_refused(parser, flags=("output_variant_matrix",))


def add_full_alignment(parser: argparse.ArgumentParser) -> None:
    """Options of full-alignment tensors."""
    options.add_texts(parser, "full_aln_regions", "phased_vcf_fn")
    add_switch(parser, "--no_phasing_for_fa", help="leave the reads without haplotypes")
    add_switch(parser, "--enable_dwell_time", help="a ninth channel from the move tables of ONT reads")
    parser.add_argument("--phasing_info_in_bam", action="store_true", help="haplotypes are those of the HP tags")
    parser.add_argument(
        "--add_no_phasing_data_training", action="store_true", help="add a copy without haplotypes of phased candidates"
    )
    options.add_accepted(
        parser, "phasing_window_size", "unify_repre_fn", flags=("need_haplotagging", "need_realignment")
    )
    options.add_refused(parser, flags=("need_phasing", "unify_repre"))


def add_output(parser: argparse.ArgumentParser) -> None:
    """Options about the rows of a bin."""
    parser.add_argument("--bin_fn", required=True, type=required_text, metavar="FILE", help="the bin to write")
    parser.add_argument("--maximum_non_variant_ratio", type=float, metavar="R", help="most non-variants per variant")
    parser.add_argument("--shuffle", action="store_true", help="random order of rows")
    parser.add_argument("--allow_duplicate_chr_pos", action="store_true", help="keep further tensors of a position")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of drawing and order (default: %(default)s)")


def tensor_job(args: argparse.Namespace, kind: str) -> TensorJob:
    """The checked options. Raises UsageError, ConfigError and InputError for what cannot be used."""
    options.refuse(args)
    rule = options.make_candidate_options(args)
    if (args.ctgStart is None) != (args.ctgEnd is None):
        raise UsageError("--ctgStart and --ctgEnd go together")
    files = {
        name: given_file(args, option)
        for name, option in (("bed", "bed_fn"), ("extended_bed", "extend_bed"), ("sites", "vcf_fn"))
    }
    job = TensorJob(
        bam=Path(args.bam_fn).absolute(),
        reference=Path(args.ref_fn).absolute(),
        contig=args.ctgName,
        platform=args.platform,
        kind=kind,
        candidates=rule,
        part=parse_part(args),
        span=None if args.ctgStart is None else (args.ctgStart - 1, args.ctgEnd),
        **files,
        **(full_alignment_fields(args) if "full_aln_regions" in args else {}),
    )
    if job.regions and (args.chunk_id is not None or args.extend_bed):
        logger.info("all candidates of %s are used: it is a part of the contig already", job.regions)
    return job


def full_alignment_fields(args: argparse.Namespace) -> dict:
    """The fields of TensorJob that add_full_alignment is about."""
    phased = given_file(args, "phased_vcf_fn")
    if phased and args.phasing_info_in_bam:
        logger.warning("haplotypes are taken from --phased_vcf_fn, not from the HP tags (--phasing_info_in_bam)")
    plain = args.no_phasing_for_fa
    return {
        "regions": given_file(args, "full_aln_regions"),
        "phased": None if plain else phased,
        "haplotype_tags": args.phasing_info_in_bam and not plain,
        "unphased_copies": args.add_no_phasing_data_training,
        "dwell": args.enable_dwell_time,
    }


def given_file(args: argparse.Namespace, option: str) -> Path | None:
    """Raises InputError when a file that was asked for is not there."""
    if (text := getattr(args, option)) is None:
        return None
    if not Path(text).is_file():
        raise InputError(f"--{option}={text}: no such file")
    return Path(text)


def make_example_picker(args: argparse.Namespace) -> ExamplePicker:
    """Raises ConfigError for values out of range."""
    return ExamplePicker(args.maximum_non_variant_ratio, args.shuffle, args.allow_duplicate_chr_pos, args.seed)


def write_bin(args: argparse.Namespace, purpose: str) -> None:
    """Write the bin that CreateTrainingTensor (LEGACY) or CreateTrainingTensorDirect (DIRECT) asks for."""
    job, picker = tensor_job(args, PILEUP if args.pileup else FULL_ALIGNMENT), make_example_picker(args)
    # the older way drops unphased copies as further tensors of their position; the direct one never does
    if purpose == DIRECT and job.unphased_copies:
        picker.duplicates = True
    make_bins.write_training_bin(job, Path(args.var_fn), Path(args.bin_fn), picker)


def write_text(args: argparse.Namespace, kind: str) -> None:
    """Write the tensors of a kind that the options ask for, as lines of text. Raises ClairError; a file is complete or
    absent."""
    job = tensor_job(args, kind)
    lines = (line for candidates in make_bins.iter_candidates(job) for line in iter_lines(candidates))
    if args.tensor_can_fn == STDOUT:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    else:
        write_lines(Path(args.tensor_can_fn), lines)


def text_to_bin(args: argparse.Namespace, lines: Iterable[str]) -> None:
    """Write the bin that Tensor2Bin asks for; lines are those of stdin. Raises ClairError."""
    rows, picker = bin_format_from(args, args.platform), make_example_picker(args)
    part, bed = parse_part(args), given_file(args, "bed_fn")
    if args.tensor_fn == STDOUT:
        numbered = ((number, line.rstrip("\n")) for number, line in enumerate(lines, 1))
        found = read_tensors(numbered, "stdin", rows.shape, rows.dtype)
    else:
        found = read_files(find_files(args.tensor_fn, part.index, part.count), rows.shape, rows.dtype)
    blocks = make_bins.label_text(found, Path(args.var_fn), bed)
    make_bins.write_examples(Path(args.bin_fn), rows, args.platform, blocks, picker)


def bin_format_from(args: argparse.Namespace, platform: str) -> BinFormat:
    """The rows that --pileup, --enable_dwell_time and a platform ask for. Raises ConfigError."""
    return BinFormat.of(PILEUP if args.pileup else FULL_ALIGNMENT, platform, args.enable_dwell_time)


def merge(args: argparse.Namespace) -> None:
    """Write the bin that MergeBin asks for. Raises ClairError."""
    output, inputs = Path(args.out_fn), [Path(name) for name in args.bins]
    if output.exists() and any(path.exists() and output.samefile(path) for path in inputs):
        raise ConfigError(f"--out_fn={output} is one of the bins to be merged; choose another name")
    with Bin(inputs[0]) as first:
        platform = args.platform or first.platform
        wanted = bin_format_from(args, platform or first.format.platforms[0])
    rows = merge_bins(inputs, output, wanted, platform, chunk_rows=args.chunk_rows)
    logger.info("%s: %d rows of %d bins", output, rows, len(inputs))


class CreateTensorPileup:
    """Write the pileup tensors of a contig, or of a part of it, as text."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser, TEXT, PILEUP)

    @staticmethod
    def run(args):
        write_text(args, PILEUP)


class CreateTensorPileupFromCffi:
    """Write the pileup tensors of a contig, or of a part of it, as text, as CreateTensorPileup does."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser, TEXT, PILEUP)

    @staticmethod
    def run(args):
        write_text(args, PILEUP)


class CreateTensorFullAlignment:
    """Write the full-alignment tensors of a contig's candidates as text."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser, TEXT, FULL_ALIGNMENT)

    @staticmethod
    def run(args):
        write_text(args, FULL_ALIGNMENT)


class CreateTensorFullAlignmentFromCffi:
    """Write the full-alignment tensors of a contig's candidates as text, as CreateTensorFullAlignment does."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser, TEXT, FULL_ALIGNMENT)

    @staticmethod
    def run(args):
        write_text(args, FULL_ALIGNMENT)


class CreateTrainingTensor:
    """Make a training bin with the options of v2.0.2's older way."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser, LEGACY)

    @staticmethod
    def run(args):
        write_bin(args, LEGACY)


class CreateTrainingTensorDirect:
    """Make a training bin from the reads and the truth of a contig, or of a part of it."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser, DIRECT)

    @staticmethod
    def run(args):
        write_bin(args, DIRECT)

    @staticmethod
    def check(args):
        """Raises ConfigError for options that run would refuse, without reading alignments or truth."""
        tensor_job(args, PILEUP if args.pileup else FULL_ALIGNMENT)
        make_example_picker(args)


class Tensor2Bin:
    """Label tensors that come as text, and write them as a training bin."""

    @staticmethod
    def add_arguments(parser):
        options.add_platform(parser)
        add_output(parser)
        parser.add_argument(
            "--var_fn", required=True, type=arguments.required_text, metavar="FILE", help="GetTruth's file"
        )
        parser.add_argument(
            "--tensor_fn", default="PIPE", metavar="FILE", help="or the beginning of names; default: stdin"
        )
        options.add_texts(parser, "bed_fn")
        for name in ("chunk_id", "chunk_num"):
            parser.add_argument(f"--{name}", type=int, metavar="N", help="part of the files")
        parser.add_argument("--pileup", action="store_true", help="pileup tensors, else full alignment")
        parser.add_argument("--enable_dwell_time", action="store_true", help="tensors have nine channels")
        options.add_accepted(parser, "candidate_details_fn_prefix")

    @staticmethod
    def run(args):
        text_to_bin(args, sys.stdin)


class MergeBin:
    """Write the rows of training bins one after the other into one."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("bins", nargs="+", metavar="BIN")
        parser.add_argument(
            "--out_fn", required=True, type=arguments.required_text, metavar="FILE", help="the bin to write"
        )
        parser.add_argument("--platform", choices=list(PLATFORMS), help="default: that of the first bin")
        parser.add_argument("--pileup", action="store_true", help="bins of pileup tensors, else of full alignment")
        parser.add_argument("--enable_dwell_time", action="store_true", help="tensors have nine channels")
        parser.add_argument(
            "--chunk_rows",
            type=int,
            default=CHUNK_ROWS,
            metavar="N",
            help="rows unpacked together; fewer make random access faster and files larger (default: %(default)s)",
        )

    @staticmethod
    def run(args):
        errors.check_range("chunk_rows", args.chunk_rows, 1, 10_000)
        merge(args)
