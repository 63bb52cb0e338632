"""The options of a calling run, and the checked configuration they make (spec/cli.md 2, 3, 4)."""

import argparse
import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from clair3.calling.output_folder import LOG_FILE
from clair3.calling.pipeline import call_variants
from clair3.cli.arguments import (
    add_compute,
    add_conv_padding,
    add_switch,
    add_text,
    add_value,
    at_least,
    haploid_mode,
    make_candidate_options,
    make_compute,
    parse_contig_names,
    required_text,
)
from clair3.config import (
    FAST_MIN_COVERAGE,
    FAST_SNP_MIN_AF,
    LONGPHASE,
    WHATSHAP,
    CallingConfig,
    CandidateOptions,
    GvcfOptions,
    SelectionOptions,
)
from clair3.errors import ConfigError, InputError, UsageError, check_range
from clair3.io.bam_index import find_alignment_index
from clair3.io.fasta import find_fai
from clair3.models.choose import is_model_name, resolve_model
from clair3.phasing.phasers import find_longphase, find_whatshap
from clair3.platforms import PLATFORMS, Platform
from clair3.util import log
from clair3.util.process import usable_threads
from clair3.version import COMPATIBLE_VERSION

logger = logging.getLogger(__name__)

MIN_MAPQ, MIN_COVERAGE, MIN_GQ_BIN = 5, 2, 1
"""Lower values of --min_mq, --min_coverage and --gq_bin_size are raised to these (spec/cli.md 3.10, 9.8)."""

HIGHEST_QUAL = 110
"""No call is surer than that (spec/calling.md 3.2)."""

MORE_PHASING_MODELS, MORE_PHASING = ("r941_prom_sup_g5014", "r941_prom_hac_g5014", "ont_guppy5"), 0.8
"""Models whose heterozygous SNPs are phased with another share (spec/cli.md 2.5)."""

MOVE_TABLE_NAMES = ("with_mv", "with_move")
"""A model folder or prefix with such a name was trained with move tables (spec/cli.md 3.14)."""

AS_GIVEN = (
    *("platform", "include_all_ctgs", "sample_name", "qual", "chunk_size", "pileup_model_prefix", "fa_model_prefix"),
    *("pileup_only", "print_ref_calls", "gvcf", "keep_iupac_bases", "keep_ref_case", "enable_long_indel"),
    "remove_intermediate_dir",
    *("whatshap", "longphase", "allow_unphased_contigs", "resume", "command_line", "conv_padding"),
)
"""Options that are fields of CallingConfig by the same name."""

CONTAINER_FOLDER = "/opt/bin"
"""Working folder of the published containers, where a relative path is never what the user means (spec/cli.md 3.1)."""

PHASING_SWITCHES = {
    "use_longphase_for_intermediate_phasing": "phase with LongPhase before full alignment",
    "longphase_for_phasing": "the same, the older name",
    "use_whatshap_for_final_output_phasing": "also write phased_merge_output.vcf.gz, phased by WhatsHap",
    "enable_phasing": "the same, the older name",
    "use_longphase_for_final_output_phasing": "the same by LongPhase; not if WhatsHap is asked for, too",
    "use_whatshap_for_final_output_haplotagging": "also write phased_output.bam, reads with haplotypes",
}
"""Programs between the networks and of the output (spec/cli.md 2.3), and their help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare every option of run_clair3 (spec/cli.md 2)."""
    parser.add_argument("-v", "--version", action="version", version=f"Clair3 v{COMPATIBLE_VERSION}")
    add_inputs(parser)
    add_regions(parser)
    add_candidates(parser)
    add_outputs(parser)
    add_later_stages(parser)
    add_performance(parser)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("input")
    group.add_argument(
        "-b", "--bam_fn", required=True, type=required_text, metavar="BAM", help="sorted, indexed BAM or CRAM"
    )
    group.add_argument(
        "-f", "--ref_fn", required=True, type=required_text, metavar="FASTA", help="indexed reference, plain or bgzip"
    )
    group.add_argument("-p", "--platform", required=True, choices=list(PLATFORMS), help="what sequenced the reads")
    group = parser.add_argument_group("models")
    group.add_argument(
        "-m", "--model_path", type=required_text, metavar="DIR",
        help='folder with the two model files, or a name of "clair3 models list", or auto: chosen by the read groups '
        "(default: a model of this package for the platform, trained on simulated reads)",
    )  # fmt: skip
    add_value(group, "pileup_model_prefix", CallingConfig.pileup_model_prefix, "NAME", "file name without .pt")
    add_value(group, "fa_model_prefix", CallingConfig.fa_model_prefix, "NAME", "file name without .pt")
    add_switch(group, "--enable_dwell_time", help="use the move tables of ONT reads; needs a model trained with them")
    add_conv_padding(group)


def add_regions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("region (default: chr1..22,X,Y and 1..22,X,Y)")
    add_text(group, "bed_fn", "BED", "call in these intervals, padded by 33 bases")
    add_text(group, "vcf_fn", "VCF", "genotype the positions of this VCF only")
    add_text(group, "ctg_name", "A,B", "call these contigs")
    add_switch(group, "--include_all_ctgs", help="call every contig of the reference")
    add_value(group, "min_contig_size", CallingConfig.min_contig_size, "BASES", "skip shorter contigs")


def add_candidates(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("candidate sites (a fraction of 0 stands for the platform's default)")
    add_value(group, "snp_min_af", 0.0, "F", "least fraction of reads with a mismatch")
    add_value(group, "indel_min_af", 0.0, "F", "least fraction of reads with an insertion or deletion")
    add_value(group, "min_mq", CandidateOptions.min_mapq, "N", "least mapping quality of a read")
    add_value(group, "min_coverage", CandidateOptions.min_coverage, "N", "least reads at a candidate")
    add_switch(group, "--call_snp_only", help="candidates are chosen by their mismatches alone")
    add_switch(group, "--fast_mode", help=f"ont: --snp_min_af {FAST_SNP_MIN_AF}, --min_coverage {FAST_MIN_COVERAGE}")
    add_switch(group, "--enable_long_indel", help="call insertions and deletions of more than 50 bases")
    name = "--enable_variant_calling_at_sequence_head_and_tail"
    add_switch(group, name, help="allow candidates whose 16-base flanks are not covered")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", required=True, type=required_text, metavar="DIR", help="output folder, created if needed"
    )
    add_value(group, "sample_name", CallingConfig.sample_name, "NAME", "sample column of the VCF")
    add_value(group, "qual", CallingConfig.qual, "N", "calls of this QUAL or less are LowQual")
    add_switch(group, "--pileup_only", help="stop after the pileup model")
    add_switch(group, "--print_ref_calls", help="also write reference calls (0/0)")
    add_switch(group, "--gvcf", help="also write a gVCF (not with --pileup_only), and PL in every VCF")
    add_switch(group, "--haploid_precise", help="haploid: only 1/1 is a variant")
    add_switch(group, "--haploid_sensitive", help="haploid: 0/1 and 1/1 are variants")
    add_switch(group, "--keep_iupac_bases", help="do not turn letters other than ACGTN into N")
    add_switch(group, "--keep_ref_case", help="leave bases lower case in REF and ALT that are so in the reference")
    add_switch(group, "--remove_intermediate_dir", help="delete the tmp folder of a complete run")
    add_switch(group, "--output_all_contigs_in_gvcf_header", help="keep uncalled contigs in the gVCF header")
    add_value(group, "base_err", GvcfOptions.base_err, "P", "gVCF error rate")
    add_value(group, "gq_bin_size", GvcfOptions.gq_bin_size, "N", "gVCF GQ bin")


def add_later_stages(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("full alignment and phasing (0 stands for the platform's default)")
    add_value(group, "var_pct_full", 0.0, "F", "share of the worst variant calls that are called again")
    add_value(group, "ref_pct_full", 0.0, "F", "share of the worst reference calls that are called again")
    add_value(group, "var_pct_phasing", 0.0, "F", "share of the best heterozygous SNPs used for phasing")
    add_switch(group, "--no_phasing_for_fa", help="do not phase before full alignment")
    name = "--use_whatshap_for_intermediate_phasing"
    add_switch(group, name, default=True, help="no effect: WhatsHap phases unless LongPhase is asked for")
    for name, text in PHASING_SWITCHES.items():
        add_switch(group, f"--{name}", help=text)
    name = "--allow_unphased_contigs"
    add_switch(group, name, help="call a contig that cannot be phased without phase, instead of failing")


def add_performance(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("performance")
    group.add_argument("-t", "--threads", type=int, required=True, metavar="N", help="most threads to use")
    add_value(
        group, "chunk_size", CallingConfig.chunk_size, "BASES", "most bases of a unit of work; no call depends on it"
    )
    add_value(group, "chunk_num", 0, "N", "no effect; accepted for old command lines")
    add_switch(group, "--resume", help="take up the finished parts of an interrupted run in the same output folder")
    add_switch(group, "--use_gpu", help="run the networks on all visible GPUs, or on those of --device")
    add_compute(group)
    add_switch(group, "--disable_c_impl", help="no effect: ont and hifi records are always those of the compiled path")
    group = parser.add_argument_group("tools")
    for name in ("samtools", "python", "pypy", "parallel"):
        add_text(group, name, "PATH", "no effect, the tool is not used")
    add_text(group, "whatshap", "PATH", "phase and haplotag with this program (default: the installed WhatsHap)")
    add_text(group, "longphase", "PATH", "the LongPhase program (default: beside this Python, else on the PATH)")


def config_from(args: argparse.Namespace) -> CallingConfig:
    """Check the options in v2.0.2's order (spec/cli.md 3, 4) and make the configuration.

    Creates the output folder first, as v2.0.2 does (9.17). Raises UsageError for what this version does not do,
    ConfigError and InputError for values and files that cannot be used. The model files are looked at by
    clair3.inference.checkpoint, the contents of the other files by clair3.io.inputs.
    """
    require_absolute(args)
    output = make_output(args.output)
    log.append_to(output / LOG_FILE)  # from here on it has every word, also that of a refusal
    avoid_longphase(args)
    inputs = find_inputs(args)
    model_dir = resolve_model(args.model_path, inputs["bam"], args.platform, args.enable_dwell_time)
    threads = usable_threads(args.threads)
    min_contig_size = at_least(0, args.min_contig_size, "contig size", "min_contig_size")
    candidates = read_candidate_options(args, PLATFORMS[args.platform])
    check_move_tables(args, model_dir)
    check_later_stages(args)
    if inputs["bed"] and inputs["sites"]:
        raise ConfigError("Please provide either --vcf_fn or --bed_fn only")
    return CallingConfig(
        **inputs,
        model_dir=model_dir,
        threads=threads,
        output=output,
        ctg_names=parse_contig_names(args.ctg_name),
        min_contig_size=min_contig_size,
        blocks=GvcfOptions(args.base_err, at_least(MIN_GQ_BIN, args.gq_bin_size, "gq bin size", "gq_bin_size")),
        all_contigs_in_gvcf=args.output_all_contigs_in_gvcf_header,
        haploid=haploid_mode(args),
        candidates=candidates,
        selection=read_selection_options(args, PLATFORMS[args.platform], model_dir),
        phaser=LONGPHASE if wants_longphase(args) else WHATSHAP,
        final_phaser=final_phaser(args),
        haplotag=args.use_whatshap_for_final_output_haplotagging,
        dwell=args.enable_dwell_time,
        haplotype_tags=args.no_phasing_for_fa and PLATFORMS[args.platform].short_reads,
        compute=make_compute(args, threads),
        **{name: getattr(args, name) for name in AS_GIVEN},
    )


def find_inputs(args: argparse.Namespace) -> dict[str, Path | None]:
    """The absolute paths of the input files, by the fields of CallingConfig, when they and their indexes are there, and
    the programs that the run will start. Raises InputError or ConfigError for the first one that is not."""
    bam, reference, bed, sites = (
        Path(os.path.abspath(path)) if path else None for path in (args.bam_fn, args.ref_fn, args.bed_fn, args.vcf_fn)
    )
    find_alignment_index(bam)
    find_fai(reference)
    if wants_longphase(args) or args.use_longphase_for_final_output_phasing:
        find_longphase(args.longphase)
    if args.whatshap or uses_whatshap(args):
        find_whatshap(args.whatshap)
    for path, name in ((bed, "BED"), (sites, "VCF")):
        if path and (path.is_dir() or not path.exists()):
            raise InputError(f"{name} file {path} provides but {'it is a folder' if path.is_dir() else 'not found'}")
    return {"bam": bam, "reference": reference, "bed": bed, "sites": sites}


def require_absolute(args: argparse.Namespace) -> None:
    """Raises ConfigError for a relative path when the program was started in the container's own folder, and for a
    current folder that was deleted."""
    try:
        if os.getcwd() != CONTAINER_FOLDER:
            return
    except FileNotFoundError:
        raise ConfigError("the current folder was deleted; change to another one (cd) and start again") from None
    for name in ("bam_fn", "ref_fn", "model_path", "output", "bed_fn", "vcf_fn"):
        if not (path := getattr(args, name)) or os.path.isabs(path):
            continue
        if name != "model_path" or not is_model_name(path):
            raise ConfigError(f"Require to use absolute file path --{name}=FILE")


def make_output(text: str) -> Path:
    """The output folder, absolute and created. Raises InputError when files cannot be made in it."""
    if not os.path.isabs(text):
        logger.warning("No absolute output path provided, using current directory as prefix")
    output = Path(os.path.abspath(text))
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise InputError(f"{output}: cannot write into this output folder, {error.strerror}") from None
    return output


def read_candidate_options(args: argparse.Namespace, platform: Platform) -> CandidateOptions:
    """Return the rule for candidates with the platform's defaults. Raises ConfigError for values out of range.

    Known sites force both fractions to 0 (spec/cli.md 3.11); --fast_mode acts after that.
    """
    check_range("snp_min_af", args.snp_min_af, 0, 1)
    check_range("indel_min_af", args.indel_min_af, 0, 1)
    snp_min_af = args.snp_min_af or platform.snp_min_af
    indel_min_af = args.indel_min_af or platform.indel_min_af
    if args.vcf_fn:
        if args.snp_min_af or args.indel_min_af:
            logger.warning("--vcf_fn: every known site is a candidate, --snp_min_af and --indel_min_af are not used")
        snp_min_af = indel_min_af = 0.0
    min_coverage = at_least(MIN_COVERAGE, args.min_coverage, "coverage", "min_coverage")
    if args.fast_mode and not platform.fast_mode:
        logger.warning("--fast_mode has no effect with --platform=%s", platform.name)
    min_mapq = at_least(MIN_MAPQ, args.min_mq, "mapping quality", "min_mq")
    return make_candidate_options(args, min_mapq, min_coverage, snp_min_af, indel_min_af)


def read_selection_options(args: argparse.Namespace, platform: Platform, model_dir: Path) -> SelectionOptions:
    """Return the shares with the platform's defaults filled in. Raises ConfigError when one is out of range.

    For three published models v2.0.2 phases with 0.8 of the SNPs whatever the user says (spec/cli.md 2.5, 9.4).
    """
    var_pct_phasing = args.var_pct_phasing or platform.var_pct_phasing
    if model_dir.name in MORE_PHASING_MODELS:
        if args.var_pct_phasing not in (0, MORE_PHASING):
            logger.warning("model %s: --var_pct_phasing is %g, whatever is given", model_dir.name, MORE_PHASING)
        var_pct_phasing = MORE_PHASING
    return SelectionOptions(
        var_pct_full=args.var_pct_full or platform.var_pct_full,
        ref_pct_full=args.ref_pct_full or platform.ref_pct_full,
        var_pct_phasing=None if args.no_phasing_for_fa else var_pct_phasing,
        genotyping=bool(args.vcf_fn),
    )


def avoid_longphase(args: argparse.Namespace) -> None:
    """Phase short reads with WhatsHap, not LongPhase (spec/cli.md 3.4, spec/calling.md C10), with a warning."""
    if not PLATFORMS[args.platform].short_reads:
        return
    if wants_longphase(args) or args.use_longphase_for_final_output_phasing:
        logger.warning("Illumina platform do not support longphase phasing, will enable whatshap phasing!")
    args.use_longphase_for_intermediate_phasing = args.longphase_for_phasing = False
    args.use_whatshap_for_final_output_phasing |= args.use_longphase_for_final_output_phasing
    args.use_longphase_for_final_output_phasing = False


def wants_longphase(args: argparse.Namespace) -> bool:
    """LongPhase between the networks, under its name or the legacy one (spec/cli.md 2.3)."""
    return args.use_longphase_for_intermediate_phasing or args.longphase_for_phasing


def final_phaser(args: argparse.Namespace) -> str | None:
    """The program that phases the output; haplotagging needs one, WhatsHap unless another is asked for (2.3)."""
    if args.use_whatshap_for_final_output_phasing or args.enable_phasing:
        return WHATSHAP
    if args.use_longphase_for_final_output_phasing:
        return LONGPHASE
    return WHATSHAP if args.use_whatshap_for_final_output_haplotagging else None


def uses_whatshap(args: argparse.Namespace) -> bool:
    """Whether the run will phase or haplotag with WhatsHap, if it gets that far."""
    between = not args.no_phasing_for_fa and not wants_longphase(args)
    final = final_phaser(args) == WHATSHAP or args.use_whatshap_for_final_output_haplotagging
    return not args.pileup_only and (between or final)


def check_move_tables(args: argparse.Namespace, model_dir: Path) -> None:
    """Raises ConfigError for a model trained with move tables (spec/cli.md 3.14): without them its calls are wrong."""
    if args.enable_dwell_time and not PLATFORMS[args.platform].move_tables:
        raise ConfigError("Dwell time is not supported for non-ONT platform, disabling option! exit!")
    if args.enable_dwell_time:
        return
    names = (model_dir.name, args.pileup_model_prefix, args.fa_model_prefix)
    if any(mark in name.lower() for name in names for mark in MOVE_TABLE_NAMES):
        raise ConfigError(
            f"model {model_dir.name} is for reads with move tables: it needs --platform=ont and --enable_dwell_time; "
            "add them, or use a model without with_mv or with_move in its name"
        )


def check_later_stages(args: argparse.Namespace) -> None:
    """Check options that have no effect here or only in later stages. Raises ConfigError when one is out of range."""
    for name in ("var_pct_full", "ref_pct_full", "var_pct_phasing"):
        check_range(name, getattr(args, name), 0, 1)
    if args.gvcf and args.pileup_only:
        logger.warning("--gvcf adds PL to the rows of --pileup_only; a gVCF is not written")
    if args.ref_pct_full > 0.3:
        logger.warning("For efficiency, we use a maximum 30% reference candidates for full-alignment calling")
    check_range("chunk_num", args.chunk_num, -1)
    if args.chunk_num > 0:
        logger.warning("--chunk_num=%d has no effect; --chunk_size sets how the work is cut", args.chunk_num)
    if args.disable_c_impl and not PLATFORMS[args.platform].short_reads:
        logger.warning("--disable_c_impl has no effect: the records are those of the compiled path")
    if args.qual >= HIGHEST_QUAL:
        logger.warning("--qual=%d: no call has a QUAL above %d, so all will be LowQual", args.qual, HIGHEST_QUAL)
    if args.include_all_ctgs and not (args.no_phasing_for_fa or args.pileup_only):
        logger.warning("--include_all_ctgs: for organisms that are not diploid, --no_phasing_for_fa is recommended")


def run(args: argparse.Namespace) -> None:
    """Call variants as the options say. Raises ClairError, see clair3.cli.arguments.run."""
    call_variants(config_from(args))


class Pileup:
    """The pileup stage as a command of its own: `pileup.vcf.gz` with every call, before any final filter."""

    add_arguments = staticmethod(add_arguments)

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        """Write the calls of the pileup stage. Raises ClairError, see clair3.cli.arguments.run."""
        if args.qual != CallingConfig.qual or args.haploid_precise or args.haploid_sensitive:
            raise UsageError("--qual and the haploid modes act after this stage; leave them out")
        args.pileup_only = True
        call_variants(replace(config_from(args), print_ref_calls=True), final=False)
