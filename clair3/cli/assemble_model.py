"""`clair3 assemble_model`: make a model folder of two trained networks (docs/models.md)."""

import argparse
from pathlib import Path

from clair3.cli.arguments import add_switch, required_text
from clair3.errors import UsageError
from clair3.models.assemble import CARD_OPTIONS, LISTS, assemble, read_figures
from clair3.platforms import PLATFORMS


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


def parse_evaluation(text: str) -> tuple[str, Path]:
    """Split NAME=FILE into the name and the file of an evaluation. Raises ArgumentTypeError."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=FILE")
    return name, Path(path)
