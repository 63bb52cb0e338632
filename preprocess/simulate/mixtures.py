"""How unequal rates are: what counts say of the rates of sites, runs and reads, beyond chance.

Each distribution is a mixture of given rates, whose shares are found by expectation maximisation.
"""

import numpy as np

ROUNDS = 200
SITE_RATES = (0.03, 0.06, 0.12, 0.25)
"""More is taken for a variant that the truth lacks."""

LEAST_READS = 6
"""Of one direction, that must lie over a base to say something about it."""

FACTORS = 2.0 ** np.arange(-4, 7.5)
"""Factors of runs and reads on what is expected of them."""

LEAST_SITES = 3
"""Sites of a rate that must be there for it to count."""


def shares_of(likelihood: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Shares, (k,), of the components of a mixture; likelihood (u, k) of units under each, weight (u,) their number."""
    share = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(ROUNDS):
        belongs = likelihood * share
        belongs /= np.maximum(belongs.sum(axis=1, keepdims=True), 1e-300)
        share = weight @ belongs / weight.sum()
    return share


def site_rates(depth: np.ndarray, errors: np.ndarray, number: np.ndarray, rate: float) -> list[list[float]]:
    """[share of the bases of a strand, chance of its wrong base] of sites where reads err alike.

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
        share = shares_of(np.exp(chance - chance.max(axis=1, keepdims=True)), number)
        low = max((rate - share[1:] @ rates[1:]) / share[0], rate / 100)
    sites = number.sum()
    return [[3 * float(part), float(one)] for part, one in zip(share[1:], rates[1:], strict=True)
            if part * sites >= LEAST_SITES]  # fmt: skip


def factor_quantiles(seen: np.ndarray, expected: np.ndarray, number: np.ndarray, ranks: int) -> list[float]:
    """Quantiles, evenly spaced, of the factor of a unit on what is expected of it; mean 1. All 1 without counts.

    seen, expected, number  (u,) events of a unit, those expected, and how many such units there are
    """
    known = expected > 0
    if not (number[known] * seen[known]).sum():
        return [1.0] * ranks
    seen, expected, number = seen[known], expected[known], number[known]
    chance = seen[:, None] * np.log(FACTORS * expected[:, None]) - FACTORS * expected[:, None]
    share = shares_of(np.exp(chance - chance.max(axis=1, keepdims=True)), number)
    # joined by straight lines: a factor holds from the middle of its share to the middle of the next one's
    middle = np.cumsum(share) - share / 2
    kept = share > 1e-4
    quantiles = np.interp(np.linspace(0, 1, ranks), middle[kept], FACTORS[kept])
    mean = (quantiles[1:] + quantiles[:-1]).mean() / 2
    return (quantiles / mean).tolist()
