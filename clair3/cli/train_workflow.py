"""The commands that make a model: `clair3 train_multisample`, `clair3 train_simulated`, `clair3 assemble_model`."""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from clair3.cli import main, simulate
from clair3.cli.arguments import add_switch, required_text
from clair3.errors import ConfigError, UsageError
from clair3.models.assemble import CARD_OPTIONS, LISTS, assemble, read_figures
from clair3.platforms import PLATFORMS
from clair3.training.workflow.config import read_config
from clair3.training.workflow.networks import CommandOptions, OptionChecks
from clair3.training.workflow.plan import STAGES, make_workflow, train_multisample
from clair3.training.workflow.simulated import make_simulation, read_recipe, train_simulated


class TrainMultisample:
    """Train a model from the reads and truths of samples."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.usage = "%(prog)s CONFIG.yaml [options]"
        parser.add_argument(
            "config", type=required_text, metavar="CONFIG.yaml", help="samples and options, see docs/training.md"
        )
        add_switch(parser, "--dry_run", help="print the steps, whether they are done, and their commands; do nothing")
        parser.add_argument("--until", metavar="STAGE", choices=STAGES, help=f"stop after: {', '.join(STAGES)}")

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        config = read_config(Path(args.config), make_option_checks())
        if args.dry_run:
            print("\n".join(make_workflow(config, args.until).describe()))
        else:
            train_multisample(config, args.until)


class TrainSimulated:
    """Train a model from simulated reads, by a recipe."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.usage = "%(prog)s RECIPE.yaml [options]"
        parser.add_argument("recipe", type=required_text, metavar="RECIPE.yaml", help="see docs/training.md")
        add_switch(parser, "--dry_run", help="print the steps of the simulation and their state; do nothing")
        parser.add_argument("--until", metavar="STAGE", choices=STAGES, help="as in train_multisample")

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        checks = make_option_checks()
        recipe = read_recipe(Path(args.recipe), checks)
        if args.dry_run:
            print("\n".join(make_simulation(recipe).describe()))
        else:
            train_simulated(recipe, checks, args.until)


class CheckingParser(argparse.ArgumentParser):
    """Raises ConfigError for a wrong option, where ArgumentParser ends the program."""

    def __init__(self):
        super().__init__(allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def make_option_checks() -> OptionChecks:
    """Make the checks of the options that a workflow's configuration passes on, by the commands that will get them."""
    return OptionChecks(
        tensors=make_command_options(load_command("CreateTrainingTensorDirect")),
        training=make_command_options(load_command("Train")),
        reads=make_command_options(simulate.Reads),
    )


def load_command(name: str) -> Any:
    """Return the module or class of a command by its name in the dispatcher, as the workflow's steps start it."""
    module, _, attribute = main.COMMANDS[name][0].partition(":")
    command = import_module(module)
    return getattr(command, attribute) if attribute else command


def make_command_options(command: Any) -> CommandOptions:
    """Make the option names and the check of a command: a module or class with add_arguments and check."""
    parser = CheckingParser()
    command.add_arguments(parser)

    def check(words: Sequence[str]) -> None:
        command.check(parser.parse_args(words))

    return CommandOptions(frozenset(action.dest for action in parser._actions if action.dest != "help"), check)


def parse_evaluation(text: str) -> tuple[str, Path]:
    """Split NAME=FILE into the name and the file of an evaluation. Raises ArgumentTypeError."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=FILE")
    return name, Path(path)


class AssembleModel:
    """`clair3 assemble_model`: make a model folder of two trained networks (docs/models.md)."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the checkpoints, the fields of model.json and how the weights are written."""
        for name, what in (("pileup_fn", "pileup checkpoint"), ("fa_fn", "full-alignment checkpoint")):
            parser.add_argument(f"--{name}", required=True, type=required_text, metavar="FILE", help=what)
        parser.add_argument("--output_dir", required=True, type=required_text, metavar="DIR", help="the model folder")
        parser.add_argument(
            "--platform", choices=list(PLATFORMS), help="default: that of model.json beside the checkpoints"
        )
        for name in CARD_OPTIONS:
            parser.add_argument(
                f"--{name}", type=required_text, metavar="A,B" if name in LISTS else "TEXT", help="in model.json"
            )
        parser.add_argument(
            "--evaluation", type=parse_evaluation, action="append", default=[], metavar="NAME=JSON",
            help='figures of "clair3 evaluate --json" for model.json; may be given again',
        )  # fmt: skip
        parser.add_argument(
            "--mean_with", type=required_text, metavar="DIR",
            help="the mean of the weights with those of this model, which the networks went on from; with --small",
        )  # fmt: skip
        add_switch(parser, "--small", help="round the weights to bfloat16 (kept as float32) and pack them")

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        """Make the model folder. Raises ClairError, see clair3.models.assemble.assemble."""
        fields = {name: value for name in CARD_OPTIONS if (value := getattr(args, name)) is not None}
        fields |= {name: fields[name].split(",") for name in LISTS if name in fields}
        figures = {name: read_figures(path) for name, path in args.evaluation}
        if args.mean_with and not args.small:
            raise UsageError("--mean_with writes small files; add --small")
        mean_with = Path(args.mean_with) if args.mean_with else None
        networks, folder = (Path(args.pileup_fn), Path(args.fa_fn)), Path(args.output_dir)
        assemble(*networks, folder, args.platform, fields, figures, args.small, mean_with)
