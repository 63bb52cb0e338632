"""Files that appear whole or not at all: written beside their place, and put there when they are complete; folders."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clair3.errors import InputError, unwritable


def make_folder(path: str | Path) -> Path:
    """A folder, created if needed, with those above it. Raises InputError when it cannot be."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be created ({error.strerror})") from None
    return Path(path)


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Where to write a file; when the with-block ends well, it takes its place. Otherwise what was there stays.

    Raises InputError for an OSError in the block, and when a device or pipe is there; other exceptions pass through.
    """
    refuse_device(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        sync(partial)
        partial.replace(path)
    except OSError as error:
        raise InputError(unwritable(path, error)) from None
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file on the disk before it gets its name: after a power cut the name would stand for an empty one.

    Raises OSError when it is not there or the disk refuses.
    """
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def require_folder(path: Path) -> None:
    """Raises InputError when the folder that a file is to be written in is not there; to be asked before long work."""
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written, there is no folder {path.parent}; make it, or choose another")


def refuse_device(path: Path) -> None:
    """Raises InputError for a device or a pipe, which root would otherwise replace by a file."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is a device or a pipe; give the name of a file")


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files, which appear when all are complete, or none does. Raises InputError when one cannot be written."""
    with ExitStack() as all_complete:
        for path, content in contents.items():
            all_complete.enter_context(unfinished(path)).write_bytes(content)


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write text lines, given without line ends, and return their number; the file is complete or absent.

    Raises InputError when the disk refuses; what `lines` raises passes through.
    """
    count = 0
    with unfinished(path) as partial, open(partial, "w", encoding="utf-8", errors="backslashreplace") as file:
        for line in lines:
            file.write(f"{line}\n")
            count += 1
    return count


@contextmanager
def unfinished_in_folder(path: Path) -> Iterator[Path]:
    """A file of the same name in a hidden folder beside path, for what writes further files there, as indexers do.

    The caller moves what is complete; the folder goes in the end. Raises InputError when a device or pipe is there, or
    the hidden folder cannot be made.
    """
    refuse_device(path)
    folder = unfinished_folder(path)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
    except OSError as error:
        raise InputError(unwritable(path, error)) from None
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unfinished_folder(path: Path) -> Path:
    """The hidden folder of unfinished_in_folder; only a killed run leaves it."""
    return path.with_name(f".unfinished_{path.name}")


BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits. Raises InputError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()
