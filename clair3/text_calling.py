"""Calling from tensors that come as text: the second half of v2.0.2's scripted pipeline (spec/cli.md 8)."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from clair3 import chunk_options, devices, submodules, vcf
from clair3.bin_format import BinFormat
from clair3.checkpoint import load_model
from clair3.core import CancelFlag
from clair3.device_queue import DeviceQueue, InWorker
from clair3.genotyping import DecodeRule, decode
from clair3.inference import rescale_deep
from clair3.models import find_checkpoint
from clair3.options import haploid_mode
from clair3.stages import INFO
from clair3.task.main import FULL_ALIGNMENT, PILEUP, WIDTH
from clair3.tensor_options import format_of
from clair3.workspace import header_without_files
from preprocess.tensor_text import find_files, parse_support, read_files, read_tensors
from preprocess.training_tensors import Candidates
from shared.cli import add_switch, required_text
from shared.process import usable_threads

SWITCHES = ("gvcf", "enable_long_indel", "keep_iupac_bases", "add_indel_length")
FLAGS = ("pileup", "enable_dwell_time", "haploid_precise", "haploid_sensitive", "showRef")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of CallVariants."""
    submodules.add_platform(parser)
    for name, what in (("chkpnt_fn", "the network"), ("call_fn", f"the VCF, or {chunk_options.STDOUT} for stdout")):
        parser.add_argument(f"--{name}", required=True, type=required_text, metavar="FILE", help=what)
    parser.add_argument("--tensor_fn", default=chunk_options.STDOUT, metavar="FILE", help="default: stdin")
    parser.add_argument("--ref_fn", metavar="FASTA", help="for the contigs of the header")
    parser.add_argument("--sampleName", default="SAMPLE", metavar="NAME")
    parser.add_argument("--qual", type=int, default=2, metavar="N", help="calls of less are LowQual (default: 2)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    chunk_options.add_conv_padding(parser)
    chunk_options.add_device_arguments(parser, use_gpu=False)
    for name in SWITCHES:
        add_switch(parser, f"--{name}", help="as in run_clair3" if name != "add_indel_length" else "no effect")
    for name in FLAGS:
        parser.add_argument(f"--{name}", action="store_true")
    submodules.add_texts(parser, "cmd_fn")
    submodules.add_accepted(parser, "bam_fn", "gpu_id", "torch_threads", "samtools", "ctgName", flags=("debug",))
    flags = ("input_probabilities", "output_probabilities", "is_from_tables", "output_for_ensemble")
    submodules.add_refused(parser, "predict_fn", "temp_file_dir", flags=flags)


def run(args: argparse.Namespace) -> None:
    """Call the candidates of the text. Raises ClairError; the VCF is complete or absent."""
    submodules.refuse(args)
    rows = format_of(args, args.platform)
    haploid = haploid_mode(args)
    decoding = DecodeRule(
        args.gvcf, haploid, args.enable_long_indel, args.keep_iupac_bases, show_ref=args.showRef, qual=args.qual
    )
    with closing(make_inference(args, rows)) as inference:
        write(args, call(tensors_of(args, rows, sys.stdin), rows.kind, inference, decoding))


def make_inference(args: argparse.Namespace, rows: BinFormat) -> InWorker | DeviceQueue:
    """The network, where the options want it. Raises InputError and ConfigError when it cannot be."""
    path, compute = Path(args.chkpnt_fn), chunk_options.compute_of(args, usable_threads(args.threads))
    file = find_checkpoint(path.parent, rows.kind, path.name)
    if rows.kind == PILEUP:
        model = load_model(file, PILEUP)
    else:
        wanted = {"heads": 4, "channels": rows.channels, "depth": rows.rows, "conv_padding": args.conv_padding}
        model = load_model(file, FULL_ALIGNMENT, **wanted)
    return devices.make_inference(devices.resolve(compute), model)


def tensors_of(args: argparse.Namespace, rows: BinFormat, stdin: Iterable[str]) -> Iterator[Candidates]:
    """Candidates of the file of tensors, or of stdin. Raises InputError when it is none."""
    if args.tensor_fn != chunk_options.STDOUT:
        return read_files(find_files(args.tensor_fn), rows.shape, rows.dtype)
    numbered = ((number, line.rstrip("\n")) for number, line in enumerate(stdin, 1))
    return read_tensors(numbered, "stdin", rows.shape, rows.dtype)


def call(
    candidates: Iterable[Candidates], kind: str, inference: InWorker | DeviceQueue, decoding: DecodeRule
) -> Iterator[str]:
    """VCF lines of candidates, in their order. Raises InputError for what no network or decoder takes."""
    for batch in candidates:
        support = parse_support(batch.alt_info)
        tensors = rescale_deep(batch.tensors, support.depth) if kind == PILEUP else batch.tensors
        probabilities = inference.submit(tensors, CancelFlag())()[:, : WIDTH[kind]]
        for found in decode(probabilities, batch.centres(), batch.pos, support, decoding, kind):
            yield vcf.row(batch.contig, found, INFO[kind])


def write(args: argparse.Namespace, lines: Iterator[str]) -> None:
    """Write the VCF; the result of an earlier call goes first."""
    header = header_without_files(args.ref_fn, args.sampleName, submodules.command_of(args.cmd_fn))
    path = None if args.call_fn == chunk_options.STDOUT else Path(args.call_fn)
    if path:
        path.unlink(missing_ok=True)
    vcf.write_calls(path, header, lines)
