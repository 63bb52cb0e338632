"""Edits that write alleles into aligned reads: their bases, qualities, CIGAR and move table, and nothing else of the
alignment.

A read keeps its place: indels are not written at the first or last aligned base, so the order of a BAM file, mates and
template lengths stay as they are.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pysam

from clair3.simulate.variants import left_align

MATCH, INSERTION, DELETION = 0, 1, 2
_SAME = (0, 7, 8)
_ON_REFERENCE, _ON_READ = (0, 2, 3), (0, 1, 4)

STALE = ("MD", "cs", "cg", "de", "MC", "MM", "ML", "MN", "Mm", "Ml", "ip", "pw", "fi", "fp", "ri", "rp")
"""Tags that describe the bases or the CIGAR as they were; NM is counted again."""


@dataclass(frozen=True)
class Change:
    """What one allele does to the reference, without bases that both share, as far left as it goes.

    pos       0-based: the first base replaced or deleted, or the base that an insertion comes before
    ref, alt  upper-case letters; as many of both for a substitution, else one of them is empty
    slack     bases by which an indel could lie further right and mean the same
    """

    pos: int
    ref: str
    alt: str
    slack: int = 0

    @property
    def end(self) -> int:
        """Behind the last base that the change may concern."""
        return self.pos + len(self.ref) + self.slack


def parse_change(text: str, pos: int, ref: str, alt: str) -> Change | None:
    """Parse the change of an allele of a VCF row on a contig's upper-case letters; None when it is neither a
    substitution nor a plain insertion or deletion behind the first base."""
    if len(ref) == len(alt):
        kept = [i for i in range(len(ref)) if ref[i] != alt[i]]
        first, last = (kept[0], kept[-1] + 1) if kept else (0, 0)
        return Change(pos + first, ref[first:last], alt[first:last]) if kept else None
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        pos, ref, alt = pos + 1, ref[1:], alt[1:]
    if (ref and alt) or pos < 1:
        return None
    before, bases = left_align(text, pos - 1, ref or alt)
    pos, slack, size = before + 1, 0, len(bases)
    if ref:
        while pos + slack + size < len(text) and text[pos + slack] == text[pos + slack + size]:
            slack += 1
        return Change(pos, bases, "", slack)
    while pos + slack < len(text) and text[pos + slack] == bases[slack % size]:
        slack += 1
    return Change(pos, "", bases, slack)


class ReadEdit:
    """One alignment that is being edited; text is the contig in upper-case letters (bytes)."""

    def __init__(self, read: pysam.AlignedSegment, text: bytes):
        self.read, self.text = read, text
        self.seq = bytearray(read.query_sequence.encode())
        self.quality = bytearray(read.query_qualities)
        self.cigar = [[MATCH if kind in _SAME else kind, size] for kind, size in read.cigartuples]
        self.moves: Moves | None = None
        self.locate()

    def locate(self) -> None:
        """Join neighbouring runs of one kind, and find where each begins on the reference and in the read."""
        joined: list[list[int]] = []
        for run in self.cigar:
            if joined and joined[-1][0] == run[0]:
                joined[-1][1] += run[1]
            elif run[1]:
                joined.append(run)
        self.cigar = joined
        kind, size = np.array(joined, np.int64).T
        on_reference = np.where(np.isin(kind, _ON_REFERENCE), size, 0)
        on_read = np.where(np.isin(kind, _ON_READ), size, 0)
        self.ref = np.cumsum(on_reference) - on_reference + self.read.reference_start
        self.base = np.cumsum(on_read) - on_read
        self.end = int(self.ref[-1] + on_reference[-1])

    def run_at(self, pos: int) -> int:
        """Return the run of the CIGAR that holds a reference position within the alignment."""
        return int(np.searchsorted(self.ref, pos, side="right")) - 1

    def base_at(self, pos: int) -> int | None:
        """Return the index of the read's base over a reference position; None where it has none."""
        if not self.read.reference_start <= pos < self.end:
            return None
        i = self.run_at(pos)
        return int(self.base[i] + pos - self.ref[i]) if self.cigar[i][0] == MATCH else None

    def find_shift(self, change: Change) -> int | None:
        """Find where the change can be made, as the number of bases it is shifted right: the read shows the reference
        there, for an indel with a base on both sides. None: the read errs everywhere."""
        beside = 0 if change.ref and change.alt else 1
        if change.pos - beside < self.read.reference_start:
            return None  # an indel that could lie before the first base is ambiguous
        for low in range(change.pos - beside, change.pos - beside + change.slack + 1):
            high = low + len(change.ref) + 2 * beside
            if high > self.end:
                return None
            i = self.run_at(low)
            if self.cigar[i][0] != MATCH or high > self.ref[i] + self.cigar[i][1]:
                continue
            base = int(self.base[i] + low - self.ref[i])
            if self.seq[base : base + high - low] == self.text[low:high]:
                return low + beside - change.pos
        return None

    def write(self, change: Change, shift: int) -> None:
        """Make the change, shifted right by the bases that find_shift returned."""
        if change.ref and change.alt:
            base = self.base_at(change.pos)
            self.seq[base : base + len(change.ref)] = change.alt.encode()
            self.left_align_next(change.pos)
            return
        pos = change.pos + shift
        i = self.run_at(pos - 1)
        base = int(self.base[i] + pos - self.ref[i])
        size = len(change.ref or change.alt)
        kind, before = (DELETION if change.ref else INSERTION), base - int(self.base[i])
        after = self.cigar[i][1] - before - len(change.ref)
        if self.moves is None:
            self.moves = Moves.from_read(self.read)
        if change.ref:
            del self.seq[base : base + size], self.quality[base : base + size]
            self.moves.delete(base, size)
        else:
            turn = shift % size
            self.seq[base:base] = (change.alt[turn:] + change.alt[:turn]).encode()
            near = self.quality[max(0, base - size) : base + size]  # as uncertain as the bases around it
            first = (len(near) - size) // 2
            tiled = (near[first:] or near) * size
            self.quality[base:base] = tiled[:size]
            self.moves.insert(base, size)
        self.cigar[i : i + 1] = [[MATCH, before], [kind, size], [MATCH, after]]
        self.left_align_indel(i + 1)
        self.locate()
        self.left_align_next(change.pos)

    def left_align_next(self, pos: int) -> None:
        """Left-align the next indel to the right, which may now lie further left."""
        for i in range(self.run_at(pos), len(self.cigar)):
            if self.cigar[i][0] in (INSERTION, DELETION) and self.ref[i] > pos:
                self.left_align_indel(i)
                self.locate()
                return

    def left_align_indel(self, i: int) -> None:
        """Move the indel of run i as far left as it goes; it joins one of its kind and cancels against one of the
        other where the bases are the reference's."""
        while i > 0:
            kind, size = self.cigar[i]
            before = self.cigar[i - 1]
            ref = self.read.reference_start + sum(n for k, n in self.cigar[:i] if k in _ON_REFERENCE)
            base = sum(n for k, n in self.cigar[:i] if k in _ON_READ)
            if before[0] == MATCH:
                side, at = (self.seq, base) if kind == INSERTION else (self.text, ref)
                first = not any(k == MATCH for k, _ in self.cigar[: i - 1])  # an alignment does not start with an indel
                steps, most = 0, before[1] - first
                while steps < most and side[at - steps - 1] == side[at + size - steps - 1]:
                    steps += 1
                before[1] -= steps
                if self.cigar[i + 1][0] != MATCH:
                    self.cigar.insert(i + 1, [MATCH, 0])
                self.cigar[i + 1][1] += steps
                if before[1]:
                    return
                del self.cigar[i - 1]
            elif before[0] == kind:
                before[1] += size
                del self.cigar[i]
            elif before[0] in (INSERTION, DELETION):
                inserted, deleted = (size, before[1]) if kind == INSERTION else (before[1], size)
                common, ref_end = min(inserted, deleted), ref + (size if kind == DELETION else 0)
                base_end = base + (size if kind == INSERTION else 0)
                if self.seq[base_end - common : base_end] != self.text[ref_end - common : ref_end]:
                    return
                self.cigar.insert(i + 1, [MATCH, common])
                rest = inserted - deleted
                self.cigar[i - 1 : i + 1] = [[INSERTION if rest > 0 else DELETION, abs(rest)]] if rest else []
                if not rest:
                    return
            else:
                return
            i -= 1

    def finish(self) -> pysam.AlignedSegment:
        """Return the read with its edits, without tags that no longer hold."""
        read = self.read
        for name in STALE:
            read.set_tag(name, None)
        read.query_sequence = self.seq.decode()
        read.query_qualities = array("B", self.quality)
        read.cigartuples = [tuple(run) for run in self.cigar]
        if read.has_tag("NM"):
            read.set_tag("NM", self.count_differences())
        if self.moves is not None:
            self.moves.write_tag(read)
        return read

    def count_differences(self) -> int:
        """Count mismatches and bases of gaps, as in tag NM."""
        seq, text = np.frombuffer(self.seq, np.uint8), np.frombuffer(self.text, np.uint8)
        number = 0
        for (kind, size), ref, base in zip(self.cigar, self.ref.tolist(), self.base.tolist(), strict=True):
            if kind == MATCH:
                number += int((seq[base : base + size] != text[ref : ref + size]).sum())
            elif kind in (INSERTION, DELETION):
                number += size
        return number


class Moves:
    """The move table of a read (tag mv): blocks of signal of each base, in the read's direction in the BAM file."""

    def __init__(self, stride: int, lead: int, blocks: Sequence[int], reverse: bool):
        self.stride, self.lead, self.reverse = stride, lead, reverse
        self.blocks = list(blocks)[::-1] if reverse else list(blocks)

    @classmethod
    def from_read(cls, read: pysam.AlignedSegment) -> "Moves":
        """Empty when the read has no table, or one of another number of bases (hard clips)."""
        moves = np.array(read.get_tag("mv") if read.has_tag("mv") else [0], np.int64)
        at = np.flatnonzero(moves[1:] == 1)
        if len(at) != read.query_length:
            return cls(0, 0, (), False)
        return cls(int(moves[0]), int(at[0]), np.diff(np.r_[at, len(moves) - 1]).tolist(), read.is_reverse)

    def delete(self, base: int, size: int) -> None:
        del self.blocks[base : base + size]

    def insert(self, base: int, size: int) -> None:
        """New bases take as long as those around them."""
        if self.blocks:
            near = self.blocks[max(0, base - size) : base + size]
            self.blocks[base:base] = (near * size)[:size]

    def write_tag(self, read: pysam.AlignedSegment) -> None:
        if not self.blocks:
            read.set_tag("mv", None)
            return
        blocks = np.array(self.blocks[::-1] if self.reverse else self.blocks)
        moves = np.zeros(1 + self.lead + int(blocks.sum()), np.int8)
        moves[1 + self.lead + np.cumsum(blocks) - blocks] = 1
        moves[0] = self.stride
        read.set_tag("mv", array("b", moves.tolist()))
