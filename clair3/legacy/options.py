"""Options that the submodules of v2.0.2 share (spec/cli.md 8): groups of them, and what is accepted or refused.

Options of machinery that is gone (other interpreters, pipes, job runners) are accepted. Those that would change the
result but are not in this version are refused when they are given another value than their default.
"""

import argparse
from pathlib import Path

from clair3.cli.arguments import add_switch, optional_text
from clair3.errors import UsageError
from clair3.platforms import PLATFORMS

HIDDEN = argparse.SUPPRESS


def add_texts(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options that take a text or path; None when not given, or given as EMPTY."""
    for name in names:
        parser.add_argument(f"--{name}", type=optional_text, metavar="TEXT")


def add_accepted(parser: argparse.ArgumentParser, *names: str, flags: tuple[str, ...] = ()) -> None:
    """Options that have no effect on the records: with a value, and flags without."""
    for name in names:
        parser.add_argument(f"--{name}", metavar="TEXT", help="no effect")
    for name in flags:
        parser.add_argument(f"--{name}", action="store_true", help="no effect")


def add_refused(parser: argparse.ArgumentParser, *names: str, flags: tuple[str, ...] = ()) -> None:
    """Options that are declared, so that a command line is understood, but not in this version; see refuse."""
    for name in names:
        parser.add_argument(f"--{name}", type=optional_text, metavar="TEXT", help="not in this version")
    for name in flags:
        add_switch(parser, f"--{name}", help="not in this version")
    parser.set_defaults(refused=(*(parser.get_default("refused") or ()), *names, *flags))


def refuse(args: argparse.Namespace) -> None:
    """Raises UsageError when an option of add_refused was asked for."""
    for name in getattr(args, "refused", ()):
        if getattr(args, name):
            raise UsageError(f"--{name} is not in this version; leave it out")


def add_platform(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--platform", choices=list(PLATFORMS), default="ont", help="default: %(default)s")


def add_final_filters(parser: argparse.ArgumentParser) -> None:
    """What of the calls is kept in the end (spec/calling.md 3.5, 8.3)."""
    parser.add_argument("--qual", type=int, default=2, help="calls of this QUAL or less are LowQual")
    for name in ("print_ref_calls", "haploid_precise", "haploid_sensitive"):
        add_switch(parser, f"--{name}", help="as in run_clair3")


def require(args: argparse.Namespace, *names: str) -> None:
    """Raises UsageError when an option that v2.0.2 leaves optional, but needs, is not given."""
    for name in names:
        if getattr(args, name) is None:
            raise UsageError(f"--{name} is needed")


def read_command_line(path: str | None) -> str | None:
    """The command line in the file of --cmd_fn; None when it is `none`, missing or empty (spec/calling.md 5)."""
    if path in (None, "none") or not Path(path).is_file():
        return None
    return Path(path).read_text().strip() or None
