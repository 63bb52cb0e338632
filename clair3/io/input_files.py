"""Identity of input files: what tells a file from a later one of the same name, and that none changed during a run."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from clair3.errors import InputError

PIECES, PIECE_SIZE = 16, 1 << 16
"""Pieces of a file whose content is looked at, and bytes of each: its head, its tail, and evenly between them."""


def digest_pieces(path: Path) -> str:
    """Return a short digest (16 hex digits) of the head, the tail and some places between them of a file.

    A file of at most PIECES * PIECE_SIZE bytes is read as a whole. Raises OSError when it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        last = max(0, os.fstat(file.fileno()).st_size - PIECE_SIZE)
        step = max(PIECE_SIZE, -(-last // (PIECES - 1)))
        for offset in [*range(0, last, step), last]:
            file.seek(offset)
            digest.update(file.read(PIECE_SIZE))
    return digest.hexdigest()[:16]


def file_identity(path: Path) -> list:
    """Return path, size (bytes), time of change (ns) and digest_pieces of a file: another list once it was replaced,
    also by one of the same size and time. Raises OSError when it cannot be read."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, digest_pieces(path)]


class InputChangedError(InputError):
    """An input file is not what it was when the run began: what was made from it may be of the one or of the other."""


class InputSnapshot:
    """What the input files of a run were at its start.

    Pipes and files that are not there are left out: a pipe is read once, and who reads a file tells that it is missing.
    """

    def __init__(self, paths: Iterable[Path | None] = ()):
        self._states: dict[Path, tuple] = {}
        self.add(paths)

    def add(self, paths: Iterable[Path | None]) -> None:
        """Note the state of more files. None is no file."""
        for path in paths:
            if path is not None and path.is_file():
                self._states[path] = read_state(path)

    def check(self) -> None:
        """Raises InputChangedError when a file has another size, time, inode or content than it had, or is gone."""
        for path, before in self._states.items():
            if read_state(path) != before:
                what = "was changed or replaced" if path.is_file() else "was removed"
                raise InputChangedError(
                    f"{path}: {what} while it was in use; the calls may be wrong and are not written. Run again when "
                    "nothing writes to it"
                )


def read_state(path: Path) -> tuple | None:
    """Return what tells a file from another and from itself after a change; None when it cannot be read."""
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino, digest_pieces(path)
    except OSError:
        return None
