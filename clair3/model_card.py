"""What is known about a model: `model.json` beside its tensors, the same fields in the registry (docs/models.md)."""

import json
import logging
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from shared.digest import sha256_of
from shared.errors import InputError
from shared.platforms import PLATFORMS
from shared.whole_files import write_whole

logger = logging.getLogger(__name__)

CARD_FILE = "model.json"
NETWORK_FILES = ("pileup.pt", "full_alignment.pt")
"""Names under which published models hold their two networks (spec/models.md 7)."""

PUBLISHED, AT_DOWNLOAD = "published", "download"
"""Where a digest comes from: whoever made the model, or the files as they arrived here, unchecked."""

SIMULATED = "simulated"
"""Origin of models that were trained on simulated reads, as those inside this package."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
"""A name of a model or of a file in its folder: never a path."""
DIGEST = re.compile("[0-9a-f]{64}")
MAX_CARD_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelCard:
    """One model. None, or nothing in it: not known.

    name            of its folder
    platform        of the reads it is for: ont, hifi, ilmn
    chemistry, basecaller  for people: "R10.4.1 E8.2 400 bps", "Dorado 5.2.0 sup"
    basecall_models  names that `basecall_model=` has in the `@RG DS` of such ONT reads
    instruments     values of `@RG PM` of such PacBio reads
    purpose         what it is specialised for ("bacteria"); --model_path=auto takes models without one
    dwell           trained with move tables
    origin          who made it, or SIMULATED
    address         of the folder (ends in /) or archive (.tar.gz) it can be fetched from, or was
    source          where to read about it
    training_data, metrics  in the words of who trained it
    digest          SHA-256 of files by name, 64 hexadecimal digits; of the archive too, where that is known
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
        """The fields that are known, as JSON has them."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {name: value for name, value in values.items() if value not in (None, [], {})}


def card_from(values: object, where: str) -> ModelCard:
    """The card in a value read from JSON; fields of later versions are left out.

    Raises InputError, which starts with `where`, when a field is missing or is not what it should be.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected an object with the fields of a model")
    known = {one.name: values[one.name] for one in fields(ModelCard) if values.get(one.name) is not None}
    for name, value in known.items():
        expected, fits = _EXPECTED.get(name, _TEXT)
        if not fits(value):
            raise InputError(f"{where}: {name} is {str(value)[:80]!r}, expected {expected}")
    if lacking := [name for name in ("name", "platform") if name not in known]:
        raise InputError(f"{where}: {' and '.join(lacking)} of the model missing")
    return ModelCard(**{name: tuple(value) if isinstance(value, list) else value for name, value in known.items()})


def read_card(folder: Path) -> ModelCard | None:
    """The card of a model folder; None without model.json. Raises InputError when it cannot be used."""
    path = Path(folder) / CARD_FILE
    return card_from(read_json(path), str(path)) if path.exists() else None


def write_card(folder: Path, card: ModelCard) -> None:
    """Write model.json, whole or not at all. Raises InputError when it cannot be written."""
    write_whole({Path(folder) / CARD_FILE: f"{json.dumps(card.as_dict(), indent=2)}\n".encode()})


def read_json(path: Path, remedy: str = "correct it, or copy the model again") -> object:
    """Raises InputError, which ends in the remedy, when the file is not JSON, or larger than any that we write."""
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
    """Raises InputError when a file of the folder is not the one the card was written for.

    Files that are not there are no matter of the card: prefixes may name others.
    """
    for name, expected in card.digest.items():
        path = Path(folder) / name
        if path.is_file() and (found := sha256_of(path)) != expected:
            raise InputError(
                f"{path}: not the file of model {card.name}: its SHA-256 is {found[:16]}..., {CARD_FILE} has "
                f"{expected[:16]}...; copy the model again, or remove the folder and fetch it"
            )


def check_for_calling(folder: Path, platform: str) -> ModelCard | None:
    """Look at the card of a model folder before a run, if it has one, and return it.

    Raises InputError when the card cannot be used or a file is not the one it was written for. Another platform is a
    warning: a model of one platform can be tried on reads of another, and v2.0.2 lets the user do so.
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


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_digests(value: object) -> bool:
    return isinstance(value, dict) and all(
        NAME.fullmatch(name) and isinstance(digest, str) and DIGEST.fullmatch(digest) for name, digest in value.items()
    )


_TEXT = ("a line of text", _is_text)
_TEXTS = ("a list of texts", _is_texts)
_OBJECT = "an object", lambda value: isinstance(value, dict)

_EXPECTED = {
    "name": ("a name without slashes and blanks", lambda value: _is_text(value) and NAME.fullmatch(value)),
    "platform": (f"one of {', '.join(PLATFORMS)}", lambda value: _is_text(value) and value in PLATFORMS),
    "basecall_models": _TEXTS,
    "instruments": _TEXTS,
    "dwell": ("true or false", lambda value: isinstance(value, bool)),
    "metrics": _OBJECT,
    "training": _OBJECT,
    "digest": ("SHA-256 digests (64 lower-case hexadecimal digits) by file name", _is_digests),
    "digest_origin": (f"{PUBLISHED} or {AT_DOWNLOAD}", lambda value: value in (PUBLISHED, AT_DOWNLOAD)),
}
"""What a field must be, in words and as a test; a field that is not here is _TEXT."""
