"""gVCF blocks: how likely the reads make each site reference, and runs of like sites as one line.

The sites of a contig are cut into cells, blocks never cross from one cell to the next. Cells do not follow the run's
chunks: site counts come for intervals of any length, and the lines do not show where an interval ended.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pysam

from clair3.config import GvcfOptions
from clair3.core.gvcf import SITE, BlockLines
from clair3.errors import ClairError
from clair3.io.vcf import VcfRecord, format_record
from clair3.records import haploid_likelihoods

LN_10, LOG_2 = 2.3025, 0.3010
"""As v2.0.2 rounds them; the quality of every site depends on it (spec/calling.md 6.2)."""

MAX_GQ = 50

TABLE_DEPTH = 1023
"""Deepest site that is looked up (8 MB of table); deeper ones are computed each time."""

UNDERFLOW = 1e-317
"""A smaller double has lost the six decimals that logarithms are rounded to. Above a depth of 1050 only."""

CELL_BASES = 5_000_000
"""About the length of a cell: v2.0.2's default chunk, whatever --chunk_size says, which then changes no block."""


@dataclass(frozen=True)
class Cell:
    """Sites [start, end) of a contig, 0-based, that share blocks; start = end is possible."""

    start: int
    end: int


def cells_of_contig(length: int, span: tuple[int, int] | None = None) -> list[Cell]:
    """Cells of a contig of `length` bases: v2.0.2's chunks at its default size (spec/cli.md 5.2, spec/features.md A.4).

    span is what the padded BED intervals of the contig reach over, 0-based [start, end); None without a BED.
    v2.0.2 counts a whole contig from 0 in 1-based positions: its cells lie one base to the left, and the contig's last
    base belongs to none when they are equally long (6.3 makes the last block reach over it).
    """
    count = max(1, -(-length // CELL_BASES))
    start, end = (-1, length - 1) if span is None else span
    size = -(-(end - start) // count)
    bounds = range(start, start + size * count + 1, size) if size else []
    return [Cell(max(a, 0), min(b, length)) for a, b in pairwise(bounds) if a < length]


def cells_of_sites(length: int, sites: np.ndarray) -> list[Cell]:
    """The cells of a contig with known sites, (k,) int64, 0-based, distinct and ascending (spec/cli.md 5.2).

    Each reaches from its first site to before its last; between cells there are no blocks.
    """
    count = max(1, -(-length // CELL_BASES))
    size = max(1, -(-len(sites) // count))
    runs = (sites[at : at + size] for at in range(0, len(sites), size))
    return [Cell(int(run[0]), min(int(run[-1]), length)) for run in runs if run[0] < length]


def site_likelihoods(n_ref: np.ndarray, n_total: np.ndarray, rule: GvcfOptions) -> np.ndarray:
    """Likelihoods and qualities of sites, computed from their counts (spec/calling.md 6.2).

    n_ref    (n,) int   reads that show the reference base
    n_total  (n,) int   all reads counted, at least n_ref
    returns  (n,) SITE
    """
    n_ref, n_alt = n_ref.astype(np.int64), n_total.astype(np.int64) - n_ref
    error, match = math.log(rule.base_err) / LN_10, math.log(1 - rule.base_err) / LN_10
    logs = np.stack([n_ref * match + n_alt * error, -n_total * LOG_2, n_ref * error + n_alt * match])
    logs[:, n_total == 0] = -1
    logs = np.minimum(logs - log_sum(logs), 0)
    scaled = -10 * logs
    sites = np.empty(len(n_ref), SITE)
    sites["pl"] = (scaled - scaled.min(axis=0)).T
    sites["reference"] = logs[0] == logs.max(axis=0)
    sites["gq"] = genotype_quality(logs[0])
    width = max(1, rule.gq_bin_size)
    binned = (sites["gq"].astype(np.int64) - 1) // width * width + 1
    sites["binned_gq"] = np.where(sites["gq"] < 1, 0, binned)
    return sites


def log_sum(logs: np.ndarray) -> np.ndarray:
    """Logarithm of the sum of 10 ** logs over the first axis, (3, n) to (n,) float64, rounded to six decimals.

    v2.0.2 forgets to take out the greatest term first (G1), which with its LN_10 raises qualities: kept, because
    blocks depend on it. Where the sum underflows, v2.0.2 makes any site a perfect reference; there it is taken out.
    """
    powers = 10.0**logs
    total = powers[0] + powers[1] + powers[2]
    lost = total < UNDERFLOW
    pivot = np.where(lost, logs.max(axis=0), 0)
    powers = 10.0 ** (logs[:, lost] - pivot[lost])
    total[lost] = powers[0] + powers[1] + powers[2]
    return np.round(pivot + np.log(total) / LN_10, 6)


def genotype_quality(log_reference: np.ndarray) -> np.ndarray:
    """GQ, (n,) int64, from the logarithm of the probability of 0/0, (n,) float64."""
    wrong = 1 - 10.0**log_reference
    sure = wrong == 0
    quality = np.round(-10 * np.log(np.where(sure, 1, wrong)) / LN_10, 6)
    return np.where(sure, MAX_GQ, np.minimum(quality, MAX_GQ)).astype(np.int64)


@lru_cache(maxsize=16)
def site_table(rule: GvcfOptions, depth: int) -> np.ndarray:
    """site_likelihoods of all n_ref <= n_total <= depth, SITE; row n_total * (n_total + 1) // 2 + n_ref."""
    counts = np.arange(depth + 1)
    n_total = np.repeat(counts, counts + 1)
    return site_likelihoods(np.arange(len(n_total)) - n_total * (n_total + 1) // 2, n_total, rule)


def look_up(n_ref: np.ndarray, n_total: np.ndarray, rule: GvcfOptions) -> tuple[np.ndarray, np.ndarray]:
    """site_likelihoods of many sites, as (n,) int32 rows of a table of (m,) SITE."""
    deepest = int(n_total.max(initial=0))
    limit = min(max(64, 2 ** deepest.bit_length()) - 1, TABLE_DEPTH)  # few tables, made once
    table, depth = site_table(rule, limit), n_total.astype(np.int64)
    rows = (depth * (depth + 1) >> 1) + n_ref
    if deepest > limit:
        deep = depth > limit
        pairs, place = np.unique(depth[deep] << 32 | n_ref[deep], return_inverse=True)
        rows[deep] = len(table) + place
        table = np.concatenate([table, site_likelihoods(pairs & 0xFFFFFFFF, pairs >> 32, rule)])
    return rows.astype(np.int32), table


class Blocks:
    """The block lines of one contig, from site counts that come in order (spec/calling.md 6.1, 6.3).

        blocks = Blocks("chr20", 64_444_167, cells_of_contig(64_444_167), rule)
        for start, letters, n_ref, n_total in site_counts:
            write(blocks.feed(start, letters, n_ref, n_total))
        write(blocks.finish())

    A cell where no read was counted is a single line without genotype; so what a silent cell held so far waits (its
    reference letters) until its first read or its end is seen.
    """

    def __init__(self, contig: str, length: int, cells: Sequence[Cell], rule: GvcfOptions):
        self.contig, self.length, self.cells, self.rule = contig, length, cells, rule
        self.lines = BlockLines(contig, rule.bp_resolution)
        self.index = -1
        self.open_next()

    def open_next(self) -> None:
        """Begin the next cell."""
        self.index += 1
        self.cell = self.cells[self.index] if self.index < len(self.cells) else None
        self.silent = []  # (start, letters) of this cell while no read was seen; then None
        self.expected = self.cell.start if self.cell else self.length

    def feed(self, start: int, letters: bytes, n_ref: np.ndarray, n_total: np.ndarray) -> bytes:
        """Add the site counts of n positions and return the lines that are finished, each with its line end.

        start    0-based position of the first, where the last call ended unless no cell lies between
        letters  n letters of the reference, either case
        n_ref    (n,) int32  reads that show the reference base
        n_total  (n,) int32  all reads counted, at least n_ref (spec/features.md B.8)
        Positions outside the cells are passed over. Raises ClairError when some of a cell are left out or come again.
        """
        end, parts = start + len(letters), []
        while self.cell:
            first, behind = max(start, self.cell.start), min(end, self.cell.end + 1)
            if first < behind:
                part = slice(first - start, behind - start)
                parts.append(self.add(first, letters[part], n_ref[part], n_total[part]))
            if end <= self.cell.end and end < self.length:
                break
            parts.append(self.close())
        return b"".join(parts)

    def finish(self) -> bytes:
        """Return the last lines. Raises ClairError when the site counts did not reach the end of the last cell."""
        parts = []
        while self.cell:
            parts.append(self.close())
        return b"".join(parts)

    def add(self, start: int, letters: bytes, n_ref: np.ndarray, n_total: np.ndarray) -> bytes:
        """Add site counts within the open cell, or one position behind: that one belongs to the next cell, but a read
        there breaks the silence of this one too, as in v2.0.2 (spec/features.md B.8)."""
        if start != self.expected:
            raise self.gap(start)
        self.expected = start + len(letters)
        count = self.cell.end - start
        parts = []
        if self.silent is not None:
            if not n_total.any():
                self.silent.append((start, letters[:count]))
                return b""
            for at, waiting in self.silent:
                nothing = np.zeros(len(waiting), np.int32)
                parts.append(self.write(at, waiting, nothing, nothing))
            self.silent = None
        parts.append(self.write(start, letters[:count], n_ref[:count], n_total[:count]))
        return b"".join(parts)

    def write(self, start: int, letters: bytes, n_ref: np.ndarray, n_total: np.ndarray) -> bytes:
        rows, table = look_up(n_ref, n_total, self.rule)
        return self.lines.add(start, letters, n_total, rows, table)

    def close(self) -> bytes:
        """Open the next cell and return the last line of the one that was open."""
        if self.expected < self.cell.end:
            raise self.gap(self.cell.end)
        if self.silent is not None:
            site = f"{self.contig}\t{self.cell.start + 1}\t.\tN\t<NON_REF>"
            end = min(self.cell.end + 1, self.length)
            text = f"{site}\t0\t.\tEND={end}\tGT:GQ:MIN_DP:PL\t./.:1:0:0,0,0\n".encode()
        else:
            is_last = self.index + 1 == len(self.cells)
            reaches_end = is_last and self.lines.end() == self.length - 1
            text = self.lines.close(self.length if reaches_end else None)
        self.open_next()
        return text

    def gap(self, pos: int) -> ClairError:
        """The error of site counts that do not go on where the last ended."""
        place = f"{self.contig}:{self.expected + 1}"
        return ClairError(f"{place}: gVCF site counts go on at {pos + 1}; a defect of the program, please report it")


WINDOW = 1 << 20
"""Bases of the reference that are kept at hand."""

STRIDE = 256
"""First step, in bytes, of the search for a line: about the next four lines."""

FAR = 990
"""PL of every genotype with <NON_REF>."""


class Variant(NamedTuple):
    """A record of the gVCF as a line with its line end, and the bases [start, end) of its REF, 0-based."""

    start: int
    end: int
    line: bytes


def letter_reader(fasta: pysam.FastaFile, contig: str) -> Callable[[int], str]:
    """A function that gives the upper-case letter at a 0-based position of a contig; meant for ascending positions."""
    start, letters = 0, ""

    def letter(pos: int) -> str:
        nonlocal start, letters
        if not start <= pos < start + len(letters):
            start, letters = pos, fasta.fetch(contig, pos, pos + WINDOW).upper()
        return letters[pos - start]

    return letter


def to_variant(record: VcfRecord) -> Variant | None:
    """A record as it stands in a gVCF, None for a reference call (spec/calling.md 6.5)."""
    alts = record.alt_text
    if alts in (".", record.ref):
        return None
    values = record.sample_values()
    values["AD"] += ",0"
    values["AF"] += ",0.0000"
    if "PL" in values:
        diploid = len(values["GT"]) > 1
        values["PL"] += f",{FAR}" * (alts.count(",") + 3 if diploid else 1)  # with the reference, each ALT and itself
    changed = record._replace(alt_text=f"{alts},<NON_REF>", sample=":".join(values.values()))
    return Variant(record.pos, record.end, f"{format_record(changed)}\n".encode())


def merge_blocks(
    records: Iterable[VcfRecord], blocks: Iterable[bytes], letter: Callable[[int], str], haploid: bool = False
) -> Iterator[bytes]:
    """Yield the gVCF lines of one contig, sorted, in pieces about as long as those of the blocks (spec/calling.md 6.5).

    records  those of the final VCF, ascending; reference calls are left out
    blocks   pieces of text, each whole lines with line ends, as Blocks makes them; ascending, none overlapping
    letter   upper-case reference letter at a 0-based position, as letter_reader makes it
    haploid  genotypes of blocks have one allele
    The sweep that v2.0.2 intends: its lost variants, blocks and half blocks (G2 - G5) are not copied.
    """
    variants = filter(None, map(to_variant, records))
    waiting = next(variants, None)
    free = 0  # variants so far end here
    for text in filter(None, blocks):
        if haploid:
            text = to_haploid(text)
        parts, at, last = [], seek(text, 0, line_end, free + 1), line_end(text, line_start(text, len(text) - 1))
        while waiting and waiting.start < last:
            behind = seek(text, at, line_pos, waiting.start + 1)
            if behind > at and waiting.start > free:
                parts.append(clip(text[at:behind], free, waiting.start, letter))
                at = line_start(text, behind - 1)  # it may go on behind the variant
            parts.append(waiting.line)
            free = max(free, waiting.end)
            at = seek(text, at, line_end, free + 1)
            waiting = next(variants, None)
        parts.append(clip(text[at:], free, last, letter))
        yield b"".join(parts)
    while waiting:
        yield waiting.line
        waiting = next(variants, None)


BLOCK_PL = re.compile(rb":([\d,]+)$", re.MULTILINE)


def to_haploid(lines: bytes) -> bytes:
    """Block lines with genotypes of one allele, and the PL of those."""

    def one_allele(found: re.Match) -> bytes:
        return b":%d,%d" % tuple(haploid_likelihoods([int(value) for value in found[1].split(b",")]))

    return BLOCK_PL.sub(one_allele, lines.replace(b"\t0/0:", b"\t0:").replace(b"\t./.:", b"\t.:"))


def line_start(text: bytes, offset: int) -> int:
    """Where the line that holds this offset begins."""
    return text.rfind(b"\n", 0, offset) + 1


def line_pos(text: bytes, start: int) -> int:
    """POS, 1-based, of the line that begins at an offset."""
    start = text.index(b"\t", start) + 1
    return int(text[start : text.index(b"\t", start)])


def line_end(text: bytes, start: int) -> int:
    """END, 1-based, of the block line that begins at an offset."""
    start = text.index(b"\tEND=", start) + len(b"\tEND=")
    return int(text[start : text.index(b"\t", start)])


def seek(text: bytes, at: int, number: Callable[[bytes, int], int], wanted: int) -> int:
    """Where the first line begins whose number (line_pos or line_end) is at least `wanted`, else len(text); `at`
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
    if line_pos(lines, 0) <= start:
        fields = lines.split(b"\t", 4)
        fields[1], fields[3] = b"%d" % (start + 1), letter(start).encode()
        lines = b"\t".join(fields)
    last = line_start(lines, len(lines) - 1)
    if line_end(lines, last) > end:
        head, key, tail = lines[last:].partition(b"\tEND=")
        lines = b"".join([lines[:last], head, key, b"%d" % end, tail[tail.index(b"\t") :]])
    return lines
