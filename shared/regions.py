"""Where to call: BED intervals, known sites, and the chunks of work that follow from them.

The records of a run do not depend on the chunks: each chunk owns a half-open interval of candidate positions, and
whoever computes its features reads enough bases around it. So chunks are cut for even work and flat memory only.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.cli import check_range
from shared.compressed import is_number, read_rows
from shared.errors import InputError
from shared.records import Region
from shared.reference import Contig

PADDING = 33
"""Bases added on both sides of a BED interval or site (spec/cli.md 4.1); seen in the output (section 9.5)."""

TASK_BASES = 500_000
"""Most bases a chunk spans, whatever --chunk_size says: 30 reads deep that is some ten megabytes of alignments and a
second of work, so memory stays flat, and even one chromosome keeps many workers busy to its end."""

MAX_GAP = 16_384
"""Targets further apart than this are not read in one go. It is the step of a BAM index: reading on over a shorter gap
costs no more than the seek that would jump it."""

SEEK_BASES = 1000
"""What jumping to the next target costs, in bases read; a chunk of many small targets is not much more work."""

HEADINGS = ("track", "browser")
"""First words of display lines that genome browsers put in BED files."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """One unit of work; it owns the candidates at positions [start, end) of the contig, 0-based.

    index      number of the chunk within its contig, from 0
    intervals  None: every position; else (k, 2) int64, sorted and disjoint [start, end) of the allowed positions,
               all within the chunk
    whole      every position is looked at, allowed or not (gVCF)
    """

    contig: str
    index: int
    start: int
    end: int
    intervals: np.ndarray | None = None
    whole: bool = False

    @property
    def region(self) -> Region:
        return Region(self.contig, self.start, self.end)

    @property
    def name(self) -> str:
        """v2.0.2's name of its file; chunks count from 1 there."""
        return f"{self.contig}_{self.index + 1}"

    @property
    def inputs(self) -> str:
        """Fingerprint of the allowed positions."""
        if self.intervals is None:
            return ""
        return hashlib.sha256(self.intervals.astype(np.int64).tobytes() + bytes([self.whole])).hexdigest()[:16]

    def parts(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Start, end and allowed positions, (k, 2) int64, of the pieces worth reading in one go: targets far apart
        are not read across, unless the whole chunk is wanted."""
        if self.intervals is None:
            yield self.start, self.end, np.array([[self.start, self.end]])
        elif self.whole:
            yield self.start, self.end, self.intervals
        else:
            for group in group_near(self.intervals, TASK_BASES):
                yield int(group[0, 0]), int(group[-1, 1]), group


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


def read_sites(path: Path) -> dict[str, np.ndarray]:
    """Known sites of a VCF per contig: (k,) int64, 0-based, distinct and ascending; only CHROM and POS are read.

    POS 0 (a telomere in VCF) has no base and is left out. Raises InputError naming the row when POS is not a whole
    number, or when the file cannot be read to its end.
    """
    sites = defaultdict(list)
    for number, text in read_rows(path):
        fields = text.split(None, 2)
        if not fields or text.startswith("#"):
            continue
        if len(fields) < 2 or not is_number(fields[1]):
            row = " ".join(fields[:2])[:80]
            raise InputError(f"Invalid vcf input in {number}-th row {row} of {path}: expected contig and position")
        sites[fields[0]].append(int(fields[1]) - 1)
    distinct = {contig: np.unique(np.array(positions, np.int64)) for contig, positions in sites.items()}
    return {contig: positions[positions >= 0] for contig, positions in distinct.items()}


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


def plan_chunks(
    contigs: Iterable[Contig],
    allowed: dict[str, np.ndarray] | None,
    chunk_size: int,
    spans: dict[str, tuple[int, int]] | None = None,
) -> list[Chunk]:
    """All chunks of a run, contig by contig in the order given, ascending within a contig.

    allowed     None: every position; else the allowed intervals per contig, as allowed_in_bed makes them; a contig
                without any has no chunk
    chunk_size  bases of a chunk at most, the space between far targets left out; more than TASK_BASES is the same as
                TASK_BASES
    spans       with allowed: chunks that cover these [start, end) of the contigs without a gap, for a gVCF
    The owned positions of a contig's chunks are disjoint and together are exactly its allowed positions.
    Raises ConfigError when chunk_size is not positive (spec/cli.md 9.8).
    """
    check_range("chunk_size", chunk_size, 1)
    size = min(chunk_size, TASK_BASES)
    chunks = []
    for contig in contigs:
        if allowed is None:
            pieces = split(np.array([[0, contig.length]]), size)
            parts = ((start, end, None) for start, end in pieces.tolist())
        elif spans is not None:
            pieces = split(np.array([spans[contig.name]]), size).tolist() if contig.name in spans else ()
            parts = ((start, end, clip(allowed[contig.name], start, end), True) for start, end in pieces)
        else:
            intervals = split(allowed.get(contig.name, np.empty((0, 2), np.int64)), size)
            parts = ((int(piece[0, 0]), int(piece[-1, 1]), piece) for piece in pack(intervals, size))
        chunks += [Chunk(contig.name, index, *part) for index, part in enumerate(parts)]
    return chunks


def clip(intervals: np.ndarray, start: int, end: int) -> np.ndarray:
    """What of sorted, disjoint intervals, (k, 2) int64, lies within [start, end)."""
    inside = np.clip(intervals, start, end)
    return inside[inside[:, 0] < inside[:, 1]]


def split(intervals: np.ndarray, size: int) -> np.ndarray:
    """Cut sorted intervals, (k, 2) int64, into pieces of nearly equal length, each of at most `size` bases."""
    length = intervals[:, 1] - intervals[:, 0]
    count = -(-length // size)
    whole = np.repeat(np.arange(len(intervals)), count)
    number = np.arange(len(whole)) - np.repeat(np.cumsum(count) - count, count)
    start, length, count = intervals[whole, 0], length[whole], count[whole]
    return np.stack([start + length * number // count, start + length * (number + 1) // count], axis=1)


def group_near(intervals: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Runs of neighbouring intervals that span at most `size` bases, with no gap of more than MAX_GAP inside.

    intervals  (k, 2)  int64  sorted, disjoint, none longer than size; the runs are slices of it, in order
    """
    start, end = intervals.T
    far = np.append(np.flatnonzero(start[1:] - end[:-1] > MAX_GAP) + 1, len(intervals))
    first = 0
    while first < len(intervals):
        behind = np.searchsorted(end, start[first] + size, side="right")
        behind = min(behind, far[np.searchsorted(far, first, side="right")])
        yield intervals[first:behind]
        first = behind


def pack(intervals: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Runs of neighbouring intervals with about `size` bases to read; slices of (k, 2) int64, sorted and disjoint.

    A panel of many distant targets makes few chunks this way, each with enough candidates to fill the network's pieces.
    """
    first, behind, bases = 0, 0, 0
    for group in group_near(intervals, size):
        cost = int(group[-1, 1] - group[0, 0]) + SEEK_BASES
        if bases and bases + cost > size + SEEK_BASES:
            yield intervals[first:behind]
            first, bases = behind, 0
        behind, bases = behind + len(group), bases + cost
    if behind > first:
        yield intervals[first:behind]
