"""What a road is told about each network: options of its tensors and of its training, checked before the work."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from clair3 import tensor_options
from clair3.task.main import FULL_ALIGNMENT, PILEUP
from clair3.training import options as training
from clair3.training.journal import require
from clair3.training.network import make_network
from clair3.training_road.sections import Section, existing, mapping
from shared.errors import ConfigError

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
    return Network(words_of(tensors), words_of(train))


def check_tensors(where: str, given: dict[str, Any], kind: str, words: Sequence[str]) -> None:
    """Raises ConfigError for options that CreateTrainingTensorDirect would refuse; words: its other ones."""
    if unknown := sorted(set(given) - set(TENSOR_OPTIONS)):
        raise ConfigError(f"{where}: unknown name {unknown[0]}; known are {', '.join(TENSOR_OPTIONS)}")
    parser = Parser()
    tensor_options.add_arguments(parser, tensor_options.DIRECT)
    files = [f"--{name}=x" for name in ("bam_fn", "ref_fn", "ctgName", "bin_fn", "var_fn")]
    with named(where):
        args = parser.parse_args([*files, *words, *words_of(given)])
        tensor_options.job_of(args, kind)
        tensor_options.picker_of(args)


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
        args = parser.parse_args(["--bin_fn=x", "--ochk_prefix=x", "--random_validation", *words, *words_of(given)])
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


def words_of(values: dict[str, Any]) -> tuple[str, ...]:
    """Options by name as words of a command line."""
    return tuple(
        f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in values.items()
        if value is not None
    )
