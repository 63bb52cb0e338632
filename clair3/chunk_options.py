"""The options of CallVariantsFromCffi and CallVarBam, and what they ask for (spec/cli.md 8)."""

import argparse
import logging
from pathlib import Path

from clair3 import compute, submodules
from clair3.chunk_calling import ChunkCall, Part
from clair3.config import CallingConfig
from clair3.genotyping import DecodeRule
from clair3.gvcf import BlockRule
from clair3.models import find_checkpoint
from clair3.options import FAST_MIN_COVERAGE, FAST_SNP_MIN_AF, add_conv_padding, haploid_mode
from clair3.task.main import FULL_ALIGNMENT, PILEUP
from preprocess.candidates import LONG_INDEL_LENGTH, CandidateRule
from shared.cli import add_switch
from shared.errors import ConfigError, UsageError
from shared.platforms import PLATFORMS
from shared.process import usable_threads
from shared.whole_files import make_folder

logger = logging.getLogger(__name__)

STDOUT = "PIPE"

SWITCHES = (
    "fast_mode",
    "call_snp_only",
    "enable_variant_calling_at_sequence_head_and_tail",
    "gvcf",
    "enable_long_indel",
    "keep_iupac_bases",
    "no_phasing_for_fa",
    "enable_dwell_time",
)
FLAGS = ("bp_resolution", "haploid_precise", "haploid_sensitive", "pileup", "add_indel_length")


def add_arguments(parser: argparse.ArgumentParser, indel_min_af: float) -> None:
    """What both sub-commands have in common; indel_min_af is the default in which they differ."""
    submodules.add_platform(parser)
    for name in ("bam_fn", "ref_fn", "ctgName", "chkpnt_fn", "call_fn"):
        parser.add_argument(f"--{name}", required=True, metavar="TEXT")
    submodules.add_texts(parser, "bed_fn", "vcf_fn", "cmd_fn", "full_aln_regions", "phased_vcf_fn", "extend_bed")
    parser.add_argument("--sampleName", default="SAMPLE", metavar="NAME")
    for name, kind, default in (
        ("threads", int, 1),
        ("chunk_id", int, None),
        ("chunk_num", int, None),
        ("snp_min_af", float, CandidateRule.snp_min_af),
        ("indel_min_af", float, indel_min_af),
        ("minCoverage", int, CandidateRule.min_coverage),
        ("minMQ", int, CandidateRule.min_mapq),
        ("base_err", float, 0.001),
        ("gq_bin_size", int, 5),
        ("qual", int, 2),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help="default: %(default)s")
    parser.add_argument("--temp_file_dir", default=".", metavar="DIR", help="where --gvcf leaves its blocks")
    parser.add_argument("--minBQ", type=int, choices=[0], default=0, help="only 0 is in this version")
    parser.add_argument("--tensor_can_fn", choices=[STDOUT], default=STDOUT, help=submodules.HIDDEN)
    parser.add_argument("--tensor_fn", choices=[STDOUT], default=STDOUT, help=submodules.HIDDEN)
    add_conv_padding(parser)
    for name in SWITCHES:
        add_switch(parser, f"--{name}", help="as in run_clair3")
    for name in FLAGS:
        parser.add_argument(f"--{name}", action="store_true")
    submodules.add_accepted(parser, "samtools", "gpu_id", "max_gpu_memory", "cpu_threads")
    submodules.add_refused(parser, "ctgStart", "ctgEnd", "predict_fn")


def add_cffi_arguments(parser: argparse.ArgumentParser, use_gpu: bool) -> None:
    """Options of CallVariantsFromCffi and CallVariantsFromCffiGPU; use_gpu is the default in which they differ."""
    add_arguments(parser, indel_min_af=0.15)
    add_device_arguments(parser, use_gpu)
    add_switch(parser, "--showRef", default=True, help="write reference calls too")
    parser.add_argument("--max_depth", type=int, choices=[144], default=144, help="only 144 is in this version")
    submodules.add_accepted(parser, flags=("debug",))
    flags = ("use_triton_gpu", "input_probabilities", "output_probabilities", "is_from_tables", "output_for_ensemble")
    submodules.add_refused(parser, "output_tensor_can_fn_list", flags=flags)


def add_device_arguments(parser: argparse.ArgumentParser, use_gpu: bool) -> None:
    """Where the network runs, of the sub-commands that can use GPUs; use_gpu is the default in which they differ."""
    add_switch(parser, "--use_gpu", default=use_gpu, help="run the network on GPUs")
    compute.add_arguments(parser)
    parser.set_defaults(gpu_by_default=use_gpu)


def compute_of(args: argparse.Namespace, threads: int) -> compute.Compute:
    """The device that the options choose, --gpu_id too; the CPU without options. Raises ConfigError as a run does."""
    if not hasattr(args, "device"):
        return compute.Compute()
    if args.use_gpu and args.gpu_id is not None:
        if args.device is not None:
            raise ConfigError(f"--gpu_id={args.gpu_id} and --device={args.device}: give one of them")
        args.device = f"cuda:{args.gpu_id}"
    if args.gpu_by_default and args.device is not None:
        args.use_gpu = False  # nobody asked for it
    return compute.compute_from(args, threads)


def call(args: argparse.Namespace, show_ref: bool) -> None:
    """Do what the options say. Raises UsageError for what is not in this version, other ClairErrors as in a run."""
    submodules.refuse(args)
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
        chunk.call_pileup(part_of(args), make_folder(args.temp_file_dir) if args.gvcf else Path())
    else:
        chunk.call_full_alignment(Path(args.full_aln_regions), phased_of(args))


def part_of(args: argparse.Namespace) -> Part:
    """Which chunk; the whole contig without any. Raises UsageError when half of it is given."""
    if (args.chunk_id is None) != (args.chunk_num is None):
        raise UsageError("--chunk_id and --chunk_num go together")
    return Part() if args.chunk_id is None else Part(args.chunk_id - 1, args.chunk_num)


def phased_of(args: argparse.Namespace) -> Path | None:
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


def candidate_rule(args: argparse.Namespace) -> CandidateRule:
    """Thresholds as the submodules' options have them. Raises ConfigError when one is out of range."""
    fast = args.fast_mode and args.platform == "ont"
    return CandidateRule(
        min_mapq=args.minMQ,
        min_coverage=max(args.minCoverage, FAST_MIN_COVERAGE) if fast else args.minCoverage,
        snp_min_af=max(args.snp_min_af, FAST_SNP_MIN_AF) if fast else args.snp_min_af,
        indel_min_af=args.indel_min_af,
        snp_only=args.call_snp_only,
        head_and_tail=args.enable_variant_calling_at_sequence_head_and_tail,
        max_indel_length=LONG_INDEL_LENGTH if args.enable_long_indel else CandidateRule.max_indel_length,
        scripted=PLATFORMS[args.platform].short_reads,
        known_sites=PLATFORMS[args.platform].short_reads and bool(args.vcf_fn),
    )


def chunk_call(args: argparse.Namespace, show_ref: bool) -> ChunkCall:
    """The checked options. Raises ConfigError and InputError for values and files that cannot be used."""
    if args.bed_fn and args.vcf_fn:
        raise ConfigError("Please provide either --vcf_fn or --bed_fn only")
    kind, checkpoint = PILEUP if args.pileup else FULL_ALIGNMENT, Path(args.chkpnt_fn)
    output = None if args.call_fn == STDOUT else Path(args.call_fn)
    candidates = candidate_rule(args)
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
        blocks=BlockRule(args.base_err, args.gq_bin_size, args.bp_resolution),
        candidates=candidates,
        dwell=args.enable_dwell_time,
        haplotype_tags=uses_tags(args),
        conv_padding=args.conv_padding,
        compute=compute_of(args, threads),
        command_line=submodules.command_of(args.cmd_fn),
    ).resolved()
    rules = {"enable_long_indel": args.enable_long_indel, "keep_iupac_bases": args.keep_iupac_bases}
    decoding = DecodeRule(gvcf=args.gvcf, haploid=haploid_mode(args), show_ref=show_ref, qual=args.qual, **rules)
    return ChunkCall(config, decoding, find_checkpoint(checkpoint.parent, kind, checkpoint.name), output)
