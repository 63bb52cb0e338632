"""Downloads that arrive whole or not at all: resumed, bounded, checked.

A file grows under `<name>.part` and is renamed when it is complete. When the connection breaks, or the program was
ended, the rest is asked for (HTTP Range), on condition that the file at the address is still the same (If-Range).
"""

import fcntl
import gzip
import logging
import os
import shutil
import tarfile
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException
from importlib import import_module
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.inference.checkpoint import find_checkpoint
from clair3.io.atomic import sha256_of
from clair3.models.registry import (
    AT_DOWNLOAD,
    NETWORK_FILES,
    PUBLISHED,
    ModelCard,
    card_from,
    check_digest,
    find_installed,
    is_model,
    read_card,
    search_path,
    write_card,
)
from clair3.tensor_shapes import DWELL_CHANNEL_COUNT
from clair3.version import VERSION

logger = logging.getLogger(__name__)

SCHEMES = ("https:", "http:", "file:")
ATTEMPTS = 5
WAIT_SECONDS = 1.0
"""Before the second attempt; doubled before each further one."""
TIMEOUT_SECONDS = 60
"""Longest silence of a server."""
MAX_BYTES = 1 << 28
"""Far more than any model has (20 MB)."""
BLOCK = 1 << 16
WORTH_ANOTHER_ATTEMPT = (408, 425, 429, 500, 502, 503, 504)


class InterruptedDownloadError(Exception):
    """The download did not finish; another attempt may."""


def download(address: str, path: Path, digest: str | None = None) -> None:
    """Fetch a file from an http(s) or file address.

    digest is its SHA-256 in hexadecimal digits, if that is known; a file that has it already is left as it is.
    Redirections are followed; proxies are those of the usual variables (https_proxy, no_proxy). Raises InputError when
    the file cannot be had, is larger than MAX_BYTES or is another one than the digest says. What has arrived of an
    interrupted download stays for the next call.
    """
    if not address.startswith(SCHEMES):
        raise InputError(f"{address}: cannot be fetched; expected an address that starts with https://")
    if digest is not None and path.is_file() and sha256_of(path) == digest:
        return
    part = path.with_name(f"{path.name}.part")
    attempts = 1 if address.startswith("file:") else ATTEMPTS
    reason = ""
    for attempt in range(attempts):
        if attempt:
            logger.warning("%s: %s; trying again", address, reason)
            time.sleep(WAIT_SECONDS * 2 ** (attempt - 1))
        try:
            pieced = fetch_rest(address, part, digest is not None)
        except InterruptedDownloadError as error:
            reason = str(error)
            continue
        except OSError as error:
            raise InputError(f"{part}: cannot be written ({error.strerror})") from None
        if digest is None or (found := sha256_of(part)) == digest:
            part.replace(path)
            version_tag_path(part).unlink(missing_ok=True)
            return
        discard(part)
        reason = f"not the file that was published: its SHA-256 is {found}, expected {digest}"
        if not pieced:  # else an earlier version of the file may be its first piece
            raise InputError(f"{address}: {reason}; it is not kept")
    kept = "; what has arrived is kept, the same command goes on from there" if part.exists() else ""
    raise InputError(f"{address}: {reason}; gave up after {attempts} attempts{kept}")


def fetch_rest(address: str, part: Path, checked: bool) -> bool:
    """Fetch what is not yet in `part`; whether earlier pieces were taken up.

    checked: a digest will tell if the pieces belong together. Else only a server's mark of the version can, and
    without it the download starts again. Raises InterruptedDownloadError, InputError,
    and OSError when the file cannot be written.
    """
    tag = version_tag_path(part)
    have = part.stat().st_size if part.exists() else 0
    version = tag.read_text() if tag.exists() else ""
    headers = {"User-Agent": f"clair3-torch/{VERSION}", "Accept-Encoding": "identity"}
    if have and (version or checked):
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": version} if version else {})
    with open_address(address, headers, part) as response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            discard(part)
            raise InterruptedDownloadError("the server sent another part of the file than it was asked for")
        etag = response.headers.get("ETag", "")
        tag.write_text(etag if etag.startswith('"') else response.headers.get("Last-Modified", ""))
        with open(part, "ab" if resumed else "wb") as file:
            while block := read_block(response):
                have += len(block)
                if have > MAX_BYTES:
                    discard(part)
                    raise InputError(f"{address}: larger than {MAX_BYTES} bytes; this is no model")
                file.write(block)
    if total is not None and have != total:
        raise InterruptedDownloadError(f"the connection ended after {have} of {total} bytes")
    return resumed


def open_address(address: str, headers: dict[str, str], part: Path):
    """The response to a request. Raises InterruptedDownloadError or InputError."""
    try:
        return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        told = f"the server says {error.code} {str(error.reason).partition(chr(10))[0]}"
        if error.code == 416:  # nothing behind what we have: begin again
            discard(part)
        elif error.code not in WORTH_ANOTHER_ATTEMPT:
            raise InputError(f"{address}: {told}; check the address") from None
        raise InterruptedDownloadError(told) from None
    except URLError as error:
        raise InterruptedDownloadError(f"not reached ({error.reason})") from None
    except (OSError, HTTPException) as error:
        raise InterruptedDownloadError(f"no answer ({error})") from None
    except ValueError as error:
        raise InputError(f"{address}: not an address ({error})") from None


def read_block(response) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise InterruptedDownloadError(f"the connection broke ({error})") from None


def version_tag_path(part: Path) -> Path:
    """Where the server's mark of the version of a part is kept."""
    return part.with_name(f"{part.name}.version")


def discard(part: Path) -> None:
    for path in (part, version_tag_path(part)):
        path.unlink(missing_ok=True)


MAX_UNPACKED_BYTES = 1 << 28
"""Of all files together and their headers; a model has 20 MB."""
MAX_MEMBERS = 1000
UNPACK_BLOCK = 1 << 16


class Bounded:
    """A file that may be read up to a limit, so that a small archive cannot become a large one."""

    def __init__(self, file, path: Path):
        self.file, self.path, self.left = file, path, MAX_UNPACKED_BYTES

    def read(self, size: int) -> bytes:
        """Raises InputError behind the limit."""
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise InputError(f"{self.path}: unpacks to more than {MAX_UNPACKED_BYTES} bytes; this is no model")
        return data


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz into an empty folder; owners, modes and times are ours.

    Raises InputError when the archive is damaged, is too large, or holds anything but files and folders inside it:
    absolute paths, `..`, links, devices. What was unpacked until then stays; the folder is the caller's.
    """
    try:
        with gzip.open(archive) as data, tarfile.open(fileobj=(bounded := Bounded(data, archive)), mode="r|") as tar:
            for number, member in enumerate(tar):
                if number == MAX_MEMBERS:
                    raise InputError(f"{archive}: more than {MAX_MEMBERS} files; this is no model")
                target = folder / inner_path(archive, member)
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)
            while bounded.read(UNPACK_BLOCK):  # the checksum of gzip stands behind the last block
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise InputError(f"{archive}: not a whole .tar.gz archive ({error}); fetch it again") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"{archive}: holds {Path(error.filename).name} twice; it is not unpacked") from None


def inner_path(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """Where a member belongs. Raises InputError unless that is a file or folder inside the archive."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name or "\\" in member.name:
        raise InputError(f"{archive}: {member.name!r} would lie outside of the model's folder; it is not unpacked")
    if not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        raise InputError(f"{archive}: {member.name!r} is a link or device; it is not unpacked")
    return path


ARCHIVES = (".tar.gz", ".tgz")
NEEDED_HEADS = {PILEUP: 2, FULL_ALIGNMENT: 4}
"""Heads that calling uses (spec/models.md 1)."""


def fetch_model(card: ModelCard, address: str | None = None, allow_unverified: bool = False) -> Path:
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
    archive, unpacked = folder / archive_name(address), folder / "unpacked"
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
    load_model = import_module("clair3.inference.checkpoint").load_model  # torch takes a second to load
    for kind, heads in NEEDED_HEADS.items():
        path = find_checkpoint(folder, kind, kind)
        model = load_model(path, kind, heads=heads)
    dwell = model.channels == DWELL_CHANNEL_COUNT
    if card is not None and card.dwell not in (None, dwell):
        found = "with" if dwell else "without"
        raise InputError(f"{path}: trained {found} dwell time; its card says otherwise, use another model")


def verifiable(card: ModelCard, address: str | None) -> bool:
    """Whether digests are known of the archive at the address, or of both networks."""
    return archive_name(address or "") in card.digest or all(name in card.digest for name in NETWORK_FILES)


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


def archive_name(address: str) -> str:
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
