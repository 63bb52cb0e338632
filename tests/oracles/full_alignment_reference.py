"""The full-alignment features of v2.0.2 (native engine) written the slow and obvious way, to test the C core against.

One function per rule of spec/features.md, section in its docstring. Nothing here is shared with the
product. Positions are 0-based and intervals half-open, except where a name says pos1.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from haplotag_reference import PhasedSnp, haplotype
from khash_reference import khash_order
from pileup_reference import BASES, DELETED, FLANK, REVERSE_FLAG, SKIPPED, WINDOW, Read, parse_cigar

DROPPED_FLAGS = 0x4 | 0x8 | 0x100 | 0x800  # unmapped, mate unmapped, secondary, supplementary
REF, ALT, STRAND, MAPQ, QUALITY, FRACTION, INSERTED, HAPLOTYPE, DWELL = range(9)

LETTER_CODE = {"A": 100, "C": 25, "G": 75, "T": 50, "N": 100, "D": -100}
"""Codes of letters (C.7); all others, `=` among them (fix of E-B8), have 0."""
INSERTION_CODE, DELETION_CODE = -50, -100
FORWARD_CODE, REVERSE_CODE = 100, 50
HAPLOTYPE_CODE = {0: 60, 1: 30, 2: 90}


@dataclass
class Cell:
    """What one read shows at one position: a letter, DELETED or SKIPPED, and the indels that start after it (C.4)."""

    letter: str = SKIPPED
    quality: int = 0
    signal: int = 0
    insertions: list[str] = field(default_factory=list)  # one per I operation
    deletions: list[int] = field(default_factory=list)  # one per D operation


@dataclass(frozen=True)
class KeptRead:
    """A read of C.2 with its haplotype (0, 1, 2), its reference end and its cells by position."""

    read: Read
    hap: int
    end: int
    cells: dict[int, Cell]


@dataclass(frozen=True)
class Counts:
    """Counters of one candidate over all kept reads (C.5)."""

    depth: int
    bases: Counter  # of A, C, G, T
    insertions: list[str]  # in read order
    deletions: list[int]


@dataclass(frozen=True)
class ReferenceFullAlignment:
    """Result of `reference_full_alignment`.

    depth       n numbers, one per candidate
    alt_info    n texts `depth-items`
    tensors     (n, rows, 33, 8 or 9)  int8
    haplotypes  0, 1 or 2 of each kept read
    kept        the reads that were kept, by read index
    """

    depth: list[int]
    alt_info: list[str]
    tensors: np.ndarray
    haplotypes: list[int]
    kept: list[Read]


def reference_full_alignment(
    ref: str,
    reads: list[Read],
    candidates: list[int],
    *,
    snps: list[PhasedSnp] | None,
    rows: int,
    min_mapq: int,
    max_indel_length: int,
    dwell: bool,
) -> ReferenceFullAlignment:
    """Rows of reads around each candidate of one candidate file (C).

    ref is the whole contig, case kept. reads are those of the whole contig in file order, each inside
    the contig and with as many letters as its CIGAR says. candidates are ascending and distinct. snps
    is None where phasing is off. One call is one process of v2.0.2: its random numbers start anew.
    """
    random = glibc_random()
    wanted = {pos for centre in candidates for pos in range(max(0, centre - FLANK), centre + FLANK + 1)}
    kept = [
        KeptRead(read, haplotype(read, ref, snps), read.pos + span(read), read_cells(read, wanted))
        for read in kept_reads(reads, candidates, wanted, min_mapq)
    ]
    counts = [count_candidate(kept, centre) for centre in candidates]
    tensors = np.zeros((len(candidates), rows, WINDOW, 9 if dwell else 8), np.int8)
    for tensor, centre, counted in zip(tensors, candidates, counts, strict=True):
        chosen = chosen_rows(kept, centre, rows, random)
        top = (rows - len(chosen)) >> 1
        for row, index in enumerate(chosen, top):
            tensor[row] = full_row(kept[index], centre, counted, ref, dwell)
    return ReferenceFullAlignment(
        [counted.depth for counted in counts],
        [alt_info(counted, ref, centre, max_indel_length) for centre, counted in zip(candidates, counts, strict=True)],
        tensors,
        [one.hap for one in kept],
        [one.read for one in kept],
    )


# -- reads -------------------------------------------------------------------------------------------


def candidate_rows(candidates: list[int]) -> list[tuple[int, int]]:
    """The intervals by which a candidate file names its candidates (A.10)."""
    return [(max(centre - FLANK, 0), centre + 18) for centre in candidates]


def region_of(candidates: list[int]) -> tuple[int, int]:
    """The interval whose reads are read for these candidates; (0, 0) without any (A.10)."""
    rows = candidate_rows(candidates)
    # [lo - 1, hi) of lo = a + 1 and hi = b + 1
    return min((a for a, _ in rows), default=0), max((b + 1 for _, b in rows), default=0)


def read_candidates(path: Path, contig: str) -> list[int]:
    """Candidates of a contig in a candidate file, ascending and distinct (A.10)."""
    found = set()
    for line in Path(path).read_text().splitlines():
        columns = line.split("\t")
        if columns[0] == contig and len(columns) == 3:
            p, q = int(columns[1]) + 1, int(columns[2]) + 1
            pos1 = q - 18 if p == 1 else p + (q - p) // 2 - 1
            found.add(pos1 - 1)
    return sorted(found)


def span(read: Read) -> int:
    """Reference bases under a read (C.2)."""
    return sum(length for op, length in parse_cigar(read.cigar) if op in "M=XDN")


def kept_reads(reads: list[Read], candidates: list[int], wanted: Collection[int], min_mapq: int) -> list[Read]:
    """The reads used for these candidates, in file order (A.2 native full alignment, A.10, C.2).

    Reads of one name are different reads, which they are not in v2.0.2 (E-K6).
    """
    start, end = region_of(candidates)
    kept = []
    for read in sorted(reads, key=lambda read: read.pos):  # stable: file order within a start position
        if read.pos >= end or read.pos + max(1, span(read)) <= start:  # htslib: no read is shorter than a base
            continue
        if read.flag & DROPPED_FLAGS or read.mapq < min_mapq:
            continue
        if any(pos in wanted for pos in range(read.pos, read.pos + span(read))):
            kept.append(read)
    return kept


def read_cells(read: Read, wanted: Collection[int]) -> dict[int, Cell]:
    """The wanted positions under a read, ascending (C.4)."""
    cells = {pos: Cell() for pos in range(read.pos, read.pos + span(read)) if pos in wanted}
    signals = base_signals(read)
    x, query = read.pos, 0
    for op, length in parse_cigar(read.cigar):
        before = cells.get(x - 1)
        if op in "M=X":
            for pos, at in zip(range(x, x + length), range(query, query + length), strict=True):
                if pos in cells:
                    cells[pos] = Cell(read.seq[at], quality_code(read, at), signals[at])
        elif op == "D":
            if before:
                before.deletions.append(length)
            for pos in range(x, x + length):
                if pos in cells:
                    cells[pos].letter = DELETED
        elif op == "I" and before:
            before.insertions.append(read.seq[query : query + length])
            before.signal += sum(signals[query : query + length])
        x += length if op in "M=XDN" else 0
        query += length if op in "M=XIS" else 0
    return cells


def quality_code(read: Read, at: int) -> int:
    """Channel 4 of a base: 100 from quality 40 on and where there is none (C.4)."""
    quality = 255 if read.qual is None else read.qual[at]
    return 100 if quality >= 40 else int(100 * quality / 40.0)


def base_signals(read: Read) -> list[int]:
    """Blocks of the move table per base, in the order of the sequence; 0 without a table (C.10)."""
    signals = [0] * len(read.seq)
    if not isinstance(read.mv, tuple) or not read.seq:
        return signals
    base = -1
    for move in read.mv[1:]:  # the first is the stride
        base += move != 0
        if base >= len(read.seq):
            break
        if base >= 0:
            signals[base] += 1
    return signals[::-1] if read.flag & REVERSE_FLAG else signals


# -- counts ------------------------------------------------------------------------------------------


def count_candidate(kept: list[KeptRead], centre: int) -> Counts:
    """Depth, letters and indels of a candidate (C.5)."""
    cells = [one.cells[centre] for one in kept if centre in one.cells]
    letters = [cell.letter for cell in cells if cell.letter != SKIPPED]
    return Counts(
        len(letters),
        Counter(counted_base(letter) for letter in letters if letter != DELETED),
        [inserted for cell in cells for inserted in cell.insertions],
        [length for cell in cells for length in cell.deletions],
    )


def counted_base(letter: str) -> str:
    """The base that a letter counts as: A if it is none (C.5, K14)."""
    return letter if letter in BASES else "A"


def alt_info(counts: Counts, ref: str, pos: int, max_indel_length: int) -> str:
    """`depth-items` of a candidate (C.9)."""
    ref_letter = ref[pos].upper()
    ref_base = counted_base(ref_letter)
    items = [(f"X{base}", counts.bases[base]) for base in BASES if base != ref_base and counts.bases[base]]
    for inserted in khash_order(counts.insertions):
        if len(inserted) <= max_indel_length:
            items.append((f"I{ref_letter}{inserted}", counts.insertions.count(inserted)))
    for length in khash_order(counts.deletions):
        if length <= max_indel_length:
            items.append((f"D{ref[pos + 1 : pos + 1 + length]}", counts.deletions.count(length)))  # K3: case kept
    ref_alone = counts.bases[ref_base] - len(counts.insertions) - len(counts.deletions)
    if ref_alone > 0:
        items.append((f"R{ref_letter}", ref_alone))
    return f"{counts.depth}-" + " ".join(f"{token} {n}" for token, n in items)


# -- rows --------------------------------------------------------------------------------------------


def glibc_random() -> Iterator[int]:
    """The numbers of glibc's rand() that nobody seeded (C.6)."""
    r = [1]
    for i in range(1, 31):
        r.append(16807 * r[i - 1] % 2147483647)
    for i in range(31, 34):
        r.append(r[i - 31])
    i = 34
    while True:
        r.append((r[i - 3] + r[i - 31]) % 2**32)
        if i >= 344:
            yield r[i] >> 1
        i += 1


def shuffled(n: int, random: Iterator[int]) -> list[int]:
    """0 ... n - 1 in the order of v2.0.2's shuffle; takes n - 1 random numbers (C.6)."""
    order = list(range(n))
    for i in range(n - 1):
        j = i + next(random) // (2147483647 // (n - i) + 1)
        order[i], order[j] = order[j], order[i]
    return order


def chosen_rows(kept: list[KeptRead], centre: int, rows: int, random: Iterator[int]) -> list[int]:
    """Read indices of the rows of a candidate, from the top (C.6)."""
    if centre < FLANK:  # K8
        return []
    near = [i for i, one in enumerate(kept) if one.read.pos < centre + 17 and one.end > centre - 16]
    if len(near) > rows:
        near = [near[k] for k in shuffled(len(near), random)[:rows]]
    return sorted(near, key=lambda i: (kept[i].hap, i))


def full_row(one: KeptRead, centre: int, counts: Counts, ref: str, dwell: bool) -> np.ndarray:
    """One row of a candidate, (33, 8 or 9) int8 (C.7, C.8, C.10)."""
    row = np.zeros((WINDOW, 9), np.int64)
    for p, pos in enumerate(range(centre - FLANK, centre + FLANK + 1)):
        cell = one.cells.get(pos)
        if cell is None or cell.letter == DELETED:
            continue
        ref_letter = ref[pos].upper()
        row[p, REF] = code(ref_letter)
        row[p, ALT] = alternative_code(alternative(cell, ref_letter))
        row[p, STRAND] = REVERSE_CODE if one.read.flag & REVERSE_FLAG else FORWARD_CODE
        row[p, MAPQ] = 100 if one.read.mapq >= 60 else int(100 * one.read.mapq / 60.0)
        row[p, QUALITY] = cell.quality
        row[p, HAPLOTYPE] = HAPLOTYPE_CODE[one.hap]
        row[p, DWELL] = cell.signal
        if cell.insertions and p < WINDOW - 1:
            inserted = cell.insertions[-1][: WINDOW - p]  # K20: from the anchor on
            row[p : p + len(inserted), INSERTED] = [code(letter) for letter in inserted]
    fraction = centre_fraction(one, centre, counts, ref)
    row[row[:, REF] != 0, FRACTION] = fraction
    return row[:, : 9 if dwell else 8].astype(np.int8)  # K9: signals keep their low 8 bits


def code(letter: str) -> int:
    """Number of a letter (C.7)."""
    return LETTER_CODE.get(letter, 0)


def alternative(cell: Cell, ref_letter: str) -> str | int | None:
    """What a cell shows instead of the reference: `+` and the inserted letters, a deleted length, a letter (C.7).

    A skipped position (E-B4) has no letter, but may carry an indel.
    """
    if cell.letter == DELETED:
        return None
    if cell.insertions:
        return "+" + cell.insertions[-1]
    if cell.deletions:
        return cell.deletions[-1]
    return cell.letter if cell.letter not in (ref_letter, SKIPPED) else None


def alternative_code(shown: str | int | None) -> int:
    """Channel 1 of an alternative (C.7)."""
    if shown is None:
        return 0
    if isinstance(shown, int):
        return DELETION_CODE
    return INSERTION_CODE if shown[0] == "+" else code(shown)


def centre_fraction(one: KeptRead, centre: int, counts: Counts, ref: str) -> int:
    """Channel 5 of a row: reads in a hundred that share the alternative of its centre (C.8)."""
    shown = alternative(one.cells[centre], ref[centre].upper()) if centre in one.cells else None
    if shown is None:
        return 0
    if isinstance(shown, int):
        count = counts.deletions.count(shown)
    elif shown[0] == "+":
        count = counts.insertions.count(shown[1:])
    else:
        count = counts.bases[counted_base(shown)]
    if count >= counts.depth:
        return 100
    return int(np.float32(100 * count) / np.float32(counts.depth))
