"""The program's words: `[INFO] ...` lines on stderr, in colour on a terminal, and a copy in the run's log file."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m"}
PLAIN = "\033[0m"


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


OURS = ("clair3", "preprocess", "shared", "__main__")


def is_for_users(record: logging.LogRecord) -> bool:
    """Our own messages, and what libraries warn about; what they tell of themselves (torch at its end) is noise."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OURS


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
    root.addHandler(handler)
    root.setLevel(level)


def append_to(path: Path) -> None:
    """Also append every later message to a file, without colour (`<output>/run_clair3.log`, spec/cli.md 7)."""
    logging.getLogger().addHandler(_file_handler(path, "a", logging.INFO))


@contextmanager
def stage_log(path: Path) -> Iterator[None]:
    """Write every message of a stage, details included, to a file of its own (`<output>/log/`, spec/cli.md 7)."""
    path.parent.mkdir(exist_ok=True)
    handler = _file_handler(path, "w", logging.DEBUG)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _file_handler(path: Path, mode: str, level: int) -> logging.Handler:
    handler = logging.FileHandler(path, mode=mode, encoding="utf-8", errors="backslashreplace")
    handler.setLevel(level)
    handler.setFormatter(Layout())
    handler.addFilter(is_for_users)
    return handler
