"""The program's words: `[INFO] ...` lines on stderr, in colour on a terminal, and a copy in the run's log file."""

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clair3.errors import InputError, unwritable

COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m"}
PLAIN = "\033[0m"


MOST_ALIKE = 100
"""Lines that differ in names and numbers only which a user gets to see; an assembly has thousands of contigs."""


class Layout(logging.Formatter):
    """`[LEVEL] message`, as v2.0.2 prints it (spec/cli.md 3); scripts look for these words."""

    def __init__(self, colour: bool = False):
        super().__init__("[%(levelname)s] %(message)s")
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if self.colour and record.levelno in COLOURS:
            label, rest = f"[{record.levelname}]", text.partition("]")[2]
            return f"{COLOURS[record.levelno]}{label}{PLAIN}{rest}"
        return text


OURS = ("clair3", "__main__")


def is_for_users(record: logging.LogRecord) -> bool:
    """Our own messages, and what libraries warn about; what they tell of themselves (torch at its end) is noise."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OURS


class FewAlike(logging.Filter):
    """Within a stage, lets MOST_ALIKE lines made from the same text through; the last of them says so, and the log of
    the stage has all.

    One filter serves several handlers: a record is counted by the first that asks.
    """

    def __init__(self):
        super().__init__()
        self.seen: Counter | None = None  # None outside stages, where no other log would have the rest

    def filter(self, record: logging.LogRecord) -> bool:
        if self.seen is None:
            return True
        if not hasattr(record, "number"):
            kind = record.name, record.msg
            self.seen[kind] += 1
            record.number = self.seen[kind]
            if record.number == MOST_ALIKE:
                record.msg = f"{record.msg} (more lines like this are only in the folder log)"
        return record.number <= MOST_ALIKE


few_alike = FewAlike()

file_logger = logging.getLogger()
"""The logger whose messages append_to and stage_log write to files: the root, which gets all. clair3.api puts that of
this package here during a run, for there the root belongs to somebody else."""


class LogFile(logging.FileHandler):
    """A log that ends the program with one line when it cannot be written, for the run's other files cannot either."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Called within the except clause of whatever went wrong. Raises InputError when the disk refuses."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        file_logger.removeHandler(self)  # the error itself is logged, too
        self.close()
        raise InputError(unwritable(self.baseFilename, error)) from None

    def close(self) -> None:
        with suppress(OSError):  # what a full disk did not take
            super().close()


def setup(level: int = logging.INFO) -> None:
    """Send messages to stderr; called once by the door. Handlers of an earlier call are closed and replaced."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h.formatter, Layout)]:
        root.removeHandler(handler)
        handler.close()
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG)  # for the log of a stage
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(Layout(colour=sys.stderr.isatty()))
    handler.addFilter(is_for_users)
    handler.addFilter(few_alike)
    root.addHandler(handler)
    root.setLevel(level)


def append_to(path: Path) -> None:
    """Also append every later message to a file, without colour (`<output>/run_clair3.log`, spec/cli.md 7).

    Does nothing when the file is a log already. Raises InputError when it cannot be written.
    """
    open_logs = [h.baseFilename for h in file_logger.handlers if isinstance(h, LogFile)]
    if str(path.absolute()) not in open_logs or not path.exists():
        handler = _file_handler(path, "a", logging.INFO)
        handler.addFilter(few_alike)
        file_logger.addHandler(handler)


@contextmanager
def stage_log(path: Path) -> Iterator[None]:
    """Write every message of a stage, details included, to a file of its own (`<output>/log/`, spec/cli.md 7)."""
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(unwritable(path, error)) from None
    handler = _file_handler(path, "w", logging.DEBUG)
    file_logger.addHandler(handler)
    few_alike.seen = Counter()
    try:
        yield
    finally:
        few_alike.seen = None
        file_logger.removeHandler(handler)
        handler.close()


def _file_handler(path: Path, mode: str, level: int) -> logging.Handler:
    try:
        handler = LogFile(path, mode=mode, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(unwritable(path, error)) from None
    handler.setLevel(level)
    handler.setFormatter(Layout())
    handler.addFilter(is_for_users)
    return handler
