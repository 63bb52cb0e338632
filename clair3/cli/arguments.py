"""The door of every command: parse, run one room, turn its errors into one line and an exit code."""

import argparse
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, NoReturn

from clair3.errors import ClairError
from clair3.util import log

logger = logging.getLogger(__name__)

YES = ("yes", "true", "t", "y", "1")
NO = ("no", "false", "f", "n", "0")

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""
EXIT_TERMINATED = 143
"""128 + SIGTERM."""
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE: the reader of stdout (`| head`) has had enough."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, as batch systems send it: the run ends as it does after Ctrl-C."""


def run(room: ModuleType, description: str, argv: Sequence[str] | None = None, program: str | None = None) -> None:
    """Parse argv (default: sys.argv) and call room.run(args); args.command_line is the shell-quoted command,
    args.arguments its words without the program.

    program is what the user started, e.g. "clair3 run", for the usage text and the command line (default: sys.argv[0]).

    room is a module with add_arguments(parser) and run(args). Returns when the room has finished. Raises SystemExit
    after one `[ERROR]` line on stderr when the room raised a ClairError (its exit_code: 1 for data, 2 for usage), an
    OSError (1: disk full, no permission), lacks a library that is to be installed (1), or was interrupted (130) or
    terminated (143). Other exceptions are defects and pass through.
    """
    log.setup()
    argv = sys.argv[1:] if argv is None else list(argv)
    program = program or shlex.quote(sys.argv[0])
    with one_line_errors():
        args = make_parser(room, description, program).parse_args(argv)
        args.command_line, args.arguments = f"{program} {shlex.join(argv)}", argv
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupt)
        room.run(args)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors that a user can act on into one line and an exit code, as run says; flush stdout in the end."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except ClairError as error:
        stop(str(error), error.exit_code)
    except BrokenPipeError:
        # Python flushes stdout once more at its end and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_BROKEN_PIPE) from None
    except OSError as error:
        stop(f"{error.filename}: {error.strerror}" if error.filename else str(error), ClairError.exit_code)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in log.OUR_LOGGERS:
            raise
        install = f"{sys.executable} -m pip install -c env/constraints.txt -e ."
        stop(f'{error.name} is not installed; run "{install}" in the folder of clair3-torch', ClairError.exit_code)
    except TerminatedError:
        stop("terminated", EXIT_TERMINATED)
    except KeyboardInterrupt:
        stop("interrupted", EXIT_INTERRUPTED)


def interrupt(number: int, frame: object) -> NoReturn:
    """End the run: the first signal lets it clean up, a second one does not wait. Nothing stands under a final name
    before it is complete, so leaving at once harms nothing."""
    for later in (signal.SIGINT, signal.SIGTERM):
        signal.signal(later, lambda *_: os._exit(128 + number))
    raise TerminatedError if number == signal.SIGTERM else KeyboardInterrupt


def stop(message: str, code: int) -> NoReturn:
    with suppress(ClairError):  # a log on a full disk; stderr has the line by then
        # one line, whatever a file held
        logger.error("".join(letter if letter.isprintable() else " " for letter in message))
    raise SystemExit(code) from None


def make_parser(room: ModuleType, description: str, program: str | None = None) -> argparse.ArgumentParser:
    """The parser of a room. `--name=value`, `--name value` and unambiguous prefixes are accepted (spec/cli.md 1)."""
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [options], see %(prog)s --help",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=True,
    )
    room.add_arguments(parser)
    return parser


def add_switch(group: Any, *names: str, default: bool = False, help: str) -> None:
    """Declare an option that is true when given alone and also takes yes/no values (spec/cli.md 1)."""
    state = "on" if default else "off"
    group.add_argument(
        *names, type=switch, nargs="?", const=True, default=default, metavar="yes|no", help=f"{help} (default: {state})"
    )


def switch(text: str) -> bool:
    """The value of a switch. Raises ArgumentTypeError for anything that is neither yes nor no."""
    word = text.lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither yes ({', '.join(YES)}) nor no ({', '.join(NO)})")


def optional_text(text: str) -> str | None:
    """A text option whose published word for "not given" is EMPTY (spec/cli.md 1); past the door that is None.

    Raises ArgumentTypeError for an empty text: mostly a variable that was not set, and never what was meant.
    """
    if not text:
        raise argparse.ArgumentTypeError("the value is empty; leave the option out or write EMPTY")
    return None if text == "EMPTY" else text


def required_text(text: str) -> str:
    """A text option that must be given. Raises ArgumentTypeError for an empty text, as optional_text does."""
    if not text:
        raise argparse.ArgumentTypeError("the value is empty")
    return text
