"""How sure an aligner would be of the place of a read: by the places of the reference that occur once."""

import numpy as np

from preprocess.simulate.genome import N

KMER = 24


def unique_places(codes: np.ndarray) -> np.ndarray:
    """Number of 24-mers before each base that occur once on the contig, on either strand: (n + 1,) int64.

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


def mapping_quality(rng, unique: np.ndarray, start: np.ndarray, end: np.ndarray, short: bool) -> np.ndarray:
    """MAPQ of alignments to [start, end), (k,) int64 each: 60 where enough of them is unique, 0 where nothing is.

    A few are lower without a reason, as in real files. returns (k,) int32
    """
    inner = np.maximum(end - KMER + 1, start)
    found = unique[inner] - unique[start]
    needed = 20 if short else 60
    quality = np.minimum(60, found * 60 // needed)
    odd = rng.random(len(quality)) < (0.03 if short else 0.01)
    return np.where(odd, np.minimum(quality, rng.integers(1, 60, len(quality))), quality).astype(np.int32)
