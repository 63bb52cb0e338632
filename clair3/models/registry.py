"""The registry of models: what is known about each model, and where its folder is (docs/models.md).

A model card, `model.json` beside the networks of a folder, has the same fields as a model in the registry of this
package. Folders are looked for along a search path.
"""

import json
import logging
import os
import re
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from clair3.errors import ConfigError, InputError
from clair3.io.atomic import sha256_of, write_whole
from clair3.platforms import PLATFORMS

logger = logging.getLogger(__name__)

CARD_FILE = "model.json"
NETWORK_FILES = ("pileup.pt", "full_alignment.pt")
"""File names of the two networks of a published model (spec/models.md 7)."""

PUBLISHED, AT_DOWNLOAD = "published", "download"
"""Origins of a digest: the publisher of the model, or the files as they were downloaded, unverified."""

SIMULATED = "simulated"
"""Origin of models trained on simulated reads, as are those in this package."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
"""A name of a model or of a file in its folder: never a path."""
DIGEST = re.compile("[0-9a-f]{64}")
"""A SHA-256 in hexadecimal digits."""
MAX_CARD_BYTES = 1 << 20
"""Largest JSON file that is read, in bytes."""

DATA = Path(str(files("clair3"))) / "data"
REGISTRY = DATA / "models.json"
BUNDLED = DATA / "default_models"
"""Folder of the models in this package; written by `clair3 assemble_model --small`."""

PATH_VARIABLE = "CLAIR3_MODELS"
"""Environment variable of the folders that hold model folders, separated as in PATH; fetched models go to the first."""


@dataclass(frozen=True)
class ModelCard:
    """What is known about one model. A field that is None or empty is unknown.

    name            name of the model and of its folder
    platform        sequencing platform of the reads: ont, hifi, ilmn
    chemistry, basecaller  for people: "R10.4.1 E8.2 400 bps", "Dorado 5.2.0 sup"
    basecall_models  values of `basecall_model=` in the `@RG DS` of the ONT reads
    instruments     values of `@RG PM` of the PacBio reads
    purpose         what it is specialised for ("bacteria"); --model_path=auto takes models without one
    dwell           whether it was trained with move tables
    origin          who made it, or SIMULATED
    address         address of the folder (ends in /) or archive (.tar.gz) from which it can be fetched, or was
    source          where to read about it
    training_data, metrics  in the words of those who trained it
    digest          SHA-256 of files by name, 64 hexadecimal digits; also of the archive, where that is known
    digest_origin   PUBLISHED or AT_DOWNLOAD
    training        options, digests of the bins, epoch and commit of a training run
    """

    name: str
    platform: str
    chemistry: str | None = None
    basecaller: str | None = None
    basecall_models: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    purpose: str | None = None
    dwell: bool | None = None
    origin: str | None = None
    address: str | None = None
    source: str | None = None
    licence: str | None = None
    training_data: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    digest: dict[str, str] = field(default_factory=dict)
    digest_origin: str | None = None
    training: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the known fields as values for JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {name: value for name, value in values.items() if value not in (None, [], {})}


def _is_text(value: object) -> bool:
    """Return whether a JSON value is one line of text."""
    return isinstance(value, str) and value.isprintable()


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_dict_of_digests(value: object) -> bool:
    return isinstance(value, dict) and all(
        NAME.fullmatch(name) and isinstance(digest, str) and DIGEST.fullmatch(digest) for name, digest in value.items()
    )


_TEXT = ("a line of text", _is_text)
_TEXTS = ("a list of texts", _is_list_of_texts)
_OBJECT = "an object", lambda value: isinstance(value, dict)

_FIELD_CHECKS = {
    "name": ("a name without slashes and blanks", lambda value: _is_text(value) and NAME.fullmatch(value)),
    "platform": (f"one of {', '.join(PLATFORMS)}", lambda value: _is_text(value) and value in PLATFORMS),
    "basecall_models": _TEXTS,
    "instruments": _TEXTS,
    "dwell": ("true or false", lambda value: isinstance(value, bool)),
    "metrics": _OBJECT,
    "training": _OBJECT,
    "digest": ("SHA-256 digests (64 lower-case hexadecimal digits) by file name", _is_dict_of_digests),
    "digest_origin": (f"{PUBLISHED} or {AT_DOWNLOAD}", lambda value: value in (PUBLISHED, AT_DOWNLOAD)),
}
"""What a field must be, in words and as a test; all other fields are _TEXT."""


def parse_card(values: object, where: str) -> ModelCard:
    """Make a card of a value read from JSON; fields of later versions are left out.

    Raises InputError, which starts with `where`, when a field is missing or has a wrong value.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected an object with the fields of a model")
    known = {one.name: values[one.name] for one in fields(ModelCard) if values.get(one.name) is not None}
    for name, value in known.items():
        expected, fits = _FIELD_CHECKS.get(name, _TEXT)
        if not fits(value):
            raise InputError(f"{where}: {name} is {str(value)[:80]!r}, expected {expected}")
    if missing := [name for name in ("name", "platform") if name not in known]:
        raise InputError(f"{where}: {' and '.join(missing)} of the model missing")
    return ModelCard(**{name: tuple(value) if isinstance(value, list) else value for name, value in known.items()})


def read_card(folder: Path) -> ModelCard | None:
    """Read the card of a model folder; None without model.json. Raises InputError when it cannot be used."""
    path = Path(folder) / CARD_FILE
    return parse_card(read_json(path), str(path)) if path.exists() else None


def write_card(folder: Path, card: ModelCard) -> None:
    """Write model.json, which is complete or absent. Raises InputError when it cannot be written."""
    write_whole({Path(folder) / CARD_FILE: f"{json.dumps(card.as_dict(), indent=2)}\n".encode()})


def read_json(path: Path, remedy: str = "correct it, or copy the model again") -> object:
    """Read a JSON file. Raises InputError, which ends in the remedy, when it is not JSON or too large."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CARD_BYTES + 1)
        if len(data) > MAX_CARD_BYTES:
            raise InputError(f"{path}: larger than {MAX_CARD_BYTES} bytes; {remedy}")
        return json.loads(data)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); {remedy}") from None


def check_digest(folder: Path, card: ModelCard) -> None:
    """Raise InputError when a file of the folder is not the one that the card was written for.

    Files that are missing are not looked at: the prefixes of a run may name others.
    """
    for name, expected in card.digest.items():
        path = Path(folder) / name
        if path.is_file() and (actual := sha256_of(path)) != expected:
            raise InputError(
                f"{path}: not the file of model {card.name}: its SHA-256 is {actual[:16]}..., {CARD_FILE} has "
                f"{expected[:16]}...; copy the model again, or remove the folder and fetch it"
            )


def check_for_calling(folder: Path, platform: str) -> ModelCard | None:
    """Check the card of a model folder before a run, and return it; None when the folder has none.

    Raises InputError when the card cannot be used or a file is not the one that it was written for. Another platform is
    only a warning: a model of one platform can be tried on reads of another, and v2.0.2 lets the user do so.
    """
    card = read_card(folder)
    if card is not None:
        check_digest(folder, card)
        if card.platform != platform:
            logger.warning(
                "model %s was made for --platform=%s reads, and is used with --platform=%s",
                card.name, card.platform, platform,
            )  # fmt: skip
    return card


def read_registry(path: Path = REGISTRY) -> dict[str, ModelCard]:
    """Read the registered models by name, in the order of the file. Raises InputError when it cannot be used."""
    values = read_json(path)
    if not isinstance(values, list):
        raise InputError(f"{path}: expected a list of models")
    cards = [parse_card(value, f"{path}, model {number}") for number, value in enumerate(values, 1)]
    registry = {card.name: card for card in cards}
    if len(registry) < len(cards):
        raise InputError(f"{path}: a model is registered twice")
    return registry


def search_path() -> list[Path]:
    """Return the folders in which model folders are looked for, in order; fetched models go to the first."""
    given = [Path(os.path.abspath(part)) for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part]
    conda = os.environ.get("CONDA_PREFIX")
    others = [Path("/opt/models"), *([Path(conda, "bin", "models")] if conda else []), BUNDLED]
    return [*(given or [user_cache() / "clair3" / "models"]), *others]


def user_cache() -> Path:
    """Return the user's cache folder (XDG base directories). Raises ConfigError without a home folder."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        folder = os.path.expanduser("~/.cache")
    if not os.path.isabs(folder):
        raise ConfigError(f"no home folder is known here; set {PATH_VARIABLE} to the folder of the models")
    return Path(folder)


def is_model(folder: Path) -> bool:
    """Return whether a folder holds both networks under their published names."""
    return all(os.path.isfile(folder / name) for name in NETWORK_FILES)  # False where permission is denied


def find_installed(name: str) -> Path | None:
    """Return the first folder of this name along the search path that holds a model; None when there is none."""
    return next((path / name for path in search_path() if is_model(path / name)), None)


def find_default(platform: str) -> Path | None:
    """Return the folder of this package's default model for a platform; None when it is missing."""
    folder = BUNDLED / PLATFORMS[platform].default_model
    return folder if is_model(folder) else None


def known_models() -> dict[str, ModelCard]:
    """Return the registered models by name, then unregistered models of the search path that have a card.

    A card that cannot be used is a warning.
    """
    cards = read_registry()
    for path in search_path():
        for place in sorted(path.glob(f"*/{CARD_FILE}")):
            folder = place.parent
            if folder.name in cards or folder.name.startswith(".") or find_installed(folder.name) != folder:
                continue
            try:
                cards[folder.name] = replace(read_card(folder), name=folder.name)
            except InputError as error:
                logger.warning("%s", error)
    return cards
