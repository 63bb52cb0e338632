"""Files in blocks of gzip (bgzip), as VCF and BAM are."""

import os
from pathlib import Path

import numpy as np

from clair3.core import _check, ffi, lib
from clair3.errors import InputError, unwritable


class BlockFile:
    """A bgzip file, compressed by some threads, the same bytes for any number; use it in a with-block.

    Raises InputError when it cannot be opened or the disk refuses. name stands for the path in messages.
    """

    def __init__(self, path: Path, threads: int = 1, name: Path | None = None):
        self.name, handle = name or path, ffi.new("c3_bgzf **")
        self._check(lib.c3_bgzf_create(os.fsencode(path), threads, handle))
        self.handle = handle[0]

    def _check(self, code: int) -> None:
        if code == lib.C3_CANNOT_OPEN:
            number = ffi.errno or None  # htslib does not always tell the reason
            raise InputError(
                unwritable(self.name, OSError(number, os.strerror(number) if number else "the disk refused"))
            )
        _check(code, str(self.name))

    def write(self, data: bytes | np.ndarray) -> None:
        self._check(lib.c3_bgzf_write(self.handle, ffi.from_buffer("uint8_t *", data), len(data)))

    def close(self) -> None:
        """Write what waits in memory and close the file. Raises InputError when the disk refuses; it is closed then."""
        if self.handle != ffi.NULL:
            handle, self.handle = self.handle, ffi.NULL
            self._check(lib.c3_bgzf_close(handle))

    def __enter__(self) -> "BlockFile":
        return self

    def __exit__(self, kind, *rest) -> None:
        try:
            self.close()
        except InputError:
            if kind is None:
                raise
