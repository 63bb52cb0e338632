"""Text files that may be compressed: plain, gzip or bgzip, complete or refused; and the numbers in them."""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

from clair3.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every complete bgzip and BAM file (SAM specification 4.1.2)."""

MAX_DIGITS = 18
"""A number with more digits may not fit an int64."""


def open_binary(path: Path) -> BinaryIO:
    """A file opened for reading, also a pipe (`<(...)`) or a device, which is read to its end, once."""
    return io.BytesIO(read_once(path)) if path.is_fifo() or path.is_char_device() else open(path, "rb")


@cache
def read_once(path: Path) -> bytes:
    """The bytes that a pipe gives; a second reader would wait for ever. They are kept: a list of regions is small."""
    return path.read_bytes()


def is_gzip(path: Path) -> bool:
    with open_binary(path) as file:
        return file.read(2) == GZIP_MAGIC


def is_bgzf(path: Path) -> bool:
    """Whether a file is gzip in blocks that can be read from the middle (its first block has the BC field)."""
    with open_binary(path) as file:
        head = file.read(18)
    return head[:4] == GZIP_MAGIC + b"\x08\x04" and head[12:14] == b"BC"


def ends_with(path: Path, marker: bytes) -> bool:
    """Whether the last bytes of a file are these."""
    with open_binary(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(marker)))
        return file.read() == marker


def read_rows(path: Path) -> Iterator[tuple[int, str]]:
    """(row number from 1, text without line end) of a plain, gzip or bgzip file or pipe; Windows line ends are fine.

    A byte-order mark is no part of the first row, bytes that are not UTF-8 become escapes.
    Raises InputError when the file is truncated, damaged or unreadable.
    """
    try:
        if is_bgzf(path) and not ends_with(path, BGZF_EOF):
            raise InputError(f"{path}: the end of the file is missing; it was cut, copy or compress it again")
        with open_binary(path) as raw:
            plain = gzip.GzipFile(fileobj=raw) if is_gzip(path) else raw
            for number, line in enumerate(io.TextIOWrapper(plain, encoding="utf-8-sig", errors="backslashreplace"), 1):
                yield number, line.rstrip("\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: cannot be decompressed, {error}; copy or compress it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read, {error.strerror}") from None


def is_number(word: str) -> bool:
    """Whether a word of a file is a whole number from 0 that fits an int64 (int() alone takes 1_0 and blanks too)."""
    return word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS
