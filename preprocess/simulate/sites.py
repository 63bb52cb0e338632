"""Bases and runs of a copy that err more than others like them, the same in all reads of a run of the sequencer.

They hang on the 16 bases around, so that both copies of a contig have the same ones but near variants.
"""

from dataclasses import replace

import numpy as np

from clair3.core.simulate import FACTORS, Haplotype
from preprocess.simulate.profile import Profile

AROUND = 16
_ODD = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)


def surroundings(bases: np.ndarray) -> np.ndarray:
    """A number of 32 bits for the 16 bases around each base, (n,) uint64; as if A stood beyond the ends."""
    padded = np.pad(bases & 3, (AROUND // 2, AROUND // 2)).astype(np.uint64)
    code = np.zeros(len(bases), np.uint64)
    for i in range(AROUND):
        code = code << np.uint64(2) | padded[i : i + len(bases)]
    return code


def drawn(code: np.ndarray, seed: int, what: int) -> np.ndarray:
    """A number in [0, 1) for each code, (n,) float64, another one for each seed and purpose."""
    salt = np.random.default_rng([seed, 9, what]).integers(0, 2**63, 1, np.uint64)
    mixed = (code ^ salt) * _ODD[0]
    for odd in _ODD[1:]:
        mixed = (mixed ^ mixed >> np.uint64(31)) * odd
    return (mixed >> np.uint64(40)).astype(np.float64) * 2.0**-24


def with_sites(copy: Haplotype, profile: Profile, seed: int) -> Haplotype:
    """The copy with its sites and classes of runs, as the profile has them."""
    code = surroundings(copy.bases)
    sites = np.zeros((2, len(code)), np.uint8)
    if profile.sites:
        upper = np.cumsum([share for share, _ in profile.sites])
        for strand in (0, 1):
            place = drawn(code, seed, strand)
            of = np.flatnonzero(place < upper[-1])
            kind = np.searchsorted(upper, place[of], side="right") + 1
            other = (copy.bases[of] + 1 + (drawn(code[of], seed, 2 + strand) * 3).astype(np.uint8)) % 4
            sites[strand, of] = 4 * kind + other
    runs = (drawn(code, seed, 4) * FACTORS).astype(np.uint8)
    return replace(copy, sites=sites, run_class=runs)
