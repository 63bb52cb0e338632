"""References to simulate from: a made-up one with the repeats of a real genome (spec/training.md E.2), or a FASTA."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

from clair3.errors import ConfigError, InputError
from clair3.io.atomic import unfinished
from clair3.io.fasta import Contig, read_reference
from clair3.records import BASES, IUPAC_TO_BASE

N = 4
"""Code of an unknown base; the others are indices into BASES."""

LINE = 60
GC_WINDOW = 100_000
CPG_KEPT = 0.25
"""Share of CpG left of what the bases alone would give."""

_CODES = np.full(256, N, np.uint8)
for _letter, _base in IUPAC_TO_BASE.items():
    if _letter != "N":
        _CODES[ord(_letter)] = _CODES[ord(_letter.lower())] = BASES.index(_base)
LETTERS = np.frombuffer(b"ACGTN", np.uint8)


@dataclass(frozen=True)
class GenomeOptions:
    """What a made-up reference is like; repeats and soft masks as shares of its bases (spec/training.md E.2)."""

    gc: tuple[float, float] = (0.35, 0.55)
    runs: float = 0.002
    tracts: float = 0.03
    interspersed: float = 0.30
    duplications: float = 0.03
    unknown: int = 2
    soft_mask: float = 0.05


def encode(text: str) -> np.ndarray:
    """Codes of letters, (n,) uint8: 0..3, 4 for N; an IUPAC code is the base it counts as."""
    return _CODES[np.frombuffer(text.encode("ascii", "replace"), np.uint8)]


def decode(codes: np.ndarray) -> str:
    return LETTERS[codes].tobytes().decode()


def mask_to_intervals(marked: np.ndarray) -> np.ndarray:
    """Convert a mask of positions, (n,) bool, to intervals [start, end): (k, 2) int64, sorted, none touching the
    next."""
    return np.flatnonzero(np.diff(np.r_[False, marked, False].astype(np.int8))).reshape(-1, 2)


def read_contigs(fasta: Path, names: tuple[str, ...] | None = None) -> Iterator[tuple[int, Contig, np.ndarray]]:
    """(number, contig, codes) of the contigs of a FASTA, all or those named, in its order.

    Raises InputError when the FASTA cannot be read, or has no such contig.
    """
    reference = read_reference(fasta)
    known = [contig.name for contig in reference.contigs]
    if names is not None and (missing := [name for name in names if name not in known]):
        raise InputError(f"{fasta}: no contig {', '.join(missing)}; it has {', '.join(known[:5])}")
    with pysam.FastaFile(str(fasta)) as file:
        for number, contig in enumerate(reference.contigs):
            if names is None or contig.name in names:
                yield number, contig, encode(file.fetch(contig.name))


def make_sequence(rng: np.random.Generator, length: int, options: GenomeOptions = GenomeOptions()) -> np.ndarray:
    """A made-up contig: (length,) uint8 codes; repeats are written over a background of windows of different GC."""
    codes = make_background(rng, length, options)
    paste_interspersed(rng, codes, options.interspersed)
    paste_duplications(rng, codes, options.duplications)
    paste_tracts(rng, codes, options.tracts, (1, 7), (5, 41))
    paste_tracts(rng, codes, options.runs, (1, 2), (6, 26))
    for start in rng.integers(0, max(1, length - 200), options.unknown if length > 20_000 else 0):
        codes[start : start + int(rng.integers(50, 200))] = N
    return codes


def make_background(rng: np.random.Generator, length: int, options: GenomeOptions) -> np.ndarray:
    """Bases with a GC that differs from window to window, and few CpG."""
    gc = np.repeat(rng.uniform(*options.gc, length // GC_WINDOW + 1), GC_WINDOW)[:length]
    strong = rng.random(length) < gc
    codes = np.where(strong, 1, 0) + np.where(rng.random(length) < 0.5, 0, np.where(strong, 1, 3))
    codes = codes.astype(np.uint8)
    after = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
    lost = after[rng.random(len(after)) > CPG_KEPT]
    to_tg = rng.random(len(lost)) < 0.5
    codes[lost[to_tg]] = 3
    codes[lost[~to_tg] + 1] = 0
    return codes


def mutate(rng: np.random.Generator, codes: np.ndarray, rate: float) -> np.ndarray:
    """A copy with substitutions."""
    copy = codes.copy()
    at = rng.random(len(copy)) < rate
    copy[at] = (copy[at] + rng.integers(1, 4, int(at.sum()))) % 4
    return copy


def paste_interspersed(rng: np.random.Generator, codes: np.ndarray, share: float) -> None:
    """Copies, 5 to 20 % diverged and on both strands, of a family of 300 and one of 6000 bases, which is mostly cut."""
    families = [rng.integers(0, 4, size).astype(np.uint8) for size in (300, 6000)]
    wanted = share * len(codes)
    while wanted > 0:
        copy = mutate(rng, families[int(rng.random() < 0.1)], rng.uniform(0.05, 0.2))
        copy = copy[: int(rng.integers(100, len(copy) + 1))]
        if len(copy) >= len(codes):
            return
        start = int(rng.integers(0, len(codes) - len(copy)))
        codes[start : start + len(copy)] = copy if rng.random() < 0.5 else 3 - copy[::-1]
        wanted -= len(copy)


def paste_duplications(rng: np.random.Generator, codes: np.ndarray, share: float) -> None:
    """Paste copies of intervals of 2 to 20 kb elsewhere, 1 to 4 % diverged."""
    wanted = share * len(codes)
    while wanted > 0:
        size = int(rng.integers(2000, 20_000))
        if size > wanted * 2 or size * 2 > len(codes):
            return
        source, target = rng.integers(0, len(codes) - size, 2)
        codes[target : target + size] = mutate(rng, codes[source : source + size], rng.uniform(0.01, 0.04))
        wanted -= size


def paste_tracts(rng: np.random.Generator, codes: np.ndarray, share: float, units: tuple, copies: tuple) -> None:
    """Short tandem repeats; short units and few copies are more frequent."""
    wanted = share * len(codes)
    while wanted > 0:
        unit = rng.integers(0, 4, min(int(rng.geometric(0.35)) + units[0] - 1, units[1] - 1)).astype(np.uint8)
        times = min(copies[0] + int(rng.geometric(0.12)), copies[1] - 1)
        tract = np.tile(unit, times)
        if len(tract) >= len(codes):
            return
        start = int(rng.integers(0, len(codes) - len(tract)))
        codes[start : start + len(tract)] = tract
        wanted -= len(tract)


def check_sizes(text: str) -> tuple[tuple[str, int], ...]:
    """The contigs in `NAME=BASES,NAME=BASES`. Raises ConfigError."""
    pairs = [part.partition("=") for part in text.split(",")]
    wrong = [name + equals + size for name, equals, size in pairs if not name or not size.isdigit() or int(size) < 1000]
    if wrong or len({name for name, _, _ in pairs}) < len(pairs):
        raise ConfigError(
            f"--contigs: {text!r} is not NAME=BASES,NAME=BASES with different names and 1000 bases or more"
        )
    return tuple((name, int(size)) for name, _, size in pairs)


def write_fasta(path: Path, contigs: Iterator[tuple[str, str]]) -> None:
    """Write (name, letters) as FASTA with its .fai; the files are complete or absent."""
    with unfinished(path) as partial, open(partial, "w") as file:
        for name, text in contigs:
            file.write(f">{name}\n")
            file.writelines(text[i : i + LINE] + "\n" for i in range(0, len(text), LINE))
    pysam.faidx(str(path))


def soft_mask(rng: np.random.Generator, text: str, share: float = GenomeOptions.soft_mask) -> str:
    """Write some intervals of 300 letters of a text in lower case."""
    starts = rng.integers(0, len(text), int(share * len(text) / 300))
    letters = np.frombuffer(text.encode(), np.uint8).copy()
    for start in starts:
        letters[start : start + 300] |= 32
    return letters.tobytes().decode()
