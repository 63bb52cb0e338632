"""The caller's process: its logging, environment and torch are after a call what they were before."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pysam
import torch

from clair3.errors import InputError
from clair3.util import log, progress

HTSLIB_VARIABLES = ("REF_PATH", "REF_CACHE")
"""Environment variables that a run sets, so that htslib looks for no CRAM reference on the network."""

torch_threads = threading.Lock()
"""Held while the number of torch's threads is looked at and changed."""


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise InputError where the system refuses a file, as the command line does with one line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error


class CallersHandlers(logging.Handler):
    """Hands messages of this package to the handlers of the caller, from the level on that the caller has chosen."""

    def __init__(self, logger: logging.Logger):
        super().__init__(logger.getEffectiveLevel())
        self.own, self.inherited = logger.handlers[:], logger.parent if logger.propagate else None

    def emit(self, record: logging.LogRecord) -> None:
        for handler in [*self.own, *(self.inherited.handlers if self.inherited else ())]:
            if record.levelno >= handler.level:
                handler.handle(record)


@contextmanager
def separate_logging() -> Iterator[None]:
    """Let a run write its log files, with all details, while the caller's handlers get what they got before.

    The handlers of these files hang on the logger of this package, which takes all messages meanwhile; the root logger
    is not touched. Everything is as before at the end. Terminals get no progress bars.
    """
    logger = logging.getLogger("clair3")
    before = logger.level, logger.propagate, log.file_logger, progress.show_bars
    relay = CallersHandlers(logger)
    for handler in relay.own:
        logger.removeHandler(handler)
    logger.addHandler(relay)
    logger.setLevel(logging.DEBUG)
    logger.propagate, log.file_logger, progress.show_bars = False, logger, False
    try:
        yield
    finally:
        for handler in [handler for handler in logger.handlers if isinstance(handler, log.LogFile)]:
            logger.removeHandler(handler)
            handler.close()
        logger.removeHandler(relay)
        for handler in relay.own:
            logger.addHandler(handler)
        level, logger.propagate, log.file_logger, progress.show_bars = before
        logger.setLevel(level)


@contextmanager
def kept_process_state() -> Iterator[None]:
    """Give back to the process what a run changes: threads of torch, and the settings of htslib."""
    verbosity, variables = pysam.get_verbosity(), {name: os.environ.get(name) for name in HTSLIB_VARIABLES}
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        with torch_threads:
            torch.set_num_threads(threads)
        pysam.set_verbosity(verbosity)
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def use_one_torch_thread() -> None:
    """Let torch use one thread inside an operation in this thread, as in a run; new threads get what they got before.

    torch.set_num_threads holds for the thread that calls it and for those that have not used torch yet.
    """
    with torch_threads:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        setter = threading.Thread(target=torch.set_num_threads, args=(before,))
        setter.start()
        setter.join()
