"""Which models there are, and where on this machine they lie.

The registry is `clair3/data/models.json`, a list of model cards. Folders of models are looked for along a search path:
those of the variable CLAIR3_MODELS (else the user's cache), those of Clair3's containers and environments, and the
models inside this package, one of which is the default of each platform.
"""

import logging
import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from clair3.model_card import CARD_FILE, NETWORK_FILES, ModelCard, card_from, read_card, read_json
from shared.errors import ConfigError, InputError

logger = logging.getLogger(__name__)

DATA = Path(str(files("clair3"))) / "data"
REGISTRY = DATA / "models.json"
BUNDLED = DATA / "default_models"
"""Folders of models that come with the package; written by `clair3 assemble_model --small`."""
DEFAULTS = {"ont": "ont", "hifi": "hifi", "ilmn": "ilmn_simulated"}
"""Folder, and so the name, of each platform's default model; `ilmn` is the name of a published one."""

PATH_VARIABLE = "CLAIR3_MODELS"
"""Folders with model folders in them, separated as in PATH. The first one is where `clair3 models fetch` puts them."""


def read_registry(path: Path = REGISTRY) -> dict[str, ModelCard]:
    """The registered models by name, in the order of the file. Raises InputError when it cannot be used."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list of models")
    cards = [card_from(row, f"{path}, model {number}") for number, row in enumerate(rows, 1)]
    registry = {card.name: card for card in cards}
    if len(registry) < len(cards):
        raise InputError(f"{path}: a model is registered twice")
    return registry


def search_path() -> list[Path]:
    """Where model folders are looked for, in this order; the first is where fetched ones go."""
    given = [Path(os.path.abspath(part)) for part in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if part]
    conda = os.environ.get("CONDA_PREFIX")
    others = [Path("/opt/models"), *([Path(conda, "bin", "models")] if conda else []), BUNDLED]
    return [*(given or [user_cache() / "clair3" / "models"]), *others]


def user_cache() -> Path:
    """The user's cache folder (XDG base directories). Raises ConfigError without a home, as in some containers."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        folder = os.path.expanduser("~/.cache")
    if not os.path.isabs(folder):
        raise ConfigError(f"no home folder is known here; set {PATH_VARIABLE} to the folder of the models")
    return Path(folder)


def is_model(folder: Path) -> bool:
    """Whether a folder holds both networks under their published names."""
    return all(os.path.isfile(folder / name) for name in NETWORK_FILES)  # False where we may not look


def find_installed(name: str) -> Path | None:
    """The first folder of that name along the search path which holds a model."""
    return next((path / name for path in search_path() if is_model(path / name)), None)


def find_default(platform: str) -> Path | None:
    """The folder of this package's own model for a platform; None when it has none."""
    folder = BUNDLED / DEFAULTS[platform]
    return folder if is_model(folder) else None


def known_models() -> dict[str, ModelCard]:
    """Registered models by name, and after them those in the search path that are not registered but have a card."""
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
