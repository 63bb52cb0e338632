"""The error profile of simulated reads: a shipped one, that of a file, or a drawn one (spec/training.md E.3)."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from clair3.core.simulate import CHANGE, CONTEXT, RUN, TRACT
from clair3.errors import InputError
from clair3.platforms import CIRCULAR_CONSENSUS, NANOPORE, PLATFORMS, SYNTHESIS
from clair3.simulate.profile import MOST_QUALITY, Profile, kmer_text, read_profile

FOLDER = Path(__file__).with_name("profiles")
RANDOM = "random"
LARGEST_RATE = 0.45

RUNS_PER_BASE = 0.75 * 0.75 * 0.25 ** np.arange(RUN)
"""Runs of 1, 2, ... 32 bases in random sequence, per base."""


def load_profile(name: str, platform: str, rng: np.random.Generator) -> Profile:
    """Load the profile called ont, hifi or ilmn, or that of a file, or draw one for the platform with "random".

    Raises InputError when there is no such file, or when the profile is for another platform.
    """
    if name == RANDOM:
        return draw_profile(platform, rng)
    profile = read_profile(FOLDER / f"{name}.json" if name in PLATFORMS else Path(name))
    if profile.platform != platform:
        raise InputError(f"profile {name} is for {profile.platform} reads, not for --platform {platform}")
    return profile


def vary_profile(profile: Profile, rng: np.random.Generator) -> Profile:
    """Draw a similar profile, for training on more than one run: other rates, runs and contexts."""
    overall, runs = rng.lognormal(0, 0.25, 2)
    rates = ("mismatch", "insertion", "deletion")
    changed = {name: getattr(profile, name) * overall * rng.lognormal(0, 0.2) for name in rates}
    table = {
        kind: np.minimum(np.array(rows) * runs * rng.lognormal(0, 0.1), LARGEST_RATE).tolist()
        for kind, rows in profile.run.items()
    }
    context = profile.context | draw_contexts(rng, int(rng.integers(50, 300)), (1.0, 8.0))
    more = rng.lognormal(0, 0.5)
    sites = [[min(share * more, 0.1), rate] for share, rate in profile.sites]
    return replace(profile, **changed, run=table, context=context, sites=sites)


def draw_contexts(rng: np.random.Generator, number: int, factors: tuple[float, float]) -> dict[str, list[float]]:
    """Draw 6-mers that err more, in one kind of error each, by a factor that is log-uniform between two."""
    codes = rng.choice(4**CONTEXT, number, replace=False)
    rows = np.ones((number, 3))
    rows[np.arange(number), rng.integers(0, 3, number)] = np.exp(rng.uniform(*np.log(factors), number))
    return {kmer_text(int(code)): row for code, row in zip(codes, rows.tolist(), strict=True)}


def draw_sites(rng: np.random.Generator, share: tuple[float, float]) -> list[list[float]]:
    """Draw sites where reads of one strand err alike: a share of the bases, fewer with higher rates."""
    first = float(np.exp(rng.uniform(*np.log(share))))
    return [[first, 0.06], [first / 4, 0.12], [first / 30, 0.25]]


def draw_profile(platform: str, rng: np.random.Generator) -> Profile:
    """Draw a profile from the ranges of spec/training.md E.3."""
    draw = {NANOPORE: draw_nanopore, CIRCULAR_CONSENSUS: draw_consensus, SYNTHESIS: draw_synthesis}
    return draw[PLATFORMS[platform].technology](platform, rng)


def change_rate(h: float, bases: np.ndarray, first: int = 0, most: float = LARGEST_RATE) -> np.ndarray:
    """Compute the chance of a change by the bases of a run: h * exp(0.28 (L - 4)) from `first` bases on, at most
    `most`."""
    return np.where(bases >= first, np.minimum(most, h * np.exp(0.28 * (bases - 4))), 0)


def make_run_table(h: float, first: int, losses: float, other_loss: float, other_gain: float) -> list[list[float]]:
    """Make the chances of changes of runs: a share `losses` of change_rate losses, mostly by one base; and everywhere
    the rates of other losses and gains."""
    p = change_rate(h, np.arange(RUN + 1), first)
    sizes = np.array([0.88, 0.10, 0.02])
    table = np.zeros((RUN + 1, 2 * CHANGE + 1))
    table[:, CHANGE - 1 :: -1] = losses * p[:, None] * sizes
    table[:, CHANGE + 1 :] = (1 - losses) * p[:, None] * sizes
    table[1:, CHANGE - 1] += other_loss
    table[1:, CHANGE + 1] += other_gain
    return np.minimum(table, LARGEST_RATE).tolist()


def make_stutter_table(h: float, losses: float) -> list[list[float]]:
    """Make the chances of short tandem repeats to lose and gain a unit, as a homopolymer of a third of their bases."""
    p = change_rate(h, np.arange(TRACT + 1) / 3, most=LARGEST_RATE / 2)
    return np.stack([losses * p, (1 - losses) * p], axis=1).tolist()


def calibrate_qualities(
    error: float, offset: float, low: int, cap: int, width: float, bins: tuple = ()
) -> dict[str, list]:
    """Make the chances of qualities by state, so that a base of quality q errs with 10^(-(q + offset) / 10), all
    together with `error`; bins: only these qualities are given."""
    quality = np.arange(MOST_QUALITY + 1)
    allowed = (quality >= low) & (quality <= cap)
    chance = np.minimum(0.75, 10 ** (-(quality + offset) / 10))

    def shape(middle: float) -> np.ndarray:
        every = np.where(allowed, np.exp(-0.5 * ((quality - middle) / width) ** 2), 0)
        return every / every.sum()

    below, above = -60.0, 150.0
    for _ in range(60):
        middle = (below + above) / 2
        below, above = (middle, above) if shape(middle) @ chance > error else (below, middle)
    every = shape(middle)
    wrong, right = every * chance, every * (1 - chance)
    lowered = np.convolve(right, [0.3, 0.4, 0.3])[1:-1]
    lowered = np.roll(lowered, -3) * (np.roll(allowed, -3) & allowed)
    between = wrong / wrong.sum() + right / right.sum()
    states = {"correct": right, "mismatch": wrong, "inserted": wrong, "after_gap": between, "in_run": lowered}
    if bins:
        nearest = np.array(bins)[np.abs(quality[:, None] - np.array(bins)).argmin(axis=1)]
        states = {name: np.bincount(nearest, row, len(quality)) for name, row in states.items()}
    return {name: (row / row.sum()).tolist() for name, row in states.items()}


def draw_log_normal_quantiles(rng: np.random.Generator, sigma: float) -> list[float]:
    """Draw quantiles of a log-normal factor of mean 1."""
    sample = np.exp(sigma * np.sort(rng.standard_normal(2000)))
    return (np.quantile(sample, np.linspace(0, 1, 21)) / sample.mean()).tolist()


def split_indel_rates(
    error: float, losses: float, gains: float, table_loss: float, table_gain: float
) -> dict[str, float]:
    """Compute the rates that the run table does not hold, for shares of losses and gains in all errors."""
    runs = RUNS_PER_BASE.sum()
    loss, gain = max(0.0, error * losses - table_loss) / runs, max(0.0, error * gains - table_gain) / runs
    return {"other_loss": 0.8 * loss, "deletion": 0.08 * loss, "other_gain": 0.5 * gain, "insertion": 0.35 * gain}


def make_indel_rates(h: float, first: int, losses: float, error: float, mix: tuple[float, float]) -> tuple[dict, dict]:
    """Make the run tables and the rates beside them, so that a share mix[0] of all errors are lost bases, mix[1]
    gained."""
    p = change_rate(h, np.arange(1, RUN + 1), first) @ RUNS_PER_BASE
    rates = split_indel_rates(error, *mix, losses * p, (1 - losses) * p)
    tables = {kind: make_run_table(h, first, losses, rates["other_loss"], rates["other_gain"]) for kind in ("AT", "CG")}
    return tables, {name: rates[name] for name in ("insertion", "deletion")}


def draw_nanopore(platform: str, rng: np.random.Generator) -> Profile:
    kind = int(rng.choice(3, p=(0.5, 0.3, 0.2)))
    identity = ((0.988, 0.008), (0.975, 0.012), (0.93, 0.025))[kind]
    error = float(np.clip(1 - rng.normal(*identity), 0.004, 0.15))
    number = int(rng.integers(200, 601))
    # what the contexts add is taken from the rest
    base = error * 0.7
    context = draw_contexts(rng, number, (0.03 / error, 0.3 / error))
    tables, rates = make_indel_rates(rng.uniform(0.004, 0.02), 1, 0.65, base, (0.4, 0.25))
    return Profile(
        platform,
        lengths=np.clip(8000 * np.exp(0.8 * normal_quantiles(41)), 500, 100_000).tolist(),
        spread=draw_log_normal_quantiles(rng, 0.5),
        mismatch=0.35 * base,
        **rates,
        run=tables,
        tract=make_stutter_table(rng.uniform(0.004, 0.02), 0.65),
        context=context,
        sites=draw_sites(rng, (3e-4, 5e-3)),
        run_factors=[draw_log_normal_quantiles(rng, sigma) for sigma in (0.6, 0.5, 0.3)],
        quality=calibrate_qualities(error, rng.uniform(-3, 3), 2, 50, 11),
        read_share=0.4,
        smoothness=0.75,
        junk=[0.01, 60.0],
        chimeras=0.003,
        dwell=float(rng.uniform(1.9, 2.4)),
        origin={"made_by": "drawn from ranges", "kind": ("sup", "hac", "older")[kind]},
    )


def draw_consensus(platform: str, rng: np.random.Generator) -> Profile:
    error = float(10 ** (-np.clip(rng.normal(30, 4), 20, 45) / 10))
    context = draw_contexts(rng, 50, (max(1.0, 0.002 / error), max(2.0, 0.01 / error)))
    tables, rates = make_indel_rates(rng.uniform(0.0003, 0.002), 5, 0.5, error, (0.4, 0.45))
    capped = rng.random() < 0.5
    return Profile(
        platform,
        lengths=np.clip(15_000 + 3000 * normal_quantiles(41), 2000, 40_000).tolist(),
        spread=draw_log_normal_quantiles(rng, 0.7),
        mismatch=0.15 * error,
        **rates,
        run=tables,
        tract=make_stutter_table(rng.uniform(0.0002, 0.001), 0.5),
        context=context,
        sites=draw_sites(rng, (3e-5, 1e-3)),
        run_factors=[draw_log_normal_quantiles(rng, sigma) for sigma in (0.6, 0.5, 0.3)],
        quality=calibrate_qualities(error, rng.uniform(-3, 3), 3, 40 if capped else 93, 12 if capped else 25),
        read_share=0.5,
        smoothness=0.6,
        origin={"made_by": "drawn from ranges"},
    )


def draw_synthesis(platform: str, rng: np.random.Generator) -> Profile:
    error = float(np.exp(rng.uniform(*np.log((0.0002, 0.003)))))
    h = float(np.exp(rng.uniform(*np.log((1e-5, 2e-4))))) * (10 if rng.random() < 0.5 else 1) * np.exp(-0.28 * 4)
    tables, rates = make_indel_rates(h, 8, 0.6, error, (0.01, 0.01))
    bins = ((2, 12, 23, 37), (11, 25, 37), (12, 24, 40))[int(rng.integers(3))]
    motifs = ["GGCGG", "GGCTG", "GGCAG", "CGGGC", "GGGCG"]
    context = {
        first + motif: [float(rng.uniform(0.002, 0.01) / error), 1.0, 1.0] for motif in motifs for first in "ACGT"
    }
    return Profile(
        platform,
        lengths=[150.0, 150.0],
        insert=[420.0, 90.0],
        spread=draw_log_normal_quantiles(rng, 0.6),
        mismatch=0.98 * error,
        **rates,
        run=tables,
        tract=make_stutter_table(1e-5, 0.6),
        context=context,
        sites=draw_sites(rng, (3e-5, 4e-3)),
        run_factors=[draw_log_normal_quantiles(rng, sigma) for sigma in (1.0, 0.7, 0.4)],
        quality=calibrate_qualities(error, rng.uniform(-3, 3), 2, bins[-1], 9, bins),
        read_share=0.4,
        smoothness=0.5,
        rise=2.0,
        decline=1.0,
        junk=[0.002, 20.0],
        origin={"made_by": "drawn from ranges"},
    )


def normal_quantiles(number: int) -> np.ndarray:
    """Compute evenly spaced quantiles, (number,), of a normal number, its ends at 3 standard deviations."""
    values = np.linspace(-3, 3, 2001)
    below = np.cumsum(np.exp(-(values**2) / 2))
    return np.interp(np.linspace(0, 1, number), (below - below[0]) / (below[-1] - below[0]), values)
