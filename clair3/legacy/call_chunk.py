"""Calling one chunk or one candidate file on its own, as the sub-commands of v2.0.2 do it (spec/cli.md 5.2, 8).

The work is the run's own stage (clair3.calling.stages) with a ledger in a temporary folder; what comes out is one VCF.
"""

import argparse
import importlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pysam

from clair3.calling.record_sources import StageRecords
from clair3.calling.selection import Block
from clair3.calling.tasks import Ledger
from clair3.cli.arguments import add_compute, add_conv_padding, add_switch, haploid_mode, make_compute
from clair3.config import CallingConfig, CandidateOptions, Compute, DecodeOptions, GvcfOptions
from clair3.errors import ConfigError, UsageError
from clair3.features.chunks import plan_chunks
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.inference.checkpoint import find_checkpoint
from clair3.inference.compute import take_devices
from clair3.io.atomic import make_folder, require_folder, write_lines
from clair3.io.bed import clip, pad
from clair3.io.candidate_files import Part, parse_part, read_candidates
from clair3.io.fasta import Contig
from clair3.io.first_reads import check_moves
from clair3.io.gvcf import Blocks, Cell
from clair3.io.inputs import RunInputs, check_inputs
from clair3.io.vcf import reference_header, write_calls
from clair3.legacy import options
from clair3.legacy.options import STDOUT
from clair3.phasing.phasers import read_phased
from clair3.platforms import PLATFORMS, Platform
from clair3.records import Task
from clair3.tensor_shapes import RESCALE_DEPTH
from clair3.util.process import usable_threads

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChunkCall:
    """One call of the sub-command.

    config    the inputs and rules, of one contig
    decoding  what is written of the calls
    model     the file of the network
    output    the VCF to write, not compressed; None: stdout
    """

    config: CallingConfig
    decoding: DecodeOptions
    model: Path
    output: Path | None

    def call_pileup(self, part: Part, blocks_folder: Path) -> None:
        """Call a chunk with the pileup network; with config.gvcf its blocks are left in blocks_folder.

        Raises ClairError; no file is left under a final name then.
        """
        environment = self.check_inputs()
        for contig in environment.contigs:
            cell, owned = bounds(contig, environment.targets, part, sites=self.config.sites is not None)
            allowed = np.array([owned]) if environment.allowed is None else environment.allowed[contig.name]
            gvcf = self.config.writes_gvcf and cell.start < cell.end
            span = (min(cell.start, owned[0]), min(max(cell.end + 1, owned[1]), contig.length))
            tasks = plan_chunks(
                [contig],
                {contig.name: clip(allowed, *owned)},
                self.config.chunk_size,
                {contig.name: span} if gvcf else None,
            )
            self.call(PILEUP, environment, tasks, blocks=(contig, cell, blocks_folder) if gvcf else None)

    def call_full_alignment(self, candidates: Path, phased: Path | None) -> None:
        """Call the candidates of a file with the full-alignment network; phased is the contig's phased VCF.

        Raises ClairError; no file is left under a final name then.
        """
        environment = self.check_inputs()
        for contig in environment.contigs:
            short_reads = PLATFORMS[self.config.platform].short_reads
            pos = read_candidates(candidates, contig.name, short_reads)
            snps = {contig.name: read_phased(phased, contig.name, heterozygous=short_reads)} if phased else {}
            blocks = [Block(contig.name, 0, 1, pos, short_reads)] if len(pos) else []
            self.call(FULL_ALIGNMENT, environment, blocks, snps)

    def check_inputs(self) -> RunInputs:
        """The checked inputs; the result of an earlier call goes first."""
        config = self.config
        if self.output:
            require_folder(self.output)
            self.output.unlink(missing_ok=True)
        found = check_inputs(config.bam, config.reference, bed=config.bed, sites=config.sites, names=config.ctg_names)
        if config.dwell:
            check_moves(found.alignments, found.reference)
        return found

    def call(self, kind: str, environment: RunInputs, tasks: Sequence[Task], *snps, blocks=None) -> None:
        """Run a stage over the tasks and write its records; blocks: contig, cell and folder of a gVCF."""
        with tempfile.TemporaryDirectory(prefix=".clair3_", dir=self.output and self.output.parent) as folder:
            stages = importlib.import_module("clair3.calling.stages")  # torch takes a second to load
            ledger = Ledger(Path(folder), kind, "", site_counts=self.config.writes_gvcf and kind == PILEUP)
            make = stages.pileup_caller if kind == PILEUP else partial(stages.full_alignment_caller, blocks=tasks)
            caller = make(self.config, environment, self.model, ledger, *snps)
            stages.call_tasks(replace(caller, decoding=self.decoding), tasks, self.config.workers)
            if blocks:
                self.write_blocks(environment, tasks, ledger, *blocks)
            self.write(environment, StageRecords(ledger, tasks))

    def write(self, environment: RunInputs, records: StageRecords) -> None:
        config = self.config
        header = reference_header(environment.reference, config.sample_name, config.command_line).splitlines()
        write_calls(self.output, header, records.iter_all())

    def write_blocks(
        self, environment: RunInputs, tasks: Sequence[Task], ledger: Ledger, contig: Contig, cell: Cell, folder: Path
    ) -> None:
        """Write the block lines of a chunk under v2.0.2's name (spec/calling.md 6.4)."""
        config = self.config
        header = reference_header(
            environment.reference, config.sample_name, config.command_line, gvcf=True
        ).splitlines()
        name = f"{config.sample_name}.{contig.name}.{cell.start + 1}.{cell.end + 1}.tmp.gvcf"

        def lines() -> Iterator[str]:
            blocks = Blocks(contig.name, contig.length, [cell], config.blocks)
            with pysam.FastaFile(str(environment.reference.path)) as fasta:
                for task in tasks:
                    skipped = max(0, cell.start - task.start)
                    if task.start + skipped < task.end:
                        letters = fasta.fetch(contig.name, task.start + skipped, task.end).encode()
                        site_counts = ledger.read_site_counts(task)[:, skipped:]
                        yield from blocks.feed(task.start + skipped, letters, *site_counts).decode().splitlines()
            yield from blocks.finish().decode().splitlines()

        write_lines(folder / name, (line for part in (header, lines()) for line in part))


def bounds(contig: Contig, targets: dict | None, part: Part, sites: bool) -> tuple[Cell, tuple[int, int]]:
    """The cell of a chunk's gVCF blocks, and the positions [start, end) whose candidates it owns, 0-based.

    Cells are the chunks of spec/cli.md 5.2. The chunks of a contig own all its positions, each once, so that together
    they give what the run gives: the first also owns what lies before its cell, the last what lies behind.
    targets are BED intervals or, with sites, known positions of each contig; None for the whole contig.
    """
    index, last = part.index, part.index == part.count - 1
    if targets is not None and sites:
        known = targets[contig.name]
        size = max(1, -(-len(known) // part.count))
        run = known[size * index : size * (index + 1)]
        if not len(run):
            return Cell(0, 0), (0, 0)
        return Cell(int(run[0]), min(int(run[-1]), contig.length)), (int(run[0]), min(int(run[-1]) + 1, contig.length))
    if targets is not None:
        padded = pad(targets[contig.name])
        first, behind = int(padded[:, 0].min()), int(padded[:, 1].max())
        size = -(-(behind - first) // part.count)
        start, end = first + size * index, first + size * (index + 1)
    else:  # counted from 0 in 1-based positions, so one base to the left
        size = -(-contig.length // part.count)
        start, end = max(size * index - 1, 0), size * (index + 1) - 1
    start, end = min(start, contig.length), min(end, contig.length)
    return Cell(start, end), (0 if index == 0 else start, contig.length if last else end)


SWITCHES = (
    "gvcf",
    "keep_iupac_bases",
    "keep_ref_case",
    "no_phasing_for_fa",
    "enable_dwell_time",
)
FLAGS = ("bp_resolution", "haploid_precise", "haploid_sensitive", "pileup", "add_indel_length")


def add_arguments(parser: argparse.ArgumentParser, indel_min_af: float) -> None:
    """What both sub-commands have in common; indel_min_af is the default in which they differ."""
    options.add_platform(parser)
    for name in ("bam_fn", "ref_fn", "ctgName", "chkpnt_fn", "call_fn"):
        parser.add_argument(f"--{name}", required=True, metavar="TEXT")
    options.add_texts(parser, "bed_fn", "vcf_fn", "cmd_fn", "full_aln_regions", "phased_vcf_fn", "extend_bed")
    options.add_sample(parser)
    options.add_candidate_thresholds(parser, indel_min_af)
    for name in ("chunk_id", "chunk_num"):
        parser.add_argument(f"--{name}", type=int, metavar="N")
    options.add_number(parser, "threads", 1)
    options.add_number(parser, "base_err", GvcfOptions.base_err)
    options.add_number(parser, "gq_bin_size", GvcfOptions.gq_bin_size)
    options.add_number(parser, "qual", DecodeOptions.qual)
    parser.add_argument("--temp_file_dir", default=".", metavar="DIR", help="where --gvcf leaves its blocks")
    parser.add_argument("--tensor_can_fn", choices=[STDOUT], default=STDOUT, help=options.HIDDEN)
    parser.add_argument("--tensor_fn", choices=[STDOUT], default=STDOUT, help=options.HIDDEN)
    add_conv_padding(parser)
    for name in SWITCHES:
        add_switch(parser, f"--{name}", help="as in run_clair3")
    for name in FLAGS:
        parser.add_argument(f"--{name}", action="store_true")
    options.add_accepted(parser, "samtools", "gpu_id", "max_gpu_memory", "cpu_threads")
    options.add_refused(parser, "ctgStart", "ctgEnd", "predict_fn")


def add_cffi_arguments(parser: argparse.ArgumentParser, use_gpu: bool) -> None:
    """Options of CallVariantsFromCffi and CallVariantsFromCffiGPU; use_gpu is the default in which they differ."""
    add_arguments(parser, CandidateOptions.indel_min_af)
    add_device_arguments(parser, use_gpu)
    add_switch(parser, "--showRef", default=True, help="write reference calls too")
    parser.add_argument(
        "--max_depth",
        type=int,
        choices=[RESCALE_DEPTH],
        default=RESCALE_DEPTH,
        help="only %(default)s is in this version",
    )
    options.add_accepted(parser, flags=("debug",))
    flags = ("use_triton_gpu", "input_probabilities", "output_probabilities", "is_from_tables", "output_for_ensemble")
    options.add_refused(parser, "output_tensor_can_fn_list", flags=flags)


def add_device_arguments(parser: argparse.ArgumentParser, use_gpu: bool) -> None:
    """Where the network runs, of the sub-commands that can use GPUs; use_gpu is the default in which they differ."""
    add_switch(parser, "--use_gpu", default=use_gpu, help="run the network on GPUs")
    add_compute(parser)
    parser.set_defaults(gpu_by_default=use_gpu)


def compute_options(args: argparse.Namespace, threads: int) -> Compute:
    """The device that the options choose, --gpu_id too; the CPU without options. Raises ConfigError as a run does."""
    if not hasattr(args, "device"):
        return Compute()
    if args.use_gpu and args.gpu_id is not None:
        if args.device is not None:
            raise ConfigError(f"--gpu_id={args.gpu_id} and --device={args.device}: give one of them")
        args.device = f"cuda:{args.gpu_id}"
    if args.gpu_by_default and args.device is not None:
        args.use_gpu = False  # nobody asked for it
    return make_compute(args, threads)


def call(args: argparse.Namespace, show_ref: bool) -> None:
    """Do what the options say. Raises UsageError for what is not in this version, other ClairErrors as in a run."""
    options.refuse(args)
    if args.pileup and args.enable_dwell_time:
        raise UsageError("--enable_dwell_time is for full alignment; leave it or --pileup out")
    if args.pileup and args.add_indel_length:
        raise UsageError("--add_indel_length is for full alignment; leave it or --pileup out")
    if not args.pileup and args.full_aln_regions is None:
        raise UsageError("--full_aln_regions is needed for full alignment; for pileup calling add --pileup")
    if args.pileup and args.extend_bed and Path(args.extend_bed).is_file() and not (args.bed_fn or args.vcf_fn):
        raise UsageError("--extend_bed alone is not in this version; give the --bed_fn or --vcf_fn it was made of")
    chunk = chunk_call(args, show_ref)
    if args.pileup:
        chunk.call_pileup(parse_part(args), make_folder(args.temp_file_dir) if args.gvcf else Path())
    else:
        chunk.call_full_alignment(Path(args.full_aln_regions), phased_vcf(args))


def phased_vcf(args: argparse.Namespace) -> Path | None:
    """The phased VCF; a file that is not there leaves all reads untagged (spec/calling.md 7.2)."""
    if args.no_phasing_for_fa or args.phased_vcf_fn is None:
        return None
    path = Path(args.phased_vcf_fn)
    if not path.is_file():
        logger.warning("%s not found: the reads have no haplotypes", path)
        return None
    return path


def uses_tags(args: argparse.Namespace) -> bool:
    """Whether reads belong to the haplotypes of their HP tags: when asked for, and short reads also without phasing, as
    in a run (spec/calling.md 7.2)."""
    asked = getattr(args, "phasing_info_in_bam", False)
    if asked and args.phased_vcf_fn:
        logger.warning("haplotypes are taken from --phased_vcf_fn, not from the HP tags (--phasing_info_in_bam)")
        return False
    return asked or (args.no_phasing_for_fa and PLATFORMS[args.platform].short_reads)


def chunk_call(args: argparse.Namespace, show_ref: bool) -> ChunkCall:
    """The checked options. Raises ConfigError and InputError for values and files that cannot be used."""
    if args.bed_fn and args.vcf_fn:
        raise ConfigError("Please provide either --vcf_fn or --bed_fn only")
    kind, checkpoint = PILEUP if args.pileup else FULL_ALIGNMENT, Path(args.chkpnt_fn)
    output = None if args.call_fn == STDOUT else Path(args.call_fn)
    candidates = options.make_candidate_options(args)
    threads = usable_threads(args.threads)
    config = CallingConfig(
        bam=Path(args.bam_fn).absolute(),
        reference=Path(args.ref_fn).absolute(),
        model_dir=checkpoint.parent,
        threads=threads,
        platform=args.platform,
        output=output.parent if output else Path(),
        bed=Path(args.bed_fn) if args.bed_fn else None,
        sites=Path(args.vcf_fn) if args.vcf_fn else None,
        ctg_names=(args.ctgName,),
        sample_name=args.sampleName,
        gvcf=args.gvcf,
        blocks=GvcfOptions(args.base_err, args.gq_bin_size, args.bp_resolution),
        candidates=candidates,
        dwell=args.enable_dwell_time,
        haplotype_tags=uses_tags(args),
        conv_padding=args.conv_padding,
        compute=take_devices(compute_options(args, threads)),
        command_line=options.read_command_line(args.cmd_fn),
    )
    rules = {name: getattr(args, name) for name in ("gvcf", "enable_long_indel", "keep_iupac_bases", "keep_ref_case")}
    decoding = DecodeOptions(haploid=haploid_mode(args), show_ref=show_ref, qual=args.qual, **rules)
    return ChunkCall(config, decoding, find_checkpoint(checkpoint.parent, kind, checkpoint.name), output)


class CallVarBam:
    """Call one chunk or one candidate file from the alignments; the engine is that of CallVariantsFromCffi."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser, Platform.indel_min_af)
        parser.add_argument("--showRef", action="store_false", help="leave reference calls out")
        options.add_accepted(parser, "torch_threads", "delay", "pypy", "python", "use_gpu", flags=("need_realignment",))
        parser.add_argument("--phasing_info_in_bam", action="store_true", help="haplotypes are those of the HP tags")
        options.add_refused(parser, "min_af", flags=("need_phasing",))

    @staticmethod
    def run(args):
        call(args, args.showRef)


class CallVariantsFromCffi:
    """Call one chunk of a contig with the pileup network, or one candidate file with the full-alignment network."""

    @staticmethod
    def add_arguments(parser):
        add_cffi_arguments(parser, use_gpu=False)

    @staticmethod
    def run(args):
        call(args, args.showRef)


class CallVariantsFromCffiGPU:
    """Call one chunk of a contig, or one candidate file, on GPUs; the engine is that of CallVariantsFromCffi."""

    @staticmethod
    def add_arguments(parser):
        add_cffi_arguments(parser, use_gpu=True)
        options.add_accepted(parser, "parallel", "pypy", "python", "gpu_threads", "internal_threads")
        options.add_refused(parser, "output_dir", "full_aln_files")

    @staticmethod
    def run(args):
        call(args, args.showRef)
