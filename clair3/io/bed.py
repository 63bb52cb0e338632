"""Where to call: BED intervals, known sites, and the chunks of work that follow from them.

The records of a run do not depend on the chunks: each chunk owns a half-open interval of candidate positions, and
whoever computes its features reads enough bases around it. So chunks are cut for even work and flat memory only.
"""

import logging
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np

from clair3.errors import InputError
from clair3.io.fasta import other_spelling
from clair3.io.text import is_number, read_rows

logger = logging.getLogger(__name__)


PADDING = 33
"""Bases added on both sides of a BED interval or site (spec/cli.md 4.1); seen in the output (section 9.5)."""

HEADINGS = ("track", "browser")
"""First words of display lines that genome browsers put in BED files."""


def read_bed(path: Path) -> dict[str, np.ndarray]:
    """Intervals of a BED file per contig: (k, 2) int64, 0-based [start, end), as written and in file order.

    Comments, empty lines and track or browser lines are skipped; columns are separated by any blanks; start = end is
    allowed. Raises InputError with v2.0.2's words (spec/cli.md 4) for any other row, or when the file cannot be read.
    """
    intervals = defaultdict(list)
    for number, text in read_rows(path):
        fields = text.split(None, 3)
        if not fields or fields[0].startswith("#"):
            continue
        numbers = fields[1:3]
        whole = len(numbers) == 2 and all(is_number(word) for word in numbers)
        if fields[0] in HEADINGS and not whole:
            continue
        if not whole or int(numbers[1]) < int(numbers[0]):
            reason = "the end is before the start" if whole else "expected contig, start and end, whole numbers from 0"
            row = " ".join(fields[:3])[:80]
            raise InputError(f"Invalid bed input in {number}-th row {row} of {path}: {reason}")
        intervals[fields[0]].append((int(numbers[0]), int(numbers[1])))
    return {contig: np.array(rows, np.int64) for contig, rows in intervals.items()}


def pad(intervals: np.ndarray) -> np.ndarray:
    """Intervals of a BED file widened by PADDING on both sides, not below 0; (k, 2) int64 in and out."""
    return np.maximum(intervals + np.array([-PADDING, PADDING]), 0)


def pad_sites(sites: np.ndarray) -> np.ndarray:
    """The intervals around known sites, (k,) int64 to (m, 2) int64 (spec/features.md A.7).

    Sites closer than PADDING to the start of the contig have none: they can be called only inside a neighbour's.
    """
    far_enough = sites[sites >= PADDING]
    return np.stack([far_enough - PADDING, far_enough + 1 + PADDING], axis=1)


def allowed_in_bed(intervals: np.ndarray, length: int) -> np.ndarray:
    """Positions where a candidate may lie, given the BED intervals of a contig of this length.

    intervals  (k, 2)  int64  [start, end) in any order, overlaps allowed
    returns    (m, 2)  int64  [start, end), sorted and disjoint, within [0, length)
    A candidate at p passes if [p, p + 2) overlaps a padded interval (spec/features.md A.6), so one base more on the
    left than the interval has.
    """
    start, end = pad(intervals).T
    return merge(np.stack([np.maximum(start - 1, 0), np.minimum(end, length)], axis=1))


def allowed_at_sites(sites: np.ndarray, length: int) -> np.ndarray:
    """Known sites where a candidate may lie, neighbours joined: (k,) int64 to (m, 2) int64 (spec/features.md A.7)."""
    padded = merge(pad_sites(sites) - np.array([1, 0]))
    place = np.searchsorted(padded[:, 0], sites, side="right") - 1
    within = (place >= 0) & (sites < length)
    within[within] = sites[within] < padded[place[within], 1]
    return merge(np.stack([sites[within], sites[within] + 1], axis=1))


def target_intervals(targets: np.ndarray) -> np.ndarray:
    """What a user asked for as sorted, disjoint intervals, (m, 2) int64: BED intervals (k, 2) or known sites (k,).

    An empty interval counts as one base; sites without padding (pad_sites) have no interval.
    """
    if targets.ndim == 1:
        sites = targets[targets >= PADDING]
        return merge(np.stack([sites, sites + 1], axis=1))
    start, end = targets.T
    return merge(np.stack([start, np.maximum(end, start + 1)], axis=1))


def merge(intervals: np.ndarray) -> np.ndarray:
    """Union of [start, end) intervals: sorted, disjoint, touching ones joined, empty ones gone; (k, 2) int64."""
    intervals = intervals[intervals[:, 0] < intervals[:, 1]]
    start, end = intervals[np.argsort(intervals[:, 0], kind="stable")].T
    reach = np.maximum.accumulate(end)
    first = np.ones(len(start), bool)
    first[1:] = start[1:] > reach[:-1]
    last = np.append(first[1:], True)[: len(first)]
    return np.stack([start[first], reach[last]], axis=1)


def clip(intervals: np.ndarray, start: int, end: int) -> np.ndarray:
    """What of sorted, disjoint intervals, (k, 2) int64, lies within [start, end)."""
    inside = np.clip(intervals, start, end)
    return inside[inside[:, 0] < inside[:, 1]]


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


BIN = 1000
"""Short reads are realigned in whole thousands of bases around candidates."""


def realignment_bins(pos: np.ndarray) -> np.ndarray:
    """The stretch around each candidate that short reads are realigned in (spec/features.md A.10).

    pos      (n,) int64    0-based
    returns  (n, 2) int64  0-based [start, end); candidates of one bin have the same
    """
    first = (pos + 1) // BIN * BIN
    return np.stack([np.maximum(first - PADDING - 1, 0), first + BIN + PADDING - 1], axis=1)
