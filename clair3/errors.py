"""Errors that a user can act on. Modules raise them; only `clair3.cli.arguments.run` prints one and exits."""

import errno
import sys
from os import PathLike
from pathlib import Path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, None)
"""htslib does not tell the reason."""


class ClairError(Exception):
    """Base of all errors with a message for the user: what was found, where, what to do."""

    exit_code = 1


class InputError(ClairError):
    """A file given by the user is missing, damaged or does not fit the others."""


class ConfigError(ClairError):
    """An option has a value that cannot be used."""


class UsageError(ConfigError):
    """The command line itself is wrong, or asks for something this version does not do."""

    exit_code = 2


class CoreError(ClairError):
    """The C core could not finish: unreadable alignments, no memory."""


class DeviceError(ClairError):
    """A GPU failed, or its memory does not suffice."""


def install_command(extra: str | None = None) -> str:
    """Return the command that installs this program with what an extra of pyproject.toml needs, None: without extras.

    It names this Python, and the checkout that the program runs from, if it does.
    """
    extras = f"[{extra}]" if extra else ""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        constraints = checkout / "env" / "constraints.txt"
        return f"{sys.executable} -m pip install -c {constraints} -e '{checkout}{extras}'"
    return f"{sys.executable} -m pip install 'clair3-torch{extras}'"


def unwritable(path: str | PathLike, error: OSError) -> str:
    """What to tell about a file that could not be written: the reason, and what to do when that is known."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{path}: cannot be written ({reason})" + ("; is the disk full?" if error.errno in NO_SPACE else "")


def check_range(name: str, value: float, minimum: float | None = None, maximum: float | None = None) -> None:
    """Raises ConfigError in v2.0.2's words (spec/cli.md 4) unless minimum <= value <= maximum; NaN never is."""
    if minimum is not None and not value >= minimum:
        raise ConfigError(f"parameter --{name}={value} (minimum:{minimum}) out of range")
    if maximum is not None and not value <= maximum:
        raise ConfigError(f"parameter --{name}={value} (maximum:{maximum}) out of range")
