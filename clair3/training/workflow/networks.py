"""The options that a workflow passes to the commands it starts, checked before any of them runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from clair3.errors import ConfigError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.training.workflow.sections import Section, parse_file, parse_mapping

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


@dataclass(frozen=True)
class CommandOptions:
    """What the command line of a command accepts.

    names  names of its options, without dashes
    check  parses words of its command line; raises ConfigError for what the command would refuse, InputError for a
           file that it could not use
    """

    names: frozenset[str]
    check: Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class OptionChecks:
    """The commands whose options a configuration file may hold.

    tensors   CreateTrainingTensorDirect
    training  Train
    reads     clair3 simulate reads
    """

    tensors: CommandOptions
    training: CommandOptions
    reads: CommandOptions


@dataclass(frozen=True)
class NetworkOptions:
    """Options for one of the networks, as words of a command line: of the command that makes its tensors, and of
    Train."""

    tensors: tuple[str, ...]
    training: tuple[str, ...]


def read_network(section: Section, kind: str, platform: str, dwell: bool, checks: OptionChecks) -> NetworkOptions:
    """Read the options of a network and refuse what the commands that get them would refuse.

    Raises ConfigError for options, InputError for a checkpoint that training cannot start from.
    """
    tensors = TENSOR_DEFAULTS[kind] | section.take("tensors", parse_mapping, {})
    train = section.take("train", parse_mapping, {})
    if "chkpnt_fn" in train:
        train = train | {"chkpnt_fn": parse_file(train["chkpnt_fn"])}
    words = [f"--platform={platform}", *(["--pileup"] if kind == PILEUP else [])]
    check_tensors(f"{section.where}, tensors", tensors, words, checks.tensors)
    words += ["--add_indel_length"] if kind == FULL_ALIGNMENT else []
    words += ["--enable_dwell_time"] if dwell else []
    check_training(f"{section.where}, train", train, words, checks.training)
    return NetworkOptions(to_words(tensors), to_words(train))


def check_tensors(where: str, given: dict[str, Any], words: Sequence[str], command: CommandOptions) -> None:
    """Raises ConfigError for options that CreateTrainingTensorDirect would refuse; words: its other ones."""
    if unknown := sorted(set(given) - set(TENSOR_OPTIONS)):
        raise ConfigError(f"{where}: unknown name {unknown[0]}; known are {', '.join(TENSOR_OPTIONS)}")
    files = [f"--{name}=x" for name in ("bam_fn", "ref_fn", "ctgName", "bin_fn", "var_fn")]
    with prefix_errors(where):
        command.check([*files, *words, *to_words(given)])


def check_training(where: str, given: dict[str, Any], words: Sequence[str], command: CommandOptions) -> None:
    """Raises ConfigError for options that Train would refuse, InputError for a checkpoint that it could not start from.

    words: its other options.
    """
    if own := sorted(set(given) & set(OWN_OPTIONS)):
        raise ConfigError(f"{where}: {own[0]} follows from the rest of the file; leave it out")
    if unknown := sorted(set(given) - command.names):
        raise ConfigError(f"{where}: unknown name {unknown[0]}; clair3 Train --help has the names")
    with prefix_errors(where):
        command.check(["--bin_fn=x", "--ochk_prefix=x", "--random_validation", *words, *to_words(given)])


@contextmanager
def prefix_errors(where: str) -> Iterator[None]:
    """Put the place in the configuration file before the ConfigError of an option."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def to_words(values: dict[str, Any]) -> tuple[str, ...]:
    """Write options by name as words of a command line: lists with commas, those that are None left out."""
    return tuple(
        f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in values.items()
        if value is not None
    )
