"""`clair3 export`: the networks for other runtimes, TorchScript, ONNX, a repository of Triton (docs/export.md)."""

import argparse
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clair3.cli.arguments import add_conv_padding, add_switch, add_value, required_text
from clair3.config import CallingConfig
from clair3.errors import ClairError, ConfigError, InputError, check_range
from clair3.export.formats import FORMATS, OPSET, ExportedNetwork, Repository, largest_difference, random_tensors
from clair3.inference.checkpoint import NETWORK_NAMES, find_checkpoint, load_model, network_kind, read_checkpoint
from clair3.io.atomic import make_folder, write_whole
from clair3.models.registry import read_card
from clair3.platforms import PLATFORMS

logger = logging.getLogger(__name__)

TOLERANCE = 5e-5
"""Largest difference from the network in PyTorch that counts as rounding (spec/models.md 13)."""

TENSOR_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True)
class ExportConfig:
    """Which networks to export, and how.

    model          folder with both networks, or the checkpoint of one
    output         file for one network, folder for two, or Triton's model repository
    format         one of FORMATS
    platform       platform of the reads, which gives the rows of full-alignment tensors; None: as model.json says
    prefixes       prefixes of the two networks in the folder, by kind
    conv_padding   "auto", or one of CONV_PADDINGS to overrule the file (spec/models.md 8)
    logits         whether the output is logits in place of probabilities
    batch          random candidates that the network is traced and verified with
    verify         whether to compare with PyTorch before anything is written
    repository     Triton's repository; None: files only
    names          names of the input and output tensor, in ONNX and for Triton
    """

    model: Path
    output: Path
    format: str
    platform: str | None
    prefixes: dict[str, str]
    conv_padding: str = "auto"
    logits: bool = False
    batch: int = 32
    verify: bool = False
    repository: Repository | None = None
    names: tuple[str, str] = ("INPUT__0", "OUTPUT__0")

    def __post_init__(self):
        check_range("batch", self.batch, 1, 10_000)
        if self.names[0] == self.names[1]:
            raise ConfigError(f"--input_name and --output_name are both {self.names[0]}; they must differ")
        for name in self.names:
            if not TENSOR_NAME.fullmatch(name):
                raise ConfigError(f"tensor name {name!r}; expected letters, digits and underscores")
        if self.format != "torchscript":
            return
        if not self.repository and self.names != ExportConfig.names:
            raise ConfigError("--input_name and --output_name are for ONNX and Triton; TorchScript has no such names")
        if self.repository and not all(name.endswith("__0") for name in self.names):
            raise ConfigError(
                f"tensor names {' and '.join(self.names)}: with TorchScript Triton wants them to end in __0"
            )

    @property
    def is_one_file(self) -> bool:
        """Whether the output is one file: one checkpoint, and no repository."""
        return not self.repository and not self.model.is_dir()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_input(parser.add_argument_group("input"))
    add_output(parser.add_argument_group("output"))
    add_triton(parser.add_argument_group("Triton Inference Server"))


def add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model_path", required=True, type=required_text, metavar="PATH", help="model folder, or one checkpoint (.pt)"
    )
    group.add_argument(
        "-p",
        "--platform",
        choices=list(PLATFORMS),
        help="what sequenced the reads: the rows of full-alignment tensors, 89 for ont, 55 for hifi and ilmn "
        "(default: as model.json in the folder says)",
    )
    add_value(group, "pileup_model_prefix", CallingConfig.pileup_model_prefix, "NAME", "file name without .pt")
    add_value(group, "fa_model_prefix", CallingConfig.fa_model_prefix, "NAME", "file name without .pt")
    add_conv_padding(group)


def add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--output",
        required=True,
        type=required_text,
        metavar="PATH",
        help="file for one checkpoint; folder for a model folder, or for --triton",
    )
    group.add_argument(
        "--format",
        choices=list(FORMATS),
        default="torchscript",
        help=f"ONNX is of opset {OPSET} (default: %(default)s)",
    )
    add_switch(group, "--logits", help="answer with what the softmax is taken of, not with probabilities")
    text = "random candidates to trace and verify with; the file takes any number"
    add_value(group, "batch", ExportConfig.batch, "N", text)
    add_switch(group, "--verify", help="compare with PyTorch on random tensors first; write nothing if they differ")


def add_triton(group: argparse._ArgumentGroup) -> None:
    """Declare the options of Triton; the numbers are None when not given, as they are refused without --triton."""
    add_switch(group, "--triton", help="write a model repository with the models pileup and alignment")
    for name, text in (
        ("model_version", "of the models, their folder"),
        ("max_batch", "candidates per request, and that requests are merged up to"),
    ):
        default = getattr(Repository, name)
        group.add_argument(f"--{name}", type=int, metavar="N", help=f"{text} (default: {default})")
    for name, default in zip(("input_name", "output_name"), ExportConfig.names, strict=True):
        add_value(group, name, default, "NAME", "of the tensor, in ONNX too")


def run(args: argparse.Namespace) -> None:
    """Export as the options say. Raises ClairError, see export."""
    given = {name: value for name in ("model_version", "max_batch") if (value := getattr(args, name)) is not None}
    if given and not args.triton:
        raise ConfigError(f"--{next(iter(given))} is for Triton only; add --triton or leave it out")
    export(
        ExportConfig(
            model=Path(args.model_path),
            output=Path(args.output),
            format=args.format,
            platform=args.platform,
            prefixes={"pileup": args.pileup_model_prefix, "full_alignment": args.fa_model_prefix},
            conv_padding=args.conv_padding,
            logits=args.logits,
            batch=args.batch,
            verify=args.verify,
            repository=Repository(**given) if args.triton else None,
            names=(args.input_name, args.output_name),
        )
    )


def export(config: ExportConfig) -> None:
    """Export the networks of a model; nothing is written before all of them are made and, with `verify`, verified.

    Raises InputError when a checkpoint cannot be used, ConfigError when an option or package is missing, and
    ClairError when an exported network does not give the results of PyTorch.
    """
    _check_output(config)
    form = FORMATS[config.format]
    files: dict[Path, bytes] = {}
    for path, kind in _find_checkpoints(config):
        rows = 0 if kind == "pileup" else _find_rows(config)
        network = load_model(path, kind, conv_padding=config.conv_padding, depth=rows)
        content = convert(network, config, rows)
        if config.repository:
            model_files = config.repository.files(network, content, form, rows, config.names)
            files |= {config.output / path: data for path, data in model_files.items()}
        elif config.is_one_file:
            files[config.output] = content
        else:
            files[config.output / f"{kind}{form.suffix}"] = content
    for path in files:
        make_folder(path.parent)
    write_whole(files)
    for path, content in files.items():
        logger.info("%s: %d bytes", path, len(content))


def convert(network: nn.Module, config: ExportConfig, rows: int) -> bytes:
    """Return the file contents of a network in the configured format.

    With `verify`, raises ClairError when its results differ from PyTorch by more than rounding.
    """
    form = FORMATS[config.format]
    example = torch.from_numpy(random_tensors(network, rows, config.batch, np.random.default_rng(1)))
    content = form.make(ExportedNetwork(network, config.logits), example, config.names)
    if config.verify:
        difference = largest_difference(network, form.run(content), rows, config.batch, config.logits)
        if not difference <= TOLERANCE:
            raise ClairError(
                f"the {NETWORK_NAMES[network.kind]} network differs as {config.format} by up to {difference:.1e} from "
                f"PyTorch (allowed: {TOLERANCE:.0e}); nothing was written, try other versions of torch and onnxruntime"
            )
        logger.info("%s network: at most %.1e from PyTorch", NETWORK_NAMES[network.kind], difference)
    return content


def _find_checkpoints(config: ExportConfig) -> list[tuple[Path, str]]:
    """Return the checkpoints to export, and the kinds of their networks."""
    if config.model.is_dir():
        return [(find_checkpoint(config.model, kind, prefix), kind) for kind, prefix in config.prefixes.items()]
    state, _ = read_checkpoint(config.model)
    return [(config.model, network_kind(config.model, state))]


def _find_rows(config: ExportConfig) -> int:
    """Return the rows of full-alignment tensors. Raises ConfigError when the platform is not known."""
    platform = config.platform
    if platform is None and config.model.is_dir() and (card := read_card(config.model)):
        platform = card.platform
    if platform is None:
        raise ConfigError(
            f"{config.model}: full-alignment tensors have other rows for other reads; "
            f"add --platform={'|'.join(PLATFORMS)}"
        )
    return PLATFORMS[platform].rows


def _check_output(config: ExportConfig) -> None:
    """Raise InputError or ConfigError when the model is missing, or the output is no place for it."""
    if not config.model.exists():
        raise InputError(f"{config.model}: no such model folder or checkpoint; check --model_path")
    if config.is_one_file and config.output.is_dir():
        raise ConfigError(f"--output={config.output} is a folder; give a file name for one network")
    if not config.is_one_file and config.output.exists() and not config.output.is_dir():
        raise ConfigError(f"--output={config.output} is a file; a folder is needed")
    if config.output.exists() and config.output.samefile(config.model):
        raise ConfigError(f"--output={config.output} is the model itself; give another name")
