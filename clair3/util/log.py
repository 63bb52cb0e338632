"""Logging: `[INFO] ...` lines on stderr, in colour on a terminal, and copies in the log files of a run."""

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clair3.errors import InputError, unwritable

COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m"}
PLAIN = "\033[0m"

MAX_REPEATS = 100
"""Lines of one message, with other names and numbers, that a user sees; an assembly has thousands of contigs."""

OUR_LOGGERS = ("clair3", "__main__")
"""First parts of the names of this program's loggers."""


class LevelFormatter(logging.Formatter):
    """Formats a record as `[LEVEL] message`, as v2.0.2 does (spec/cli.md 3); scripts search for it."""

    def __init__(self, colour: bool = False):
        super().__init__("[%(levelname)s] %(message)s")
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if self.colour and record.levelno in COLOURS:
            label, rest = f"[{record.levelname}]", text.partition("]")[2]
            return f"{COLOURS[record.levelno]}{label}{PLAIN}{rest}"
        return text


def is_for_users(record: logging.LogRecord) -> bool:
    """Return whether a record is of this program, or a warning of a library; INFO of libraries is noise."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OUR_LOGGERS


class RepeatFilter(logging.Filter):
    """Within a stage, passes MAX_REPEATS records of each message; the last of them says so. The stage's log has all.

    One filter serves several handlers: a record is counted by the first of them.
    """

    def __init__(self):
        super().__init__()
        self.counts: Counter | None = None  # None outside stages, where no other log would have the rest

    def filter(self, record: logging.LogRecord) -> bool:
        if self.counts is None:
            return True
        if not hasattr(record, "number"):
            message = record.name, record.msg
            self.counts[message] += 1
            record.number = self.counts[message]
            if record.number == MAX_REPEATS:
                record.msg = f"{record.msg} (more lines like this are only in the folder log)"
        return record.number <= MAX_REPEATS


repeat_filter = RepeatFilter()

file_logger = logging.getLogger()
"""The logger whose messages append_to and stage_log write to files: the root, which gets all. clair3.api puts that of
this package here during a run, for there the root belongs to somebody else."""


class LogFile(logging.FileHandler):
    """A log file whose write errors end the program with one line: other files of the run cannot be written either."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Raise InputError when the disk is the reason; logging calls this in the except clause of a failed write."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        file_logger.removeHandler(self)  # for the error itself is logged, too
        self.close()
        raise InputError(unwritable(self.baseFilename, error)) from None

    def close(self) -> None:
        with suppress(OSError):  # of a full disk, for buffered lines
            super().close()


def setup(level: int = logging.INFO) -> None:
    """Send messages to stderr; a command calls this once. Handlers of an earlier call are closed and replaced."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h.formatter, LevelFormatter)]:
        root.removeHandler(handler)
        handler.close()
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)  # the log of a stage has DEBUG
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(LevelFormatter(colour=sys.stderr.isatty()))
    handler.addFilter(is_for_users)
    handler.addFilter(repeat_filter)
    root.addHandler(handler)
    root.setLevel(level)


def append_to(path: Path) -> None:
    """Also append every later message to a file, without colour (`<output>/run_clair3.log`, spec/cli.md 7).

    Nothing changes when the file is a log already. Raises InputError when it cannot be written.
    """
    open_logs = [h.baseFilename for h in file_logger.handlers if isinstance(h, LogFile)]
    if str(path.absolute()) not in open_logs or not path.exists():
        handler = _open_log_file(path, "a", logging.INFO)
        handler.addFilter(repeat_filter)
        file_logger.addHandler(handler)


@contextmanager
def stage_log(path: Path) -> Iterator[None]:
    """Write every message of a stage, also DEBUG, to a file of its own (`<output>/log/`, spec/cli.md 7).

    Raises InputError when it cannot be written.
    """
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(unwritable(path, error)) from None
    handler = _open_log_file(path, "w", logging.DEBUG)
    file_logger.addHandler(handler)
    repeat_filter.counts = Counter()
    try:
        yield
    finally:
        repeat_filter.counts = None
        file_logger.removeHandler(handler)
        handler.close()


def _open_log_file(path: Path, mode: str, level: int) -> logging.Handler:
    """Open a log file as a handler. Raises InputError when it cannot be written."""
    try:
        handler = LogFile(path, mode=mode, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(unwritable(path, error)) from None
    handler.setLevel(level)
    handler.setFormatter(LevelFormatter())
    handler.addFilter(is_for_users)
    return handler
