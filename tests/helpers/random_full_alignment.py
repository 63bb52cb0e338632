"""Random cases for the full-alignment features: reads, candidates, phased SNPs and options.

Like tests/helpers/random_reads.py, whose reads get what matters here: names that repeat, mate flags, mapping
qualities around the limits, move tables and the alternative letters of SNPs.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from full_alignment_reference import ReferenceFullAlignment, reference_full_alignment, span
from haplotag_reference import PhasedSnp, meetings
from hypothesis import strategies as st
from pileup_reference import Read, parse_cigar
from random_reads import REVERSE, cases, random_case, random_flag

MATE_FLAGS = (0, 0, 0, 0x41, 0x81, 0x83, 0x9, 0x200, 0x400, 0x100, 0x800)
MAPQS = (60, 60, 60, 59, 255, 19, 20, 21, 5, 4, 0)
ALT_LETTERS = "ACGTACGTacgtN*"

DEFAULTS = {"snps": None, "rows": 89, "min_mapq": 5, "max_indel_length": 50, "dwell": False}
"""Keyword arguments of `reference_full_alignment`."""


@dataclass(frozen=True)
class FullAlignmentCase:
    """Arguments of `reference_full_alignment`; reads in the order of a sorted file, options by keyword."""

    ref: str
    reads: tuple[Read, ...]
    candidates: tuple[int, ...]
    options: dict

    def reference(self) -> ReferenceFullAlignment:
        """What the slow reference makes of it."""
        return reference_full_alignment(self.ref, list(self.reads), list(self.candidates), **self.options)


# -- plain -------------------------------------------------------------------------------------------


def matching(start: int, end: int, **attributes) -> Read:
    """A read that matches a reference of A."""
    return Read(start, f"{end - start}M", "A" * (end - start), **attributes)


def many(n: int, **attributes) -> list[Read]:
    """n reads of A over [0, 100), named r0, r1, ..."""
    return [matching(0, 100, name=f"r{i}", **attributes) for i in range(n)]


# -- bulk --------------------------------------------------------------------------------------------


def random_full_alignment_case(seed: int, longest: int = 300, most_reads: int = 120) -> FullAlignmentCase:
    """A whole case for bulk fuzzing, the same for the same arguments."""
    rng = np.random.default_rng([seed, 1])
    case = random_case(seed, longest, most_reads)
    snps = random_snps(rng, case.ref, case.reads)
    repeated, quality = rng.choice([0, 0.1, 0.6]), rng.choice([0, 0.5])
    reads = []
    for i, read in enumerate(case.reads):
        mate = int(rng.integers(0, i + 1)) if rng.random() < repeated else i
        changed = replace(
            read,
            name=f"read{mate}",
            flag=random_flag(rng) if rng.random() < 0.3 else int(rng.choice(MATE_FLAGS) | rng.integers(0, 2) * REVERSE),
            mapq=int(rng.choice(MAPQS)) if rng.random() < quality else 60,
            qual=read.qual or None,  # as a file tells of a read without letters
            mv=random_moves(rng, len(read.seq)),
        )
        reads.append(with_alleles(rng, changed, snps))
    options = {
        "snps": snps if rng.random() < 0.9 else None,
        "rows": int(rng.choice([1, 2, 3, 7, 10, 20, 55, 89])),
        "min_mapq": int(rng.choice([5, 5, 20, 60])),
        "max_indel_length": int(rng.choice([2, 50, 100_000])),
        "dwell": bool(rng.random() < 0.5),
    }
    return FullAlignmentCase(case.ref, tuple(reads), random_candidates(rng, case.ref, case.reads), options)


def random_snps(rng: np.random.Generator, ref: str, reads: tuple[Read, ...]) -> list[PhasedSnp]:
    """Phased SNPs by position, most of them near the ends of reads; two may have the same position."""
    edges = [pos for read in reads for pos in (read.pos, read.pos + span(read))] + [0]
    positions = [int(rng.choice(edges)) + int(rng.integers(-13, 14)) for _ in range(rng.integers(0, 12))]
    positions += [int(pos) for pos in rng.integers(0, len(ref), rng.integers(0, 6))]
    return [
        PhasedSnp(
            pos, ref[pos].upper(), str(rng.choice(list(ALT_LETTERS))), int(rng.integers(1, 3)), int(rng.choice([1, 90]))
        )
        for pos in sorted(positions)
        if 0 <= pos < len(ref)
    ]


def with_alleles(rng: np.random.Generator, read: Read, snps: list[PhasedSnp]) -> Read:
    """The read with the ALT letters of one haplotype where it matches the reference."""
    hap = int(rng.integers(1, 3))
    letters, ops = list(read.seq), parse_cigar(read.cigar)
    for met in meetings(ops, read.pos, snps):
        alt = met.snp.alt.upper()
        if ops[met.op][0] in "M=X" and met.snp.hap != hap and alt in "ACGTN" and rng.random() < 0.9:
            letters[met.anchor] = alt
    return replace(read, seq="".join(letters))


def random_moves(rng: np.random.Generator, bases: int) -> tuple[int, ...] | int | None:
    """A move table for about so many bases: blocks short or very long, too few or too many of them, or none at all."""
    kind = rng.integers(0, 10)
    if kind == 0:
        return None
    if kind == 1:
        return int(rng.integers(0, 9))
    if kind == 2:
        return (5,)
    longest = 400 if kind == 3 else 4
    blocks = max(0, bases + int(rng.integers(-3, 4)))
    moves = [0] * int(rng.integers(0, 3))
    for _ in range(blocks):
        moves += [int(rng.choice([1, 1, 1, 2, -1])), *[0] * int(rng.integers(0, longest) * (rng.random() < 0.4))]
    return int(rng.choice([5, 6, 10])), *moves


def random_candidates(rng: np.random.Generator, ref: str, reads: tuple[Read, ...]) -> tuple[int, ...]:
    """Positions anywhere, those where most indels start, and sometimes a whole stretch."""
    chosen = set(rng.integers(0, len(ref), rng.integers(0, 12)).tolist())
    starts: Counter = Counter()
    for read in reads:
        x = read.pos
        for op, length in parse_cigar(read.cigar):
            starts[x - 1] += op in "ID"
            x += length if op in "M=XDN" else 0
    chosen |= {pos for pos, _ in starts.most_common(3)}
    if rng.random() < 0.3:
        first = int(rng.integers(0, len(ref)))
        chosen |= set(range(first, first + 30))
    return tuple(sorted(pos for pos in chosen if 0 <= pos < len(ref)))


# -- small -------------------------------------------------------------------------------------------


@st.composite
def full_alignment_cases(pick: Callable) -> FullAlignmentCase:
    """A small case, with few reads and SNPs."""
    case = pick(cases())
    position = st.integers(0, len(case.ref) - 1)
    snp = st.builds(
        lambda pos, alt, hap, phase_set: PhasedSnp(pos, case.ref[pos].upper(), alt, hap, phase_set),
        position,
        st.sampled_from(ALT_LETTERS),
        st.integers(1, 2),
        st.sampled_from([1, 90]),
    )
    options = {
        "snps": pick(st.none() | st.lists(snp, max_size=6).map(lambda snps: sorted(snps, key=lambda snp: snp.pos))),
        "rows": pick(st.sampled_from([1, 2, 3, 5, 8, 55, 89])),
        "min_mapq": pick(st.sampled_from([0, 5, 20])),
        "max_indel_length": pick(st.sampled_from([2, 50])),
        "dwell": pick(st.booleans()),
    }
    moves = st.lists(st.sampled_from([1, 0, 0, 2]), max_size=60).map(tuple)
    reads = [
        replace(
            read,
            name=pick(st.sampled_from("abcdefghijkl")),
            flag=pick(st.just(read.flag) | st.sampled_from([*MATE_FLAGS, REVERSE])),
            mapq=pick(st.sampled_from(MAPQS)),
            mv=pick(st.none() | moves.filter(len)),
        )
        for read in case.reads
    ]
    candidates = pick(st.lists(position, max_size=8, unique=True))
    return FullAlignmentCase(case.ref, tuple(reads), tuple(sorted(candidates)), options)
