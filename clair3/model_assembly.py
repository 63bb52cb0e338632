"""Two trained networks as a model folder that calling takes: pileup.pt, full_alignment.pt, model.json (design.md 8)."""

import argparse
import logging
import shutil
from dataclasses import replace
from pathlib import Path

from clair3.checkpoint import load_model
from clair3.model_card import NETWORK_FILES, ModelCard, card_from, read_card, write_card
from clair3.task.main import FULL_ALIGNMENT, PILEUP
from shared.cli import required_text
from shared.digest import sha256_of
from shared.errors import ConfigError, InputError, unwritable
from shared.param_f import CHANNEL_COUNT
from shared.platforms import PLATFORMS
from shared.whole_files import unfinished

logger = logging.getLogger(__name__)

LISTS = ("basecall_models", "instruments")
CARD_OPTIONS = ("name", "chemistry", "basecaller", *LISTS, "purpose", "licence", "source")
"""Fields of model.json that nobody but the user knows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
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


def run(args: argparse.Namespace) -> None:
    """Make the folder. Raises ClairError, see assemble."""
    said = {name: value for name in CARD_OPTIONS if (value := getattr(args, name)) is not None}
    said |= {name: said[name].split(",") for name in LISTS if name in said}
    assemble(Path(args.pileup_fn), Path(args.fa_fn), Path(args.output_dir), args.platform, said)


def assemble(pileup: Path, full_alignment: Path, folder: Path, platform: str | None, said: dict) -> ModelCard:
    """Copy two checkpoints into a model folder and write its card, last; what model.json beside them knows is kept.

    said: further fields of the card. Raises InputError when a checkpoint is not of its kind or cannot be copied,
    ConfigError when nobody says the platform, or two platforms are said.
    """
    files = dict(zip(NETWORK_FILES, (pileup, full_alignment), strict=True))
    load_model(pileup, PILEUP)
    network = load_model(full_alignment, FULL_ALIGNMENT, heads=4)
    cards = {name: card for name, path in files.items() if (card := read_card(path.parent))}
    platforms = {card.platform for card in cards.values()} | ({platform} if platform else set())
    if len(platforms) != 1:
        raise ConfigError(
            f"--platform: {' and '.join(sorted(platforms)) or 'not known'}; give the one of both checkpoints"
        )
    card = ModelCard(
        name=folder.resolve().name,
        platform=platforms.pop(),
        dwell=network.channels > CHANNEL_COUNT or None,
        origin=next((card.origin for card in cards.values() if card.origin), None),
        training_data=", ".join(dict.fromkeys(card.training_data for card in cards.values() if card.training_data))
        or None,
        metrics={Path(name).stem: card.metrics for name, card in cards.items() if card.metrics},
        training={Path(name).stem: card.training for name, card in cards.items() if card.training},
    )
    card = card_from(card.as_dict() | said, "--" + ", --".join(said) if said else str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in files.items():
            with unfinished(folder / name) as partial:
                shutil.copyfile(path, partial)
    except OSError as error:
        raise InputError(unwritable(folder, error)) from None
    card = replace(card, digest={name: sha256_of(folder / name) for name in files})
    write_card(folder, card)
    logger.info("%s: a model for --platform=%s; call with --model_path=%s", folder, card.platform, folder)
    return card
