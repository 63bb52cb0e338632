"""Two trained networks as a model folder for calling: pileup.pt, full_alignment.pt, model.json (docs/models.md)."""

import hashlib
import io
import logging
import re
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.inference.checkpoint import load_model, read_checkpoint
from clair3.io.atomic import make_folder, write_whole
from clair3.models.registry import NETWORK_FILES, ModelCard, parse_card, read_card, read_json, write_card
from clair3.tensor_shapes import FULL_ALIGNMENT_CHANNEL_COUNT

logger = logging.getLogger(__name__)

LISTS = ("basecall_models", "instruments")
CARD_OPTIONS = ("name", "chemistry", "basecaller", *LISTS, "purpose", "origin", "training_data", "licence", "source")
"""Fields of model.json that the user may give."""

FIGURES = ("tp_calls", "fp", "tp_truth", "fn", "precision", "recall", "f1", "f1_interval")
"""Figures of `clair3 evaluate --json` that go into model.json."""


def read_figures(path: Path) -> dict[str, dict]:
    """Read the counts and shares of SNPs and indels that `clair3 evaluate --json` wrote. Raises InputError."""
    remedy = 'write it again with "clair3 evaluate --json"'
    try:
        kinds = read_json(path, remedy)["strata"]["type"]
        return {kind: {name: kinds[kind][name] for name in FIGURES} for kind in kinds if kind != "all"}
    except (TypeError, LookupError):
        raise InputError(f"{path}: not an evaluation; {remedy}") from None


def assemble(
    pileup: Path,
    full_alignment: Path,
    folder: Path,
    platform: str | None,
    fields: dict,
    figures: dict[str, dict] | None = None,
    small: bool = False,
    mean_with: Path | None = None,
) -> ModelCard:
    """Copy two checkpoints into a model folder and write its card; what model.json beside them knows is kept.

    fields: further fields of the card; figures: metrics of the whole model by name; small: round and pack the weights
    (small_checkpoint); mean_with: folder of a model whose weights theirs are averaged with, if small. Raises InputError
    when a checkpoint is not of its kind or cannot be copied, ConfigError when the platform is unknown or ambiguous.
    """
    files = dict(zip(NETWORK_FILES, (pileup, full_alignment), strict=True))
    load_model(pileup, PILEUP)
    network = load_model(full_alignment, FULL_ALIGNMENT, heads=4)
    cards = {Path(name).stem: card for name, path in files.items() if (card := read_card(path.parent))}
    platform, known = common_platform(cards, platform), merge_cards(cards)
    known |= {"name": folder.resolve().name, "platform": platform, "metrics": known["metrics"] | (figures or {})}
    if network.channels > FULL_ALIGNMENT_CHANNEL_COUNT:
        known["dwell"] = True
    card = parse_card(known | fields, "--" + ", --".join(fields) if fields else str(folder))
    others = {name: mean_with and mean_with / name for name in files}
    contents = {
        name: small_checkpoint(path, others[name]) if small else path.read_bytes() for name, path in files.items()
    }
    make_folder(folder)
    write_whole({folder / name: content for name, content in contents.items()})
    card = replace(card, digest={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
    write_card(folder, card)
    logger.info("%s: a model for --platform=%s; call with --model_path=%s", folder, card.platform, folder)
    return card


def common_platform(cards: dict[str, ModelCard], given: str | None) -> str:
    """Return the platform of both networks, by their cards and the option. Raises ConfigError when there is none, or
    more than one."""
    platforms = {card.platform for card in cards.values()} | ({given} if given else set())
    if len(platforms) != 1:
        raise ConfigError(
            f"--platform: {' and '.join(sorted(platforms)) or 'not known'}; give the one of both checkpoints"
        )
    return platforms.pop()


def merge_cards(cards: dict[str, ModelCard]) -> dict:
    """Return the fields of a card of two networks from their own cards, by kind: metrics and training of both, of other
    fields the first."""
    kept = {}
    for card in cards.values():
        kept = {name: value for name, value in card.as_dict().items() if name in CARD_OPTIONS} | kept
    if bins := list(dict.fromkeys(card.training_data for card in cards.values() if card.training_data)):
        kept["training_data"] = ", ".join(bins)
    kept["metrics"] = {kind: card.metrics.get(kind, card.metrics) for kind, card in cards.items() if card.metrics}
    kept["training"] = {kind: summarize_training(card, kind) for kind, card in cards.items() if card.training}
    return kept


def summarize_training(card: ModelCard, kind: str) -> dict:
    """Return a card's entry on the training of a network, folders cut to their last name, for they are of one machine.

    The card may be of this network alone, or of a model that was assembled before and has an entry for it.
    """
    training = dict(card.training.get(kind, card.training))
    if isinstance(options := training.get("options"), dict):
        training["options"] = {
            name: cut_folders(value) if isinstance(value, str) else value for name, value in options.items()
        }
    return training


def cut_folders(words: str) -> str:
    """Cut each absolute path in words of a command line, or in one value, to its last name."""
    return re.sub(r"(?<![^\s=,'\"])/(?:[^\s,'\"]*/)?", "", words)


PACKING_LEVEL = 6
"""Compression level of zlib; 9 takes six times as long for 6 % less."""


def small_checkpoint(path: Path, mean_with: Path | None = None) -> bytes:
    """Make the bytes of a checkpoint file of a third of the size, with rounded weights.

    Floating-point numbers are rounded to the nearest bfloat16 and kept as float32; counters and clair3_meta stay. The
    entries of the zip file are deflated, and bear no dates: the same weights give the same bytes, with the same zlib
    and torch. torch.load, v2.0.2's too, reads it, but not with mmap=True. mean_with: a checkpoint of the same shapes,
    the weights become the mean of both. Raises InputError, as read_checkpoint does, and when the shapes differ.
    """
    state, meta = read_checkpoint(path)
    if mean_with is not None:
        state = mean_weights(path, state, mean_with)
    weights = OrderedDict((key, rounded(value)) for key, value in state.items())
    torch.save({"state_dict": weights, "clair3_meta": meta} if meta else weights, stored := io.BytesIO())
    with zipfile.ZipFile(stored) as entries, zipfile.ZipFile(packed := io.BytesIO(), "w") as archive:
        for name in entries.namelist():
            content = entries.read(name)
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, PACKING_LEVEL)
    return packed.getvalue()


def rounded(values: Tensor) -> Tensor:
    """Round floating-point values to the nearest bfloat16, kept as float32; copy others."""
    return values.bfloat16().float() if values.is_floating_point() else values.clone()


def mean_weights(path: Path, state: dict[str, Tensor], other: Path) -> dict[str, Tensor]:
    """Average the weights of a checkpoint, state, and of another file; counters are those of the first.

    A network that went on from the other keeps more of what that one knew. Raises InputError when shapes differ.
    """
    weights, _ = read_checkpoint(other)
    if {key: value.shape for key, value in state.items()} != {key: value.shape for key, value in weights.items()}:
        raise InputError(f"{other}: weights of other names or shapes than those of {path}; there is no mean of them")
    return {key: (value + weights[key]) / 2 if value.is_floating_point() else value for key, value in state.items()}
