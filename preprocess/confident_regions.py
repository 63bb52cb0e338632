"""Confident regions: where the truth set claims to know every variant (spec/training.md A.4)."""

import logging
from collections.abc import Collection
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.reference import other_spelling
from shared.regions import merge, read_bed

logger = logging.getLogger(__name__)

NO_INTERVALS = np.empty((0, 2), np.int64)


def check_contig(path: Path, contig: str, found: Collection[str]) -> bool:
    """Whether a contig is among those of a file; warns when it is not. Raises InputError as refuse_other_name does."""
    if contig in found:
        return True
    refuse_other_name(path, contig, found)
    logger.warning("%s: nothing on contig %s", path, contig)
    return False


def refuse_other_name(path: Path, contig: str, found: Collection[str]) -> None:
    """Raises InputError when a contig is not in a file, but seems to be there under its other name."""
    if (other := other_spelling(contig)) in found:
        raise InputError(f"{path}: has no contig {contig} but {other}; rename it or use files of one assembly")


def read_intervals(path: Path, contig: str) -> np.ndarray:
    """The intervals of a contig in a BED file: (k, 2) int64, 0-based [start, end), sorted and disjoint.

    Raises InputError when a row is none, or the file calls the contig differently.
    """
    intervals = read_bed(path)
    return merge(intervals[contig]) if check_contig(path, contig, intervals) else NO_INTERVALS


def read_extended(path: Path, contig: str) -> np.ndarray:
    """Where candidates may lie, given a file of extend_bed: as read_intervals.

    One base more on the left than the file has, as in calling (spec/features.md A.6).
    """
    return merge(np.maximum(read_intervals(path, contig) - np.array([1, 0]), 0))


def intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Positions in both of two sets of sorted, disjoint intervals: (m, 2) int64 of the same kind."""
    edges = np.unique(np.concatenate([first.ravel(), second.ravel()]))
    pieces = np.stack([edges[:-1], edges[1:]], axis=1) if len(edges) else NO_INTERVALS
    return merge(pieces[is_within(pieces[:, 0], first) & is_within(pieces[:, 0], second)])


def is_within(pos: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Which positions, (n,) int64, lie in sorted, disjoint intervals, (k, 2): (n,) bool."""
    return (np.searchsorted(intervals[:, 0], pos, side="right") - np.searchsorted(intervals[:, 1], pos, "right")) > 0


def extend_bed(
    path: Path, size: int, contig: str | None = None, start: int | None = None, end: int | None = None
) -> list[str]:
    """Rows `contig start end` of a BED file widened by size bases on both sides, sorted and joined where they meet.

    contig     None: all of the file, in its order
    start, end  1-based, inclusive: only intervals that reach into this stretch

    Raises InputError when a row of the file is none, or it calls the contig differently.
    """
    found = read_bed(path)
    if contig is not None:
        found = {contig: found[contig]} if check_contig(path, contig, found) else {}
    lines = []
    for name, intervals in found.items():
        reaching = np.ones(len(intervals), bool)
        if start is not None:
            reaching &= intervals[:, 1] >= start
        if end is not None:
            reaching &= intervals[:, 0] < end
        widened = merge(np.maximum(intervals[reaching] + np.array([-size, size]), 0))
        lines += [f"{name} {first} {behind}" for first, behind in widened.tolist()]
    return lines
