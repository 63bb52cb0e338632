"""`clair3 models`: list the known models, show or verify one, and fetch one."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from clair3.errors import ConfigError, InputError
from clair3.models.fetch import check_model, fetch_model, is_verifiable
from clair3.models.registry import (
    AT_DOWNLOAD,
    CARD_FILE,
    PATH_VARIABLE,
    PUBLISHED,
    SIMULATED,
    ModelCard,
    find_installed,
    known_models,
    read_card,
)
from clair3.platforms import BASECALL_MODEL, PLATFORMS

SCORE_FIELDS = {"tp_truth", "fn", "fp", "f1", "f1_interval"}
"""Fields of an evaluation of one kind of variants (`clair3 assemble_model --evaluation`) that `info` shows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the four actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|info|verify|fetch", prog=parser.prog)
    actions.add_parser("list", help="models that are known, and where they lie on this machine")
    for name, text in (
        ("info", "what is known about a model"),
        ("verify", "check a model's digests, and load its networks"),
        ("fetch", f"put a model into the cache (the first folder of {PATH_VARIABLE})"),
    ):
        action = actions.add_parser(name, help=text)
        what = "name of a model" if name == "fetch" else "name or folder of a model"
        action.add_argument("model", metavar="NAME", help=what)
    action.add_argument("--from", dest="address", metavar="ADDRESS", help="another place that has it: folder, .tar.gz")
    action.add_argument("--allow-unverified", action="store_true", help="also when no digest of it is known")


def run(args: argparse.Namespace) -> None:
    """Carry out an action and print its result. Raises ClairError, see clair3.cli.arguments.run."""
    if args.action == "list":
        print(format_table(known_models()))
    elif args.action == "fetch":
        print(fetch_model(find_card(args.model), args.address, args.allow_unverified))
    else:
        folder, card = find_model(args.model)
        print(describe(folder, card) if args.action == "info" else verify(folder, card))


def format_table(cards: dict[str, ModelCard]) -> str:
    """Return a line for each model, in columns, with a heading."""
    rows = [("NAME", "PLATFORM", "DWELL", "BASECALLER OR INSTRUMENT", "DIGEST", "HERE")]
    for card in cards.values():
        known = "known" if is_verifiable(card, card.address) else "unknown"
        simulated = card.origin == SIMULATED
        by_basecaller = PLATFORMS[card.platform].model_field == BASECALL_MODEL and not simulated
        made_by = (card.basecaller if by_basecaller else card.chemistry) or "-"
        made_by += ", trained on simulated reads" if simulated else ""
        made_by += f", for {card.purpose}" if card.purpose else ""
        here = find_installed(card.name)
        rows.append((card.name, card.platform, yes_or_no(card.dwell), made_by, known, str(here or "-")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def describe(folder: Path | None, card: ModelCard | None) -> str:
    """Return what is known about a model, a line for each field."""
    lines = {"folder": folder or 'not on this machine, see "clair3 models fetch --help"'}
    if card is not None:
        lines |= {
            name: value for name, value in card.as_dict().items() if name not in ("digest", "metrics", "training")
        }
        lines |= {f"metrics, {name}": value for name, value in card.metrics.items()}
        lines |= {"training": f"see {CARD_FILE} in the folder"} if card.training else {}
        lines["licence"] = card.licence or "not known, see its source"
        lines |= {f"sha256 {name}": value for name, value in card.digest.items()}
        if not card.digest:
            lines["sha256"] = "not known"
    else:
        lines["model.json"] = "not there: nothing is known about this model"
    return "\n".join(f"{name}: {format_value(value)}" for name, value in lines.items())


def verify(folder: Path | None, card: ModelCard | None) -> str:
    """Verify a model, and return what was verified. Raises InputError when it is not installed, or not sound."""
    if folder is None:
        raise InputError(f'{card.name}: not on this machine; run "clair3 models fetch {card.name}" first')
    check_model(folder, card)
    if card is None or not card.digest:
        return f"{folder}: both networks load; no digest is known"
    if card.digest_origin == AT_DOWNLOAD:
        return f"{folder}: both networks load; the files are as they were fetched, no published digest is known"
    return f"{folder}: both networks load; the files have the digests of the model's card"


def find_model(model: str) -> tuple[Path | None, ModelCard | None]:
    """Return the folder of a model and its card; one of them may be None. Raises ConfigError for an unknown name.

    The card in the folder is taken before that of the registry, but a digest of the registry overrules one made at the
    download.
    """
    if Path(model).is_dir():
        folder = Path(os.path.abspath(model))
        return folder, read_card(folder)
    folder = find_installed(model)
    registered = known_models().get(model)
    if folder is None and registered is None:
        raise unknown_model_error(model)
    card = (read_card(folder) if folder else None) or registered
    if registered is not None and registered.digest:
        card = replace(card, digest={**card.digest, **registered.digest}, digest_origin=PUBLISHED)
    return folder, card


def find_card(name: str) -> ModelCard:
    """Return the card of a known model. Raises ConfigError for an unknown name."""
    if (card := known_models().get(name)) is None:
        raise unknown_model_error(name)
    return card


def unknown_model_error(name: str) -> ConfigError:
    """Return the error for a name that no model has."""
    return ConfigError(f'{name}: no model of this name is known; "clair3 models list" names them')


def format_value(value: object) -> str:
    """Return a field of a card as people read it."""
    if isinstance(value, bool):
        return yes_or_no(value)
    if isinstance(value, list):
        return ", ".join(map(format_value, value))
    if isinstance(value, dict) and value.keys() >= SCORE_FIELDS:
        return format_score(**{name: value[name] for name in SCORE_FIELDS})
    if isinstance(value, dict):
        inner = {
            name: f"({format_value(one)})" if isinstance(one, dict | list) else format_value(one)
            for name, one in value.items()
        }
        return ", ".join(f"{name} {words}" for name, words in inner.items())
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def format_score(tp_truth: int, fn: int, fp: int, f1: float | None, f1_interval: list[float] | None) -> str:
    """Return counts of an evaluation, F1 and its interval as people read them."""
    share = "" if f1 is None else f", F1 {f1:.3f}"
    share += "" if f1_interval is None else " ({:.3f}-{:.3f})".format(*f1_interval)
    return f"{tp_truth} of {tp_truth + fn} found, {fp} false{share}"


def yes_or_no(value: bool | None) -> str:
    """Return yes or no; - for None."""
    return "-" if value is None else "yes" if value else "no"
