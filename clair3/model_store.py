"""Model folders of the cache: fetched, checked, and only then under their name."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from clair3.model_card import (
    AT_DOWNLOAD,
    NETWORK_FILES,
    PUBLISHED,
    ModelCard,
    card_from,
    check_digest,
    read_card,
    write_card,
)
from clair3.model_registry import find_installed, is_model, search_path
from clair3.models import find_checkpoint
from clair3.task.main import FULL_ALIGNMENT, PILEUP
from shared.digest import sha256_of
from shared.download import download
from shared.errors import ConfigError, InputError
from shared.param_f import DWELL_CHANNEL_COUNT
from shared.unpack import unpack

logger = logging.getLogger(__name__)

ARCHIVES = (".tar.gz", ".tgz")
NEEDED_HEADS = {PILEUP: 2, FULL_ALIGNMENT: 4}
"""Heads that calling uses (spec/models.md 1)."""


def fetch(card: ModelCard, address: str | None = None, allow_unverified: bool = False) -> Path:
    """Put a registered model into the cache, the first folder of the search path; its folder.

    address            of another place that has it: a folder (ends in /), an archive, or a path on this machine
    allow_unverified   take a model of which no digest is known as it comes
    A model that is already there is checked against its card, and stays. Raises ConfigError or InputError; no folder
    stands under the model's name then. What has arrived of it stays for the next call.
    """
    if installed := find_installed(card.name):
        check_model(installed, read_card(installed) or card)
        logger.info("%s is already in %s", card.name, installed)
        return installed
    address = absolute(address or card.address, card)
    archive = address.endswith(ARCHIVES)
    if not verifiable(card, address) and not allow_unverified:
        raise ConfigError(
            f"no digest of {card.name} is known, so nothing can tell if it arrives as it was published; "
            "add --allow-unverified to take it as it comes"
        )
    target = search_path()[0] / card.name
    if target.exists():
        raise InputError(f"{target}: is there, but without {' and '.join(NETWORK_FILES)}; remove it and fetch again")
    with staging(target) as folder:
        logger.info("Fetching %s from %s", card.name, address)
        model = folder / "model"
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir()
        if archive:
            fetch_archive(address, folder, model, card)
        else:
            for name in NETWORK_FILES:
                download(address + name, folder / name, card.digest.get(name))
            for name in NETWORK_FILES:
                (folder / name).rename(model / name)
        complete(model, replace(card, address=address), PUBLISHED if verifiable(card, address) else AT_DOWNLOAD)
        model.rename(target)
    logger.info("%s is in %s", card.name, target)
    return target


def fetch_archive(address: str, folder: Path, model: Path, card: ModelCard) -> None:
    """Fetch an archive and put what it holds into the folder `model`: the two networks at its top, or in one folder."""
    archive, unpacked = folder / file_of(address), folder / "unpacked"
    download(address, archive, card.digest.get(archive.name))
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    try:
        unpack(archive, unpacked)
        places = [place for place in (unpacked, *unpacked.iterdir()) if is_model(place)]
        if len(places) != 1:
            raise InputError(f"{address}: expected one folder with {' and '.join(NETWORK_FILES)}, found {len(places)}")
    finally:
        archive.unlink()
    shutil.copytree(places[0], model, dirs_exist_ok=True)


def complete(folder: Path, card: ModelCard, digest_origin: str) -> None:
    """Check a model that has arrived and write its card: what the registry says, over what came with it."""
    check_digest(folder, card)
    came = read_card(folder)
    if came is not None:
        check_digest(folder, came)
        card = card_from({**came.as_dict(), **card.as_dict()}, came.name)
    check_networks(folder, card)
    digest = {name: sha256_of(folder / name) for name in NETWORK_FILES}
    write_card(folder, replace(card, digest=digest, digest_origin=digest_origin))


def check_model(folder: Path, card: ModelCard | None) -> None:
    """Raises InputError when a model folder is not what its card says, or holds no networks that calling can use."""
    if card is not None:
        check_digest(folder, card)
    check_networks(folder, card)


def check_networks(folder: Path, card: ModelCard | None) -> None:
    """Load both networks. Raises InputError when one cannot be used, or was trained with other channels than said."""
    load_model = import_module("clair3.checkpoint").load_model  # torch takes a second to load
    for kind, heads in NEEDED_HEADS.items():
        path = find_checkpoint(folder, kind, kind)
        model = load_model(path, kind, heads=heads)
    dwell = model.channels == DWELL_CHANNEL_COUNT
    if card is not None and card.dwell not in (None, dwell):
        found = "with" if dwell else "without"
        raise InputError(f"{path}: trained {found} dwell time; its card says otherwise, use another model")


def verifiable(card: ModelCard, address: str | None) -> bool:
    """Whether digests are known of the archive at the address, or of both networks."""
    return file_of(address or "") in card.digest or all(name in card.digest for name in NETWORK_FILES)


def absolute(address: str | None, card: ModelCard) -> str:
    """The address of a folder, with / at its end, or of an archive; paths of this machine become file: addresses.

    Raises InputError when there is none, or it is neither.
    """
    if address is None:
        raise InputError(f"{card.name}: no address of it is known; give one with --from")
    if "://" not in address:
        path = Path(os.path.abspath(address))
        if not path.exists():
            raise InputError(f"{path}: no such folder or archive; give the model's place with --from")
        address = path.as_uri() + ("/" if path.is_dir() else "")
    if not address.endswith(("/", *ARCHIVES)):
        raise InputError(f"{address}: expected the address of a folder (ends in /) or of a {ARCHIVES[0]} archive")
    return address


def file_of(address: str) -> str:
    """The name of an archive; of a folder nothing."""
    return urlsplit(address).path.rpartition("/")[2]


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A hidden folder beside the target, where it is made ready; ours alone. It goes when that worked.

    Raises InputError when the folder cannot be written, or another process is fetching the same model.
    """
    folder = target.with_name(f".{target.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        raise InputError(f"{target.name}: another process is fetching it into {target.parent}; wait for it") from None
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be written ({error.strerror})") from None
