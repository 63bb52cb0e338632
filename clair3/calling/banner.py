"""The settings of a calling run, as it prints them before it starts (spec/cli.md 3)."""

import os
from collections.abc import Iterator

from clair3.config import CPU, FP32, PRECISE, SENSITIVE, WHATSHAP, CallingConfig
from clair3.version import COMPATIBLE_VERSION


def iter_banner(config: CallingConfig) -> Iterator[str]:
    """Lines with the settings of a run, in v2.0.2's words where scripts may look for them (spec/cli.md 3)."""
    for settings in (files(config), thresholds(config), switches(config), computing(config)):
        yield from (f"{name}: {value}" for name, value in settings.items())


def files(config: CallingConfig) -> dict[str, object]:
    return {
        "CLAIR3 VERSION": f"v{COMPATIBLE_VERSION}",
        "BAM FILE PATH": config.bam,
        "REFERENCE FILE PATH": config.reference,
        "MODEL PATH": config.model_dir,
        "OUTPUT FOLDER": config.output,
        "PLATFORM": config.platform,
        "THREADS": config.threads,
        "BED FILE PATH": config.bed or "EMPTY",
        "VCF FILE PATH": config.sites or "EMPTY",
        "CONTIGS": ",".join(config.ctg_names or ["EMPTY"]),
        "CONDA PREFIX": os.environ.get("CONDA_PREFIX", "EMPTY"),
        "WHATSHAP PATH": config.whatshap or WHATSHAP,
        "LONGPHASE PATH": config.longphase or "EMPTY",
        "CHUNK SIZE": config.chunk_size,
    } | ({"MIN CONTIG SIZE": config.min_contig_size} if config.min_contig_size else {})


def thresholds(config: CallingConfig) -> dict[str, object]:
    phasing = config.selection.var_pct_phasing
    return {
        "FULL ALIGN PROPORTION": config.selection.var_pct_full,
        "FULL ALIGN REFERENCE PROPORTION": config.selection.ref_pct_full,
        "PHASING PROPORTION": "EMPTY" if phasing is None else phasing,
        "MINIMUM MQ": config.candidates.min_mapq,
        "MINIMUM COVERAGE": config.candidates.min_coverage,
        "SNP AF THRESHOLD": config.candidates.snp_min_af,
        "INDEL AF THRESHOLD": config.candidates.indel_min_af,
        "BASE ERROR IN GVCF": config.blocks.base_err,
        "GQ BIN SIZE IN GVCF": config.blocks.gq_bin_size,
    }


def switches(config: CallingConfig) -> dict[str, object]:
    enabled = {
        "FILEUP ONLY CALLING": config.pileup_only,
        "CALLING OF ALL CONTIGS": config.include_all_ctgs,
        "PRINTING REFERENCE CALLS": config.print_ref_calls,
        "GVCF": config.writes_gvcf,
        "CALLING SNP CANDIDATES ONLY": config.candidates.snp_only,
        "LONG INDEL CALLING": config.enable_long_indel,
        "CALLING AT SEQUENCE HEAD AND TAIL": config.candidates.head_and_tail,
        "HAPLOID PRECISE CALLING": config.haploid == PRECISE,
        "HAPLOID SENSITIVE CALLING": config.haploid == SENSITIVE,
        "PHASING FOR FULL ALIGNMENT": config.selection.var_pct_phasing is not None,
        "PHASING OF THE OUTPUT": config.final_phaser is not None,
        "HAPLOTAGGING OF THE OUTPUT": config.haplotag,
        "DWELL TIME": config.dwell,
        "KEEPING IUPAC BASES": config.keep_iupac_bases,
        "KEEPING CASE OF REFERENCE": config.keep_ref_case,
        "REMOVING INTERMEDIATE FILES": config.remove_intermediate_dir,
        "RESUMING AN EARLIER RUN": config.resume,
    }
    return {f"ENABLE {name}": value for name, value in enabled.items()}


def computing(config: CallingConfig) -> dict[str, object]:
    settings = {}
    if config.compute.device != CPU:
        settings |= {"USE GPU": True, "GPU DEVICE": config.compute}
    if config.compute.precision != FP32:
        settings["PRECISION"] = config.compute.precision
    return settings
