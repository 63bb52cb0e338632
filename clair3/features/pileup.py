"""Pileup tensors of a planned chunk: the region around it, counted by the C core."""

from collections.abc import Callable, Iterator

import numpy as np

from clair3 import core
from clair3.config import CandidateOptions
from clair3.features.chunks import Chunk
from clair3.io.bed import clip
from clair3.records import ReadTally, Region, TensorBatch

REACH = 35
"""Columns needed on both sides of a candidate: window, right-hand rule and the run counter (spec/features.md B.5, B.9).
v2.0.2 reads 34 to 35 (A.4), so a candidate's features never depend on where its chunk ends."""


BATCH = 2000
"""Candidates per batch: 5 MB of tensors, so memory stays flat where every column is a candidate."""


def iter_pileup(
    source: core.Source,
    chunk: Chunk,
    rule: CandidateOptions,
    cancel: core.CancelFlag | None = None,
    keep_site_counts: Callable[[np.ndarray], None] | None = None,
    targets: np.ndarray | None = None,
    keep_tally: Callable[[ReadTally], None] | None = None,
) -> Iterator[TensorBatch]:
    """Candidates owned by a chunk, ascending, in batches with (n, 33, 18) int32 tensors and read support.

    keep_site_counts is given the site counts of the chunk's positions, (2, n) int32: reads that show the reference, and
    all reads (spec/features.md B.8); the chunk must be one to be looked at whole.
    targets are the intervals of the contig that a BED or known sites ask for, (k, 2) int64 as
    clair3.io.bed.target_intervals makes them, None without: the rules for short reads need them (A.6, B.12).
    keep_tally is given the number of reads that came for the chunk, if it is read without gaps.
    Raises CoreError for unreadable alignments or reference, core.CancelledError when the flag was set.
    """
    waiting, count, site_counts, tallies = [], 0, [], []
    for pileup, start, end in iter_parts(source, chunk, rule, cancel, keep_site_counts is not None, targets):
        if keep_site_counts is not None:
            site_counts.append(pileup.site_counts()[:, start - pileup.region.start : end - pileup.region.start])
        tallies.append(pileup.tally)
        for first in range(0, len(pileup), BATCH):
            waiting.append(pileup.batch(first, first + BATCH))
            count += len(waiting[-1])
            if count >= BATCH:
                yield TensorBatch.concatenate(waiting)
                waiting, count = [], 0
    if keep_tally is not None and (chunk.intervals is None or chunk.whole):
        keep_tally(ReadTally(sum(tally.starting for tally in tallies), tallies[0].entering, tallies[-1].leaving))
    if keep_site_counts is not None:
        keep_site_counts(np.concatenate(site_counts, axis=1))
    if waiting:
        yield TensorBatch.concatenate(waiting)


def iter_parts(
    source: core.Source,
    chunk: Chunk,
    rule: CandidateOptions,
    cancel: core.CancelFlag | None,
    gvcf: bool,
    targets: np.ndarray | None,
) -> Iterator[tuple[core.Pileup, int, int]]:
    """The pileups of a chunk with the positions [start, end) they stand for, in order.

    A part that is too deep to hold is halved until it fits, so memory stays flat in depth; the result does not depend
    on where parts end.
    """
    parts = list(chunk.parts())[::-1]
    while parts:
        start, end, allowed = parts.pop()
        region = Region(chunk.contig, max(0, start - REACH), end + REACH)
        try:
            yield core.pileup(source, region, rule, allowed, gvcf, cancel, targets, (start, end)), start, end
        except core.RegionTooLargeError:
            middle = (start + end) // 2
            halves = [(start, middle, clip(allowed, start, middle)), (middle, end, clip(allowed, middle, end))]
            parts += halves[::-1]
