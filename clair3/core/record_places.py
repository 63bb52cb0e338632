"""What stands at the offsets that the index of a BAM file points to."""

import numpy as np

from clair3.core import CancelFlag, Source, ffi, lib

END_OF_FILE, NOT_A_RECORD = lib.C3_END_OF_FILE, lib.C3_NOT_A_RECORD

PLACE = np.dtype([("offset", np.uint64), ("pos", np.int64), ("end", np.int64), ("contig", np.int32)], align=True)
"""The place of a record: its virtual offset in the one form that htslib tells, its positions [pos, end), 0-based, and
the number of its contig: -1 for none, END_OF_FILE, or NOT_A_RECORD."""

assert PLACE.itemsize == ffi.sizeof("c3_record_place")


def record_places(source: Source, offsets: np.ndarray, cancel: CancelFlag | None = None) -> np.ndarray:
    """Look at virtual offsets of a BAM file, (n,) uint64, and return (n,) PLACE. Raises CancelledError."""
    offsets = np.ascontiguousarray(offsets, np.uint64)
    places = np.zeros(len(offsets), PLACE)
    flag = ffi.NULL if cancel is None else cancel.cell
    out = ffi.from_buffer("c3_record_place[]", places)
    code = lib.c3_record_places(source.opened(), ffi.from_buffer("uint64_t[]", offsets), len(offsets), flag, out)
    source.check(code)
    return places


def first_record(source: Source) -> int:
    """Return the virtual offset behind the header of a BAM file."""
    return lib.c3_first_record(source.opened())
