"""Variants among gVCF blocks: each variant takes the place of what the blocks say about its bases.

Blocks pass as text: only lines that a variant touches are parsed, so the cost is per variant and not per line.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pysam

WINDOW = 1 << 20
"""Bases of the reference that are kept at hand."""

STRIDE = 256
"""First step, in bytes, of the search for a line: about the next four lines."""

FAR = 990
"""PL of every genotype with <NON_REF>."""


class Variant(NamedTuple):
    """A row of the gVCF and the bases [start, end) of its REF, 0-based."""

    start: int
    end: int
    row: bytes


def letter_reader(fasta: pysam.FastaFile, contig: str) -> Callable[[int], str]:
    """A function that gives the upper-case letter at a 0-based position of a contig; meant for ascending positions."""
    start, letters = 0, ""

    def letter(pos: int) -> str:
        nonlocal start, letters
        if not start <= pos < start + len(letters):
            start, letters = pos, fasta.fetch(contig, pos, pos + WINDOW).upper()
        return letters[pos - start]

    return letter


def variant(row: str) -> Variant | None:
    """A VCF row as it stands in a gVCF, None for a reference call (spec/calling.md 6.5)."""
    fields = row.split("\t")
    pos, ref, alts = int(fields[1]) - 1, fields[3], fields[4]
    if alts in (".", ref):
        return None
    values = dict(zip(fields[8].split(":"), fields[9].split(":"), strict=True))
    values["AD"] += ",0"
    values["AF"] += ",0.0000"
    if "PL" in values:
        values["PL"] += f",{FAR}" * (alts.count(",") + 3)  # <NON_REF> with the reference, each ALT and itself
    fields[4], fields[9] = f"{alts},<NON_REF>", ":".join(values.values())
    return Variant(pos, pos + len(ref), ("\t".join(fields) + "\n").encode())


def merge(
    rows: Iterable[str], blocks: Iterable[bytes], letter: Callable[[int], str], haploid: bool = False
) -> Iterator[bytes]:
    """The gVCF lines of one contig, sorted, in pieces about as long as those of the blocks (spec/calling.md 6.5).

    rows     lines of the final VCF without line end, ascending; reference calls are left out
    blocks   pieces of text, each whole lines with line ends, as Blocks makes them; ascending, none overlapping
    letter   upper-case reference letter at a 0-based position, as letter_reader makes it
    haploid  genotypes of blocks have one allele
    The sweep that v2.0.2 intends: its lost variants, blocks and half blocks (G2 - G5) are not copied.
    """
    variants = filter(None, map(variant, rows))
    waiting = next(variants, None)
    free = 0  # variants so far end here
    for text in filter(None, blocks):
        if haploid:
            text = text.replace(b"\t0/0:", b"\t0:").replace(b"\t./.:", b"\t.:")
        parts, at, last = [], seek(text, 0, end_of, free + 1), end_of(text, line_start(text, len(text) - 1))
        while waiting and waiting.start < last:
            behind = seek(text, at, pos_of, waiting.start + 1)
            if behind > at and waiting.start > free:
                parts.append(clip(text[at:behind], free, waiting.start, letter))
                at = line_start(text, behind - 1)  # it may go on behind the variant
            parts.append(waiting.row)
            free = max(free, waiting.end)
            at = seek(text, at, end_of, free + 1)
            waiting = next(variants, None)
        parts.append(clip(text[at:], free, last, letter))
        yield b"".join(parts)
    while waiting:
        yield waiting.row
        waiting = next(variants, None)


def line_start(text: bytes, offset: int) -> int:
    """Where the line that holds this offset begins."""
    return text.rfind(b"\n", 0, offset) + 1


def pos_of(text: bytes, start: int) -> int:
    """POS, 1-based, of the line that begins at an offset."""
    start = text.index(b"\t", start) + 1
    return int(text[start : text.index(b"\t", start)])


def end_of(text: bytes, start: int) -> int:
    """END, 1-based, of the block line that begins at an offset."""
    start = text.index(b"\tEND=", start) + len(b"\tEND=")
    return int(text[start : text.index(b"\t", start)])


def seek(text: bytes, at: int, number: Callable[[bytes, int], int], wanted: int) -> int:
    """Where the first line begins whose number (pos_of or end_of) is at least `wanted`, len(text) when none is; `at`
    is the begin of a line to start from. Steps grow until one is too far, then the line is between two probes."""
    behind, step = len(text), 0
    while at < behind:
        start = line_start(text, min(at + step, (at + behind) // 2))
        if number(text, start) < wanted:
            at, step = text.index(b"\n", start) + 1, 2 * step + STRIDE
        else:
            behind = start
    return at


def clip(lines: bytes, start: int, end: int, letter: Callable[[int], str]) -> bytes:
    """Block lines without what they say about bases before start and from end on, 0-based.

    Every line has a base in [start, end), so only the first and the last can be cut; the rest passes as it is.
    """
    if not lines:
        return lines
    if pos_of(lines, 0) <= start:
        fields = lines.split(b"\t", 4)
        fields[1], fields[3] = b"%d" % (start + 1), letter(start).encode()
        lines = b"\t".join(fields)
    last = line_start(lines, len(lines) - 1)
    if end_of(lines, last) > end:
        head, found, tail = lines[last:].partition(b"\tEND=")
        lines = b"".join([lines[:last], head, found, b"%d" % end, tail[tail.index(b"\t") :]])
    return lines
