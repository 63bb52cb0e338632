"""Fetching of models: a published model is downloaded, unpacked, checked, and put into the cache as one folder.

A download arrives complete or not at all. The file grows under `<name>.part` and is renamed at the end; after an
interruption only the rest is requested (HTTP Range), on condition that the file at the address is unchanged (If-Range).
What an archive can claim in memory and on disk is bounded, and all members must lie inside the model's folder.

The order below: models, downloads, archives.
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
from http.client import HTTPException, InvalidURL
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.io.atomic import sha256_of
from clair3.models.registry import (
    AT_DOWNLOAD,
    NETWORK_FILES,
    PUBLISHED,
    ModelCard,
    check_digest,
    find_installed,
    is_model,
    parse_card,
    read_card,
    search_path,
    write_card,
)
from clair3.tensor_shapes import DWELL_CHANNEL_COUNT
from clair3.version import VERSION

logger = logging.getLogger(__name__)

NEEDED_HEADS = {PILEUP: 2, FULL_ALIGNMENT: 4}
"""Heads that calling uses, by kind of network (spec/models.md 1)."""
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")

SCHEMES = ("https:", "http:", "file:")
ATTEMPTS = 5
RETRY_SECONDS = 1.0
"""Time before the second attempt; doubled before each further one."""
TIMEOUT_SECONDS = 60
"""Longest silence of a server."""
RETRIED_STATUS_CODES = (408, 425, 429, 500, 502, 503, 504)
"""HTTP status codes after which another attempt is made."""

MAX_BYTES = 1 << 28
"""Most bytes of a download, and of all files of an archive with their headers; a model has 20 MB."""
MAX_MEMBERS = 1000
"""Most files and folders in an archive."""
BLOCK_BYTES = 1 << 16
"""Bytes that are read at a time."""


def fetch_model(card: ModelCard, address: str | None = None, allow_unverified: bool = False) -> Path:
    """Fetch a registered model into the first folder of the search path, and return its folder.

    address           another source of the model: a folder (ends in /), an archive, or a path on this machine
    allow_unverified  whether to take a model that cannot be verified, because no digest of it is known

    A model that is already installed is checked against its card and kept. Raises ConfigError or InputError; then there
    is no folder of the model's name, and what was downloaded is kept for the next call.
    """
    if installed := find_installed(card.name):
        check_model(installed, read_card(installed) or card)
        logger.info("%s is already in %s", card.name, installed)
        return installed
    address = resolve_address(address or card.address, card)
    archive = address.endswith(ARCHIVE_SUFFIXES)
    if not is_verifiable(card, address) and not allow_unverified:
        raise ConfigError(
            f"no digest of {card.name} is known, so nothing can tell if it arrives as it was published; "
            "add --allow-unverified to take it as it comes"
        )
    target = search_path()[0] / card.name
    if target.exists():
        raise InputError(f"{target}: is there, but without {' and '.join(NETWORK_FILES)}; remove it and fetch again")
    with open_staging_folder(target) as folder:
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
        write_fetched_card(
            model, replace(card, address=address), PUBLISHED if is_verifiable(card, address) else AT_DOWNLOAD
        )
        model.rename(target)
    logger.info("%s is in %s", card.name, target)
    return target


def fetch_archive(address: str, folder: Path, model: Path, card: ModelCard) -> None:
    """Fetch an archive and copy its model into the folder `model`.

    The networks are at the top of the archive or in one folder of it. Raises InputError when there is no such place, or
    more than one.
    """
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


def write_fetched_card(folder: Path, card: ModelCard, digest_origin: str) -> None:
    """Check a model that was fetched and write its card: the fields of the registry, over those of a card that it has.

    Raises InputError when a digest is wrong or a network cannot be used.
    """
    check_digest(folder, card)
    own_card = read_card(folder)
    if own_card is not None:
        check_digest(folder, own_card)
        card = parse_card({**own_card.as_dict(), **card.as_dict()}, own_card.name)
    check_networks(folder, card)
    digest = {name: sha256_of(folder / name) for name in NETWORK_FILES}
    write_card(folder, replace(card, digest=digest, digest_origin=digest_origin))


def check_model(folder: Path, card: ModelCard | None) -> None:
    """Raise InputError when a model folder contradicts its card, or has no networks that calling can use."""
    if card is not None:
        check_digest(folder, card)
    check_networks(folder, card)


def check_networks(folder: Path, card: ModelCard | None) -> None:
    """Load both networks. Raises InputError when one cannot be used, or its channels contradict the card."""
    from clair3.inference.checkpoint import find_checkpoint, load_model  # torch: a second that "models list" saves

    for kind, heads in NEEDED_HEADS.items():
        path = find_checkpoint(folder, kind, kind)
        model = load_model(path, kind, heads=heads)
    dwell = model.channels == DWELL_CHANNEL_COUNT
    if card is not None and card.dwell not in (None, dwell):
        trained = "with" if dwell else "without"
        raise InputError(f"{path}: trained {trained} dwell time; its card says otherwise, use another model")


def is_verifiable(card: ModelCard, address: str | None) -> bool:
    """Return whether digests are known of the archive at an address, or of both networks."""
    return archive_name(address or "") in card.digest or all(name in card.digest for name in NETWORK_FILES)


def resolve_address(address: str | None, card: ModelCard) -> str:
    """Return the address of a folder, which ends in /, or of an archive; paths of this machine become file: addresses.

    Raises InputError when there is no address, or it is neither of them.
    """
    if address is None:
        raise InputError(f"{card.name}: no address of it is known; give one with --from")
    if "://" not in address:
        path = Path(os.path.abspath(address))
        if not path.exists():
            raise InputError(f"{path}: no such folder or archive; give the model's place with --from")
        address = path.as_uri() + ("/" if path.is_dir() else "")
    if not address.endswith(("/", *ARCHIVE_SUFFIXES)):
        raise InputError(
            f"{address}: expected the address of a folder (ends in /) or of a {ARCHIVE_SUFFIXES[0]} archive"
        )
    return address


def archive_name(address: str) -> str:
    """Return the name of the archive at an address; "" for a folder. Raises InputError for what is no address."""
    try:
        return urlsplit(address).path.rpartition("/")[2]
    except ValueError as error:
        raise InputError(f"{address}: not an address ({error})") from None


@contextmanager
def open_staging_folder(target: Path) -> Iterator[Path]:
    """Open a locked, hidden folder beside the target, in which the model is prepared; remove it after success.

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


class InterruptedDownloadError(Exception):
    """A download did not finish, but another attempt may."""


def download(address: str, path: Path, digest: str | None = None) -> None:
    """Fetch a file from an http(s) or file address.

    digest is its SHA-256 in hexadecimal digits, if that is known; a file that has it already is kept.
    Redirections are followed; proxies are those of the usual variables (https_proxy, no_proxy). Raises InputError when
    the file cannot be fetched, is larger than MAX_BYTES or does not have the digest. The part of an interrupted
    download is kept for the next call.
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
            time.sleep(RETRY_SECONDS * 2 ** (attempt - 1))
        try:
            is_resumed = fetch_rest(address, part, digest is not None)
        except InterruptedDownloadError as error:
            reason = str(error)
            continue
        except OSError as error:
            raise InputError(f"{part}: cannot be written ({error.strerror})") from None
        if digest is None or (actual := sha256_of(part)) == digest:
            part.replace(path)
            version_tag_path(part).unlink(missing_ok=True)
            return
        discard(part)
        reason = f"not the file that was published: its SHA-256 is {actual}, expected {digest}"
        if not is_resumed:  # else its first part may be of an earlier version of the file
            raise InputError(f"{address}: {reason}; it is not kept")
    kept = "; what has arrived is kept, the same command goes on from there" if part.exists() else ""
    raise InputError(f"{address}: {reason}; gave up after {attempts} attempts{kept}")


def fetch_rest(address: str, part: Path, checked: bool) -> bool:
    """Download what is missing in `part`, and return whether an earlier download was resumed.

    checked says that a digest will show whether the parts belong together. Otherwise only the server's version tag
    (ETag or date) can, and without one the download starts again. Raises InterruptedDownloadError, InputError,
    and OSError when the file cannot be written.
    """
    tag = version_tag_path(part)
    size = part.stat().st_size if part.exists() else 0
    version = tag.read_text() if tag.exists() else ""
    headers = {"User-Agent": f"clair3-torch/{VERSION}", "Accept-Encoding": "identity"}
    if size and (version or checked):
        headers |= {"Range": f"bytes={size}-"} | ({"If-Range": version} if version else {})
    with open_address(address, headers, part) as response:
        is_resumed = response.status == 206
        size = size if is_resumed else 0
        length = response.headers.get("Content-Length", "")
        total = size + int(length) if length.isdigit() else None
        if is_resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
            discard(part)
            raise InterruptedDownloadError("the server sent another part of the file than it was asked for")
        etag = response.headers.get("ETag", "")
        tag.write_text(etag if etag.startswith('"') else response.headers.get("Last-Modified", ""))
        with open(part, "ab" if is_resumed else "wb") as file:
            while block := read_block(response):
                size += len(block)
                if size > MAX_BYTES:
                    discard(part)
                    raise InputError(f"{address}: larger than {MAX_BYTES} bytes; this is no model")
                file.write(block)
    if total is not None and size != total:
        raise InterruptedDownloadError(f"the connection ended after {size} of {total} bytes")
    return is_resumed


def open_address(address: str, headers: dict[str, str], part: Path):
    """Send a request and return the response. Raises InterruptedDownloadError or InputError."""
    try:
        return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        problem = f"the server says {error.code} {str(error.reason).partition(chr(10))[0]}"
        if error.code == 416:  # the part is complete or too long: begin again
            discard(part)
        elif error.code not in RETRIED_STATUS_CODES:
            raise InputError(f"{address}: {problem}; check the address") from None
        raise InterruptedDownloadError(problem) from None
    except URLError as error:
        raise InterruptedDownloadError(f"not reached ({error.reason})") from None
    except (ValueError, InvalidURL) as error:  # an InvalidURL is an HTTPException, too
        raise InputError(f"{address}: not an address ({error})") from None
    except (OSError, HTTPException) as error:
        raise InterruptedDownloadError(f"no answer ({error})") from None


def read_block(response) -> bytes:
    """Read the next block of a response. Raises InterruptedDownloadError when the connection breaks."""
    try:
        return response.read(BLOCK_BYTES)
    except (OSError, HTTPException) as error:
        raise InterruptedDownloadError(f"the connection broke ({error})") from None


def version_tag_path(part: Path) -> Path:
    """Return the path of the file with the server's version tag of a part."""
    return part.with_name(f"{part.name}.version")


def discard(part: Path) -> None:
    """Remove a part and its version tag."""
    for path in (part, version_tag_path(part)):
        path.unlink(missing_ok=True)


class BoundedReader:
    """Reads at most MAX_BYTES of a file, so that a small archive cannot unpack to a large one."""

    def __init__(self, file, path: Path):
        self.file, self.path, self.left = file, path, MAX_BYTES

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Raises InputError behind the limit."""
        data = self.file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise InputError(f"{self.path}: unpacks to more than {MAX_BYTES} bytes; this is no model")
        return data


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz into an empty folder; owners, modes and times of its members are ignored.

    Raises InputError when the archive is damaged, is too large, or holds anything but files and folders inside it:
    absolute paths, `..`, links, devices. What was unpacked before stays in the folder, which is the caller's to remove.
    """
    try:
        with (
            gzip.open(archive) as data,
            tarfile.open(fileobj=(bounded := BoundedReader(data, archive)), mode="r|") as tar,
        ):
            for number, member in enumerate(tar):
                if number == MAX_MEMBERS:
                    raise InputError(f"{archive}: more than {MAX_MEMBERS} files; this is no model")
                target = folder / check_member_path(archive, member)
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)
            while bounded.read(BLOCK_BYTES):  # the checksum of gzip follows the last block
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise InputError(f"{archive}: not a whole .tar.gz archive ({error}); fetch it again") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"{archive}: holds {Path(error.filename).name} twice; it is not unpacked") from None


def check_member_path(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """Return the path of a member. Raises InputError unless it is a file or folder inside the archive's own."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name or "\\" in member.name:
        raise InputError(f"{archive}: {member.name!r} would lie outside of the model's folder; it is not unpacked")
    if member.issparse():  # a few bytes may stand for gigabytes of zeros
        raise InputError(f"{archive}: {member.name!r} is a sparse file; it is not unpacked")
    if not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        raise InputError(f"{archive}: {member.name!r} is a link or device; it is not unpacked")
    return path
