"""What a calling run tells about itself before it starts (spec/cli.md 3)."""

import os
from collections.abc import Iterator

from clair3 import compute
from clair3.config import CallingConfig
from clair3.genotyping import PRECISE, SENSITIVE
from preprocess.phasing import WHATSHAP
from shared.version import COMPATIBLE_VERSION


def iter_banner(config: CallingConfig) -> Iterator[str]:
    """Lines that tell what the run was told, in v2.0.2's words where scripts may look for them (spec/cli.md 3)."""
    rule = config.candidates
    yield f"CLAIR3 VERSION: v{COMPATIBLE_VERSION}"
    yield f"BAM FILE PATH: {config.bam}"
    yield f"REFERENCE FILE PATH: {config.reference}"
    yield f"MODEL PATH: {config.model_dir}"
    yield f"OUTPUT FOLDER: {config.output}"
    yield f"PLATFORM: {config.platform}"
    yield f"THREADS: {config.threads}"
    yield f"BED FILE PATH: {config.bed or 'EMPTY'}"
    yield f"VCF FILE PATH: {config.sites or 'EMPTY'}"
    yield f"CONTIGS: {','.join(config.ctg_names or ['EMPTY'])}"
    yield f"CONDA PREFIX: {os.environ.get('CONDA_PREFIX', 'EMPTY')}"
    yield f"WHATSHAP PATH: {config.whatshap or WHATSHAP}"
    yield f"LONGPHASE PATH: {config.longphase or 'EMPTY'}"
    yield f"CHUNK SIZE: {config.chunk_size}"
    if config.min_contig_size:
        yield f"MIN CONTIG SIZE: {config.min_contig_size}"
    yield f"FULL ALIGN PROPORTION: {config.selection.var_pct_full}"
    yield f"FULL ALIGN REFERENCE PROPORTION: {config.selection.ref_pct_full}"
    phases = config.selection.var_pct_phasing is not None
    yield f"PHASING PROPORTION: {config.selection.var_pct_phasing if phases else 'EMPTY'}"
    yield f"MINIMUM MQ: {rule.min_mapq}"
    yield f"MINIMUM COVERAGE: {rule.min_coverage}"
    yield f"SNP AF THRESHOLD: {rule.snp_min_af}"
    yield f"INDEL AF THRESHOLD: {rule.indel_min_af}"
    yield f"BASE ERROR IN GVCF: {config.blocks.base_err}"
    yield f"GQ BIN SIZE IN GVCF: {config.blocks.gq_bin_size}"
    switches = {
        "FILEUP ONLY CALLING": config.pileup_only,
        "CALLING OF ALL CONTIGS": config.include_all_ctgs,
        "PRINTING REFERENCE CALLS": config.print_ref_calls,
        "GVCF": config.writes_gvcf,
        "CALLING SNP CANDIDATES ONLY": rule.snp_only,
        "LONG INDEL CALLING": config.enable_long_indel,
        "CALLING AT SEQUENCE HEAD AND TAIL": rule.head_and_tail,
        "HAPLOID PRECISE CALLING": config.haploid == PRECISE,
        "HAPLOID SENSITIVE CALLING": config.haploid == SENSITIVE,
        "PHASING FOR FULL ALIGNMENT": phases,
        "PHASING OF THE OUTPUT": config.final_phaser is not None,
        "HAPLOTAGGING OF THE OUTPUT": config.haplotag,
        "DWELL TIME": config.dwell,
        "KEEPING IUPAC BASES": config.keep_iupac_bases,
        "REMOVING INTERMEDIATE FILES": config.remove_intermediate_dir,
        "RESUMING AN EARLIER RUN": config.resume,
    }
    yield from (f"ENABLE {what}: {on}" for what, on in switches.items())
    if config.compute.device != compute.CPU:
        yield "USE GPU: True"
        yield f"GPU DEVICE: {config.compute}"
    if config.compute.precision != compute.FP32:
        yield f"PRECISION: {config.compute.precision}"
