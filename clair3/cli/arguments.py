"""What every command shares: parsing, errors as one line and an exit code, and options common to several commands."""

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

from clair3.config import (
    AMP,
    BF16,
    CPU,
    CUDA,
    FAST_MIN_COVERAGE,
    FAST_SNP_MIN_AF,
    FP16,
    FP32,
    LONG_INDEL_LENGTH,
    MPS,
    PRECISE,
    PRECISIONS,
    SENSITIVE,
    CallingConfig,
    CandidateOptions,
    Compute,
    parse_device,
)
from clair3.errors import ClairError, ConfigError, install_command
from clair3.platforms import PLATFORMS
from clair3.tensor_shapes import CONV_PADDINGS
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


NO_THREAD = "can't start new thread"
"""What Python says when the system refuses a thread."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, as batch systems send it, or SIGHUP, of a terminal that closes: the run ends as it does after Ctrl-C."""


def run(command: ModuleType, description: str, argv: Sequence[str] | None = None, program: str | None = None) -> None:
    """Parse argv (default: sys.argv) and call command.run(args); args.command_line is the shell-quoted command line,
    args.arguments its words without the program.

    program is what the user started, e.g. "clair3 run", for the usage text and the command line (default: sys.argv[0]).

    command is a module, or a class, with add_arguments(parser) and run(args). Returns when it has finished. Raises
    SystemExit after one `[ERROR]` line on stderr when it raised a ClairError (its exit_code: 1 for data, 2 for usage),
    an OSError (1: disk full, no permission), lacks a library that is to be installed (1), or was interrupted (130) or
    terminated (143). Other exceptions are defects and pass through.
    """
    log.setup()
    argv = sys.argv[1:] if argv is None else list(argv)
    program = program or shlex.quote(sys.argv[0])
    with one_line_errors():
        args = make_parser(command, description, program).parse_args(argv)
        args.command_line, args.arguments = f"{program} {shlex.join(argv)}", argv
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # started by nohup
                signal.signal(number, interrupt)
        command.run(args)


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
        stop(f"{error.name} is not installed; run {install_command()}", ClairError.exit_code)
    except MemoryError:
        stop("not enough memory; give fewer --threads, or a smaller --chunk_size", ClairError.exit_code)
    except RuntimeError as error:
        if NO_THREAD not in str(error):
            raise
        stop("no more threads can be started here (see ulimit -u); give fewer --threads", ClairError.exit_code)
    except TerminatedError:
        stop("terminated", EXIT_TERMINATED)
    except KeyboardInterrupt:
        stop("interrupted", EXIT_INTERRUPTED)


def interrupt(number: int, frame: object) -> NoReturn:
    """End the run: the first signal lets it clean up, a second one does not wait. Nothing stands under a final name
    before it is complete, so leaving at once harms nothing."""
    for later in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(later, lambda *_: os._exit(128 + number))
    raise KeyboardInterrupt if number == signal.SIGINT else TerminatedError


def stop(message: str, code: int) -> NoReturn:
    """Log the message as one line and end the program with this exit code."""
    with suppress(ClairError):  # a log on a full disk; stderr has the line by then
        # one line, whatever a file held
        logger.error("".join(letter if letter.isprintable() else " " for letter in message))
    raise SystemExit(code) from None


def make_parser(command: ModuleType, description: str, program: str | None = None) -> argparse.ArgumentParser:
    """Return a command's parser. It takes `--name=value`, `--name value` and unambiguous prefixes (spec/cli.md 1)."""
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [options], see %(prog)s --help",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=True,
    )
    command.add_arguments(parser)
    return parser


def add_switch(group: Any, *names: str, default: bool = False, help: str) -> None:
    """Declare an option that is true when given alone and also takes yes/no values (spec/cli.md 1)."""
    state = "on" if default else "off"
    group.add_argument(
        *names, type=switch, nargs="?", const=True, default=default, metavar="yes|no", help=f"{help} (default: {state})"
    )


def switch(text: str) -> bool:
    """Return the value of a switch. Raises ArgumentTypeError for anything that is neither yes nor no."""
    word = text.lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither yes ({', '.join(YES)}) nor no ({', '.join(NO)})")


def optional_text(text: str) -> str | None:
    """A text option whose published word for "not given" is EMPTY (spec/cli.md 1): returns None for it.

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


def add_value(group: argparse._ArgumentGroup, name: str, default: int | float | str, metavar: str, text: str) -> None:
    """Declare an option that takes a value of the type of its default."""
    text += " (default: %(default)s)"
    group.add_argument(f"--{name}", type=type(default), default=default, metavar=metavar, help=text)


def add_text(group: argparse._ArgumentGroup, name: str, metavar: str, text: str) -> None:
    """Declare an option that is None when not given, or given as EMPTY."""
    group.add_argument(f"--{name}", type=optional_text, metavar=metavar, help=text)


def add_conv_padding(group: argparse._ArgumentGroup) -> None:
    """Declare --conv_padding, for everything that loads a full-alignment network (spec/models.md 8)."""
    group.add_argument(
        "--conv_padding",
        choices=("auto", *CONV_PADDINGS),
        default=CallingConfig.conv_padding,
        help="padding of the full-alignment network; auto: as the file says, else symmetric; tf_same: for .pt files "
        "that Clair3 v2 made of TensorFlow models for HiFi or Illumina reads (default: %(default)s)",
    )


def add_compute(group: Any) -> None:
    """Declare the options of devices and precision; group is a parser or a group of one."""
    group.add_argument(
        "--device",
        type=optional_text,
        metavar="NAME",
        help="auto (a CUDA GPU if there is one, else the CPU), cpu, cuda (all visible GPUs), cuda:0,1 or mps "
        "(default: cpu)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="arithmetic of the networks; bf16 and fp16 change records (default: fp32)",
    )
    add_switch(group, "--amp", help="the lower precision that suits the device: fp16 on GPUs, bf16 on CPUs")
    group.add_argument(
        "--torch_num_threads",
        "--tensorflow_threads",
        type=int,
        default=Compute.torch_threads,
        metavar="N",
        help="threads inside one operation of a network on the CPU; threads / N parts are called at a time "
        "(default: %(default)s)",
    )


def make_compute(args: argparse.Namespace, threads: int) -> Compute:
    """Return the choice that the options of add_compute and --use_gpu make. Raises ConfigError when they contradict."""
    device, numbers = parse_device(args.device)
    if args.use_gpu:
        if device == CPU and args.device is not None:
            raise ConfigError(f"--use_gpu and --device={args.device} contradict each other; leave one of them out")
        device = device if device == MPS else CUDA
    if args.amp and args.precision not in (None, BF16, FP16):
        raise ConfigError(f"--amp and --precision={args.precision} contradict each other; leave one of them out")
    torch_threads = args.torch_num_threads
    if torch_threads > threads:
        logger.warning("--torch_num_threads=%d is more than the threads of this run, using %d", torch_threads, threads)
        torch_threads = threads
    return Compute(device, numbers, args.precision or (AMP if args.amp else FP32), torch_threads)


def make_candidate_options(
    args: argparse.Namespace, min_mapq: int, min_coverage: int, snp_min_af: float, indel_min_af: float
) -> CandidateOptions:
    """Return the rule that makes candidates, for --platform, --vcf_fn and the switches that all calling commands share.

    --fast_mode raises the thresholds, for platforms that have it (spec/features.md B.5). Raises ConfigError when a
    value is out of range.
    """
    platform = PLATFORMS[args.platform]
    if args.fast_mode and platform.fast_mode:
        snp_min_af, min_coverage = max(snp_min_af, FAST_SNP_MIN_AF), max(min_coverage, FAST_MIN_COVERAGE)
    return CandidateOptions(
        min_mapq=min_mapq,
        min_coverage=min_coverage,
        snp_min_af=snp_min_af,
        indel_min_af=indel_min_af,
        snp_only=args.call_snp_only,
        head_and_tail=args.enable_variant_calling_at_sequence_head_and_tail,
        max_indel_length=LONG_INDEL_LENGTH if args.enable_long_indel else CandidateOptions.max_indel_length,
        short_read_rules=platform.short_reads,
        known_sites=platform.short_reads and bool(args.vcf_fn),
    )


def haploid_mode(args: argparse.Namespace) -> str | None:
    """Return the haploid mode that the options ask for, or None.

    Raises ConfigError when both are asked for; v2.0.2 turns 1/1 into 0 then (spec/calling.md 15 C4).
    """
    if args.haploid_precise and args.haploid_sensitive:
        raise ConfigError("Please provide either --haploid_precise or --haploid_sensitive only")
    return PRECISE if args.haploid_precise else SENSITIVE if args.haploid_sensitive else None


def parse_contig_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names of a comma list, each once, in its order. Raises ConfigError when there is none."""
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError(f"--ctg_name={text}: expected names of contigs, separated by commas")
    return names


def at_least(minimum: int, value: int, subject: str, option: str) -> int:
    """Return value, or the minimum with v2.0.2's warning when it is lower (spec/cli.md 3.10)."""
    if value < minimum:
        logger.warning("Invalid minimum %s input --%s>=%d, using %d", subject, option, minimum, minimum)
    return max(value, minimum)
