"""Whether the index of a BAM file fits it: every read that a run asks for must be found through it.

htslib goes where an index says. One flipped bit, or the index of an earlier file, and reads are lost, or bytes in the
middle of a record are taken for reads, without an error. So the index is held against the file before the run relies on
it: the chunks of a contig lie one behind the other without a gap, each begins with a record of its contig that lies in
its bin, and no limit hides a record.
"""

from collections.abc import Sequence

import numpy as np

from clair3 import core
from clair3.core.record_places import NOT_A_RECORD, first_record, record_places
from clair3.errors import InputError
from clair3.io.alignments import Alignments
from clair3.io.bam_index import BinnedIndex, ContigIndex, misfit

MARGIN = 1 << 17
"""Bases on both sides of what is called: entries of the index so near may be used for its reads."""


class IndexChecker:
    """Holds a .bai or .csi against its BAM file. Threads may share it, each with a source of its own."""

    def __init__(self, alignments: Alignments):
        self.alignments = alignments
        self.index = BinnedIndex(alignments.index)
        self.numbers = {name: number for number, name in enumerate(alignments.lengths)}

    def check_contig(
        self, source: core.Source, contig: str, intervals: Sequence[tuple[int, int]], cancel: core.CancelFlag
    ) -> int | None:
        """Return how many reads the index promises on a contig; None when it does not say.

        intervals are the [start, end), 0-based, sorted, that are called: entries far from them are not looked at.
        Raises InputError when the index does not fit, CancelledError when the flag was set.
        """
        number = self.numbers[contig]
        entry = self.index.read_contig(number)
        if not len(entry.chunks):
            return entry.reads
        self._check_order(source, contig, number, entry)
        merged = np.array(intervals, np.int64).reshape(-1, 2) + np.array([-MARGIN, MARGIN])
        chunks = overlaps(entry.spans, merged)
        starts, spans = entry.chunks["start"][chunks], entry.spans[chunks]
        limits = entry.limits[overlaps(entry.limits["start"].astype(np.int64)[:, None] + [0, 1], merged)]
        # a limit before the first record hides none
        used = np.unique(limits["end"][limits["end"] > entry.chunks["start"].min()])
        offsets, back = np.unique(np.concatenate([starts, used]), return_inverse=True)
        places = record_places(source, offsets, cancel)
        if (places["contig"] != number).any():
            raise self.misfit(contig, "points to what is no read of the contig")
        firsts = places[back[: len(starts)]]
        if ((firsts["pos"] < spans[:, 0]) & (firsts["pos"] >= 0)).any() or (firsts["end"] > spans[:, 1]).any():
            raise self.misfit(contig, "has reads where they are not")
        if hides_record(limits, places):
            raise self.misfit(contig, "passes over reads")
        return entry.reads

    def _check_order(self, source: core.Source, contig: str, number: int, entry: ContigIndex) -> None:
        """The chunks cover all records of the contig. Raises InputError."""
        chunks = np.sort(entry.chunks, order="start")
        reached = np.maximum.accumulate(chunks["end"])
        begin = self._end_of_contig_before(number) or first_record(source)
        gaps = [(begin, chunks["start"][0])] if begin != chunks["start"][0] else []
        gaps += [(reached[i], chunks["start"][i + 1]) for i in np.flatnonzero(chunks["start"][1:] > reached[:-1])]
        *places, behind = record_places(source, np.array([*gaps, (reached[-1], reached[-1])], np.uint64).ravel()[:-1])
        # two offsets of one place: the end of a block, the start of the next
        if any(before["offset"] != after["offset"] for before, after in zip(places[::2], places[1::2], strict=True)):
            raise self.misfit(contig, "leaves out reads")
        if behind["contig"] in (number, NOT_A_RECORD):
            raise self.misfit(contig, "ends before the last read")

    def _end_of_contig_before(self, number: int) -> int | None:
        """The virtual offset behind the records of the contigs before this one; None without any."""
        for before in range(number - 1, -1, -1):
            chunks = self.index.read_contig(before).chunks
            if len(chunks):
                return int(chunks["end"].max())
        return None

    def misfit(self, contig: str, what: str) -> InputError:
        """The error of an index that is wrong about a contig."""
        return misfit(self.alignments.path, self.alignments.index, f"on {contig} it {what}")


def overlaps(spans: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Which of (n, 2) spans overlap one of (k, 2) intervals, sorted by start, all [start, end); (n,) bool."""
    ends = np.maximum.accumulate(intervals[:, 1])
    before = np.searchsorted(intervals[:, 0], spans[:, 1], side="left")  # that begin before the span ends
    return (before > 0) & (ends[np.maximum(before, 1) - 1] > spans[:, 0])


def hides_record(limits: np.ndarray, places: np.ndarray) -> bool:
    """Whether a limit (see ContigIndex) lies behind a record that reaches beyond its position.

    places  (n,) PLACE  records that are known, in order of the file
    """
    by_end = np.argsort(places["end"], kind="stable")
    first = np.minimum.accumulate(places["offset"][by_end][::-1])[::-1]  # of the records that end there or later
    at = np.searchsorted(places["end"][by_end], limits["start"].astype(np.int64), side="right")
    known = at < len(first)
    return bool((limits["end"][known] > first[at[known]]).any())
