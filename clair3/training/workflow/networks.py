"""The file of a training road as sections of named values: each is asked for once, what nobody asks for is refused."""

import argparse
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.legacy import tensors
from clair3.training.trainer import options as training
from clair3.training.trainer.journal import require
from clair3.training.trainer.network import make_network

REQUIRED = object()


class Section:
    """The values of one mapping in a file. where names it in errors: `road.yaml, samples, number 2`.

    outer: the section whose values stand for those that are missing here.
    Raises ConfigError when values is no mapping by names.
    """

    def __init__(self, values: Any, where: str, outer: "Section | None" = None):
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise ConfigError(f"{where}: expected names with values, found {shown(values)}")
        self.values = {name: value for name, value in values.items() if value is not None}
        self.where, self.outer = where, outer
        self.asked: set[str] = set()

    def take(self, name: str, reader: Callable[[Any], Any], default: Any = REQUIRED) -> Any:
        """The value of a name as its reader gives it, or the default.

        Raises ConfigError when it is missing, or when the reader refuses it (ValueError with what it expects).
        """
        self.asked.add(name)
        if self.outer is not None:
            self.outer.asked.add(name)
        if name not in self.values:
            if self.outer is not None:
                return self.outer.take(name, reader, default)
            if default is REQUIRED:
                raise ConfigError(f"{self.where}: {name} is missing")
            return default
        try:
            return reader(self.values[name])
        except ValueError as error:
            raise ConfigError(f"{self.where}: {name} is {shown(self.values[name])}; expected {error}") from None

    def finish(self) -> None:
        """Raises ConfigError for a name that nobody asked for."""
        if unknown := sorted(set(self.values) - self.asked):
            known = ", ".join(sorted(self.asked))
            raise ConfigError(f"{self.where}: unknown name {unknown[0]}; known are {known}")


def shown(value: Any) -> str:
    return repr(value)[:80]


def text(value: Any) -> str:
    """A text; a number is one too (`name: 12`)."""
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int | float)
        or not str(value).isprintable()
        or value == ""
    ):
        raise ValueError("a text")
    return str(value)


def texts(value: Any) -> tuple[str, ...]:
    """A list of different texts, or one alone."""
    found = tuple(map(text, value if isinstance(value, list) else [value]))
    if len(set(found)) < len(found):
        raise ValueError("each of them once")
    return found


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("yes or no")
    return value


def whole(least: int) -> Callable[[Any], int]:
    """Reads a whole number from `least` on."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"a whole number from {least}")
        return value

    return read


def numbers(most: float) -> Callable[[Any], tuple[float, ...]]:
    """Reads a list of different numbers above 0 and up to `most`, or one alone."""

    def read(value: Any) -> tuple[float, ...]:
        found = value if isinstance(value, list) else [value]
        if not found or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in found):
            raise ValueError("numbers")
        if not all(0 < one <= most for one in found) or len(set(found)) < len(found):
            raise ValueError("different numbers above 0" + (f", up to {most}" if most < math.inf else ""))
        return tuple(map(float, found))

    return read


def mapping(value: Any) -> dict:
    if not isinstance(value, dict):
        raise ValueError("names with values")
    return value


def listing(value: Any) -> list:
    if not isinstance(value, list) or not value:
        raise ValueError("a list with at least one entry")
    return value


def existing(value: Any) -> Path:
    """The absolute path of a file that is there. Raises InputError when it is not."""
    path = Path(os.path.abspath(text(value)))
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path


TENSOR_DEFAULTS = {
    PILEUP: {"snp_min_af": 0.08, "indel_min_af": 0.15, "maximum_non_variant_ratio": 5},
    FULL_ALIGNMENT: {"maximum_non_variant_ratio": 1},
}
"""The documented settings (spec/training.md A.7.1); full-alignment candidates come from a file, so no fractions."""

TENSOR_OPTIONS = (
    *("snp_min_af", "indel_min_af", "minCoverage", "minMQ", "maximum_non_variant_ratio"),
    *("fast_mode", "call_snp_only", "enable_long_indel"),
)
"""Options of CreateTrainingTensorDirect that the file may give."""

OWN_OPTIONS = (
    *("config", "platform", "bin_fn", "validation_fn", "random_validation", "exclude_contigs", "pileup"),
    *("add_indel_length", "enable_dwell_time", "ochk_prefix", "resume", "torch_num_threads", "local_rank"),
)
"""Options of Train that follow from the rest of the file."""


LOGS = ("tensorboard", "wandb")
"""Options of Train that want the package of their name."""


@dataclass(frozen=True)
class Network:
    """Options for one of the networks, as words of a command line: of its tensors, and of Train."""

    tensors: tuple[str, ...]
    training: tuple[str, ...]


def read_network(section: Section, kind: str, platform: str, dwell: bool) -> Network:
    """The options of a network, refused as the commands that get them would. Raises ConfigError or InputError."""
    tensors = TENSOR_DEFAULTS[kind] | section.take("tensors", mapping, {})
    train = section.take("train", mapping, {})
    if "chkpnt_fn" in train:
        train = train | {"chkpnt_fn": existing(train["chkpnt_fn"])}
    words = [f"--platform={platform}", *(["--pileup"] if kind == PILEUP else [])]
    check_tensors(f"{section.where}, tensors", tensors, kind, words)
    words += ["--add_indel_length"] if kind == FULL_ALIGNMENT else []
    words += ["--enable_dwell_time"] if dwell else []
    check_training(f"{section.where}, train", train, words)
    return Network(command_line_words(tensors), command_line_words(train))


def check_tensors(where: str, given: dict[str, Any], kind: str, words: Sequence[str]) -> None:
    """Raises ConfigError for options that CreateTrainingTensorDirect would refuse; words: its other ones."""
    if unknown := sorted(set(given) - set(TENSOR_OPTIONS)):
        raise ConfigError(f"{where}: unknown name {unknown[0]}; known are {', '.join(TENSOR_OPTIONS)}")
    parser = Parser()
    tensors.add_arguments(parser, tensors.DIRECT)
    files = [f"--{name}=x" for name in ("bam_fn", "ref_fn", "ctgName", "bin_fn", "var_fn")]
    with named(where):
        args = parser.parse_args([*files, *words, *command_line_words(given)])
        tensors.tensor_job(args, kind)
        tensors.make_row_picker(args)


def check_training(where: str, given: dict[str, Any], words: Sequence[str]) -> None:
    """Raises ConfigError for options that Train would refuse, InputError for a checkpoint that it could not start from.

    words: its other options.
    """
    parser = Parser()
    training.add_arguments(parser)
    if own := sorted(set(given) & set(OWN_OPTIONS)):
        raise ConfigError(f"{where}: {own[0]} follows from the rest of the file; leave it out")
    if unknown := sorted(set(given) - {action.dest for action in parser._actions}):
        raise ConfigError(f"{where}: unknown name {unknown[0]}; clair3 Train --help has the names")
    with named(where):
        args = parser.parse_args(
            ["--bin_fn=x", "--ochk_prefix=x", "--random_validation", *words, *command_line_words(given)]
        )
        args.command_line = None
        config = training.config_from(args)
        for name in LOGS:
            if getattr(config, name):
                require(name, name)
    if config.start is not None:
        make_network(config)


class Parser(argparse.ArgumentParser):
    """Says what is wrong instead of ending the program."""

    def __init__(self):
        super().__init__(allow_abbrev=False)

    def error(self, message: str):
        raise ConfigError(message)


@contextmanager
def named(where: str) -> Iterator[None]:
    """Puts the place before the errors of options."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def command_line_words(values: dict[str, Any]) -> tuple[str, ...]:
    """Options by name as words of a command line."""
    return tuple(
        f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in values.items()
        if value is not None
    )
