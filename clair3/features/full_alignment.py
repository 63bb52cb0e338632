"""Full-alignment tensors of a block of candidates: the reads around each of them, row by row."""

import random
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from clair3 import core
from clair3.config import ReadFeatureOptions
from clair3.core.phasing import Haplotypes
from clair3.core.short_reads import iter_short_reads, window_reads
from clair3.io.bed import merge, realignment_bins
from clair3.records import PhasedSnps, TensorBatch

BATCH = 512
"""Candidates per batch: 12 MB of tensors with 89 rows."""


def iter_full_alignment(
    source: core.Source,
    contig: str,
    pos: np.ndarray,
    rule: ReadFeatureOptions,
    snps: PhasedSnps | None,
    cancel: core.CancelFlag | None = None,
    note_shared_names: Callable[[int], None] | None = None,
) -> Iterator[TensorBatch]:
    """Candidates of one block in batches with (n, rows, 33, 8 or 9) int8 tensors and read support.

    pos   (n,) int64, 0-based, ascending, distinct; a block shares one random generator (C.6), so it is part of the
          result
    snps  the phased SNPs of the contig; None leaves all reads untagged

    note_shared_names  is called with the number of reads around the block that have the name of an earlier one

    Raises CoreError for unreadable alignments or reference, core.CancelledError when the flag was set.
    """
    found = core.full_alignment(source, contig, pos, rule, snps, cancel)
    if note_shared_names:
        note_shared_names(found.shared_names)
    for start in range(0, len(found), BATCH):
        yield found.batch(start, start + BATCH)


def iter_realigned(
    source: core.Source,
    contig: str,
    pos: np.ndarray,
    rule: ReadFeatureOptions,
    haplotypes: Haplotypes | None = None,
    cancel: core.CancelFlag | None = None,
) -> Iterator[TensorBatch]:
    """Candidates that short reads show once they are realigned, in batches as of iter_full_alignment.

    pos         (n,) int64, 0-based, ascending: the candidates of one block, which say where reads are realigned. Those
                that come back are others, ascending too, also some beyond the bins of pos (C.13.9)
    haplotypes  of the contig's reads; None: those of their HP tags, if the rule wants them

    Raises CoreError for unreadable alignments or reference, core.CancelledError when the flag was set.
    """
    if not len(pos):
        return
    for found in iter_short_reads(source, contig, merge(realignment_bins(pos)), rule, haplotypes, cancel):
        reads = window_reads(found)
        for start in range(0, len(found), BATCH):
            end = start + BATCH
            yield found.batch(start, end, drawn_rows(reads[start:end], rule.rows))


def drawn_rows(reads: np.ndarray, rows: int) -> np.ndarray:
    """Which reads are rows, (d, rows) int32, of those candidates that have more reads, (n,) int32, than rows."""
    return np.array([draw(n, rows) for n in reads[reads > rows].tolist()], np.int32).reshape(-1, rows)


@lru_cache(maxsize=10_000)
def draw(n: int, rows: int) -> tuple[int, ...]:
    """Which of n reads are the rows of a short-read candidate, ascending: always the same of the same n (C.13.3)."""
    return tuple(sorted(random.Random(0).sample(range(n), rows)))
