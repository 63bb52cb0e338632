"""A calling run from end to end: checks, plan, stages, final files.

Nothing stands under a final name unless the run that made it was complete: final files of an earlier run in the same
folder are removed before the first read is looked at, and those of this run when it fails. Each is complete from the
moment it is there, also when the run is killed.
"""

import argparse
import fcntl
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clair3 import options
from clair3.banner import iter_banner
from clair3.calling import FINAL_FILES, Run, gvcf_spans
from clair3.config import CallingConfig
from clair3.models import find_checkpoint
from clair3.task.main import FULL_ALIGNMENT, PILEUP
from clair3.vcf import unfinished_of
from preprocess.environment import Environment, check_moves, examine
from shared import log
from shared.errors import InputError, unwritable
from shared.regions import Chunk, plan_chunks
from shared.whole_files import unfinished_folder

logger = logging.getLogger(__name__)

INTERMEDIATES = (
    *("CMD", "CONTIGS", "CHUNK_LIST"),
    *("pileup_output", "full_alignment_output", "phase_output", "merge_output"),
)
"""What a run leaves in tmp/; other things there are the user's."""

MOST_LISTED = 1000
"""Contigs whose names a message lists."""


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
    began = time.monotonic()
    keep_inputs(config)
    with alone_in(config.output):
        log.append_to(config.output / options.LOG_FILE)
        config = config.resolved()
        for line in iter_banner(config):
            logger.info(line)
        models, environment = models_of(config), environment_of(config)
        remove_final_files(config.output)
        spans = gvcf_spans(config, environment)
        chunks = plan_chunks(environment.contigs, environment.allowed, config.chunk_size, spans)
        write_plan(config, environment, chunks)
        try:
            path = Run(config, environment, models).call(chunks, final)
        except BaseException:
            with suppress(InputError):  # the first error is the one to tell
                remove_final_files(config.output)
            raise
        if config.remove_intermediate_dir:
            remove_intermediates(config.output / "tmp")
        logger.info("Total time of the run: %.2f s", time.monotonic() - began)
        logger.info("Finish calling, output file: %s", path)
        return path


def models_of(config: CallingConfig) -> dict[str, Path]:
    """The file of each network; v2.0.2 asks for both with --pileup_only too. Raises InputError when one is missing."""
    prefixes = {PILEUP: config.pileup_model_prefix, FULL_ALIGNMENT: config.fa_model_prefix}
    return {kind: find_checkpoint(config.model_dir, kind, prefix) for kind, prefix in prefixes.items()}


def environment_of(config: CallingConfig) -> Environment:
    """The checked inputs. Raises InputError."""
    environment = examine(
        config.bam,
        config.reference,
        bed=config.bed,
        sites=config.sites,
        names=config.ctg_names,
        include_all=config.include_all_ctgs,
        min_contig_size=config.min_contig_size,
    )
    if config.dwell:
        check_moves(environment.alignments, environment.reference)
    return environment


def keep_inputs(config: CallingConfig) -> None:
    """Raises InputError when an input is a file that this run would write."""
    final = {(config.output / name).resolve() for name in FINAL_FILES}
    for path in (config.bam, config.reference, config.bed, config.sites):
        if path is not None and path.resolve() in final:
            raise InputError(f"{path}: this input would be overwritten; choose another output folder")


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Hold the output folder: a second run in it at the same time would mix with this one. Raises InputError then."""
    with open(output / ".clair3.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{output}: another run is working in this output folder; choose another one") from None
        except OSError as error:  # file systems without locks
            logger.warning("%s: cannot be locked (%s); do not start another run in it", output, error.strerror)
        yield


def remove_final_files(output: Path) -> None:
    """Take away what a run left under final names, so that a failing one leaves nothing that looks whole, and what a
    killed one left half written."""
    for name in FINAL_FILES:
        earlier = (output / f"{name}{suffix}" for suffix in ("", ".tbi", ".csi", ".bai"))
        for path in (*earlier, *unfinished_of(output / name)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise InputError(f"{path}: the earlier result cannot be removed ({error.strerror})") from None
        shutil.rmtree(unfinished_folder(output / name), ignore_errors=True)


def remove_intermediates(folder: Path) -> None:
    """Remove what runs leave in tmp/, and the folder if nothing else is in it.

    What cannot be removed is a warning: the results are complete.
    """

    def warn(_, path, error):
        logger.warning("%s: not removed (%s)", path, error[1])

    for name in INTERMEDIATES:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=warn)
        else:
            path.unlink(missing_ok=True)
    if not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def write_plan(config: CallingConfig, environment: Environment, chunks: list[Chunk]) -> None:
    """Leave the run's plan in tmp/ under v2.0.2's names (spec/cli.md 4.1): CMD, CONTIGS, CHUNK_LIST."""
    folder = config.output / "tmp"
    try:
        folder.mkdir(exist_ok=True)
        (folder / "CMD").write_text(config.command_line or "", encoding="utf-8", errors="backslashreplace")
        (folder / "CONTIGS").write_text("\n".join(contig.name for contig in environment.contigs))
        totals = {chunk.contig: chunk.index + 1 for chunk in chunks}
        lines = [f"{chunk.contig} {chunk.index + 1} {totals[chunk.contig]}\n" for chunk in chunks]
        (folder / "CHUNK_LIST").write_text("".join(lines))
    except OSError as error:
        raise InputError(unwritable(error.filename or folder, error)) from None
    if len(environment.contigs) > MOST_LISTED:
        logger.info("Call variant in %d contigs, see %s", len(environment.contigs), folder / "CONTIGS")
    elif environment.contigs:
        logger.info("Call variant in contigs: %s", " ".join(contig.name for contig in environment.contigs))
        counts = " ".join(str(totals.get(contig.name, 0)) for contig in environment.contigs)
        logger.info("Chunk number for each contig: %s", counts)
