"""Alignments for tests: drawn as text, random (hypothesis and bulk), written to and read from files.

The random ones are legal by the SAM specification and otherwise as odd as possible; every read lies
inside its reference. Read is that of tests/oracles/pileup_reference.py; positions are 0-based.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pysam
from hypothesis import strategies as st
from pileup_reference import Read, parse_cigar

REVERSE = 0x10
ALPHABET = "=ACMGRSVTWYHKDBN"
"""The letters of a read in a BAM file."""

# -- drawn -------------------------------------------------------------------------------------------


def draw(picture: str) -> tuple[str, list[Read]]:
    """Reference and reads of a drawing; the first two characters of each line say what it is.

        = ACGTACGTaCGT   the reference
        >   .....        forward read: . as the reference, a letter for another base,
        <   ..**  ..     reverse read: * deleted, gap inside the read skipped (N)
        +    TTT         inserted into the read above, first letter under the base before it

    Lines without a mark are ignored. Reads are named r1, r2, ... from the top, have MAPQ 60 and no qualities.
    """
    lines = [line.strip("\n") for line in picture.splitlines() if line.strip()]
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    ref, rows = "", []
    for line in lines:
        mark, text = line[margin : margin + 2], line[margin + 2 :].rstrip()
        if mark == "= ":
            ref = text
        elif mark in ("> ", "< "):
            rows.append((mark, text, {}))
        elif mark == "+ ":
            words = text.split()
            begin = 0
            for word in words:
                begin = text.index(word, begin)
                rows[-1][2][begin] = word
                begin += len(word)
    return ref, [drawn_read(ref, *row, name=f"r{i}") for i, row in enumerate(rows, 1)]


def drawn_read(ref: str, mark: str, row: str, insertions: dict[int, str], name: str) -> Read:
    """One row of a drawing as a read; insertions are keyed by the column before them."""
    start = len(row) - len(row.lstrip())
    ops, seq = "", ""
    for column in range(start, len(row)):
        symbol = row[column]
        ops += {"*": "D", " ": "N"}.get(symbol, "M")
        if symbol not in "* ":
            seq += ref[column].upper() if symbol == "." else symbol
        seq += insertions.get(column, "")
        ops += "I" * len(insertions.get(column, ""))
    cigar = "".join(f"{len(list(group))}{op}" for op, group in groupby(ops))
    return Read(start, cigar, seq, REVERSE if mark == "< " else 0, name=name)


# -- random ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A contig with its reads, in the order of a sorted file, and the columns [start, end) to look at."""

    ref: str
    reads: tuple[Read, ...]
    start: int
    end: int


def fit_cigar(ops: list[tuple[str, int]], longest: int) -> list[tuple[str, int]]:
    """ops without those that would make the read longer than `longest` on the reference."""
    fitting, span = [], 0
    for op, length in ops:
        step = length if op in "M=XDN" else 0
        if span + step <= longest:
            fitting.append((op, length))
            span += step
    return fitting


def clip_cigar(ops: list[tuple[str, int]], clips: tuple[int, int, int, int]) -> str:
    """CIGAR text of ops between hard and soft clips (left H, left S, right S, right H; 0 for none)."""
    left_h, left_s, right_s, right_h = clips
    parts = [("H", left_h), ("S", left_s), *ops, ("S", right_s), ("H", right_h)]
    return "".join(f"{length}{op}" for op, length in parts if length)


def reference_span(cigar: str) -> int:
    """Reference bases that a CIGAR covers."""
    return sum(length for op, length in parse_cigar(cigar) if op in "M=XDN")


def read_letters(rng: np.random.Generator, ref: str, pos: int, cigar: str, error: float, odd: float) -> str:
    """Query letters of a read: the reference with substitutions, a share `odd` of them any letter of the alphabet.

    Most insertions repeat one of few words, so that reads share them.
    """
    letters = ""
    for op, length in parse_cigar(cigar):
        if op in "M=X":
            letters += ref[pos : pos + length].upper()
        elif op == "I" and rng.random() < 0.7:
            letters += (str(rng.choice(["A", "CA", "GTT", "TG"])) * length)[:length]
        elif op in "IS":
            letters += "".join(rng.choice(list("ACGT"), length))
        if op in "M=XDN":
            pos += length
    changed, strange = rng.random(len(letters)) < error, rng.random(len(letters)) < odd
    return "".join(
        str(rng.choice(list(ALPHABET if x else "ACGT"))) if c or x or letter not in "ACGT" else letter
        for letter, c, x in zip(letters, changed, strange, strict=True)
    )


def random_reference(rng: np.random.Generator, length: int) -> str:
    """A contig with stretches of lower case, of N and single IUPAC letters."""
    ref = "".join(rng.choice(list("ACGT"), length))
    for _ in range(rng.integers(0, 4)):
        start = int(rng.integers(0, length))
        end = start + int(rng.integers(1, 40))
        middle = rng.choice([ref[start:end].lower(), ref[start:end].lower(), "N" * len(ref[start:end])])
        ref = ref[:start] + str(middle) + ref[end:]
    for at in rng.integers(0, length, rng.integers(0, 3)):
        ref = ref[:at] + str(rng.choice(list("RYSWKMBDHVNryn"))) + ref[at + 1 :]
    return ref


def random_ops(rng: np.random.Generator, wild: float) -> list[tuple[str, int]]:
    """CIGAR operations without clips: matches with an indel here and there, or (share `wild`) anything at all."""
    if rng.random() < wild:
        ops = rng.choice(list("MMM=XIIDDNP"), rng.integers(1, 12))
        longest = {"M": 15, "=": 5, "X": 2, "I": 5, "D": 5, "N": 10, "P": 3}
        return [(str(op), int(rng.integers(1, longest[op] + 1))) for op in ops]
    ops = [("M", int(rng.integers(1, 120)))]
    while rng.random() < 0.6:
        long = rng.random() < 0.05
        ops.append((str(rng.choice(list("IDIDN"))), int(rng.integers(40, 70) if long else rng.integers(1, 5))))
        ops.append(("M", int(rng.integers(1, 80))))
    return ops


def random_flag(rng: np.random.Generator) -> int:
    """Usually a plain forward or reverse read, else any flags."""
    return int(rng.integers(0, 2) * REVERSE if rng.random() < 0.9 else rng.integers(0, 1 << 12))


def random_case(seed: int, longest: int = 400, most_reads: int = 120) -> Case:
    """A whole case for bulk fuzzing, the same for the same arguments; case and region sizes vary.

    In half of the cases many reads share one column after which their indels start.
    """
    rng = np.random.default_rng(seed)
    ref = random_reference(rng, int(rng.integers(1, longest + 1)))
    wild, error = rng.choice([0, 0.1, 0.5, 1]), rng.choice([0, 0.02, 0.2, 1])
    odd, clipped = rng.choice([0, 0, 0.01, 0.3]), rng.choice([0, 0.3])
    hot = int(rng.integers(0, len(ref))) if rng.random() < 0.5 else None
    reads = []
    for i in range(rng.integers(0, most_reads + 1)):
        ops = random_ops(rng, wild)
        if hot is not None and rng.random() < 0.5:
            pos = int(rng.integers(0, hot + 1))
            ops = [("M", hot + 1 - pos), *ops[rng.integers(0, 2) :]]
        else:
            pos = int(len(ref) * rng.random() ** rng.choice([1, 1, 3]))
        ops = fit_cigar(ops, len(ref) - pos)
        clips = rng.integers(1, 5, 4) * (rng.random(4) < clipped)
        cigar = clip_cigar(ops, tuple(int(n) for n in clips))
        seq = read_letters(rng, ref, pos, cigar, error, odd)
        reads.append(
            Read(
                pos,
                cigar,
                seq,
                random_flag(rng),
                int(rng.choice([60, 60, 60, rng.integers(0, 256)])),
                f"read{rng.integers(0, i + 1)}",
                tuple(int(q) for q in rng.integers(0, 94, len(seq))) if rng.random() < 0.8 else None,
            )
        )
    start, end = sorted(int(n) for n in rng.integers(0, len(ref) + 50, 2))
    if rng.random() < 0.5:
        start, end = 0, len(ref)
    return Case(ref, tuple(sorted(reads, key=lambda read: read.pos)), start, end)


@st.composite
def reads_in(pick: Callable, ref: str) -> Read:
    """One read inside ref; its structure is drawn, its letters come from a drawn seed."""
    pos = pick(st.integers(0, len(ref) - 1))
    op = st.tuples(st.sampled_from("M=XIDNP"), st.integers(1, 6))
    ops = pick(st.lists(op | st.tuples(st.just("M"), st.integers(1, len(ref))), max_size=8))
    clip = st.just(0) | st.integers(0, 4)
    cigar = clip_cigar(fit_cigar(ops, len(ref) - pos), pick(st.tuples(clip, clip, clip, clip)))
    rng = np.random.default_rng(pick(st.integers(0, 2**32 - 1)))
    seq = read_letters(rng, ref, pos, cigar, pick(st.sampled_from([0, 0.1])), pick(st.sampled_from([0, 0.1])))
    return Read(
        pos,
        cigar,
        seq,
        pick(st.sampled_from([0, REVERSE]) | st.integers(0, (1 << 12) - 1)),
        pick(st.just(60) | st.integers(0, 255)),
        pick(st.sampled_from(["a", "b", "c"])),
        pick(st.none() | st.just(tuple(range(len(seq))))) if len(seq) < 94 else None,
    )


@st.composite
def cases(pick: Callable) -> Case:
    """A small case: up to three reads over the whole contig (for whole windows) and some odd ones."""
    ref = random_reference(np.random.default_rng(pick(st.integers(0, 2**32 - 1))), pick(st.integers(1, 100)))
    whole = [
        Read(0, f"{len(ref)}M", read_letters(np.random.default_rng(i), ref, 0, f"{len(ref)}M", 0.1, 0))
        for i in range(3)
    ]
    reads = whole[: pick(st.integers(0, 3))] + pick(st.lists(reads_in(ref), max_size=10))
    start = pick(st.just(0) | st.integers(0, len(ref)))
    end = pick(st.just(len(ref)) | st.integers(start, len(ref) + 20))
    return Case(ref, tuple(sorted(reads, key=lambda read: read.pos)), start, end)


def rules() -> st.SearchStrategy[dict]:
    """Keyword arguments of `reference_pileup` except `allowed`."""
    fraction = st.sampled_from([0.0, 0.08, 0.15, 0.2, 1.0]) | st.floats(0, 1, width=32)
    return st.fixed_dictionaries(
        {
            "min_mapq": st.just(5) | st.integers(0, 255),
            "min_coverage": st.integers(2, 5),
            "snp_min_af": fraction,
            "indel_min_af": fraction,
            "snp_only": st.booleans(),
            "head_and_tail": st.booleans(),
            "max_indel_length": st.sampled_from([2, 50, 100_000]),
        }
    )


# -- files -------------------------------------------------------------------------------------------


def write_fasta(path: Path, contigs: dict[str, str], width: int = 60) -> Path:
    """Write the contigs, letters as given, with a .fai index."""
    with open(path, "w") as fasta:
        for name, letters in contigs.items():
            fasta.write(f">{name}\n")
            fasta.writelines(letters[i : i + width] + "\n" for i in range(0, len(letters), width))
    pysam.faidx(str(path))
    return path


def write_bam(path: Path, contigs: dict[str, int], reads: dict[str, list[Read]]) -> Path:
    """Write the reads of each contig, sorted by position and otherwise in the given order, with a .bai index.

    contigs has the length of each contig, in file order.
    """
    header = pysam.AlignmentHeader.from_references(list(contigs), list(contigs.values()))
    with pysam.AlignmentFile(str(path), "wb", header=header) as bam:
        for index, contig in enumerate(contigs):
            for read in sorted(reads.get(contig, ()), key=lambda read: read.pos):
                bam.write(aligned_segment(read, index, header))
    pysam.index(str(path))
    return path


def aligned_segment(read: Read, contig_index: int, header: pysam.AlignmentHeader) -> pysam.AlignedSegment:
    """The read as pysam's record, on the contig of that number."""
    segment = pysam.AlignedSegment(header)
    segment.query_name, segment.flag = read.name, read.flag
    segment.reference_id, segment.reference_start = contig_index, read.pos
    segment.mapping_quality, segment.cigarstring = read.mapq, read.cigar or None
    segment.query_sequence = read.seq or None
    if read.qual is not None and read.seq:
        segment.query_qualities = list(read.qual)
    if isinstance(read.mv, tuple):
        segment.set_tag("mv", array("b" if all(-128 <= move < 128 for move in read.mv) else "i", read.mv))
    elif read.mv is not None:
        segment.set_tag("mv", read.mv)
    return segment


def write_case(folder: Path, case: Case, contig: str = "chr1") -> tuple[Path, Path]:
    """The case as (BAM, FASTA) in a folder."""
    bam = write_bam(folder / "reads.bam", {contig: len(case.ref)}, {contig: list(case.reads)})
    return bam, write_fasta(folder / "ref.fa", {contig: case.ref})


def read_bam(path: Path, contig: str, start: int = 0, end: int | None = None, *, qualities: bool = False) -> list[Read]:
    """Reads of a BAM file that overlap [start, end) of a contig, in file order, with or without their qualities."""
    with pysam.AlignmentFile(str(path)) as bam:
        return [
            Read(
                segment.reference_start,
                segment.cigarstring or "",
                segment.query_sequence or "",
                segment.flag,
                segment.mapping_quality,
                segment.query_name,
                tuple(segment.query_qualities) if qualities and segment.query_qualities is not None else None,
                move_table(segment),
            )
            for segment in bam.fetch(contig, start, end)
        ]


def move_table(segment: pysam.AlignedSegment) -> tuple[int, ...] | int | None:
    """The `mv` tag of a record, as Read has it."""
    moves = segment.get_tag("mv") if segment.has_tag("mv") else None
    return tuple(moves) if isinstance(moves, array) else moves
