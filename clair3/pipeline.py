"""A calling run from end to end: checks, plan, stages, final files.

Nothing stands under a final name unless the run that made it was complete: final files of an earlier run in the same
folder are removed before the first read is looked at, and new ones are renamed into place at the end.
"""

import argparse
import hashlib
import importlib
import logging
import shutil
from pathlib import Path

from clair3 import options, vcf
from clair3.config import CallingConfig
from clair3.ledger import Ledger, digest_of, file_identity
from clair3.models import find_checkpoint
from clair3.task.main import FULL_ALIGNMENT, PILEUP
from clair3.vcf import FinalRule, VcfWriter
from preprocess.environment import Environment, examine
from shared import log
from shared.errors import InputError
from shared.regions import Chunk, plan_chunks
from shared.version import VERSION

logger = logging.getLogger(__name__)

PILEUP_VCF, MERGED_VCF = "pileup.vcf.gz", "merge_output.vcf.gz"
"""Names under which a user finds results, each with its index (spec/cli.md 7)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every option of run_clair3 (spec/cli.md 2)."""
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Call variants as the options say. Raises ClairError, see shared.cli.run."""
    call_variants(options.config_from(args))


def call_variants(config: CallingConfig, final: bool = True) -> Path:
    """Call variants and return the path of the VCF.

    final=False leaves out the last filters of --pileup_only: reference calls stay, and neither --qual nor the haploid
    modes apply. That is the pileup stage as later stages see it.
    Raises ClairError; no file stands under a final name then.
    """
    remove_final_files(config.output)
    log.append_to(config.output / "run_clair3.log")
    for line in options.iter_banner(config):
        logger.info(line)
    model = find_checkpoint(config.model_dir, PILEUP, config.pileup_model_prefix)
    find_checkpoint(config.model_dir, FULL_ALIGNMENT, config.fa_model_prefix)  # v2.0.2 asks for it here too
    environment = examine(
        config.bam,
        config.reference,
        bed=config.bed,
        sites=config.sites,
        names=config.ctg_names,
        include_all=config.include_all_ctgs,
        min_contig_size=config.min_contig_size,
    )
    chunks = plan_chunks(environment.contigs, environment.allowed, config.chunk_size)
    write_plan(config, environment, chunks)
    path = config.output / PILEUP_VCF
    if environment.contigs:
        written = call_pileup(config, environment, chunks, model, path, final)
    else:
        written = 0
        logger.warning("No contig intersection found, output header only in %s", config.output / MERGED_VCF)
    if not written:
        write_empty(config, environment)
        logger.info("Exit in %s", "pileup variant calling" if environment.contigs else "environment checking")
    if config.remove_intermediate_dir:
        shutil.rmtree(config.output / "tmp")
    logger.info("Only call pileup output with --pileup_only, output file: %s", path)
    logger.info("Finish calling!")
    return path


def remove_final_files(output: Path) -> None:
    """Take away what an earlier run left under final names, so that a failing run leaves nothing that looks whole."""
    for name in (PILEUP_VCF, MERGED_VCF):
        for suffix in ("", ".tbi", ".csi"):
            try:
                (output / f"{name}{suffix}").unlink(missing_ok=True)
            except OSError as error:
                raise InputError(f"{output / name}: the earlier result cannot be removed ({error.strerror})") from None


def write_plan(config: CallingConfig, environment: Environment, chunks: list[Chunk]) -> None:
    """Leave the run's plan in tmp/ under v2.0.2's names (spec/cli.md 4.1): CMD, CONTIGS, CHUNK_LIST."""
    folder = config.output / "tmp"
    try:
        folder.mkdir(exist_ok=True)
        (folder / "CMD").write_text(config.command_line or "")
        (folder / "CONTIGS").write_text("\n".join(contig.name for contig in environment.contigs))
        totals = {chunk.contig: chunk.index + 1 for chunk in chunks}
        lines = [f"{chunk.contig} {chunk.index + 1} {totals[chunk.contig]}\n" for chunk in chunks]
        (folder / "CHUNK_LIST").write_text("".join(lines))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); is the disk full?") from None
    if environment.contigs:
        logger.info("Call variant in contigs: %s", " ".join(contig.name for contig in environment.contigs))
        counts = " ".join(str(totals.get(contig.name, 0)) for contig in environment.contigs)
        logger.info("Chunk number for each contig: %s", counts)


def write_empty(config: CallingConfig, environment: Environment) -> None:
    """Header-only VCFs: nothing to call is an ordinary outcome, and v2.0.2 writes both then (spec/cli.md 6.1)."""
    for name in (PILEUP_VCF, MERGED_VCF):
        with vcf_writer(config.output / name, config, environment):
            pass


def call_pileup(
    config: CallingConfig, environment: Environment, chunks: list[Chunk], model: Path, path: Path, final: bool
) -> int:
    """The pileup stage and its VCF; returns the records written."""
    digest = digest_of(
        {
            "version": VERSION,
            "inputs": [file_identity(config.bam), file_identity(config.reference)],
            "model": hashlib.sha256(model.read_bytes()).hexdigest(),
            "rules": [repr(config.candidates), repr(config.decoding)],
        }
    )
    ledger = Ledger(config.output / "tmp" / "pileup_output", "pileup", digest)
    logger.info("1/7 Call variants using pileup model")
    stages = importlib.import_module("clair3.stages")  # torch takes a second to load: not before the checks above
    stages.call_chunks(stages.pileup_caller(config, environment, model, ledger), chunks, config.threads)
    rule = FinalRule(config.qual, config.print_ref_calls, config.haploid) if final else None
    written = stages.write_rows(vcf_writer(path, config, environment), ledger, chunks, rule)
    logger.info("%d records in %s", written, path)
    return written


def vcf_writer(path: Path, config: CallingConfig, environment: Environment) -> VcfWriter:
    """A writer for a final VCF of this run, with its header (spec/calling.md 5)."""
    contigs = [(contig.name, contig.length) for contig in environment.reference.contigs]
    header = vcf.header(config.sample_name, str(config.reference), contigs, config.command_line)
    return VcfWriter(path, header, contigs)
