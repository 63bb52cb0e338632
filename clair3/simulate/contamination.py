"""Contamination by another sample, and reads of paralogs that an aligner maps to the wrong place
(spec/training.md E.1, E.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clair3.core.simulate import SEGMENT, Haplotype
from clair3.errors import check_range
from clair3.platforms import PLATFORMS
from clair3.simulate.genome import N
from clair3.simulate.haplotypes import make_haplotype
from clair3.simulate.variants import Variant, VariantOptions, VariantSampler

KMER = 24


def count_unique_kmers(codes: np.ndarray) -> np.ndarray:
    """Count the 24-mers before each base that occur once on the contig, on either strand: (n + 1,) int64.

    codes  (n,) uint8  0..3, 4: N; a 24-mer with N occurs nowhere
    """
    count = len(codes) - KMER + 1
    if count < 1:
        return np.zeros(len(codes) + 1, np.int64)
    forward, backward = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    known = np.ones(count, bool)
    for i in range(KMER):
        base = codes[i : i + count]
        known &= base != N
        letter = (base & 3).astype(np.uint64)
        forward = forward << np.uint64(2) | letter
        backward |= (np.uint64(3) - letter) << np.uint64(2 * i)
    kmer = np.minimum(forward, backward)
    at = np.flatnonzero(known)
    order = at[np.argsort(kmer[at], kind="stable")]
    change = np.r_[True, kmer[order][1:] != kmer[order][:-1], True]
    unique = np.zeros(len(codes), np.int64)
    unique[order] = change[1:] & change[:-1]
    return np.r_[0, np.cumsum(unique)]


def draw_mapping_quality(rng, unique: np.ndarray, start: np.ndarray, end: np.ndarray, short: bool) -> np.ndarray:
    """Draw the MAPQ of alignments to [start, end), (k,) int64 each: 60 where enough 24-mers are unique, 0 without any.

    A few are lower without a reason, as in real files. returns (k,) int32
    """
    inner = np.maximum(end - KMER + 1, start)
    alone = unique[inner] - unique[start]
    needed = 20 if short else 60
    quality = np.minimum(60, alone * 60 // needed)
    odd = rng.random(len(quality)) < (0.03 if short else 0.01)
    return np.where(odd, np.minimum(quality, rng.integers(1, 60, len(quality))), quality).astype(np.int32)


SHARED = 0.4
"""Share of the sample's variants that a haplotype of another person has, too."""

OWN = VariantOptions(density=(0.001, 0.001), structural=0)
DIVERGED = VariantOptions(density=(0.01, 0.04), indels=0.1, heterozygous=0, clustered=0, structural=0)

TRIES = 20
"""Windows drawn for one that is chosen, by how much of it occurs elsewhere on the contig."""

LONGEST_CLIP = 5000


@dataclass(frozen=True)
class Conditions:
    """The conditions of a sequencing run beside its error profile; shares of reads.

    balance        of the second copy
    reverse        on the reverse strand
    gc             how strongly coverage follows GC
    contamination  of another sample
    mismapped      reads of paralogs, beyond the depth asked for (option --misplaced)
    adapters       pairs that are longer than their fragment
    """

    balance: float = 0.5
    reverse: float = 0.5
    gc: float = 0.0
    contamination: float = 0.0
    mismapped: float = 0.0
    adapters: float = 0.0

    def __post_init__(self):
        check_range("contamination", self.contamination, 0, 0.5)
        check_range("misplaced", self.mismapped, 0, 0.5)
        check_range("adapters", self.adapters, 0, 1)


def draw_conditions(rng, platform: str, given: dict[str, float | None]) -> Conditions:
    """Draw the conditions of a run from the ranges of spec/training.md E.3, but for those given.

    More of short reads are mismapped. Raises ConfigError.
    """
    short = PLATFORMS[platform].short_reads
    drawn = {
        "balance": float(rng.beta(40, 40)),
        "reverse": float(rng.beta(20, 20)),
        "gc": float(rng.uniform(2, 8) if short else rng.uniform(0, 3)),
        "contamination": float(rng.uniform(0, 0.005)),
        "mismapped": float(rng.uniform(0, 0.02 if short else 0.005)),
        "adapters": 0.002 if short else 0.0,
    }
    return Conditions(**drawn | {name: value for name, value in given.items() if value is not None})


def draw_contaminant(rng, codes: np.ndarray, variants: Sequence[Variant]) -> Haplotype:
    """Draw a haplotype of a contaminating sample: some of this sample's variants, and as many of its own."""
    sampler = VariantSampler(rng, codes, OWN, variants)
    sampler.draw()
    own = {variant.pos for variant in variants}
    taken = [variant for variant in sampler.variants if variant.pos not in own or rng.random() < SHARED]
    everywhere = [Variant(one.pos, one.ref, one.alts, (1, 1)) for one in taken]
    return make_haplotype(codes, everywhere, 0)


@dataclass(frozen=True, eq=False)
class ParalogWindows:
    """Windows of a contig to which reads of a paralog are mapped, too.

    start, end  (k,) int64  on the reference
    depth       (k,) float  of the mismapped reads, as a share of the run's
    quality     (k,) float  mean MAPQ of the mismapped reads
    """

    start: np.ndarray
    end: np.ndarray
    depth: np.ndarray
    quality: np.ndarray


def draw_paralog_windows(rng, codes: np.ndarray, unique: np.ndarray, share: float, short: bool) -> ParalogWindows:
    """Draw the windows of a contig, codes (n,) uint8, that have a share of all reads as mismapped reads; unique is that
    of count_unique_kmers.

    Two of three paralogs are in the reference, elsewhere, so that an aligner is unsure; the third is not.
    """
    length, rows, known = len(codes), [], np.r_[0, np.cumsum(codes != N)]
    wanted = share * length
    while wanted > 0 and length > 2000:
        sizes = np.exp(rng.uniform(np.log(500), np.log(min(20_000, length / 2)), TRIES)).astype(np.int64)
        starts = (rng.random(TRIES) * (length - sizes)).astype(np.int64)
        alone = (unique[np.maximum(starts + sizes - KMER, starts)] - unique[starts]) / sizes
        weight = np.cumsum((1.02 - np.minimum(alone, 1)) * (known[starts + sizes] - known[starts] == sizes))
        i = int(np.searchsorted(weight, rng.random() * weight[-1]))
        depth, elsewhere = rng.uniform(0.1, 1), rng.random() < 2 / 3
        quality = rng.uniform(2, 30 if short else 50) if elsewhere else 60
        if rng.random() * depth * sizes[i] < wanted:  # on average as many as wanted, also on a small contig
            rows.append((starts[i], starts[i] + sizes[i], depth, quality))
        wanted -= depth * sizes[i]
    start, end, depth, quality = np.array(rows, float).reshape(-1, 4).T
    return ParalogWindows(start.astype(np.int64), end.astype(np.int64), depth, quality)


def draw_paralog(rng, codes: np.ndarray, windows: ParalogWindows) -> Haplotype:
    """Draw a haplotype that differs in the windows as a paralog does, by 1 to 4 % of the bases."""
    sampler = VariantSampler(rng, codes, DIVERGED)
    for start, end in zip(windows.start.tolist(), windows.end.tolist(), strict=True):
        density = float(np.exp(rng.uniform(*np.log(DIVERGED.density))))
        sampler.draw_block(start, end, int(rng.poisson(density * (end - start))))
    return make_haplotype(codes, sorted(sampler.variants), 0)


def draw_mismapped_segments(
    rng, copy: Haplotype, number: int, windows: ParalogWindows, lengths, depth: float, paired: bool
):
    """Draw the segments of the mismapped reads of a contig, and the whole lengths of these reads, (k,) each.

    copy, number  the paralog, and its number among the haplotypes
    lengths       a function that draws k read lengths; of pairs, fragments
    What of a read is outside its window is clipped; of pairs only those within count.
    """
    rows, whole = [np.zeros(0, SEGMENT)], [np.zeros(0, np.int64)]
    where = np.searchsorted(copy.block_pos, np.stack([windows.start, windows.end]), side="right") - 1
    into = np.minimum(np.stack([windows.start, windows.end]) - copy.block_pos[where], copy.block_length[where])
    edges = (copy.block_start[where] + into).T.tolist()
    for (low, high), share, quality in zip(edges, windows.depth, windows.quality, strict=True):
        sizes = lengths(1000)
        reads = int(rng.poisson(depth * share * (high - low) / sizes.mean()))
        sizes = sizes[rng.integers(0, len(sizes), reads)]
        anchor = low + (rng.random(reads) * (high - low)).astype(np.int64)
        start = anchor - (rng.random(reads) * sizes).astype(np.int64)
        row = np.zeros(reads, SEGMENT)
        first, last = np.maximum(start, low), np.minimum(start + sizes, high)
        row["start"], row["length"], row["haplotype"] = first, last - first, number
        if not paired:
            row["head"], row["tail"] = (
                np.minimum(first - start, LONGEST_CLIP),
                np.minimum(start + sizes - last, LONGEST_CLIP),
            )
        row["reverse"] = rng.random(reads) < 0.5
        row["mapq"] = np.clip(rng.normal(quality, 8 if quality < 60 else 0, reads), 1, 60).astype(np.int32)
        kept = are_known(copy, first, last) & ((row["length"] == sizes) | (not paired))
        rows.append(row[kept])
        whole.append(sizes[kept])
    return np.concatenate(rows), np.concatenate(whole)


def are_known(copy: Haplotype, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return whether intervals of a copy, (k,) int64 each, hold no N and lie within it: (k,) bool."""
    unknown = np.r_[0, np.cumsum(copy.bases == N)]
    inside = (start >= 0) & (end <= len(copy.bases)) & (start < end)
    start, end = np.clip(start, 0, len(copy.bases)), np.clip(end, 0, len(copy.bases))
    return inside & (unknown[end] == unknown[start])
