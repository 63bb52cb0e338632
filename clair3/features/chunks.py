"""Where to call: BED intervals, known sites, and the chunks of work that follow from them.

The records of a run do not depend on the chunks: each chunk owns a half-open interval of candidate positions, and
whoever computes its features reads enough bases around it. So chunks are cut for even work and flat memory only.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from clair3.errors import check_range
from clair3.io.bed import clip
from clair3.io.fasta import Contig
from clair3.records import Region

TASK_BASES = 500_000
"""Most bases a chunk spans, whatever --chunk_size says: 30 reads deep that is some ten megabytes of alignments and a
second of work, so memory stays flat, and even one chromosome keeps many workers busy to its end."""

MAX_GAP = 16_384
"""Targets further apart than this are not read in one go. It is the step of a BAM index: reading on over a shorter gap
costs no more than the seek that would jump it."""

SEEK_BASES = 1000
"""What jumping to the next target costs, in bases read; a chunk of many small targets is not much more work."""


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
