"""The output folder of a run: names of its files, one run at a time, its plan, and what goes when a run fails."""

import fcntl
import logging
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from clair3.config import CallingConfig
from clair3.errors import InputError
from clair3.io.atomic import make_folder, unfinished_folder, write_whole
from clair3.io.fasta import Contig
from clair3.io.vcf import find_unfinished

logger = logging.getLogger(__name__)

PILEUP_VCF, FULL_ALIGNMENT_VCF, MERGED_VCF = "pileup.vcf.gz", "full_alignment.vcf.gz", "merge_output.vcf.gz"
GVCF, PHASED_VCF, PHASED_BAM = "merge_output.gvcf.gz", "phased_merge_output.vcf.gz", "phased_output.bam"
FINAL_FILES = (PILEUP_VCF, FULL_ALIGNMENT_VCF, MERGED_VCF, GVCF, PHASED_VCF, PHASED_BAM)
"""Names under which a user finds results, each with its index (spec/cli.md 7)."""

INTERMEDIATES = (
    *("CMD", "CONTIGS", "CHUNK_LIST"),
    *("pileup_output", "full_alignment_output", "phase_output", "merge_output"),
)
"""What a run leaves in tmp/; other things there are the user's."""

MOST_LISTED = 1000
"""Contigs whose names a message lists."""


def keep_inputs(config: CallingConfig) -> None:
    """Raises InputError when an input is a file that this run would write."""
    final = {(config.output / name).resolve() for name in FINAL_FILES}
    for path in (config.bam, config.reference, config.bed, config.sites):
        if path is not None and path.resolve() in final:
            raise InputError(f"{path}: this input would be overwritten; choose another output folder")


def refuse_planted(output: Path) -> None:
    """Raises InputError for a link, pipe or device under the name of a file that the run opens: it would write through
    the link, or wait for ever. (Final files get their names by renaming, which replaces what is there.)"""
    folders = [output / "tmp" / name for name in INTERMEDIATES]
    intermediates = (path for folder in folders for path in (folder, *folder.rglob("*")))
    for path in (output / LOCK, output / LOG_FILE, *(output / "log").glob("*.log"), *intermediates):
        with suppress(FileNotFoundError, NotADirectoryError):
            kind = path.lstat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or (stat.S_ISLNK(kind) and path.is_dir())):
                raise InputError(f"{path}: a link, pipe or device, which the run does not write to; remove it")


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Hold the output folder: a second run in it at the same time would mix with this one. Raises InputError then, and
    as refuse_planted does."""
    refuse_planted(output)
    with open(output / LOCK, "w") as lock:
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
        for path in (*earlier, *find_unfinished(output / name)):
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


def write_plan(output: Path, contigs: Sequence[Contig], chunk_size: int, command_line: str | None = None) -> None:
    """Write the plan into tmp/ of an output folder: CONTIGS, CHUNK_LIST and, if a command line is given, CMD.

    Names, contents and the number of chunks are those of v2.0.2 (spec/cli.md 4.1, 5.1), so that workflows find the
    calls of CallVariantsFromCffi in them, whoever planned; a run cuts its work finer. Raises InputError when a file
    cannot be written.
    """
    folder = make_folder(output / "tmp")
    counts = {contig.name: max(1, -(-contig.length // chunk_size)) for contig in contigs}
    chunks = [f"{name} {index} {count}\n" for name, count in counts.items() for index in range(1, count + 1)]
    files = {"CONTIGS": "\n".join(counts), "CHUNK_LIST": "".join(chunks)}
    if command_line is not None:
        files["CMD"] = command_line
    write_whole({folder / name: text.encode(errors="backslashreplace") for name, text in files.items()})
    if len(contigs) > MOST_LISTED:
        logger.info("Call variant in %d contigs, see %s", len(contigs), folder / "CONTIGS")
    elif contigs:
        logger.info("Call variant in contigs: %s", " ".join(counts))
        logger.info("Chunk number for each contig: %s", " ".join(map(str, counts.values())))


LOG_FILE, LOCK = "run_clair3.log", ".clair3.lock"
