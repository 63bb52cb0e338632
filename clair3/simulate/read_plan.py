"""The plan of simulated reads: the interval of which copy each comes from, their order, and their errors
(spec/training.md E.3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clair3.core.simulate import SEGMENT, Haplotype
from clair3.errors import ConfigError, check_range
from clair3.platforms import PLATFORMS
from clair3.simulate.contamination import (
    Conditions,
    ParalogWindows,
    are_known,
    count_unique_kmers,
    draw_conditions,
    draw_contaminant,
    draw_mapping_quality,
    draw_mismapped_segments,
    draw_paralog,
    draw_paralog_windows,
)
from clair3.simulate.genome import N, mask_to_intervals
from clair3.simulate.haplotypes import make_haplotype, map_to_reference
from clair3.simulate.profile import Profile, read_level
from clair3.simulate.variants import Variant

BATCH = 2_000_000
"""Bases of reads that are made in one go."""

WINDOW = 1000
"""Bases over which coverage follows GC."""

SHORTEST = 30
LONGEST_READ = 200_000


@dataclass(frozen=True)
class ReadOptions:
    """How reads are drawn; numbers without unit are shares of reads.

    depth           mean number of reads over a base
    error_free      no errors, no junk: the haplotypes as they are
    tagged, wrong   reads with HP and PS tags, and with a wrong one; tagged 0: no tags
    phase_blocks    bases of phase sets, log-uniform between the two
    moves           move tables (tag mv)
    contamination, mismapped, adapters   see contamination.Conditions; None: drawn for the run
    """

    depth: float = 30.0
    error_free: bool = False
    tagged: float = 0.0
    wrong: float = 0.01
    phase_blocks: tuple[int, int] = (100_000, 5_000_000)
    moves: bool = False
    sample: str = "SAMPLE"
    contamination: float | None = None
    mismapped: float | None = None
    adapters: float | None = None

    def __post_init__(self):
        if not 0 < self.depth <= 10_000:
            raise ConfigError(f"--depth {self.depth:g}: expected a number of reads above 0, at most 10000")
        check_range("tagged", self.tagged, 0, 1)
        check_range("wrong_tags", self.wrong, 0, 1)
        if not self.sample.isprintable() or not self.sample.strip():
            raise ConfigError(f"--sample {self.sample!r}: expected a name")

    def conditions(self, rng: np.random.Generator, platform: str) -> Conditions:
        """Draw the conditions of a run; without errors there is no contamination and no mismapped read. Raises
        ConfigError."""
        names = ("contamination", "mismapped", "adapters")
        given = {name: 0.0 if self.error_free else getattr(self, name) for name in names}
        return draw_conditions(rng, platform, given)


@dataclass(frozen=True, eq=False)
class Plan:
    """The reads of a contig, in order of position: batches of segments, and the least position in each."""

    batches: list[np.ndarray]
    least: list[int]


def coverage_weights(copy: Haplotype, strength: float) -> np.ndarray:
    """Compute the relative coverage of windows of WINDOW bases of a copy, (k,) float: less where GC is extreme, 0 for
    N."""
    size = -(-len(copy.bases) // WINDOW) * WINDOW
    padded = np.full(size, N, np.uint8)
    padded[: len(copy.bases)] = copy.bases
    windows = padded.reshape(-1, WINDOW)
    known = (windows != N).sum(axis=1)
    gc = ((windows == 1) | (windows == 2)).sum(axis=1) / np.maximum(known, 1)
    return known * np.exp(-strength * (gc - 0.42) ** 2)


def place_reads(rng, copy: Haplotype, lengths: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw start and length on a copy of a read of each of the lengths, (k,) int64 each: cut at N and at contig ends.

    A base of each read is drawn first, and then where in the read it is, so that ends are covered like the middle.
    """
    weight = np.cumsum(coverage_weights(copy, strength))
    window = np.searchsorted(weight, rng.random(len(lengths)) * weight[-1], side="right")
    anchor = np.minimum(window * WINDOW + rng.integers(0, WINDOW, len(lengths)), len(copy.bases) - 1)
    start = anchor - (rng.random(len(lengths)) * lengths).astype(np.int64)
    first, behind = mask_to_intervals(copy.bases != N).T
    of = np.searchsorted(first, anchor, side="right") - 1
    inside = (of >= 0) & (anchor < behind[of])
    low = np.maximum(start, first[of])
    high = np.minimum(start + lengths, behind[of])
    return low, np.where(inside, high - low, 0)


def draw_lengths(rng, profile: Profile, number: int) -> np.ndarray:
    """Draw read lengths by the profile's quantiles, (number,) int64."""
    at = np.linspace(0, 1, len(profile.lengths))
    return np.clip(np.interp(rng.random(number), at, profile.lengths), SHORTEST, LONGEST_READ).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ReadSources:
    """The haplotypes that the reads of a contig come from: its two copies, then those of contamination and paralogs.

    unique   contamination.count_unique_kmers of the reference
    windows  where reads of the last haplotype lie; None: nowhere
    """

    copies: list[Haplotype]
    unique: np.ndarray
    windows: ParalogWindows | None = None


def make_sources(
    rng, codes: np.ndarray, variants: list[Variant], conditions: Conditions, where: str, short: bool
) -> ReadSources:
    """Make the copies that a truth describes, and the haplotypes of contamination and paralogs by the conditions."""
    copies, unique, windows = (
        [make_haplotype(codes, variants, copy, where) for copy in (0, 1)],
        count_unique_kmers(codes),
        None,
    )
    if conditions.contamination:
        copies.append(draw_contaminant(rng, codes, variants))
    if conditions.mismapped:
        windows = draw_paralog_windows(rng, codes, unique, conditions.mismapped, short)
        copies.append(draw_paralog(rng, codes, windows))
    return ReadSources(copies, unique, windows)


def draw_segments(
    rng, sources: ReadSources, profile: Profile, options: ReadOptions, conditions: Conditions
) -> np.ndarray:
    """Draw the reads of a contig without order and tags: SEGMENT rows, those of a read together; mapq -1: not yet
    known."""
    bases = sum(int((copy.bases != N).sum()) for copy in sources.copies[:2]) / 2
    per_read = profile.mean_length * (2 if profile.insert else 1)
    number = int(rng.poisson(options.depth * bases / per_read))
    lengths = draw_lengths(rng, profile, number)
    spans = draw_spans(rng, profile, lengths, conditions.adapters)
    rows = np.zeros(number, SEGMENT)
    rows["haplotype"] = rng.random(number) < conditions.balance
    rows["haplotype"][rng.random(number) < conditions.contamination] = 2
    rows["reverse"] = rng.random(number) < conditions.reverse
    rows["mapq"] = -1
    for i, copy in enumerate(sources.copies):
        of = rows["haplotype"] == i
        rows["start"][of], rows["length"][of] = place_reads(rng, copy, spans[of], conditions.gc)
    rows["adapter"] = np.where(rows["length"] == spans, np.maximum(lengths - spans, 0), 0)
    draw_errors(rng, rows, profile, options)
    if sources.windows is not None:
        more, whole = draw_mismapped_segments(
            rng, sources.copies[-1], len(sources.copies) - 1, sources.windows,
            lambda k: draw_spans(rng, profile, draw_lengths(rng, profile, k), 0), options.depth, bool(profile.insert),
        )  # fmt: skip
        draw_errors(rng, more, profile, options)
        rows = np.concatenate([rows, more])
        lengths = np.concatenate([lengths, draw_lengths(rng, profile, len(more)) if profile.insert else whole])
    kept = rows["length"] >= SHORTEST
    rows, lengths = rows[kept], lengths[kept]
    rows["read"] = np.arange(len(rows))
    if profile.insert:
        return make_mates(rng, rows, lengths, sources.copies)
    return join_chimeras(rng, rows, 0.0 if options.error_free else profile.chimeras)


def draw_spans(rng, profile: Profile, lengths: np.ndarray, adapters: float) -> np.ndarray:
    """Draw the bases of the genome that reads, or the fragments of pairs, cover, (k,) int64: a share of the fragments
    is shorter than their reads, which end in the adapter."""
    if not profile.insert:
        return lengths
    spans = np.maximum(rng.normal(*profile.insert, len(lengths)).astype(np.int64), lengths)
    short = rng.random(len(lengths)) < adapters
    return np.where(short, (lengths * rng.uniform(0.4, 1, len(lengths))).astype(np.int64), spans)


def draw_errors(rng, rows: np.ndarray, profile: Profile, options: ReadOptions) -> None:
    """Draw how much each read errs, the level of its qualities, junk at ends that have none yet, and its seed."""
    number = len(rows)
    rank = rng.random(number)
    rows["errors"] = np.interp(rank, np.linspace(0, 1, len(profile.spread)), profile.spread)
    rows["level"] = read_level(rank)
    rows["end_errors"] = 1
    if not options.error_free:
        for end in ("head", "tail"):
            junk = np.minimum(rng.exponential(max(profile.junk[1], 1e-9), number), 5000) + 1
            rows[end] += np.where((rng.random(number) < profile.junk[0] / 2) & (rows[end] == 0), junk, 0).astype(
                np.int32
            )
    rows["seed"] = rng.integers(0, 2**63, number, np.uint64)
    rows["emit"] = 1


def make_mates(rng, rows: np.ndarray, lengths: np.ndarray, copies: Sequence[Haplotype]) -> np.ndarray:
    """Make two segments of each fragment, from its two ends, on opposite strands; the second errs more at its end.
    Reads longer than their fragment go on beyond it, and the core puts the adapter there."""
    pairs = np.repeat(rows, 2)
    end, lengths = pairs["start"] + pairs["length"], np.repeat(lengths, 2)
    pairs["reverse"][1::2] = 1 - pairs["reverse"][::2]
    backward = pairs["reverse"] == 1
    for i, copy in enumerate(copies):
        of = np.flatnonzero((pairs["haplotype"] == i) & (pairs["adapter"] > 0))
        start = np.where(backward[of], end[of] - lengths[of], pairs["start"][of])
        pairs["adapter"][of[~are_known(copy, start, start + lengths[of])]] = 0
    pairs["length"] = np.minimum(lengths, pairs["length"]) + pairs["adapter"]
    pairs["start"] = np.where(backward, end - pairs["length"], pairs["start"])
    pairs["end_errors"] = np.tile((0.8, 1.2), len(rows))
    pairs["seed"][1::2] = rng.integers(0, 2**63, len(rows), np.uint64)
    return pairs


def join_chimeras(rng, rows: np.ndarray, share: float) -> np.ndarray:
    """Join a share of the reads to chimeras: rows of one read number together, the longer first."""
    order = rng.permutation(len(rows))
    number = int(rng.binomial(len(rows) // 2, share))
    first, second = order[:number], order[number : 2 * number]
    rows["read"][second] = rows["read"][first]
    return rows[np.lexsort((-rows["length"], rows["read"]))]


def draw_tags(rng, rows: np.ndarray, pos: np.ndarray, length: int, options: ReadOptions) -> None:
    """Draw HP and PS tags as a phasing tool would give them: phase sets, in which the copies' names are swapped at
    random, some reads without and some with the wrong tag."""
    cuts = [0]
    while cuts[-1] < length:
        cuts.append(cuts[-1] + int(np.exp(rng.uniform(*np.log(options.phase_blocks)))))
    block = np.searchsorted(cuts, pos, side="right") - 1
    swapped = rng.random(len(cuts)) < 0.5
    by_read = np.array([rng.random(int(rows["read"].max(initial=0)) + 1) for _ in range(2)])[:, rows["read"]]
    other = swapped[block] ^ (by_read[1] < options.wrong)
    has = by_read[0] < options.tagged
    # contamination and mismapped reads fit neither copy
    second = np.where(rows["haplotype"] < 2, rows["haplotype"], rows["seed"] & 1)
    rows["tag"] = np.where(has, 1 + ((second > 0) ^ other), 0)
    rows["phase_set"] = np.array(cuts)[block] + 1


def plan_reads(
    rng, length: int, sources: ReadSources, profile: Profile, options: ReadOptions, conditions: Conditions
) -> Plan:
    """Plan all reads of a contig of this length, in bases, in batches by position."""
    rows = draw_segments(rng, sources, profile, options, conditions)
    pos, end = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for i, copy in enumerate(sources.copies):
        of = rows["haplotype"] == i
        pos[of] = map_to_reference(copy, rows["start"][of])
        end[of] = map_to_reference(copy, rows["start"][of] + rows["length"][of] - 1) + 1
    quality = draw_mapping_quality(rng, sources.unique, pos, end, PLATFORMS[profile.platform].short_reads)
    rows["mapq"] = np.where(rows["mapq"] < 0, quality, rows["mapq"])
    if options.tagged:
        draw_tags(rng, rows, pos, length, options)
    index = order_reads(rows, pos, profile.insert is not None)
    if not len(index):
        return Plan([], [])
    chosen, key = index[:, 0], index[:, 1]
    emitted = rows[chosen].copy()
    emitted["emit"] = index[:, 2]
    first = np.flatnonzero(np.r_[True, index[1:, 3] != index[:-1, 3]])  # a place in the order holds one or two rows
    bases = np.cumsum(np.add.reduceat(emitted["length"].astype(np.int64), first))
    cut = first[np.searchsorted(bases, np.arange(BATCH, bases[-1], BATCH))] if bases[-1] > BATCH else []
    cut = np.unique(np.r_[0, cut, len(emitted)]).astype(np.int64)
    parts = list(pairwise(cut))
    return Plan([emitted[a:b] for a, b in parts], [int(key[a:b].min()) for a, b in parts])


def order_reads(rows: np.ndarray, pos: np.ndarray, paired: bool) -> np.ndarray:
    """Order the reads as they are made: (k, 4) int64 of row, position, whether it is written there, and its rank.

    Mates are made once, where the first lies; the parts of a chimera twice, each where it lies.
    """
    number = np.arange(len(rows))
    mate = np.flatnonzero(rows["read"][1:] == rows["read"][:-1])  # the first of two
    if paired:
        key = pos.copy()
        key[mate] = key[mate + 1] = np.minimum(pos[mate], pos[mate + 1])
        entries = np.stack([number, key, np.ones_like(number), rows["read"]], axis=1)
    else:
        single = np.setdiff1d(number, np.r_[mate, mate + 1])
        groups = [np.stack([single, pos[single], np.ones_like(single), 3 * rows["read"][single]], axis=1)]
        for which in (0, 1):
            for part in (0, 1):
                columns = [mate + part, pos[mate + which], np.full(len(mate), int(part == which))]
                groups.append(np.stack([*columns, 3 * rows["read"][mate] + 1 + which], axis=1))
        entries = np.concatenate(groups)
    return entries[np.lexsort((entries[:, 0], entries[:, 3], entries[:, 1]))]
