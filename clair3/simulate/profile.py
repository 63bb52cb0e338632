"""An error profile: how the reads of a platform err, as a small table (spec/training.md E.3).

Contexts, runs and tandem repeats are read in the direction of sequencing. Rates are per base for mismatches and per
homopolymer run (a single base is a run of 1) for everything else.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from math import erf, sqrt
from pathlib import Path

import numpy as np

from clair3.core.simulate import (
    CHANGE,
    CONTEXT,
    FACTORS,
    LENGTHS,
    LEVELS,
    RUN,
    RUN_GROUPS,
    SITES,
    TRACT,
    ErrorProcess,
    Haplotype,
)
from clair3.errors import InputError
from clair3.platforms import PLATFORMS
from clair3.records import BASES

FORMAT = 1
STATES = ("correct", "mismatch", "inserted", "after_gap", "in_run")
"""What a base's quality depends on; a run is long from 4 bases."""

ERRORS = ("mismatch", "inserted", "after_gap")
"""Those that come with errors, and so mostly in bad reads."""

MOST_QUALITY = 93


@dataclass(frozen=True)
class Profile:
    """How reads err. Lists are as JSON has them.

    lengths           quantiles of read length (bases), from the shortest to the longest
    spread            quantiles of the factor of a read on all error rates, mean 1
    insert            mean and standard deviation of the fragments of pairs; None: single reads
    mismatch          per base; insertion (of other bases than the run's) and deletion (over several runs): per run
    substitution      chances from A, C, G, T to A, C, G, T
    insertion_length  chances of 1, 2, ... 16 bases; deletion_length of 2, 3, ... 17
    run               AT and CG: by bases of the run from 0 to 32, the chances to change by -3 .. 3
    tract             by bases of a short tandem repeat from 0 to 64, the chances to lose and to gain a unit
    context           6-mer: factors on mismatch, gain and loss at its fourth base
    quality           by state (STATES): chances of qualities from 0
    sites             [share, rate]: of the bases of each strand, those where reads show the same wrong base, and how
                      often; at most 15 rows
    run_factors       for runs of 1, 4 and 8 bases and more: quantiles of the factor of a run on its changes, mean 1, as
                      some runs err more than others alike
    read_share        correlation of the qualities of a read's bases; smoothness: of neighbours, beyond that
    rise, decline     more errors, and standard deviations of quality less, at the end of a read than at its start
    junk              share of reads with bases that belong nowhere at an end, and their mean number
    dwell, stride     mean blocks of a base, and samples of a block, in move tables
    origin            where the profile comes from, as text
    """

    platform: str
    lengths: list[float]
    mismatch: float
    insertion: float
    deletion: float
    run: dict[str, list[list[float]]]
    quality: dict[str, list[float]]
    spread: list[float] = field(default_factory=lambda: [1.0, 1.0])
    insert: list[float] | None = None
    tract: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0]] * (TRACT + 1))
    substitution: list[list[float]] = field(default_factory=lambda: ((1 - np.eye(4)) / 3).tolist())
    insertion_length: list[float] = field(default_factory=lambda: [0.75, 0.15, 0.05, 0.03, 0.02])
    deletion_length: list[float] = field(default_factory=lambda: [0.7, 0.15, 0.08, 0.04, 0.03])
    context: dict[str, list[float]] = field(default_factory=dict)
    sites: list[list[float]] = field(default_factory=list)
    run_factors: list[list[float]] = field(default_factory=lambda: [[1.0, 1.0]] * len(RUN_GROUPS))
    read_share: float = 0.0
    smoothness: float = 0.0
    rise: float = 0.0
    decline: float = 0.0
    junk: list[float] = field(default_factory=lambda: [0.0, 0.0])
    chimeras: float = 0.0
    dwell: float = 2.1
    stride: int = 6
    origin: dict[str, str] = field(default_factory=dict)

    def process(self, moves: bool = False, error_free: bool = False) -> ErrorProcess:
        """The tables in the form of the core; with moves, reads get a move table."""
        values = {name: getattr(self, name) for name in ("read_share", "smoothness", "rise", "decline", "dwell")}
        rate = 0.0 if error_free else 1.0
        values |= {name: rate * getattr(self, name) for name in ("mismatch", "insertion", "deletion")}
        values["stride"] = self.stride if moves else 0
        values["context"] = np.ones((4**CONTEXT, 3))
        for kmer, factors in self.context.items():
            values["context"][kmer_code(kmer)] = factors
        values["run"] = rate * np.array([self.run["AT"], self.run["CG"]])
        values["tract"] = rate * np.array(self.tract)
        values["site"] = rate * np.pad([row[1] for row in self.sites], (1, SITES - 1 - len(self.sites)))
        at = (np.arange(FACTORS) + 0.5) / FACTORS
        values["run_factor"] = [np.interp(at, np.linspace(0, 1, len(row)), row) for row in self.run_factors]
        values["substitution"] = np.cumsum(self.substitution, axis=1)
        for name in ("insertion_length", "deletion_length"):
            values[name] = np.cumsum(np.pad(getattr(self, name), (0, LENGTHS - len(getattr(self, name)))))
        levels = [self.level_of_errors() if state in ERRORS else (0.0, 1.0) for state in STATES]
        values["quality"] = np.stack(
            [quality_levels(self.quality[state], *level) for state, level in zip(STATES, levels, strict=True)]
        )
        return ErrorProcess(values)

    def level_of_errors(self) -> tuple[float, float]:
        """Mean and standard deviation of the quality levels of errors: most are in bad reads, whose level is low."""
        rank = (np.arange(1000) + 0.5) / 1000
        weight = np.interp(rank, np.linspace(0, 1, len(self.spread)), self.spread)
        level = self.read_share * read_level(rank)
        mean = float((weight * level).sum() / weight.sum())
        shared = float((weight * (level - mean) ** 2).sum() / weight.sum())
        return mean, sqrt(shared + 1 - self.read_share**2)

    @property
    def mean_length(self) -> float:
        """Mean of the read lengths: quantiles are joined by straight lines."""
        lengths = np.array(self.lengths)
        return float(((lengths[1:] + lengths[:-1]) / 2).mean())


def kmer_code(kmer: str) -> int:
    code = 0
    for letter in kmer:
        code = 4 * code + BASES.index(letter)
    return code


def kmer_text(code: int) -> str:
    return "".join(BASES[code >> 2 * (CONTEXT - 1 - i) & 3] for i in range(CONTEXT))


def read_level(rank: np.ndarray) -> np.ndarray:
    """The level of quality of a read, by its rank among all from the best (0) to the worst (1); variance 1."""
    return (0.5 - rank) * sqrt(12)


def quality_levels(chances: list[float], mean: float = 0.0, deviation: float = 1.0) -> np.ndarray:
    """The quality at each level from -4 to 4, (4096,) uint8; levels are normal numbers of this mean and deviation."""
    levels = ((np.arange(LEVELS) + 0.5) * 8 / LEVELS - 4 - mean) / deviation
    below = np.array([0.5 + 0.5 * erf(level / sqrt(2)) for level in levels])
    return np.searchsorted(np.cumsum(chances), below * (sum(chances) - 1e-12)).astype(np.uint8)


def read_profile(path: Path) -> Profile:
    """Read a profile. Raises InputError when the file is missing, is no profile, or has values of the wrong kind."""
    again = 'make it with "clair3 profile"'
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise InputError(f"{path}: a profile of another version; {again}")
        profile = Profile(**values)
        check_profile(profile)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: not an error profile ({error}); {again}") from None
    return profile


LIMITS = {
    "mismatch": (0, 0.5), "insertion": (0, 0.5), "deletion": (0, 0.5), "chimeras": (0, 1), "dwell": (1, 100),
    "stride": (1, 100), "read_share": (0, 1), "smoothness": (0, 0.9999), "rise": (-1, 100), "decline": (-10, 10),
}  # fmt: skip
"""Of the single numbers of a profile, the lowest and the highest."""


def check_profile(profile: Profile) -> None:
    """Raises ValueError when a value cannot be a profile's."""
    if profile.platform not in PLATFORMS:
        raise ValueError(f"platform {profile.platform!r}")
    for name, (low, high) in LIMITS.items():
        if not low <= getattr(profile, name) <= high:
            raise ValueError(f"{name} is {getattr(profile, name)}, not from {low} to {high}")
    check_chances(profile)
    check_factors(profile)
    rising = [profile.lengths, profile.spread, *profile.run_factors]
    if (
        any(len(row) < 2 or row[0] < 0 or any(np.diff(row) < 0) for row in rising)
        or not 50 <= profile.lengths[-1] <= 2e5
    ):
        raise ValueError("lengths, spread and run_factors must rise, and the longest read have 50 to 200,000 bases")
    if profile.insert is not None and (len(profile.insert) != 2 or min(profile.insert) < 0):
        raise ValueError("insert is not a mean and a standard deviation")


def check_chances(profile: Profile) -> None:
    """The tables of chances. Raises ValueError."""
    shapes = {"substitution": (4, 4), "tract": (TRACT + 1, 2)}
    tables = {name: getattr(profile, name) for name in (*shapes, "insertion_length", "deletion_length")}
    tables |= {f"run {kind}": profile.run[kind] for kind in ("AT", "CG")}
    tables |= {f"quality {state}": profile.quality[state] for state in STATES}
    shapes |= {f"run {kind}": (RUN + 1, 2 * CHANGE + 1) for kind in ("AT", "CG")}
    for name, rows in tables.items():
        table = np.array(rows, float)
        fits = table.shape == shapes[name] if name in shapes else table.ndim == 1 and 0 < len(table) <= MOST_QUALITY + 1
        if not fits or not np.isfinite(table).all() or (table < 0).any() or (table > 1).any():
            raise ValueError(f"{name} is not a table of chances of the right size")
        if name.startswith("quality") and not table.sum() > 0:
            raise ValueError(f"{name} has no chance above 0")
        if name.endswith("_length") and len(table) > LENGTHS:
            raise ValueError(f"{name} has more than {LENGTHS} rows")


def check_factors(profile: Profile) -> None:
    """What multiplies the rates, or stands in their place: contexts, runs, sites. Raises ValueError."""
    for kmer, factors in profile.context.items():
        known = len(kmer) == CONTEXT and not set(kmer) - set(BASES)
        if not known or len(factors) != 3 or not all(0 <= factor < 1e4 for factor in factors):
            raise ValueError(f"context {kmer!r}: {factors}")
    if len(profile.run_factors) != len(RUN_GROUPS):
        raise ValueError(f"run_factors is not a table of {len(RUN_GROUPS)} rows")
    sites = np.array(profile.sites, float).reshape(-1, 2)
    if len(sites) >= SITES or (sites < 0).any() or not (sites[:, 1] <= 1).all() or not sites[:, 0].sum() <= 0.5:
        raise ValueError(f"sites is not a table of at most {SITES - 1} shares and rates")


def format_profile(profile: Profile) -> str:
    """The JSON of a profile: numbers with four digits, a row of a table a line."""
    values = {"format": FORMAT, **asdict(profile)}
    lines = [f" {json.dumps(name)}: {format_block(shorten(value))}" for name, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def shorten(value):
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: shorten(item) for name, item in value.items()}
    return [shorten(item) for item in value] if isinstance(value, list) else value


def format_block(value) -> str:
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items()) + "\n }"
    return json.dumps(value)


AROUND = 16
_ODD = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)


def encode_surroundings(bases: np.ndarray) -> np.ndarray:
    """A number of 32 bits for the 16 bases around each base, (n,) uint64; as if A stood beyond the ends."""
    padded = np.pad(bases & 3, (AROUND // 2, AROUND // 2)).astype(np.uint64)
    code = np.zeros(len(bases), np.uint64)
    for i in range(AROUND):
        code = code << np.uint64(2) | padded[i : i + len(bases)]
    return code


def hash_to_unit(code: np.ndarray, seed: int, what: int) -> np.ndarray:
    """A number in [0, 1) for each code, (n,) float64, another one for each seed and purpose."""
    salt = np.random.default_rng([seed, 9, what]).integers(0, 2**63, 1, np.uint64)
    mixed = (code ^ salt) * _ODD[0]
    for odd in _ODD[1:]:
        mixed = (mixed ^ mixed >> np.uint64(31)) * odd
    return (mixed >> np.uint64(40)).astype(np.float64) * 2.0**-24


def draw_error_sites(copy: Haplotype, profile: Profile, seed: int) -> Haplotype:
    """The copy with its sites and classes of runs, as the profile has them."""
    code = encode_surroundings(copy.bases)
    sites = np.zeros((2, len(code)), np.uint8)
    if profile.sites:
        upper = np.cumsum([share for share, _ in profile.sites])
        for strand in (0, 1):
            place = hash_to_unit(code, seed, strand)
            of = np.flatnonzero(place < upper[-1])
            kind = np.searchsorted(upper, place[of], side="right") + 1
            other = (copy.bases[of] + 1 + (hash_to_unit(code[of], seed, 2 + strand) * 3).astype(np.uint8)) % 4
            sites[strand, of] = 4 * kind + other
    runs = (hash_to_unit(code, seed, 4) * FACTORS).astype(np.uint8)
    return replace(copy, sites=sites, run_class=runs)
