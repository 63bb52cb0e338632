"""The alleles that reads show at the candidate sites (spec/training.md A.5.1, A.5.2)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pysam

from clair3.errors import InputError
from clair3.io.text import is_number, read_rows
from clair3.records import BASES

REFERENCE, GAP = "R", "*"
KINDS = ("X", "I", "D", REFERENCE, GAP)
HAPLOTYPES = ("0", "1", "2")

Observation = tuple[str, int]
"""A read and its haplotype: 1, 2, or 0 when it is not known."""


@dataclass(frozen=True)
class Site:
    """A candidate site: which reads show which allele.

    pos      0-based
    depth    reads over it, those with a gap included
    alleles  allele -> its reads, in the order they were met: R (the reference and no indel), X and another base, I with
             the base and what is inserted behind it, D and the reference bases deleted behind it, * (a gap)
    """

    pos: int
    depth: int
    alleles: dict[str, Sequence[Observation]] = field(repr=False)

    @cached_property
    def frequent(self) -> list[tuple[str, Sequence[Observation]]]:
        """Alleles but gaps, the most frequent first; equal ones stay in order."""
        shown = [item for item in self.alleles.items() if item[0] != GAP]
        return sorted(shown, key=lambda item: -len(item[1]))


def find_details_files(name: Path) -> list[Path]:
    """The file of this name, or all files whose names start with it. Raises InputError when there is none."""
    if name.is_file():
        return [name]
    files = sorted(path for path in name.parent.glob(f"{name.name}*") if path.is_file()) if name.name else []
    if not files:
        raise InputError(f"{name}: no such file, nor files that start so; expected candidate details")
    return files


def read_details(paths: Iterable[Path], contig: str | None = None) -> Iterator[Site]:
    """Read the sites of files of candidate details, plain or compressed, in file order; of one contig, or of all with
    None.

    Raises InputError naming the row that is not `contig position<TAB>depth<TAB>{"allele": "read_h ..."}`.
    """
    for path in paths:
        for number, line in read_rows(path):
            if not line:
                continue
            try:
                place, depth, text = line.split("\t")
                name, pos = place.split(" ")
                if contig in (None, name):
                    alleles = {allele: observations(reads) for allele, reads in json.loads(text).items()}
                    yield site(pos, depth, alleles)
            except (ValueError, AttributeError):
                raise InputError(f"{path}: row {number}, {line[:60]!r}, is not one of candidate details") from None


def observations(text: str) -> list[Observation]:
    """Reads and haplotypes of `name_h name_h`. Raises ValueError for another haplotype than 0, 1, 2."""
    parts = [word.rpartition("_") for word in text.split(" ") if word]
    if not all(name and haplotype in HAPLOTYPES for name, _, haplotype in parts):
        raise ValueError(text)
    return [(name, int(haplotype)) for name, _, haplotype in parts]


def site(pos: str, depth: str, alleles: dict[str, list[Observation]]) -> Site:
    numbers = is_number(pos) and is_number(depth) and int(pos) and int(depth)
    if not numbers or not all(allele[:1] in KINDS for allele in alleles):
        raise ValueError(pos)
    return Site(int(pos) - 1, int(depth), alleles)


def format_details(contig: str, site: Site) -> str:
    """Format the line of a site in a file of candidate details."""
    reads = {allele: " ".join(f"{name}_{h}" for name, h in seen) for allele, seen in site.alleles.items()}
    return f"{contig} {site.pos + 1}\t{site.depth}\t{json.dumps(reads)}"


EXCLUDED_FLAGS = 2316
"""Unmapped, mate unmapped, secondary and supplementary."""

MIN_MAPQ = 5
MIN_DEPTH = 2
SNP_MIN_AF = 0.08
INDEL_MIN_AF = 0.15

PIECE = 200_000
"""Bases whose reads are held at a time."""

DELETED, NOTHING = 4, 5
"""Codes of a column where a read has a gap, and where it says nothing (a skip, or a letter that is no base)."""

_CODES = np.full(256, NOTHING, np.uint8)
for _code, _base in enumerate(BASES):
    _CODES[ord(_base)] = _code

MATCH, INSERTION, DELETION, SKIP, SOFT_CLIP, PADDING, EQUAL, DIFFERENT = 0, 1, 2, 3, 4, 6, 7, 8
READ_OPERATIONS = np.isin(np.arange(16), (MATCH, INSERTION, SOFT_CLIP, EQUAL, DIFFERENT))
REFERENCE_OPERATIONS = np.isin(np.arange(16), (MATCH, DELETION, SKIP, EQUAL, DIFFERENT))
BASE_OPERATIONS = np.isin(np.arange(16), (MATCH, EQUAL, DIFFERENT))


@dataclass(frozen=True)
class AlignedRead:
    """What a read says at the reference positions from `start` on.

    codes   (n,) uint8   index into BASES, DELETED or NOTHING
    indels  0-based position of the base before an indel -> I or D, and the bases inserted or the number deleted
    """

    name: str
    haplotype: int
    start: int
    codes: np.ndarray
    indels: dict[int, tuple[str, str | int]]


def aligned_read(read: pysam.AlignedSegment) -> AlignedRead | None:
    """An alignment as the sites see it; None when it does not count: flags, mapping quality, no sequence.

    Pairs that are not proper do not count either, as in the features of Illumina reads (spec/features.md A.2).
    """
    orphan = read.is_paired and not read.is_proper_pair
    empty = not read.query_length or not read.cigartuples
    if read.flag & EXCLUDED_FLAGS or read.mapping_quality < MIN_MAPQ or orphan or empty:
        return None
    haplotype = read.get_tag("HP") if read.has_tag("HP") else 0
    operations, lengths = np.array([pair for pair in read.cigartuples if pair[0] != PADDING], np.int64).T
    in_read = np.where(READ_OPERATIONS[operations], lengths, 0)
    in_reference = np.where(REFERENCE_OPERATIONS[operations], lengths, 0)
    read_start, reference_start = np.cumsum(in_read) - in_read, np.cumsum(in_reference) - in_reference
    columns = np.repeat(np.arange(len(operations)), in_reference)
    letters = _CODES[np.frombuffer(read.query_sequence.encode(), np.uint8)]
    index = np.arange(len(columns)) + (read_start - reference_start)[columns]
    codes = letters[np.minimum(index, len(letters) - 1)]
    codes[operations[columns] == DELETION] = DELETED
    codes[operations[columns] == SKIP] = NOTHING
    indels = {}
    after_base = np.flatnonzero(BASE_OPERATIONS[operations[:-1]]) + 1
    for k in after_base[np.isin(operations[after_base], (INSERTION, DELETION))].tolist():
        anchor, first = int(reference_start[k]) - 1, read_start[k]
        if codes[anchor] == NOTHING:
            continue
        indel = ("D", int(lengths[k]))
        if operations[k] == INSERTION:
            indel = ("I", read.query_sequence[first : first + lengths[k]])
        indels[read.reference_start + anchor] = indel
    return AlignedRead(read.query_name, haplotype if haplotype in (1, 2) else 0, read.reference_start, codes, indels)


def iter_sites(alignments: pysam.AlignmentFile, contig: str, sequence: str, start: int, end: int) -> Iterator[Site]:
    """Candidate sites of [start, end), 0-based, ascending, with the alleles of all reads there.

    sequence is the whole contig, upper case. Raises InputError when the alignments cannot be read to their end.
    """
    for first in range(start, end, PIECE):
        last = min(first + PIECE, end)
        try:
            reads = [aligned_read(read) for read in alignments.fetch(contig, first, last)]
        except (OSError, ValueError) as error:
            raise InputError(f"{alignments.filename.decode()} {contig}:{first + 1}-{last}: {error}") from None
        yield from collect_sites([read for read in reads if read is not None], sequence, first, last)


def collect_sites(reads: list[AlignedRead], sequence: str, start: int, end: int) -> Iterator[Site]:
    """Candidate sites of [start, end) with what these reads show."""
    counts = np.zeros((len(BASES) + 2, end - start), np.int32)
    inserted, deleted = counts[-2:]
    for read in reads:
        low, high = max(start, read.start), min(end, read.start + len(read.codes))
        codes = read.codes[low - read.start : high - read.start]
        for code in range(len(BASES)):
            counts[code, low - start : high - start] += codes == code
        for pos, (kind, _) in read.indels.items():
            if start <= pos < end:
                (inserted if kind == "I" else deleted)[pos - start] += 1
    letters = np.frombuffer(sequence[start:end].encode(), np.uint8)
    chosen = np.flatnonzero(is_candidate(counts, _CODES[letters])) + start
    shown: list[dict[str, list]] = [{} for _ in chosen]
    depth = np.zeros(len(chosen), np.int64)
    for read in reads:
        low, high = np.searchsorted(chosen, (read.start, read.start + len(read.codes)))
        codes = read.codes[chosen[low:high] - read.start]
        depth[low:high] += codes != NOTHING
        observation = (read.name, read.haplotype)
        for i, pos, code in zip(range(low, high), chosen[low:high].tolist(), codes.tolist(), strict=True):
            if code != NOTHING:
                shown[i].setdefault(allele(read, pos, code, sequence), []).append(observation)
    for pos, reads_over, alleles in zip(chosen.tolist(), depth.tolist(), shown, strict=True):
        yield Site(pos, reads_over, alleles)


def allele(read: AlignedRead, pos: int, code: int, sequence: str) -> str:
    """The name of what a read shows at a position where its code is known."""
    if code == DELETED:
        return GAP
    if (indel := read.indels.get(pos)) is not None:
        kind, bases = indel
        return f"I{BASES[code]}{bases}" if kind == "I" else f"D{sequence[pos + 1 : pos + 1 + bases]}"
    return REFERENCE if BASES[code] == sequence[pos] else f"X{BASES[code]}"


def is_candidate(counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Which columns look like variants.

    counts     (6, n)  int32  reads with A, C, G, T, and of these with an insertion or deletion behind
    reference  (n,)    uint8  index into BASES, NOTHING for other letters
    returns    (n,)    bool   depth enough, and the reference base not the most frequent class, or another one frequent
    """
    bases, (inserted, deleted) = counts[: len(BASES)], counts[len(BASES) :]
    depth = bases.sum(axis=0)
    is_reference = np.arange(len(BASES))[:, None] == reference
    agree = np.where(is_reference, bases, 0).sum(axis=0)
    other = np.where(is_reference, 0, bases).max(axis=0)
    indel = np.maximum(inserted, deleted)
    frequent = (other >= SNP_MIN_AF * depth) | (indel >= INDEL_MIN_AF * depth) | (agree < np.maximum(other, indel))
    return (depth >= MIN_DEPTH) & (reference < NOTHING) & frequent
