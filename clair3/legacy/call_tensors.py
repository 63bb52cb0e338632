"""Calling from tensors that come as text: the second half of v2.0.2's scripted pipeline (spec/cli.md 8)."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from clair3.calling.stages import INFO
from clair3.cli.arguments import add_conv_padding, add_switch, haploid_mode, required_text
from clair3.config import DecodeOptions
from clair3.core import CancelFlag
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP, WIDTH
from clair3.genotype.decode import decode
from clair3.inference import devices
from clair3.inference.checkpoint import find_checkpoint, load_model
from clair3.inference.executors import DeviceExecutor, LocalExecutor
from clair3.inference.predictor import rescale_deep
from clair3.io import vcf
from clair3.io.bins import BinFormat
from clair3.legacy import call_chunk, options
from clair3.legacy.check_envs import header_without_files
from clair3.legacy.tensor_text import find_files, parse_support, read_files, read_tensors
from clair3.legacy.tensors import bin_format_from
from clair3.training.data.examples import Candidates
from clair3.util.process import usable_threads

SWITCHES = ("gvcf", "enable_long_indel", "keep_iupac_bases", "keep_ref_case", "add_indel_length")
FLAGS = ("pileup", "enable_dwell_time", "haploid_precise", "haploid_sensitive", "showRef")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of CallVariants."""
    options.add_platform(parser)
    for name, what in (("chkpnt_fn", "the network"), ("call_fn", f"the VCF, or {options.STDOUT} for stdout")):
        parser.add_argument(f"--{name}", required=True, type=required_text, metavar="FILE", help=what)
    parser.add_argument("--tensor_fn", default=options.STDOUT, metavar="FILE", help="default: stdin")
    parser.add_argument("--ref_fn", metavar="FASTA", help="for the contigs of the header")
    options.add_sample(parser)
    options.add_number(parser, "qual", DecodeOptions.qual, "calls of less are LowQual")
    options.add_number(parser, "threads", 1)
    add_conv_padding(parser)
    call_chunk.add_device_arguments(parser, use_gpu=False)
    for name in SWITCHES:
        add_switch(parser, f"--{name}", help="as in run_clair3" if name != "add_indel_length" else "no effect")
    for name in FLAGS:
        parser.add_argument(f"--{name}", action="store_true")
    options.add_texts(parser, "cmd_fn")
    options.add_accepted(parser, "bam_fn", "gpu_id", "torch_threads", "samtools", "ctgName", flags=("debug",))
    flags = ("input_probabilities", "output_probabilities", "is_from_tables", "output_for_ensemble")
    options.add_refused(parser, "predict_fn", "temp_file_dir", flags=flags)


def run(args: argparse.Namespace) -> None:
    """Call the candidates of the text. Raises ClairError; the VCF is complete or absent."""
    options.refuse(args)
    rows = bin_format_from(args, args.platform)
    haploid = haploid_mode(args)
    rules = {name: getattr(args, name) for name in ("gvcf", "enable_long_indel", "keep_iupac_bases", "keep_ref_case")}
    decoding = DecodeOptions(haploid=haploid, show_ref=args.showRef, qual=args.qual, **rules)
    with closing(make_inference(args, rows)) as inference:
        write(args, call(iter_tensors(args, rows, sys.stdin), rows.kind, inference, decoding))


def make_inference(args: argparse.Namespace, rows: BinFormat) -> LocalExecutor | DeviceExecutor:
    """The network, where the options want it. Raises InputError and ConfigError when it cannot be."""
    path, compute = Path(args.chkpnt_fn), call_chunk.compute_options(args, usable_threads(args.threads))
    file = find_checkpoint(path.parent, rows.kind, path.name)
    if rows.kind == PILEUP:
        model = load_model(file, PILEUP)
    else:
        wanted = {"heads": 4, "channels": rows.channels, "depth": rows.rows, "conv_padding": args.conv_padding}
        model = load_model(file, FULL_ALIGNMENT, **wanted)
    return devices.make_inference(devices.resolve(compute), model)


def iter_tensors(args: argparse.Namespace, rows: BinFormat, stdin: Iterable[str]) -> Iterator[Candidates]:
    """Candidates of the file of tensors, or of stdin. Raises InputError when it is none."""
    if args.tensor_fn != options.STDOUT:
        return read_files(find_files(args.tensor_fn), rows.shape, rows.dtype)
    numbered = ((number, line.rstrip("\n")) for number, line in enumerate(stdin, 1))
    return read_tensors(numbered, "stdin", rows.shape, rows.dtype)


def call(
    candidates: Iterable[Candidates], kind: str, inference: LocalExecutor | DeviceExecutor, decoding: DecodeOptions
) -> Iterator[vcf.VcfRecord]:
    """VCF records of candidates, in their order. Raises InputError for what no network or decoder takes."""
    for batch in candidates:
        support = parse_support(batch.alt_info)
        tensors = rescale_deep(batch.tensors, support.depth) if kind == PILEUP else batch.tensors
        probabilities = inference.submit(tensors, CancelFlag()).result()[:, : WIDTH[kind]]
        for found in decode(probabilities, batch.centres(), batch.pos, support, decoding, kind):
            yield vcf.make_record(batch.contig, found, INFO[kind])


def write(args: argparse.Namespace, records: Iterator[vcf.VcfRecord]) -> None:
    """Write the VCF; the result of an earlier call goes first."""
    header = header_without_files(args.ref_fn, args.sampleName, options.read_command_line(args.cmd_fn))
    path = None if args.call_fn == options.STDOUT else Path(args.call_fn)
    if path:
        path.unlink(missing_ok=True)
    vcf.write_calls(path, header, records)


class CallVariants:
    """Call candidates whose tensors come as text, from a file or stdin."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser)

    @staticmethod
    def run(args):
        run(args)
