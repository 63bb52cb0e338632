"""Processes: threads of libraries, processors, the process limit, and running other programs."""

import io
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
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
"""Processes per thread that v2.0.2 counts against the process limit (spec/cli.md 3.9), where threads count, too."""

POLL_SECONDS = 0.2
"""Time between two looks at whether a running program was cancelled."""


def limit_library_threads() -> None:
    """Make numerical libraries use one thread each; our own workers are the parallelism.

    The libraries read these variables once, when they are loaded: commands call this before they import NumPy or torch.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


def open_standard_streams() -> None:
    """Open the standard streams that are closed, on the null device; a command calls this first.

    Otherwise the first file of the run gets the number of the closed stream, and what a library writes to stderr.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # the least free number, which is this one
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115  until the program ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is: names of files may be no UTF-8


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP while modules are loaded; they arrive at the end of the block.

    An exception in the middle of an import can be swallowed there, or end the process inside a library.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cpu_count() -> int:
    """Return how many processors this process may use: those of its affinity mask, if the system has one (Slurm)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_limit() -> int | None:
    """Return the soft RLIMIT_NPROC; None when it is unlimited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return None if soft == resource.RLIM_INFINITY else soft


def usable_threads(requested: int) -> int:
    """Return how many threads a run uses: the requested ones, or fewer with a warning (spec/cli.md 3.9).

    They are lowered to the processors and the process limit. Raises ConfigError when `requested` is not positive. Only
    commands call this; below, the number of workers is a plain argument, so that tests can use more than processors.
    """
    if requested <= 0:
        raise ConfigError(f"Invalid threads input --threads={requested}; expected a whole number from 1")
    threads = requested
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


SUPERVISOR = Path(__file__).with_name("supervisor.py")


def open_pipe(stack: ExitStack) -> tuple[int, int]:
    """Open a pipe and return its ends, to read and to write; the stack closes them."""
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def run_program(
    argv: Sequence[str | os.PathLike], cancelled: Callable[[], bool] = lambda: False, log: IO | None = None
) -> tuple[int, str]:
    """Run an external program, without a shell, and wait for its end.

    Its stdin is empty, and its stdout is discarded. Returns the exit code (-n: ended by signal n) and the text that it
    wrote to stderr; with log, an open file, the text goes there at once and is not returned. The program is killed,
    with all processes that it started, when cancelled() is true, when the waiting thread gets an exception, and when
    this process ends, however it does (util/supervisor.py); a terminal's Ctrl-C does not reach it otherwise. Raises
    OSError when it cannot be started.
    """
    errors = ""
    with ExitStack() as stack:
        (watched, _), (failure, report) = open_pipe(stack), open_pipe(stack)
        with subprocess.Popen(
            [sys.executable, "-I", "-S", SUPERVISOR, str(watched), str(report), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log or subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            pass_fds=(watched, report),
            start_new_session=True,
        ) as process:
            try:
                while process.returncode is None and not cancelled():
                    with suppress(subprocess.TimeoutExpired):
                        _, errors = process.communicate(timeout=POLL_SECONDS)
            finally:
                if process.returncode is None:  # nobody waited for it, so no other process has its id
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
        os.set_blocking(failure, False)
        with suppress(BlockingIOError):  # there is nothing to read
            number = int(os.read(failure, 16))
            raise OSError(number, os.strerror(number), os.fspath(argv[0]))
    return process.returncode, errors or ""
