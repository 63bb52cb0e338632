"""The pileup features of v2.0.2 (native engine) written the slow and obvious way, to test the C core against.

One function per rule of spec/features.md, section in its docstring. Nothing here is shared with the
product. Positions are 0-based and intervals half-open, except where a name says pos1.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from khash_reference import khash_order

BASES = "ACGT"
CHANNELS = ("A", "C", "G", "T", "I", "I1", "D", "D1", "*", "a", "c", "g", "t", "i", "i1", "d", "d1", "#")
REVERSE_TWIN = 9
LAST_CHANNEL = 17
FLANK = 16
WINDOW = 33

DROPPED_FLAGS = 0x4 | 0x100 | 0x200 | 0x400 | 0x800  # unmapped, secondary, QC-fail, duplicate, supplementary
REVERSE_FLAG = 0x10

DELETED, SKIPPED = "*", " "


@dataclass(frozen=True)
class Read:
    """One alignment. seq has the letters of the 4-bit BAM alphabet; qual is None when missing.

    mv is the move table, stride first: None when missing, a number for a tag that is no array.
    """

    pos: int
    cigar: str
    seq: str
    flag: int = 0
    mapq: int = 60
    name: str = "read"
    qual: tuple[int, ...] | None = None
    mv: tuple[int, ...] | int | None = None


class Event(NamedTuple):
    """What one read shows in one column: a read letter, DELETED or SKIPPED, and the indel that starts after it."""

    letter: str
    reverse: bool
    inserted: str = ""
    deleted: int = 0


@dataclass(frozen=True)
class ReferencePileup:
    """Result of `reference_pileup`; row i of the column arrays is position start0 + i.

    columns     (end0 - start0, 18)  int32  counts, zero where there is no column
    has_column  (end0 - start0,)     bool
    n_ref       (end0 - start0,)     int32  gVCF counter, reads with the reference base
    n_total     (end0 - start0,)     int32  gVCF counter, all reads (B.8)
    candidates  n positions, ascending
    tensors     (n, 33, 18)          int32
    alt_info    n texts `depth-items`
    """

    columns: np.ndarray
    has_column: np.ndarray
    n_ref: np.ndarray
    n_total: np.ndarray
    candidates: list[int]
    tensors: np.ndarray
    alt_info: list[str]


@dataclass(frozen=True)
class Rule:
    """The options that decide which reads count and which columns are candidates, as clair3.config has them."""

    min_mapq: int
    min_coverage: int
    snp_min_af: float
    indel_min_af: float
    snp_only: bool
    head_and_tail: bool
    max_indel_length: int


def reference_pileup(
    ref: str, reads: list[Read], start0: int, end0: int, *, allowed: list[tuple[int, int]] | None = None, **options
) -> ReferencePileup:
    """Pileup columns, candidates and windows of [start0, end0) (B.1-B.9).

    ref is the whole contig, case kept; every read must lie inside it. end0 may be past its end.
    Reads of one start position count in list order, as in a BAM file. allowed, if given, are the
    intervals a candidate must lie in (`bed_positions`, `site_positions`). options are those of a Rule.
    """
    rule = Rule(**options)
    n = max(0, end0 - start0)
    columns = np.zeros((n, len(CHANNELS)), np.int32)
    has_column = np.zeros(n, bool)
    n_ref, n_total = np.zeros(n, np.int32), np.zeros(n, np.int32)
    hits: dict[int, str] = {}
    previous, run = None, 0
    for pos, events in sorted(events_by_position(reads, start0, end0, rule.min_mapq).items()):
        column = count_column(events, ref[pos])
        row = pos - start0
        columns[row] = column.channels
        if previous is not None:  # K1; without a previous column the letters are dropped (E-B1)
            columns[previous - start0, LAST_CHANNEL] += column.other_letters
        has_column[row] = True
        n_ref[row], n_total[row] = column.n_ref, column.n_total
        # B.5: the counter restarts at each gap, and once more after the first base of the contig
        run = run + 1 if previous is not None and pos == previous + 1 and previous != 0 else 0
        if (
            is_hit(column, rule.snp_min_af, rule.indel_min_af, rule.snp_only)
            and max(1, column.depth) >= rule.min_coverage
            and column.ref in BASES
            and (rule.head_and_tail or run >= FLANK)
        ):
            hits[pos] = alt_info(column, ref, pos, rule.max_indel_length)
        previous = pos

    windows = {}
    for pos in hits:
        if allowed is None or any(start <= pos < end for start, end in allowed):
            window = cut_window(columns, has_column, pos - start0, rule.head_and_tail)
            if window is not None:
                windows[pos] = window
    texts = [hits[pos] for pos in windows]
    return ReferencePileup(columns, has_column, n_ref, n_total, list(windows), as_tensors(windows.values()), texts)


def as_tensors(windows: Iterable[np.ndarray]) -> np.ndarray:
    """(n, 33, 18) int32 of n windows, none too."""
    return np.array(list(windows), np.int32).reshape(-1, WINDOW, len(CHANNELS))


# -- reads to events ---------------------------------------------------------------------------------


def events_by_position(reads: Iterable[Read], start0: int, end0: int, min_mapq: int) -> dict[int, list[Event]]:
    """Events of the kept reads in each column of [start0, end0), in file order (A.2 native pileup, A.5)."""
    columns: dict[int, list[Event]] = {}
    for read in sorted(reads, key=lambda read: read.pos):  # stable: file order within a start position
        if read.flag & DROPPED_FLAGS or read.mapq < min_mapq:
            continue
        for pos, event in read_events(read):
            if start0 <= pos < end0:
                columns.setdefault(pos, []).append(event)
    return columns


def parse_cigar(cigar: str) -> list[tuple[str, int]]:
    """`5M2I` -> [("M", 5), ("I", 2)]; `*` and the empty text have no operation."""
    return [(op, int(length)) for length, op in re.findall(r"(\d+)([MIDNSHP=X])", cigar)]


def read_events(read: Read) -> Iterator[tuple[int, Event]]:
    """The columns of one read, each with its event (B.2)."""
    ops = parse_cigar(read.cigar)
    reverse = bool(read.flag & REVERSE_FLAG)
    pos, query = read.pos, 0
    for k, (op, length) in enumerate(ops):
        if op in "M=XD":
            for i in range(length):
                letter = DELETED if op == "D" else read.seq[query]
                query += op != "D"
                # now query is the base after this one, or the next unconsumed one inside a deletion
                inserted, deleted = attached_indel(ops, k) if i == length - 1 else (0, 0)
                yield pos + i, Event(letter, reverse, read.seq[query : query + inserted], deleted)
        elif op == "N":
            for i in range(length):
                yield pos + i, Event(SKIPPED, reverse)
        elif op in "IS":
            query += length
        if op in "M=XDN":
            pos += length


def attached_indel(ops: list[tuple[str, int]], k: int) -> tuple[int, int]:
    """(inserted, deleted) bases that the last column of operation k carries (table of B.2)."""
    if k + 1 == len(ops):
        return 0, 0
    op, length = ops[k + 1]
    if op == "D":
        return 0, length
    if op == "I":
        return length, 0
    inserted = 0
    if op == "P":
        for later_op, later_length in ops[k + 2 :]:
            if later_op in "M=XDN":
                break
            if later_op == "I":
                inserted += later_length
    return inserted, 0


# -- events to counts --------------------------------------------------------------------------------


@dataclass
class Column:
    """Counts of one column and their summary (B.3, B.4)."""

    ref: str  # upper-cased reference letter
    channels: list[int] = field(default_factory=lambda: [0] * len(CHANNELS))
    depth: int = 0
    other_letters: int = 0  # bases that are not A, C, G or T
    bases: dict[str, int] = field(default_factory=dict)  # both strands, all four
    deletions: Counter = field(default_factory=Counter)  # length -> reads, both strands
    insertions: list[str] = field(default_factory=list)  # one per read, in read order
    ref_base: str = ""  # ref, or A for letters that are not A, C, G or T
    n_ref: int = 0
    alt: int = 0
    alt_letter: str = ""
    n_total: int = 0


def count_column(events: list[Event], ref_letter: str) -> Column:
    """Count the events of one column (B.3) and sum them up (B.4)."""
    column = Column(ref_letter.upper())
    inserted = {False: Counter(), True: Counter()}
    deleted = {False: Counter(), True: Counter()}
    for event in events:
        strand = REVERSE_TWIN if event.reverse else 0
        if event.letter == SKIPPED:
            continue
        column.depth += 1
        if event.letter == DELETED:
            column.channels[strand + CHANNELS.index("*")] += 1
        elif event.letter in BASES:
            column.channels[strand + BASES.index(event.letter)] += 1
        else:
            column.other_letters += 1
        if event.inserted:
            inserted[event.reverse][event.inserted] += 1
            column.insertions.append(event.inserted)
        if event.deleted:
            deleted[event.reverse][event.deleted] += 1
            column.deletions[event.deleted] += 1
    for reverse, strand in ((False, 0), (True, REVERSE_TWIN)):
        for first, histogram in ((CHANNELS.index("I"), inserted[reverse]), (CHANNELS.index("D"), deleted[reverse])):
            column.channels[strand + first] = sum(histogram.values())
            column.channels[strand + first + 1] = max(histogram.values(), default=0)
    summarise(column)
    return column


def summarise(column: Column) -> None:
    """Reference support, strongest other base, gVCF total; then negate the reference channels (B.4, B.8)."""
    channels = column.channels
    column.ref_base = column.ref if column.ref in BASES else "A"
    column.bases = {base: channels[i] + channels[REVERSE_TWIN + i] for i, base in enumerate(BASES)}
    column.n_ref = column.bases[column.ref_base]
    column.n_total = column.n_ref + sum(column.deletions.values()) + len(column.insertions)
    for base in BASES:
        if base != column.ref_base and column.bases[base] > column.alt:
            column.alt, column.alt_letter = column.bases[base], base
            column.n_total += column.alt  # K2: only the bases that set a new maximum
    r = BASES.index(column.ref_base)
    for strand in (0, REVERSE_TWIN):
        channels[strand + r] = -sum(channels[strand : strand + 4])


def is_hit(column: Column, snp_min_af: float, indel_min_af: float, snp_only: bool) -> bool:
    """Whether the column looks like a variant (`hit` of B.5). Fractions are single precision."""
    depth = np.float32(max(1, column.depth))
    n_del, n_ins = sum(column.deletions.values()), len(column.insertions)
    snp_like = np.float32(column.alt) / depth >= np.float32(snp_min_af)
    if snp_only:
        return bool(snp_like)
    return bool(
        column.n_ref < column.alt
        or column.n_ref < n_ins
        or column.n_ref < n_del
        or (column.n_ref > 0 and column.n_ref == column.alt and column.ref < column.alt_letter)
        or snp_like
        or np.float32(n_del) / depth >= np.float32(indel_min_af)
        or np.float32(n_ins) / depth >= np.float32(indel_min_af)
    )


def alt_info(column: Column, ref: str, pos: int, max_indel_length: int) -> str:
    """`depth-items` of a candidate (B.6). Deleted letters are never cut short (fix of E-B9)."""
    items = [(f"X{base}", n) for base, n in column.bases.items() if base != column.ref_base and n > 0]
    for length, n in sorted(column.deletions.items()):
        if length <= max_indel_length:
            items.append((f"D{ref[pos + 1 : pos + 1 + length]}", n))
    insertions = Counter(column.insertions)
    for inserted in khash_order(column.insertions):
        if len(inserted) <= max_indel_length:
            items.append((f"I{column.ref}{inserted}", insertions[inserted]))
    ref_alone = column.n_ref - sum(column.deletions.values()) - len(column.insertions)
    if ref_alone > 0:
        items.append((f"R{column.ref}", ref_alone))
    return f"{max(1, column.depth)}-" + " ".join(f"{token} {n}" for token, n in items)


# -- windows -----------------------------------------------------------------------------------------


def cut_window(columns: np.ndarray, has_column: np.ndarray, row: int, head_and_tail: bool) -> np.ndarray | None:
    """The 33 columns around a candidate, (33, 18), or None where v2.0.2 cannot cut them (B.9)."""
    first = last = row  # of the run of consecutive columns, as far as it matters
    while first > max(0, row - FLANK) and has_column[first - 1]:
        first -= 1
    while last + 1 < min(len(has_column), row + 19) and has_column[last + 1]:
        last += 1

    begin, end = row - FLANK, row + FLANK + 1
    if begin >= first and row + 18 <= last:  # K5: two more columns than the window needs
        window = columns[begin:end]
        return window if window.any(axis=1).all() else None
    if not head_and_tail or row == last:
        return None
    if begin < first and end - 1 > last:  # too short a run: zeros would be needed on both sides
        return None
    window = np.zeros((WINDOW, len(CHANNELS)), np.int32)
    real = slice(max(begin, first), min(end, last + 1))
    window[real.start - begin : real.stop - begin] = columns[real]
    return window


# -- which columns and candidates a task has ---------------------------------------------------------


def task_columns(first_pos1: int, last_pos1: int) -> tuple[int, int]:
    """(start0, end0) of the columns that v2.0.2 reads for S and E of a task (A.4)."""
    xs = max(1, max(1, first_pos1) - 33)
    return max(0, xs - 2), last_pos1 + 33


def bed_positions(rows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Candidate positions that the rows of a (padded) BED let pass: one base left of each row too (A.6)."""
    passing = []
    for start, end in rows:
        end = max(end, start + 1)  # an empty row counts as one base
        # start < pos1 + 1 and end > pos1 - 1, with pos1 = pos + 1
        passing.append((start - 1, end))
    return passing


def site_positions(sites_pos1: Iterable[int]) -> list[tuple[int, int]]:
    """Candidate positions in sites mode: the sites inside the BED made of the sites (A.7, native engine)."""
    sites = list(sites_pos1)
    rows = bed_positions((site - 34, site + 33) for site in sites if site - 1 >= 33)
    return [(site - 1, site) for site in sites if any(start <= site - 1 < end for start, end in rows)]
