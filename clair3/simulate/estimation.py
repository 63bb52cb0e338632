"""How unequal rates are: what counts say of the rates of sites, runs and reads, beyond chance.

Each distribution is a mixture of given rates, whose shares are found by expectation maximisation.
"""

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import pysam

from clair3.core.simulate import CHANGE, CONTEXT, RUN, RUN_GROUPS
from clair3.platforms import PLATFORMS
from clair3.simulate.error_counts import Counts, count_rows
from clair3.simulate.profile import MOST_QUALITY, STATES, Profile, kmer_text

ROUNDS = 200
SITE_RATES = (0.03, 0.06, 0.12, 0.25)
"""Rates of sites where reads err alike; more is taken for a variant that the truth lacks."""

LEAST_READS = 6
"""Reads of one strand over a base that are needed to tell its rate."""

FACTORS = 2.0 ** np.arange(-4, 7.5)
"""Factors of runs and reads on what is expected of them."""

LEAST_SITES = 3
"""Sites of a rate that are needed for the rate to count."""


def estimate_shares(likelihood: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Estimate the shares, (k,), of the components of a mixture; likelihood (u, k) of units under each, weight (u,)
    their number."""
    share = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(ROUNDS):
        belongs = likelihood * share
        belongs /= np.maximum(belongs.sum(axis=1, keepdims=True), 1e-300)
        share = weight @ belongs / weight.sum()
    return share


def estimate_site_rates(depth: np.ndarray, errors: np.ndarray, number: np.ndarray, rate: float) -> list[list[float]]:
    """Estimate sites where reads err alike: [share of the bases of a strand, chance of the wrong base] of each rate.

    depth, errors, number  (u,) reads over a base on one strand, those with one wrong base, and how many there are
    rate                   of one wrong base, everywhere
    """
    enough = depth >= LEAST_READS
    depth, errors, number = depth[enough], errors[enough], number[enough]
    if not number.sum() or not rate:
        return []
    low = rate
    for _ in range(3):  # what sites explain, the rest of the bases do not
        rates = np.array([low, *(one for one in SITE_RATES if one > 4 * low)])
        chance = errors[:, None] * np.log(rates) + (depth - errors)[:, None] * np.log1p(-rates)
        share = estimate_shares(np.exp(chance - chance.max(axis=1, keepdims=True)), number)
        low = max((rate - share[1:] @ rates[1:]) / share[0], rate / 100)
    sites = number.sum()
    return [[3 * float(part), float(one)] for part, one in zip(share[1:], rates[1:], strict=True)
            if part * sites >= LEAST_SITES]  # fmt: skip


def estimate_factor_quantiles(seen: np.ndarray, expected: np.ndarray, number: np.ndarray, ranks: int) -> list[float]:
    """Estimate evenly spaced quantiles of the factor of a unit on what is expected of it; mean 1. All 1 without counts.

    seen, expected, number  (u,) events of a unit, those expected, and how many such units there are
    """
    known = expected > 0
    if not (number[known] * seen[known]).sum():
        return [1.0] * ranks
    seen, expected, number = seen[known], expected[known], number[known]
    chance = seen[:, None] * np.log(FACTORS * expected[:, None]) - FACTORS * expected[:, None]
    share = estimate_shares(np.exp(chance - chance.max(axis=1, keepdims=True)), number)
    # joined by straight lines: a factor holds from the middle of its share to the middle of the next one's
    middle = np.cumsum(share) - share / 2
    kept = share > 1e-4
    quantiles = np.interp(np.linspace(0, 1, ranks), middle[kept], FACTORS[kept])
    mean = (quantiles[1:] + quantiles[:-1]).mean() / 2
    return (quantiles / mean).tolist()


LONG_CLIP, NEAR_END, LONGEST_CLIP = 20, 100, 2000


@dataclass
class ReadFacts:
    """Facts about whole reads: lists with an entry for each read."""

    lengths: list[int] = field(default_factory=list)
    inserts: list[int] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    ends: int = 0
    chimeras: int = 0
    dwell: list[float] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    qualities: list[np.ndarray] = field(default_factory=list)

    def add(self, read: pysam.AlignedSegment, contig_length: int) -> None:
        self.lengths.append(read.infer_read_length())
        if read.is_proper_pair and read.template_length > 0:
            self.inserts.append(read.template_length)
        if read.has_tag("SA"):
            self.chimeras += 1
        else:
            self.add_clips(read, contig_length)
        if len(self.qualities) < 2000:
            quality = np.frombuffer(read.query_alignment_qualities, np.uint8)
            self.qualities.append((quality[::-1] if read.is_reverse else quality)[:20_000])
        if read.has_tag("mv") and len(self.dwell) < 2000:
            moves = np.array(read.get_tag("mv"), np.int64)
            self.strides.append(int(moves[0]))
            self.dwell.append((len(moves) - 1) / max(1, int(moves[1:].sum())))

    def add_clips(self, read: pysam.AlignedSegment, contig_length: int) -> None:
        """Count the clipped ends of a read that do not reach beyond the contig."""
        inner = (
            (read.cigartuples[0], read.reference_start),
            (read.cigartuples[-1], contig_length - read.reference_end),
        )
        for (kind, size), distance in inner:
            if distance > NEAR_END:
                self.ends += 1
                if kind == 4 and size >= LONG_CLIP:
                    self.clips.append(min(size, LONGEST_CLIP))


PRIOR_RUNS, PRIOR_TRACTS, PRIOR_EVENTS = 100, 200, 4
SIGNIFICANT = 9.0
LARGEST_FACTOR = 8.0
"""Long reads that err more than this are mismapped."""

SHORT_RANKS = 201
"""Quantiles of the spread of short reads: few reads have most of the errors."""
GROWTH, TRACT_GROWTH = 1.25, 1.02
"""How much more often a run (a tandem repeat) errs that is one base longer, where too few are seen to tell."""


def estimate(platform: str, counts: Counts, facts: ReadFacts) -> Profile:
    """Estimate the profile that explains the counts."""
    share, smoothness = estimate_quality_correlations(facts.qualities)
    rise, decline = fit_along_read(counts) if PLATFORMS[platform].short_reads else (0.0, 0.0)
    quality = zip(STATES, fill_quality_rows(counts.quality), strict=True)
    values = {
        "platform": platform,
        **estimate_error_rates(counts),
        **summarize_reads(facts),
        "spread": estimate_spread(np.concatenate(counts.read_errors), np.concatenate(counts.read_bases)),
        "run_factors": estimate_run_factors(counts),
        "substitution": normalize(counts.substitution + 0.5 * (1 - np.eye(4))).tolist(),
        "insertion_length": normalize(counts.inserted + 0.01).tolist(),
        "deletion_length": normalize(counts.deleted + 0.01).tolist(),
        "tract": estimate_tract_table(counts.tracts).tolist(),
        "quality": {name: normalize(row).tolist() for name, row in quality},
        "read_share": share,
        "smoothness": smoothness,
        "rise": rise,
        "decline": decline,
    }
    return Profile(
        **{name: float(value) if isinstance(value, np.floating) else value for name, value in values.items()}
    )


def estimate_error_rates(counts: Counts) -> dict[str, Any]:
    """Estimate the rates of errors by context, homopolymer run, and sites where reads err alike."""
    tables = estimate_run_tables(counts.changes)
    context, scale = estimate_context_factors(counts, tables)
    for table in tables.values():
        table[:, :CHANGE] *= scale["losses"]
        table[:, CHANGE] = 0
        table[:, CHANGE + 1 :] *= scale["gains"]
    runs = max(1, int(counts.changes.sum()))
    mismatch = counts.mismatches.sum() / max(1, counts.bases.sum())
    depth, errors, number = np.concatenate(counts.sites).T
    sites = estimate_site_rates(depth, errors, number, mismatch / 3)
    elsewhere = max(0.1, 1 - sum(part * rate for part, rate in sites) / max(mismatch, 1e-9))
    return {
        "mismatch": scale["mismatches"] * mismatch * elsewhere,
        "insertion": counts.inserted.sum() / runs,
        "deletion": counts.deleted.sum() / runs,
        "sites": sites,
        "run": {name: table.tolist() for name, table in tables.items()},
        "context": context,
    }


def summarize_reads(facts: ReadFacts) -> dict[str, Any]:
    """Summarize reads but for their errors: lengths, fragments, junk, chimeras, move tables."""
    values = {
        "lengths": np.quantile(np.clip(facts.lengths, 50, 200_000), np.linspace(0, 1, 21)).tolist(),
        "insert": estimate_insert_size(facts.inserts),
        "junk": [2 * len(facts.clips) / max(1, facts.ends), float(np.mean(facts.clips or [0]))],
        "chimeras": facts.chimeras / max(1, len(facts.lengths)),
    }
    if facts.dwell:
        values |= {"dwell": max(1.0, float(np.mean(facts.dwell))), "stride": max(facts.strides[0], 1)}
    return values


def normalize(counts: np.ndarray) -> np.ndarray:
    """Scale rows of counts to add up to 1."""
    return counts / counts.sum(axis=-1, keepdims=True)


def estimate_run_tables(changes: np.ndarray) -> dict[str, np.ndarray]:
    """Estimate the chances of changes by length of the run, (33, 7) for A/T and C/G; where few runs were seen, as the
    length before with GROWTH."""
    tables = {}
    for kind, rows in (("AT", changes[: RUN + 1]), ("CG", changes[RUN + 1 :])):
        table = np.zeros(rows.shape)
        for length in range(1, RUN + 1):
            prior = table[length - 1] * GROWTH
            prior *= min(1.0, 0.45 / max(prior.sum(), 1e-12))
            seen = max(int(rows[length].sum()), 0)
            weight = PRIOR_RUNS if length > 1 else 0
            table[length] = (rows[length] + weight * prior) / max(seen + weight, 1)
            table[length, CHANGE] = 0
        tables[kind] = table
    return tables


def estimate_tract_table(tracts: np.ndarray) -> np.ndarray:
    """Estimate the chances of tandem repeats to lose and to gain a unit, (65, 2), smoothed as estimate_run_tables
    does."""
    table = np.zeros((len(tracts), 2))
    total = max(1, int(tracts[:, 0].sum()))
    before = tracts[:, 1:].sum(axis=0) / total
    for size in range(len(tracts)):
        prior = np.minimum(before * (TRACT_GROWTH if size > 6 else 1), 0.2)
        table[size] = np.minimum((tracts[size, 1:] + PRIOR_TRACTS * prior) / (tracts[size, 0] + PRIOR_TRACTS), 0.4)
        before = table[size]
    return table


def estimate_context_factors(
    counts: Counts, tables: dict[str, np.ndarray]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Estimate factors of the 6-mers that err much more or less than others, and scales of the rates: the rates times
    the scales, with the factors, give the errors that were seen."""
    both = np.concatenate([tables["AT"], tables["CG"]])
    expected = {
        "mismatches": counts.bases * (counts.mismatches.sum() / max(1, counts.bases.sum())),
        "gains": counts.runs @ both[:, CHANGE + 1 :].sum(axis=1),
        "losses": counts.runs @ both[:, :CHANGE].sum(axis=1),
    }
    factors, scale = np.ones((4**CONTEXT, 3)), {}
    for column, (name, wanted) in enumerate(expected.items()):
        seen = getattr(counts, name)
        factor = (seen + PRIOR_EVENTS) / (wanted + PRIOR_EVENTS)
        clear = (seen - wanted) ** 2 > SIGNIFICANT * np.maximum(wanted, 1)
        factors[clear, column] = factor[clear]
        scale[name] = float(seen.sum() / max(1e-9, (wanted * factors[:, column]).sum()))
    odd = np.flatnonzero((factors != 1).any(axis=1))
    return {kmer_text(int(code)): factors[code].tolist() for code in odd}, scale


def fill_quality_rows(quality: np.ndarray) -> np.ndarray:
    """Return counts of qualities by state; a state with few counts gets those of mismatches, or of all."""
    rows = quality.astype(float) + 1e-3 * quality.sum(axis=0) / max(1, quality.sum())
    few = quality.sum(axis=1) < 20
    rows[few] = quality[1] if quality[1].sum() >= 20 else quality.sum(axis=0)
    return rows[:, : int(np.flatnonzero(quality.sum(axis=0)).max(initial=0)) + 1]


def estimate_spread(errors: np.ndarray, bases: np.ndarray) -> list[float]:
    """Estimate quantiles of the factor of a read on all rates, mean 1: as seen in reads of many errors, else what
    chance does not explain."""
    wanted = bases * (errors.sum() / max(1, bases.sum()))
    many = wanted >= 20
    if many.sum() >= 20:
        factor = np.minimum(np.quantile(errors[many] / wanted[many], np.linspace(0, 1, 21)), LARGEST_FACTOR)
        return (factor / ((factor[1:] + factor[:-1]) / 2).mean()).tolist()
    expected = np.maximum(np.round(wanted, 2), 0.01)
    rows = count_rows(np.round(100 * expected).astype(np.int64), errors)
    return estimate_factor_quantiles(rows[:, 1], rows[:, 0] / 100, rows[:, 2], SHORT_RANKS)


def estimate_run_factors(counts: Counts) -> list[list[float]]:
    """Estimate quantiles of the factor of a run on its changes, for each group of lengths."""
    row, reads, events, number = np.concatenate(counts.run_sites).T
    rate = 1 - counts.changes[:, CHANGE] / np.maximum(counts.changes.sum(axis=1), 1)
    group = np.searchsorted(RUN_GROUPS, row % (RUN + 1), side="right") - 1
    expected = reads * rate[row]
    tables = []
    for which in range(len(RUN_GROUPS)):
        of = group == which
        tables.append(estimate_factor_quantiles(events[of], expected[of], number[of], 21))
    return tables


def estimate_quality_correlations(qualities: list[np.ndarray]) -> tuple[float, float]:
    """Estimate the correlation of the qualities of a read's bases, and that of neighbours beyond it."""
    long = [quality for quality in qualities if len(quality) >= 50]
    if not long:
        return 0.0, 0.0
    below = np.cumsum(np.bincount(np.concatenate(long), minlength=256)).astype(float)
    middle = (np.r_[0, below[:-1]] + below) / 2 / below[-1]
    level = np.array([NormalDist().inv_cdf(min(max(q, 1e-4), 1 - 1e-4)) for q in middle])
    reads = [level[quality] for quality in long]
    total = float(np.concatenate(reads).var())
    mean = np.concatenate(reads).mean()
    products = sum(float(((row[1:] - mean) * (row[:-1] - mean)).sum()) for row in reads)
    neighbours = products / max(1, sum(len(row) - 1 for row in reads)) / max(total, 1e-9)
    shared = float(np.var([row.mean() for row in reads])) / max(total, 1e-9)
    rest = (neighbours - shared) / max(1 - shared, 1e-9)
    return float(np.sqrt(np.clip(shared, 0, 0.95))), float(np.clip(rest, 0, 0.99))


def fit_along_read(counts: Counts) -> tuple[float, float]:
    """Fit how errors rise and quality falls with the square of the position in a read, as Profile has it."""
    place = ((np.arange(len(counts.along)) + 0.5) / len(counts.along)) ** 2
    bases = np.maximum(counts.along[:, 0], 1)
    rise, start = np.polyfit(place, counts.along[:, 1] / bases, 1)
    fall, _ = np.polyfit(place, counts.along[:, 2] / bases, 1)
    every = counts.quality.sum(axis=0)
    quality = np.arange(MOST_QUALITY + 1)
    mean = (every * quality).sum() / max(1, every.sum())
    deviation = np.sqrt((every * (quality - mean) ** 2).sum() / max(1, every.sum()))
    return float(np.clip(rise / max(start, 1e-9), 0, 20)), float(np.clip(-fall / max(deviation, 1e-9), 0, 3))


def estimate_insert_size(inserts: list[int]) -> list[float] | None:
    """Estimate mean and standard deviation of fragments, without those far too long to be pairs; None without pairs."""
    if len(inserts) < 100:
        return None
    sizes = np.array(inserts)
    sizes = sizes[sizes <= 3 * np.median(sizes)]
    return [float(sizes.mean()), float(sizes.std())]
