"""What the machine gives to this process: library threads, processors, process limit, other programs."""

import logging
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from clair3.errors import ConfigError

logger = logging.getLogger(__name__)

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

PROCESSES_PER_THREAD = 30
"""v2.0.2's allowance of the process limit per thread (spec/cli.md 3.9); a thread counts as a process there."""

POLL_SECONDS = 0.2
"""Time between two looks at whether a running program is still wanted."""


def limit_library_threads() -> None:
    """Make numerical libraries use one thread each; our own workers are the parallelism.

    The libraries read these variables once, when they are loaded: doors call this before they import NumPy or torch.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM for a second of loading; they arrive at the end of the block.

    An exception in the middle of an import can be swallowed there, or end the process inside a library.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cpu_count() -> int:
    """Processors this process may use: those of its affinity mask where the system has one (Slurm, taskset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_limit() -> int | None:
    """The soft RLIMIT_NPROC, or None when there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return None if soft == resource.RLIM_INFINITY else soft


def usable_threads(asked: int) -> int:
    """Threads a run may use: those asked for, lowered with a warning to what the machine has (spec/cli.md 3.9).

    Raises ConfigError when asked is not positive. Only the door calls this; the number of workers below it is a plain
    argument, so that tests can use more workers than processors.
    """
    if asked <= 0:
        raise ConfigError(f"Invalid threads input --threads={asked}; expected a whole number from 1")
    threads = asked
    if threads > (cpus := cpu_count()):
        logger.warning("--threads=%d is more than the processors available here, using %d", threads, cpus)
        threads = cpus
    limit = process_limit()
    if limit is not None and limit / PROCESSES_PER_THREAD < threads:
        lowered = max(1, int(limit / PROCESSES_PER_THREAD))
        logger.warning(
            "--threads=%d is too many for the process limit (ulimit -u) of %d, using %d", threads, limit, lowered
        )
        threads = lowered
    return threads


def run_program(
    argv: Sequence[str | os.PathLike], cancelled: Callable[[], bool] = lambda: False, log: IO | None = None
) -> tuple[int, str]:
    """Run an external program, without a shell, and wait for its end.

    Nothing stands on its stdin, its stdout is dropped. Returns the exit code (-n: ended by signal n) and what it wrote
    to stderr; with log, an open file, that goes there as it comes and is not returned. It is killed, with all processes
    it started, when cancelled() says so and when the waiting thread gets an exception; a terminal's Ctrl-C does not
    reach it otherwise. Raises OSError when it cannot be started.
    """
    words = ""
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log or subprocess.PIPE,
        encoding="utf-8",
        errors="backslashreplace",
        start_new_session=True,
    ) as process:
        try:
            while process.returncode is None and not cancelled():
                with suppress(subprocess.TimeoutExpired):
                    _, words = process.communicate(timeout=POLL_SECONDS)
        finally:
            if process.returncode is None:  # nobody waited for it yet, so the number is still its own
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, words or ""
