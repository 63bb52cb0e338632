"""The commands that train a model from its beginning: `clair3 train_multisample` and `clair3 train_simulated`."""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from clair3.cli import main, simulate
from clair3.cli.arguments import add_switch, required_text
from clair3.errors import ConfigError
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
