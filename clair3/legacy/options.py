"""Options that the submodules of v2.0.2 share (spec/cli.md 8): groups of them, and what is accepted or refused.

Options of machinery that is gone (other interpreters, pipes, job runners) are accepted. Those that would change the
result but are not in this version are refused when they are given another value than their default.
"""

import argparse
from pathlib import Path

from clair3.cli import arguments
from clair3.cli.arguments import add_switch, optional_text
from clair3.config import CallingConfig, CandidateOptions, OutputFilter, SelectionOptions
from clair3.errors import UsageError
from clair3.platforms import DEFAULT_PLATFORM, PLATFORMS

HIDDEN = argparse.SUPPRESS

STDOUT = "PIPE"
"""The name of a file that stands for stdout, or for stdin where one is read (spec/cli.md 8)."""


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
    parser.add_argument("--platform", choices=list(PLATFORMS), default=DEFAULT_PLATFORM, help="default: %(default)s")


def add_sample(parser: argparse.ArgumentParser) -> None:
    """Declare --sampleName."""
    parser.add_argument(
        "--sampleName", default=CallingConfig.sample_name, metavar="NAME", help="sample column (default: %(default)s)"
    )


def add_number(parser: argparse.ArgumentParser, name: str, default: int | float, text: str = "") -> None:
    """Declare an option that takes a number of the type of its default; text is its help."""
    text = f"{text} (default: %(default)s)" if text else "default: %(default)s"
    parser.add_argument(f"--{name}", type=type(default), default=default, metavar="N", help=text)


def add_candidate_thresholds(
    parser: argparse.ArgumentParser, indel_min_af: float = CandidateOptions.indel_min_af
) -> None:
    """Declare the options of make_candidate_options; indel_min_af is the default in which sub-commands differ."""
    add_number(parser, "snp_min_af", CandidateOptions.snp_min_af)
    add_number(parser, "indel_min_af", indel_min_af)
    add_number(parser, "minCoverage", CandidateOptions.min_coverage)
    add_number(parser, "minMQ", CandidateOptions.min_mapq)
    parser.add_argument("--minBQ", type=int, choices=[0], default=0, help="only 0 is in this version")
    for name in ("fast_mode", "call_snp_only", "enable_long_indel", "enable_variant_calling_at_sequence_head_and_tail"):
        add_switch(parser, f"--{name}", help="as in run_clair3")


def make_candidate_options(args: argparse.Namespace) -> CandidateOptions:
    """Return the run's rule for candidates with these thresholds. Raises ConfigError when one is out of range."""
    return arguments.make_candidate_options(args, args.minMQ, args.minCoverage, args.snp_min_af, args.indel_min_af)


def add_shares(parser: argparse.ArgumentParser, *names: str, text: str) -> None:
    """Declare fields of SelectionOptions by their names; text is the help of each."""
    for name in names:
        add_number(parser, name, getattr(SelectionOptions, name), text)


def add_final_filters(parser: argparse.ArgumentParser) -> None:
    """What of the calls is kept in the end (spec/calling.md 3.5, 8.3)."""
    add_number(parser, "qual", OutputFilter.qual, "calls of this QUAL or less are LowQual")
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
