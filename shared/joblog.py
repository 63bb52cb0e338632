"""The job log that GNU parallel leaves: did every job succeed? (spec/cli.md 8, CheckExitCode)"""

import logging
from pathlib import Path

from shared.compressed import read_rows
from shared.errors import InputError

logger = logging.getLogger(__name__)

NEEDED = ("Exitval", "Signal", "Command")
FAILED_SHOWN = 10
"""Failed jobs that an error names."""


def check_jobs(path: Path) -> None:
    """Raises InputError when the log is missing, lacks columns, or tells of a job that failed; an empty file is
    worth a warning only."""
    if not path.is_file():
        raise InputError(f"{path}: no such job log; give the file that parallel wrote with --joblog")
    rows = [line.split("\t") for _, line in read_rows(path) if line]
    if not rows:
        logger.warning("%s: the job log is empty", path)
        return
    head, *jobs = rows
    if lacking := [name for name in NEEDED if name not in head]:
        raise InputError(f"{path}: no column {', '.join(lacking)}; not a job log of parallel")
    failed = []
    for job in jobs:
        values = dict(zip(head, job, strict=False))
        if any(values.get(name) != "0" for name in ("Exitval", "Signal")):
            said = f"Exit status: {values.get('Exitval')}, Signal: {values.get('Signal')}"
            failed.append(f"Command failed: {values.get('Command')} ({said})")
    for message in failed[:FAILED_SHOWN]:
        logger.error(message)
    if failed:
        raise InputError(f"Some parallel jobs failed (see above for details): {len(failed)} of {len(jobs)} in {path}")
