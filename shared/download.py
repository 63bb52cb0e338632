"""Downloads that arrive whole or not at all: resumed, bounded, checked.

A file grows under `<name>.part` and is renamed when it is complete. When the connection breaks, or the program was
ended, the rest is asked for (HTTP Range), on condition that the file at the address is still the same (If-Range).
"""

import logging
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from shared.digest import sha256_of
from shared.errors import InputError
from shared.version import VERSION

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


class Interrupted(Exception):
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
        except Interrupted as error:
            reason = str(error)
            continue
        except OSError as error:
            raise InputError(f"{part}: cannot be written ({error.strerror})") from None
        if digest is None or (found := sha256_of(part)) == digest:
            part.replace(path)
            tag_of(part).unlink(missing_ok=True)
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
    without it the download starts again. Raises Interrupted, InputError, and OSError when the file cannot be written.
    """
    tag = tag_of(part)
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
            raise Interrupted("the server sent another part of the file than it was asked for")
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
        raise Interrupted(f"the connection ended after {have} of {total} bytes")
    return resumed


def open_address(address: str, headers: dict[str, str], part: Path):
    """The response to a request. Raises Interrupted or InputError."""
    try:
        return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        told = f"the server says {error.code} {str(error.reason).partition(chr(10))[0]}"
        if error.code == 416:  # nothing behind what we have: begin again
            discard(part)
        elif error.code not in WORTH_ANOTHER_ATTEMPT:
            raise InputError(f"{address}: {told}; check the address") from None
        raise Interrupted(told) from None
    except URLError as error:
        raise Interrupted(f"not reached ({error.reason})") from None
    except (OSError, HTTPException) as error:
        raise Interrupted(f"no answer ({error})") from None
    except ValueError as error:
        raise InputError(f"{address}: not an address ({error})") from None


def read_block(response) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise Interrupted(f"the connection broke ({error})") from None


def tag_of(part: Path) -> Path:
    """Where the server's mark of the version of a part is kept."""
    return part.with_name(f"{part.name}.version")


def discard(part: Path) -> None:
    for path in (part, tag_of(part)):
        path.unlink(missing_ok=True)
