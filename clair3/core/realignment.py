"""Local realignment of short reads by the C core, and its single steps: NumPy and text in, files and values out."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clair3.core import CancelFlag, Source, _check, ffi, lib
from clair3.errors import InputError
from clair3.records import Region

MARGIN = lib.C3_REALIGN_MARGIN
OPERATIONS = "MIDNSHP=X"


def write_realigned(
    source: Source,
    region: Region,
    intervals: np.ndarray | None,
    path: str | Path,
    sam: bool = False,
    cancel: CancelFlag | None = None,
) -> None:
    """Write the reads of a region after local realignment (spec/features.md D), in order of their new start.

    region     reads that reach up to MARGIN bases beside it are taken
    intervals  (k, 2) int64, sorted, disjoint [start, end): a read must overlap one; None: it need not
    path       BAM, or SAM text if so asked; "-" is stdout

    Raises CoreError for unreadable data, InputError when the file cannot be written,
    CancelledError when the flag was set.
    """
    places = ffi.NULL
    if intervals is not None:
        intervals = np.ascontiguousarray(intervals, np.int64)
        places = ffi.from_buffer("int64_t *", intervals)
    out = ffi.new("c3_realigner **")
    flag = ffi.NULL if cancel is None else cancel.cell
    n = 0 if intervals is None else len(intervals)
    contig = ffi.new("char[]", region.contig.encode())  # lives as long as the realigner, like the intervals
    place = (source.opened(), contig, region.start, region.end)
    source.check(lib.c3_realign_start(*place, places, n, ffi.NULL, flag, out), str(region))
    realigner = ffi.gc(out[0], lib.c3_realign_end)
    code = lib.c3_realign_write(realigner, os.fsencode(path), sam)
    ffi.release(realigner)
    if code == lib.C3_CANNOT_OPEN:
        where = "standard output" if path == "-" else path
        raise InputError(f"{where}: cannot be written; is the disk full, or the folder not yours?")
    source.check(code, str(region))


@dataclass(frozen=True)
class LocalAlignment:
    """start: of the aligned part of the target; cigar: of the whole query, with S, =, X, I and D."""

    score: int
    start: int
    cigar: str


def local_alignment(query: str, target: str) -> LocalAlignment | None:
    """The best local alignment of a query to a target (D.5), or None. Raises CoreError when one is too long."""
    local = ffi.gc(ffi.new("c3_local *"), lib.c3_local_free)
    sequences = query.encode(), len(query), target.encode(), len(target)
    where = f"local alignment of {len(query)} bases to {len(target)}"
    _check(lib.c3_local_align(*sequences, local), where)
    return LocalAlignment(local.score, local.start, _text(local.cigar)) if local.score else None


def haplotypes(reference: str, reads: list[tuple[str, bytes]], cancel: CancelFlag | None = None) -> list[str]:
    """The haplotypes that reads, letters and qualities, show of a piece of reference (D.4), in alphabetical order.

    Raises CancelledError when the flag was set.
    """
    found = ffi.gc(ffi.new("c3_assembly *"), lib.c3_assembly_free)
    kept = [(ffi.new("char[]", letters.encode()), ffi.new("uint8_t[]", quality)) for letters, quality in reads]
    sequences = ffi.new("c3_sequence[]", len(reads))
    for sequence, (letters, quality) in zip(sequences, kept, strict=True):
        sequence.letters, sequence.quality, sequence.length = letters, quality, len(quality)
    flag = ffi.NULL if cancel is None else cancel.cell
    _check(lib.c3_assemble(reference.encode(), len(reference), sequences, len(reads), flag, found), "haplotypes")
    text = ffi.unpack(found.letters, found.first[found.n]).decode() if found.n else ""
    return [text[found.first[h] : found.first[h + 1]] for h in range(found.n)]


def composed(read: str, place: int, haplotype: str) -> str | None:
    """The CIGAR to the reference of a read that lies at base `place` of a haplotype (D.5), None if they do not fit."""
    own, other, into = _cigar(read), _cigar(haplotype), ffi.gc(ffi.new("c3_cigar *"), lib.c3_cigar_free)
    _check(lib.c3_cigar_compose(own[0], place, other[0], into), "CIGAR")
    return _text(into) or None


def shift(haplotype: str, place: int) -> int:
    """How much further right than base `place` of a haplotype that base lies on the reference (D.5)."""
    cigar, _ops = _cigar(haplotype)
    return lib.c3_cigar_shift(cigar, place)


def _text(cigar) -> str:
    return "".join(f"{op >> 4}{OPERATIONS[op & 15]}" for op in cigar.ops[0 : cigar.n]) if cigar.n else ""


def _cigar(text: str):
    """A c3_cigar of text, and what it needs to live."""
    words, length = [], ""
    for letter in text:
        if letter.isdigit():
            length += letter
        else:
            words.append(int(length) << 4 | OPERATIONS.index(letter))
            length = ""
    ops = ffi.new("uint32_t[]", words)
    return ffi.new("c3_cigar *", {"ops": ops, "n": len(words), "room": len(words)}), ops
