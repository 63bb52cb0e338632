"""Short reads in the C core: realigned to local haplotypes, and the full alignment of that (spec/features.md C.13)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clair3.core import CancelFlag, FullAlignment, Source, _check, _copy, _full_rule, ffi, lib
from clair3.errors import InputError
from clair3.records import Region

MARGIN = lib.C3_REALIGN_MARGIN
"""Bases beside a region from which reads are realigned, too."""
OPERATIONS = "MIDNSHP=X"
"""CIGAR operations by their number in BAM."""


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
    path       BAM file, or SAM text with `sam`; "-" is stdout

    Raises CoreError for unreadable data, InputError when the file cannot be written,
    CancelledError when the flag was set.
    """
    interval_pointer = ffi.NULL
    if intervals is not None:
        intervals = np.ascontiguousarray(intervals, np.int64)
        interval_pointer = ffi.from_buffer("int64_t *", intervals)
    out = ffi.new("c3_realigner **")
    flag = ffi.NULL if cancel is None else cancel.cell
    n = 0 if intervals is None else len(intervals)
    contig = ffi.new("char[]", region.contig.encode())  # lives as long as the realigner, like the intervals
    place = (source.opened(), contig, region.start, region.end)
    source.check(lib.c3_realign_start(*place, interval_pointer, n, ffi.NULL, flag, out), str(region))
    realigner = ffi.gc(out[0], lib.c3_realign_end)
    code = lib.c3_realign_write(realigner, os.fsencode(path), sam)
    ffi.release(realigner)
    if code == lib.C3_CANNOT_OPEN:
        where = "standard output" if path == "-" else path
        raise InputError(f"{where}: cannot be written; is the disk full, or the folder not yours?")
    source.check(code, str(region))


@dataclass(frozen=True)
class LocalAlignment:
    """A local alignment (D.5).

    start  0-based start of the aligned part of the target
    cigar  CIGAR of the whole query, with S, =, X, I and D
    """

    score: int
    start: int
    cigar: str


def local_alignment(query: str, target: str) -> LocalAlignment | None:
    """Return the best local alignment of a query to a target (D.5); None when no base matches.

    Raises CoreError when one of them is too long.
    """
    local = ffi.gc(ffi.new("c3_local *"), lib.c3_local_free)
    sequences = query.encode(), len(query), target.encode(), len(target)
    where = f"local alignment of {len(query)} bases to {len(target)}"
    _check(lib.c3_local_align(*sequences, local), where)
    return LocalAlignment(local.score, local.start, _format_cigar(local.cigar)) if local.score else None


def haplotypes(reference: str, reads: list[tuple[str, bytes]], cancel: CancelFlag | None = None) -> list[str]:
    """Assemble the haplotypes of a window from its reads, pairs of letters and qualities (D.4), in alphabetical order.

    Raises CancelledError when the flag was set.
    """
    assembly = ffi.gc(ffi.new("c3_assembly *"), lib.c3_assembly_free)
    kept = [(ffi.new("char[]", letters.encode()), ffi.new("uint8_t[]", quality)) for letters, quality in reads]
    sequences = ffi.new("c3_sequence[]", len(reads))
    for sequence, (letters, quality) in zip(sequences, kept, strict=True):
        sequence.letters, sequence.quality, sequence.length = letters, quality, len(quality)
    flag = ffi.NULL if cancel is None else cancel.cell
    _check(lib.c3_assemble(reference.encode(), len(reference), sequences, len(reads), flag, assembly), "haplotypes")
    text = ffi.unpack(assembly.letters, assembly.first[assembly.n]).decode() if assembly.n else ""
    return [text[assembly.first[h] : assembly.first[h + 1]] for h in range(assembly.n)]


def compose_cigars(read: str, place: int, haplotype: str) -> str | None:
    """Return the CIGAR to the reference of a read that starts at base `place` of a haplotype (D.5).

    It is None when the CIGARs do not fit together.
    """
    own, other, into = _parse_cigar(read), _parse_cigar(haplotype), ffi.gc(ffi.new("c3_cigar *"), lib.c3_cigar_free)
    _check(lib.c3_cigar_compose(own[0], place, other[0], into), "CIGAR")
    return _format_cigar(into) or None


def reference_shift(haplotype: str, place: int) -> int:
    """Return by how many bases base `place` of a haplotype is further right on the reference (D.5)."""
    cigar, _ops = _parse_cigar(haplotype)
    return lib.c3_cigar_shift(cigar, place)


def _format_cigar(cigar) -> str:
    """Return the text of a c3_cigar."""
    return "".join(f"{op >> 4}{OPERATIONS[op & 15]}" for op in cigar.ops[0 : cigar.n]) if cigar.n else ""


def _parse_cigar(text: str):
    """Return a c3_cigar of a text, and the buffer that must live as long."""
    words, length = [], ""
    for letter in text:
        if letter.isdigit():
            length += letter
        else:
            words.append(int(length) << 4 | OPERATIONS.index(letter))
            length = ""
    ops = ffi.new("uint32_t[]", words)
    return ffi.new("c3_cigar *", {"ops": ops, "n": len(words), "capacity": len(words)}), ops


BATCH_SPAN = 100_000
"""Bases of the contig, or reads, that are in memory at a time: some 50 MB at most."""


def iter_short_reads(
    source: Source,
    contig: str,
    intervals: np.ndarray,
    rule,
    haplotypes=None,
    cancel: CancelFlag | None = None,
    batch_span: int = BATCH_SPAN,
) -> Iterator[FullAlignment]:
    """Realign the reads over some intervals and find candidates in them, one batch after the other.

    intervals   (n, 2) int64  0-based [start, end), sorted and disjoint, at least one
    rule        clair3.config.ReadFeatureOptions
    haplotypes  clair3.core.phasing.Haplotypes of the contig; None: those of the HP tags, if the rule wants them

    batch_span  bases of the contig, or reads, in a batch; it changes no result

    Raises CoreError for unreadable data and CancelledError when the flag was set.
    """
    intervals = np.ascontiguousarray(intervals, np.int64)
    start, end = int(intervals[0, 0]), int(intervals[-1, 1]) + 1  # lo - 1 and hi of A.10
    where = f"{contig}:{start + 1}-{end}"
    out = ffi.new("c3_realigned **")
    code = lib.c3_realigned_start(
        source.opened(),
        contig.encode(),
        start,
        end,
        ffi.from_buffer("int64_t[]", intervals),
        len(intervals),
        _full_rule(rule),
        ffi.NULL if haplotypes is None else haplotypes.handle,
        batch_span,
        ffi.NULL if cancel is None else cancel.cell,
        out,
    )
    source.check(code, where)
    stream = ffi.gc(out[0], lib.c3_realigned_end)
    result = ffi.new("c3_full **")
    while source.opened():
        source.check(lib.c3_realigned_next(stream, result), where)
        if result[0] == ffi.NULL:
            return
        yield FullAlignment(contig, rule, ffi.gc(result[0], lib.c3_full_free))


def window_reads(candidates: FullAlignment) -> np.ndarray:
    """Return how many reads could be rows of each candidate, (n,) int32."""
    return _copy(candidates.handle.window_reads, len(candidates), np.int32)
