"""Full-alignment features of realigned short reads in the C core (spec/features.md C.13, D)."""

from collections.abc import Iterator

import numpy as np

from clair3.core import CancelFlag, FullAlignment, Source, _copy, _full_rule, ffi, lib

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
