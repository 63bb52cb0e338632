"""Text files that may be compressed: plain, gzip or bgzip, complete or refused; and the numbers in them."""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from shared.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every complete bgzip and BAM file (SAM specification 4.1.2)."""

MAX_DIGITS = 18
"""A number with more digits may not fit an int64."""


def is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == GZIP_MAGIC


def is_bgzf(path: Path) -> bool:
    """Whether a file is gzip in blocks that can be read from the middle (its first block has the BC field)."""
    with open(path, "rb") as file:
        head = file.read(18)
    return head[:4] == GZIP_MAGIC + b"\x08\x04" and head[12:14] == b"BC"


def ends_with(path: Path, marker: bytes) -> bool:
    """Whether the last bytes of a file are these."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(marker)))
        return file.read() == marker


def read_rows(path: Path) -> Iterator[tuple[int, str]]:
    """(row number from 1, text without line end) of a plain, gzip or bgzip file; Windows line ends are fine.

    A byte-order mark is no part of the first row, bytes that are not UTF-8 become escapes.
    Raises InputError when the file is truncated, damaged or unreadable.
    """
    try:
        if is_bgzf(path) and not ends_with(path, BGZF_EOF):
            raise InputError(f"{path}: the end of the file is missing; it was cut, copy or compress it again")
        opened = gzip.open if is_gzip(path) else open
        with opened(path, "rt", encoding="utf-8-sig", errors="backslashreplace") as file:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: cannot be decompressed, {error}; copy or compress it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read, {error.strerror}") from None


def is_number(word: str) -> bool:
    """Whether a word of a file is a whole number from 0 that fits an int64 (int() alone takes 1_0 and blanks too)."""
    return word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS
