"""`clair3 Train`: train a network from bins of labelled tensors; options and --config file (spec/training.md C.1)."""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from clair3.cli.arguments import add_switch, make_parser, optional_text
from clair3.cli.run import add_conv_padding
from clair3.errors import ConfigError, UsageError, check_range
from clair3.platforms import DEFAULT_PLATFORM, PLATFORMS
from clair3.training.trainer.config import (
    INITIALIZATIONS,
    PRECISIONS,
    PRELOADS,
    UPSTREAM,
    TrainingConfig,
    choose_kind,
)
from clair3.training.trainer.distributed import is_started, launch
from clair3.training.trainer.journal import require
from clair3.training.trainer.network import make_network
from clair3.training.trainer.optimizers import OPTIMIZERS, PLATEAU_EPOCHS, PLATEAU_SHARE, SCHEDULES
from clair3.training.trainer.plan import MODES
from clair3.training.trainer.session import train
from clair3.training.workflow.sections import read_mapping

logger = logging.getLogger(__name__)

DEFAULT_RATE = TrainingConfig.learning_rate

LEGACY = {"tensorflow_threads": "torch_num_threads", "use_gpu": None, "chunk_size": None}
"""Names in configuration files of earlier programs, and what they are called now; None: without effect."""

AS_GIVEN = (
    *("platform", "mini_epochs", "reuse_bin", "scale_lr", "optimizer", "lookahead", "schedule", "initialization"),
    *("batch_norm_momentum", "conv_padding", "class_weights", "clip_grad_norm", "patience", "min_delta", "keep_last"),
    *("seed", "deterministic", "device", "gpus", "tf32", "compile_model", "channels_last", "gradient_checkpointing"),
    *("prefetch", "preload", "resume", "tensorboard", "wandb", "plots", "summary", "split", "command_line"),
)
"""Options that are fields of TrainingConfig by the same name."""

LOGS = ("tensorboard", "wandb")
"""Options that need the package of their name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare every option of Train: those of v2.0.2 (spec/training.md C.1) and those of C.7."""
    add_option(parser, "config", metavar="FILE", help="YAML or JSON of options by name; the command line wins")
    add_data(parser)
    add_network(parser)
    add_recipe(parser)
    add_output(parser)
    add_performance(parser)


def run(args: argparse.Namespace) -> None:
    """Train as the options say. Raises ClairError, see clair3.cli.arguments.run."""
    config = make_config(args)
    if config.gpus > 1 and not is_started():
        launch(config.gpus, args.arguments)
        return
    train(config, args.local_rank if args.local_rank >= 0 else None)


def check(args: argparse.Namespace) -> None:
    """Refuse what a training would refuse at its start, before its bins are there.

    args: without command_line and arguments. Raises ConfigError for options, and for a package that is not installed;
    InputError for a checkpoint that no training can start from.
    """
    args.command_line = None
    config = make_config(args)
    for name in LOGS:
        if getattr(config, name):
            require(name, name)
    if config.start is not None:
        make_network(config)


def add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training data")
    add_option(group, "platform", choices=list(PLATFORMS), default=DEFAULT_PLATFORM, help="what sequenced the reads")
    add_option(group, "bin_fn", "--data_dir", metavar="DIR", help="folder of training bins (required)")
    validation = group.add_mutually_exclusive_group()
    add_option(validation, "validation_fn", metavar="DIR", help="folder of bins to validate with")
    add_switch(validation, "--random_validation", help="validate with a tenth of each bin")
    add_option(
        group, "validation_mode", choices=list(MODES), default=MODES[0],
        help="which tenth: the end of each bin, or chunks anywhere",
    )  # fmt: skip
    add_option(
        group, "split", choices=["rows", UPSTREAM], default="rows",
        help="use every row, or v2.0.2's arithmetic, which leaves some out",
    )  # fmt: skip
    add_option(
        group, "exclude_training_samples", metavar="A,B", help="leave out bins with such a text in their file names"
    )
    add_option(
        group, "exclude_contigs", metavar="A,B", default=",".join(TrainingConfig.exclude_contigs),
        help="leave out bins with rows of these contigs, or 'none'",
    )  # fmt: skip


def add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network")
    add_switch(group, "--pileup", help="train the pileup network, else that of full alignment")
    add_switch(group, "--add_indel_length", help="four heads instead of two; yes for full alignment")
    add_switch(group, "--enable_dwell_time", help="the ninth channel of full alignment")
    add_switch(group, "--reuse_bin", help="leave out the last channel of bins that have one more")
    add_option(group, "chkpnt_fn", metavar="FILE", help="checkpoint whose weights are the first ones")
    add_conv_padding(group)
    add_option(
        group, "initialization", choices=list(INITIALIZATIONS), default=TrainingConfig.initialization,
        help="first weights without a checkpoint",
    )  # fmt: skip
    add_option(group, "batch_norm_momentum", type=float, default=TrainingConfig.batch_norm_momentum, metavar="F",
        help="share of a batch in the running means")  # fmt: skip


def add_recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe (that of v2.0.2 is in docs/differences.md)")
    add_option(group, "maxEpoch", "--max_epochs", type=int, default=TrainingConfig.epochs, metavar="N", help="epochs")
    add_option(group, "mini_epochs", type=int, default=1, metavar="N", help="parts of an epoch, each with a checkpoint")
    add_option(
        group, "batch_size", type=int, default=TrainingConfig.batch, metavar="ROWS", help="rows per step and process"
    )
    add_option(group, "learning_rate", type=float, default=DEFAULT_RATE, metavar="F", help="1e-4 is for fine-tuning")
    add_switch(group, "--scale_lr", help="multiply the learning rate by the number of processes")
    add_option(group, "optimizer", choices=list(OPTIMIZERS), default=TrainingConfig.optimizer, help="of the weights")
    add_switch(group, "--lookahead", default=True, help="every 6 steps, go half the way back")
    add_option(group, "schedule", choices=list(SCHEDULES), default=TrainingConfig.schedule,
        help=f"of the learning rate; plateau: times {PLATEAU_SHARE:g} after {PLATEAU_EPOCHS} epochs without a better "
        "validation loss")  # fmt: skip
    add_option(
        group, "l2", type=float, metavar="F", help="weight decay (default: 1e-7; of adamw 1e-4 pileup, 1e-7 else)"
    )
    add_switch(group, "--class_weights", help="weight classes by their effective number of rows")
    add_option(group, "clip_grad_norm", "--clip-grad-norm", type=float, default=0.0, metavar="F",
        help="longest gradient, 0: any; 1 goes well with fp16")  # fmt: skip
    add_option(group, "patience", type=int, default=TrainingConfig.patience, metavar="N",
        help="end after so many epochs without a better validation loss")  # fmt: skip
    add_option(group, "min_delta", "--min-delta", type=float, default=0.0, metavar="F", help="better by at least this")
    add_option(group, "seed", type=int, default=TrainingConfig.seed, metavar="N", help="of everything random")
    add_switch(group, "--deterministic", help="only operations with the same bits each time, on GPUs too")


def add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add_option(
        group, "ochk_prefix", metavar="PREFIX", help="of the checkpoints (required); the rest is written beside them"
    )
    add_option(group, "keep_last", "--keep-last", type=int, default=0, metavar="N",
        help="checkpoints of epochs to keep, 0: all; the best is always kept")  # fmt: skip
    add_switch(group, "--resume", help="go on from PREFIX.state.pt")
    add_switch(group, "--summary", help="list the layers of the network in the log")
    add_switch(group, "--tensorboard", help="also write TensorBoard's files")
    add_switch(group, "--wandb", help="also log to Weights & Biases")
    add_switch(
        group, "--plots", default=True, help="draw curves, confusion and calibration at the end, with matplotlib"
    )


def add_performance(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("performance")
    add_option(group, "device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add_option(group, "gpus", type=int, default=1, metavar="N", help="start N processes, one per GPU")
    add_option(group, "local_rank", type=int, default=-1, metavar="N", help="set by old versions of torchrun")
    add_option(group, "mixed_precision", "--mixed-precision", "--precision", choices=[*PRECISIONS, "fp32"],
        default="none", help="arithmetic of the network; the loss is always float32")  # fmt: skip
    add_switch(group, "--amp", help="bf16 where the GPU has it, else fp16; bf16 on a CPU")
    add_switch(group, "--tf32", help="let CUDA round float32 products to TF32")
    add_switch(group, "--compile_model", "--compile-model", help="torch.compile")
    add_switch(group, "--channels_last", "--channels-last", help="weights of convolutions with the channels innermost")
    add_switch(group, "--gradient_checkpointing", "--gradient-checkpointing", help="less memory, a third more time")
    add_option(group, "num_workers", "--num-workers", type=int, metavar="N",
        help="processes that read bins ahead (default: up to 4; 0 when the rows are in memory)")  # fmt: skip
    add_option(
        group, "prefetch", "--prefetch-factor", type=int, default=2, metavar="N", help="batches each reads ahead"
    )
    add_option(group, "preload", choices=list(PRELOADS), default="auto",
        help="unpack all rows at the start: no, ram, device, or auto where they fit into a quarter of it")  # fmt: skip
    add_option(group, "torch_num_threads", "--tensorflow_threads", type=int, metavar="N",
        help="threads of the network on a CPU (default: all)")  # fmt: skip


def add_option(group: Any, name: str, *aliases: str, help: str, **options: Any) -> None:
    """Declare --name and its aliases, with the default in its help."""
    if options.get("default") is not None:
        help = f"{help} (default: %(default)s)".strip()
    if "type" not in options and "choices" not in options:
        options["type"] = optional_text
    group.add_argument(f"--{name}", *aliases, dest=name, help=help, **options)


def merge_config_file(args: argparse.Namespace) -> argparse.Namespace:
    """Put the options of the --config file before those of the command line, so that the command line wins.

    Raises ConfigError for an unknown name, InputError for a file that cannot be read.
    """
    parser = make_parser(sys.modules[__name__], "")
    known = {action.dest: action.option_strings[0] for action in parser._actions}
    words = []
    for written, value in read_mapping(Path(args.config)).items():
        name = written.replace("-", "_")
        if name in LEGACY:
            logger.warning("%s: %s means %s here", args.config, written, LEGACY[name] or "nothing")
            name = LEGACY[name]
        if name in ("config", "help") or name not in (*known, None):
            raise ConfigError(f"{args.config}: unknown option {written}; see --help for the names")
        if name:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words.append(f"{known[name]}={text}")
    everything = parser.parse_args([*words, *args.arguments])
    everything.command_line, everything.arguments = args.command_line, args.arguments
    return everything


def make_config(args: argparse.Namespace) -> TrainingConfig:
    """Make the configuration of a training from its options.

    args: as clair3.cli.arguments.run gives them, with command_line and arguments. Raises UsageError, ConfigError or
    InputError, naming the option.
    """
    if args.config:
        args = merge_config_file(args)
    for name in ("bin_fn", "ochk_prefix"):
        if getattr(args, name) is None:
            raise UsageError(f"--{name} is required")
    check_range("learning_rate", args.learning_rate, 0)
    precision = "none" if args.mixed_precision == "fp32" else args.mixed_precision
    if args.amp and args.mixed_precision != "none":
        raise ConfigError(f"--amp and --mixed-precision {args.mixed_precision} exclude each other; choose one")
    return TrainingConfig(
        bins=Path(args.bin_fn),
        prefix=Path(os.path.abspath(args.ochk_prefix)),
        kind=choose_kind(args.pileup),
        heads=4 if args.add_indel_length else 2,
        dwell=args.enable_dwell_time,
        start=Path(args.chkpnt_fn) if args.chkpnt_fn else None,
        validation=Path(args.validation_fn) if args.validation_fn else None,
        validation_mode=args.validation_mode if args.random_validation else None,
        exclude_samples=split_list(args.exclude_training_samples),
        exclude_contigs=() if args.exclude_contigs == "none" else split_list(args.exclude_contigs),
        epochs=args.maxEpoch,
        batch=args.batch_size,
        learning_rate=args.learning_rate or DEFAULT_RATE,
        l2=args.l2,
        precision="amp" if args.amp else precision,
        workers=args.num_workers,
        threads=args.torch_num_threads,
        **{name: getattr(args, name) for name in AS_GIVEN},
    )


def split_list(text: str | None) -> tuple[str, ...]:
    """Split a comma-separated list into its names, without blanks and empty ones."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
