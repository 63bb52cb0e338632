"""Count how aligned reads differ from the reference: by homopolymer run, tandem repeat, context, strand and quality.

Everything is laid out in the direction of sequencing: a reverse read is counted with complemented bases.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pysam

from clair3.core.simulate import CHANGE, CONTEXT, LENGTHS, RUN, TRACT, short_repeats
from clair3.errors import InputError
from clair3.simulate.genome import N, encode
from clair3.simulate.profile import MOST_QUALITY, STATES

INSERTION, DELETION = 1, 2
_ALIGNED, _ON_REFERENCE, _ON_READ = (0, 7, 8), (0, 2, 3, 7, 8), (0, 1, 4, 7, 8)
LONG_RUN = 4
POSITION_BINS = 10
LONGEST_GAP = LENGTHS
"""Longer insertions and deletions are variants or of mismapped reads, no errors."""

CONSENSUS, CONSENSUS_READS = 0.25, 3
LONG_CONSENSUS = 0.5
"""Share of reads that makes a difference a variant when there is no truth; more is asked of runs from 8 bases on."""

RUN_ROWS = 2 * (RUN + 1)


def zeros(*shape: int) -> np.ndarray:
    """Make an int64 array of zeros."""
    return np.zeros(shape, np.int64)


def count_rows(*columns: np.ndarray) -> np.ndarray:
    """Count the distinct rows of columns: the rows, and in a last column how often each occurs."""
    rows, number = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
    return np.column_stack([rows, number])


@dataclass
class Counts:
    """Sums over batches of reads; rows of contexts are 6-mers whose fourth base is the one in question.

    bases, mismatches     (4096,)      bases by context
    runs                  (4096, 66)   runs seen whole, by context of the first base and 33 * (C or G) + length
    gains, losses         (4096,)      of runs
    changes               (66, 7)      of runs by -3 .. 3
    tracts                (65, 3)      tandem repeats by bases: seen, lost a unit, gained one
    substitution          (4, 4)
    inserted, deleted     (16,)        lengths of insertions of other bases, of deletions over several runs
    quality               (5, 94)      by state (STATES)
    along                 (10, 3)      by tenth of the read: bases, mismatches, sum of qualities
    sites                 (u, 3)       of a batch: reads over a base on a strand, those with one wrong base, such bases
    run_sites             (u, 4)       row of changes, reads over a run, those with a change, such runs
    """

    bases: np.ndarray = field(default_factory=lambda: zeros(4**CONTEXT))
    mismatches: np.ndarray = field(default_factory=lambda: zeros(4**CONTEXT))
    runs: np.ndarray = field(default_factory=lambda: zeros(4**CONTEXT, RUN_ROWS))
    gains: np.ndarray = field(default_factory=lambda: zeros(4**CONTEXT))
    losses: np.ndarray = field(default_factory=lambda: zeros(4**CONTEXT))
    changes: np.ndarray = field(default_factory=lambda: zeros(RUN_ROWS, 2 * CHANGE + 1))
    tracts: np.ndarray = field(default_factory=lambda: zeros(TRACT + 1, 3))
    substitution: np.ndarray = field(default_factory=lambda: zeros(4, 4))
    inserted: np.ndarray = field(default_factory=lambda: zeros(LENGTHS))
    deleted: np.ndarray = field(default_factory=lambda: zeros(LENGTHS))
    quality: np.ndarray = field(default_factory=lambda: zeros(len(STATES), MOST_QUALITY + 1))
    along: np.ndarray = field(default_factory=lambda: zeros(POSITION_BINS, 3))
    sites: list[np.ndarray] = field(default_factory=list)
    run_sites: list[np.ndarray] = field(default_factory=list)
    read_errors: list[np.ndarray] = field(default_factory=list)
    read_bases: list[np.ndarray] = field(default_factory=list)


@dataclass(eq=False)
class Columns:
    """The alignments of n reads, flat. Reference positions count from `low`; read bases lie one read after another.

    start, end, reverse, first  (n,)   on the reference; strand; where a read's bases begin
    seq, quality                (b,)   codes, 4 for others
    read, ref, base             (m,)   matched columns: read, position, index into seq
    gap_*                       (g,)   read, position, length, and index into seq (insertions) of gaps
    """

    low: int
    codes: np.ndarray
    start: np.ndarray
    end: np.ndarray
    reverse: np.ndarray
    first: np.ndarray
    length: np.ndarray
    seq: np.ndarray
    quality: np.ndarray
    read: np.ndarray
    ref: np.ndarray
    base: np.ndarray
    gap_kind: np.ndarray
    gap_read: np.ndarray
    gap_ref: np.ndarray
    gap_length: np.ndarray
    gap_base: np.ndarray


def make_columns(reads: list[pysam.AlignedSegment], contig: np.ndarray, name: str) -> Columns:
    """Make the columns of reads of a contig, codes (n,) uint8. Raises InputError when a read has no qualities."""
    if bad := next((read for read in reads if read.query_qualities is None), None):
        raise InputError(f"{name}: read {bad.query_name} has no base qualities; a profile needs them")
    start = np.array([read.reference_start for read in reads], np.int64)
    end = np.array([read.reference_end for read in reads], np.int64)
    low, high = max(0, int(start.min()) - 50), min(len(contig), int(end.max()) + 50)
    length = np.array([read.query_length for read in reads], np.int64)
    first = np.cumsum(length) - length
    cigars = [np.array(read.cigartuples, np.int64) for read in reads]
    of = np.repeat(np.arange(len(reads)), [len(cigar) for cigar in cigars])
    kind, size = np.concatenate(cigars).T
    ref = sum_before(np.where(np.isin(kind, _ON_REFERENCE), size, 0), of) + start[of] - low
    base = sum_before(np.where(np.isin(kind, _ON_READ), size, 0), of) + first[of]
    aligned, gap = np.isin(kind, _ALIGNED), (kind == INSERTION) | (kind == DELETION)
    step = count_up(size[aligned])
    return Columns(
        low, contig[low:high], start - low, end - low, np.array([read.is_reverse for read in reads]), first, length,
        encode("".join(read.query_sequence for read in reads)),
        np.concatenate([np.frombuffer(read.query_qualities, np.uint8) for read in reads]),
        np.repeat(of[aligned], size[aligned]), np.repeat(ref[aligned], size[aligned]) + step,
        np.repeat(base[aligned], size[aligned]) + step,
        kind[gap], of[gap], ref[gap], size[gap], base[gap],
    )  # fmt: skip


def sum_before(size: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Sum the sizes before each within its group; of (n,): the group of each, ascending."""
    total = np.cumsum(size) - size
    return total - total[np.searchsorted(of, of)]


def count_up(sizes: np.ndarray) -> np.ndarray:
    """Return 0, 1, ... size - 1 for each of the sizes, concatenated."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)


@dataclass(eq=False)
class Runs:
    """Homopolymer runs of an interval of the reference.

    of     (n,)  the run of each base
    start  (k,), size (k,), base (k,)
    """

    of: np.ndarray
    start: np.ndarray
    size: np.ndarray
    base: np.ndarray

    @classmethod
    def find(cls, codes: np.ndarray) -> "Runs":
        """Find the runs of codes, (n,) uint8."""
        change = np.r_[True, codes[1:] != codes[:-1]]
        start = np.flatnonzero(change)
        return cls(np.cumsum(change) - 1, start, np.diff(np.r_[start, len(codes)]), codes[start])

    @property
    def row(self) -> np.ndarray:
        """Row of each run in Counts.changes, (k,): 33 * (C or G) + length, at most 32."""
        return ((self.base == 1) | (self.base == 2)) * (RUN + 1) + np.minimum(self.size, RUN)


def find_contexts(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the 6-mers around each base for a forward and a reverse read, (n,) int64 each; -1 at the ends and near N."""
    n = len(codes)
    forward, backward, known = np.zeros(n, np.int64), np.zeros(n, np.int64), np.ones(n, bool)
    for i in range(CONTEXT):
        for code, offset, turned in ((forward, i - 3, False), (backward, 3 - i, True)):
            base = np.full(n, N, np.int64)
            base[max(0, -offset) : n - max(0, offset)] = codes[max(0, offset) : n + min(0, offset)]
            known &= base != N
            code *= 4
            code += (3 - base if turned else base) & 3
    return np.where(known, forward, -1), np.where(known, backward, -1)


class ErrorCounter:
    """Adds the errors of batches of reads to Counts."""

    def __init__(self):
        self.counts = Counts()

    def add(self, columns: Columns, left_out: np.ndarray, by_consensus: bool) -> None:
        """Count a batch. left_out (n,) bool: positions that are variant or unknown; by_consensus: so are those where
        many reads differ alike."""
        runs = Runs.find(columns.codes)
        gaps, change = self.run_changes(columns, runs)
        if by_consensus:
            left_out = left_out | find_consensus(columns, runs, gaps, change)
        left_out = left_out | (columns.codes == N)
        forward, backward = find_contexts(columns.codes)
        left_out |= forward < 0
        self.add_matches(columns, runs, left_out, (forward, backward))
        self.add_runs(columns, runs, left_out, (forward, backward), gaps, change)
        self.add_gaps(columns, left_out, gaps, change)
        self.add_read_errors(columns, left_out)

    def run_changes(self, c: Columns, runs: Runs) -> tuple[np.ndarray, np.ndarray]:
        """Find the gaps that are changes of one run: (g,) run or -1, (g,) change of length."""
        run = np.full(len(c.gap_kind), -1, np.int64)
        change = np.where(c.gap_kind == INSERTION, c.gap_length, -c.gap_length)
        for kind in (INSERTION, DELETION):
            of = np.flatnonzero((c.gap_kind == kind) & (c.gap_length <= LONGEST_GAP))
            here = runs.of[c.gap_ref[of]]
            if kind == DELETION:
                run[of] = np.where(here == runs.of[c.gap_ref[of] + c.gap_length[of] - 1], here, -1)
                continue
            base = c.seq[c.gap_base[of]]
            alike = np.ones(len(of), bool)
            for step in range(1, int(c.gap_length[of].max(initial=1))):
                longer = c.gap_length[of] > step
                alike[longer] &= c.seq[c.gap_base[of[longer]] + step] == base[longer]
            before = np.maximum(here - 1, 0)
            changed = np.where(runs.base[here] == base, here, np.where(runs.base[before] == base, before, -1))
            run[of] = np.where(alike, changed, -1)
        return run, change

    def add_matches(self, c: Columns, runs: Runs, left_out: np.ndarray, kmers: tuple) -> None:
        """Count mismatches by context and base, qualities by state, both along the read."""
        used = ~left_out[c.ref] & (c.seq[c.base] != N)
        ref, read, at = c.ref[used], c.read[used], c.base[used]
        reverse = c.reverse[read]
        kmer = np.where(reverse, kmers[1][ref], kmers[0][ref])
        true, seen = c.codes[ref].astype(np.int64), c.seq[at].astype(np.int64)
        wrong = true != seen
        self.counts.bases += np.bincount(kmer, minlength=4**CONTEXT)
        self.counts.mismatches += np.bincount(kmer[wrong], minlength=4**CONTEXT)
        pair = np.where(reverse, 15 - (4 * true + seen), 4 * true + seen)
        self.counts.substitution += np.bincount(pair[wrong], minlength=16).reshape(4, 4)
        behind = np.zeros(len(c.seq) + 1, bool)
        behind[c.gap_base[c.gap_kind == DELETION]] = True
        state = np.where(wrong, 1, np.where(behind[at], 3, np.where(runs.size[runs.of[ref]] >= LONG_RUN, 4, 0)))
        self.add_sites(c, ref, seen, wrong, reverse)
        quality = np.minimum(c.quality[at], MOST_QUALITY).astype(np.int64)
        shape = self.counts.quality.shape
        self.counts.quality += np.bincount(state * shape[1] + quality, minlength=shape[0] * shape[1]).reshape(shape)
        place = (at - c.first[read]) / np.maximum(c.length[read], 1)
        tenth = (np.where(reverse, 1 - place, place) * POSITION_BINS).astype(np.int64).clip(0, POSITION_BINS - 1)
        for i, weight in enumerate((None, wrong, quality)):
            self.counts.along[:, i] += np.bincount(tenth, weight, POSITION_BINS).astype(np.int64)

    def add_sites(self, c: Columns, ref: np.ndarray, seen: np.ndarray, wrong: np.ndarray, reverse: np.ndarray) -> None:
        """Count how often reads of one strand show the same wrong base."""
        n = len(c.codes)
        for strand in (False, True):
            of = reverse == strand
            depth = np.bincount(ref[of], minlength=n)
            for base in range(4):
                errors = np.bincount(ref[of & wrong & (seen == base)], minlength=n)
                asked = (depth > 0) & (c.codes != base)
                self.counts.sites.append(count_rows(depth[asked], errors[asked]))

    def add_runs(self, c: Columns, runs: Runs, left_out: np.ndarray, kmers: tuple, run: np.ndarray, change: np.ndarray):
        """Count changes of the length of runs that reads span whole."""
        usable = np.logical_and.reduceat(~left_out, runs.start)
        usable[[0, -1]] = False
        reads, events = np.zeros(len(runs.start), np.int64), np.zeros(len(runs.start), np.int64)
        first, last = runs.of[c.start] + 1, runs.of[c.end - 1]  # whole runs: first .. last - 1
        for reverse in (False, True):
            of = (c.reverse == reverse) & (last > first)
            step = np.zeros(len(runs.start) + 1, np.int64)
            np.add.at(step, first[of], 1)
            np.add.at(step, last[of], -1)
            depth = np.cumsum(step)[:-1] * usable
            reads += depth
            kmer = kmers[1][runs.start + runs.size - 1] if reverse else kmers[0][runs.start]
            np.add.at(self.counts.runs, (kmer[usable], runs.row[usable]), depth[usable])
            self.counts.changes[:, CHANGE] += np.bincount(runs.row, depth, RUN_ROWS).astype(np.int64)
            gap = (run >= 0) & (c.reverse[c.gap_read] == reverse)
            gap &= (run >= first[c.gap_read]) & (run < last[c.gap_read])
            gap[gap] &= usable[run[gap]]
            key, where = np.unique(c.gap_read[gap] * len(runs.start) + run[gap], return_inverse=True)
            total = np.bincount(where, change[gap], len(key)).astype(np.int64).clip(-CHANGE, CHANGE)
            changed = key[total != 0] % len(runs.start)
            total = total[total != 0]
            np.add.at(events, changed, 1)
            np.add.at(self.counts.changes, (runs.row[changed], total + CHANGE), 1)
            np.add.at(self.counts.changes, (runs.row[changed], CHANGE), -1)
            np.add.at(self.counts.gains, kmer[changed[total > 0]], 1)
            np.add.at(self.counts.losses, kmer[changed[total < 0]], 1)
        self.counts.run_sites.append(count_rows(runs.row[reads > 0], reads[reads > 0], events[reads > 0]))

    def add_gaps(self, c: Columns, left_out: np.ndarray, run: np.ndarray, change: np.ndarray) -> None:
        """Count gaps that are no changes of runs: units of tandem repeats, insertions of other bases, longer deletions;
        and the qualities of inserted bases."""
        good = (c.gap_length <= LONGEST_GAP) & ~left_out[c.gap_ref]
        inserted = good & (c.gap_kind == INSERTION)
        bases = np.repeat(c.gap_base[inserted], c.gap_length[inserted]) + count_up(c.gap_length[inserted])
        self.counts.quality[2] += np.bincount(np.minimum(c.quality[bases], MOST_QUALITY), minlength=MOST_QUALITY + 1)
        tracts = self.add_tracts(c, left_out, good & (run < 0), change)
        rest = good & (run < 0) & ~tracts
        for kind, lengths, least in ((INSERTION, self.counts.inserted, 1), (DELETION, self.counts.deleted, 2)):
            sizes = c.gap_length[rest & (c.gap_kind == kind)] - least
            lengths += np.bincount(sizes.clip(0, LENGTHS - 1), minlength=LENGTHS)

    def add_tracts(self, c: Columns, left_out: np.ndarray, candidates: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Count tandem repeats that reads span whole, and lost and gained units; return which gaps (g,) those are."""
        repeats, _ = short_repeats(c.codes)
        start = np.flatnonzero(repeats)
        unit, size = repeats[start] >> 8, np.minimum(repeats[start] & 255, TRACT).astype(np.int64)
        is_tract = np.zeros(len(c.gap_kind), bool)
        if not len(start):
            return is_tract
        clean = np.r_[0, np.cumsum(left_out)]
        stop = np.minimum(start + size, len(c.codes))
        usable = clean[stop] == clean[start]
        step = np.zeros(len(start) + 1, np.int64)
        first = np.searchsorted(start, c.start, side="right")
        last = np.maximum(np.searchsorted(start, c.end - TRACT), first)
        np.add.at(step, first, 1)
        np.add.at(step, last, -1)
        self.counts.tracts[:, 0] += np.bincount(size, np.cumsum(step)[:-1] * usable, TRACT + 1).astype(np.int64)
        of = np.flatnonzero(candidates)
        tract = np.searchsorted(start, c.gap_ref[of], side="right") - 1
        fits = (tract >= 0) & (c.gap_ref[of] + np.where(change[of] < 0, -change[of], 0) <= stop[tract])
        fits &= (np.abs(change[of]) % unit[tract] == 0) & usable[tract] & (tract >= first[c.gap_read[of]])
        fits &= tract < last[c.gap_read[of]]
        for i in np.flatnonzero(fits & (change[of] > 0)):
            gap, begin = of[i], start[tract[i]] + (c.gap_ref[of[i]] - start[tract[i]]) % unit[tract[i]]
            expected = c.codes[begin + np.arange(c.gap_length[gap]) % unit[tract[i]]]
            fits[i] = (c.seq[c.gap_base[gap] : c.gap_base[gap] + c.gap_length[gap]] == expected).all()
        for column, sign in ((1, -1), (2, 1)):
            chosen = fits & (np.sign(change[of]) == sign)
            self.counts.tracts[:, column] += np.bincount(size[tract[chosen]], minlength=TRACT + 1)
        is_tract[of[fits]] = True
        return is_tract

    def add_read_errors(self, c: Columns, left_out: np.ndarray) -> None:
        """Count errors and usable bases of each read."""
        used = ~left_out[c.ref]
        wrong = used & (c.codes[c.ref] != c.seq[c.base])
        good = (c.gap_length <= LONGEST_GAP) & ~left_out[c.gap_ref]
        groups = (c.read[wrong], c.gap_read[good], c.read[used])
        mismatches, gaps, bases = (np.bincount(group, minlength=len(c.start)) for group in groups)
        self.counts.read_errors.append(mismatches + gaps)
        self.counts.read_bases.append(bases)


def find_consensus(c: Columns, runs: Runs, run: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Mark positions, (n,) bool, where so many reads differ in one way that it is taken for a variant."""
    n = len(c.codes)
    depth = np.bincount(c.ref, minlength=n)
    out = np.zeros(n, bool)
    for base in range(4):
        same = (c.seq[c.base] == base) & (c.codes[c.ref] != base)
        count = np.bincount(c.ref[same], minlength=n)
        out |= (count >= CONSENSUS_READS) & (count >= CONSENSUS * np.maximum(depth, 1))
    at_run = np.where(run >= 0, runs.start[run], c.gap_ref)
    for sign in (-1, 1):
        for size in (1, 2, None):
            of = (np.sign(change) == sign) & ((np.abs(change) > 2) if size is None else (np.abs(change) == size))
            count = np.bincount(at_run[of], minlength=n)
            asked = np.where(runs.size[runs.of] >= 8, LONG_CONSENSUS, CONSENSUS)
            out |= (count >= CONSENSUS_READS) & (count >= asked * np.maximum(depth, 1))
    return widen_to_runs(out, runs)


def widen_to_runs(out: np.ndarray, runs: Runs) -> np.ndarray:
    """Widen a mask of positions, (n,) bool, to the runs they are in, and two bases on both sides."""
    hit = np.zeros(len(runs.start), bool)
    hit[runs.of[out]] = True
    wide = hit[runs.of]
    for shift in (1, 2):
        wide[shift:] |= hit[runs.of[:-shift]]
        wide[:-shift] |= hit[runs.of[shift:]]
    return wide


def iter_batches(reads: Iterator[pysam.AlignedSegment], bases: int) -> Iterator[list[pysam.AlignedSegment]]:
    """Yield lists of consecutive reads with about `bases` read bases each."""
    waiting, held = [], 0
    for read in reads:
        waiting.append(read)
        held += read.query_length
        if held >= bases:
            yield waiting
            waiting, held = [], 0
    if waiting:
        yield waiting
