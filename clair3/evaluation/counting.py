"""Counts of TP, FP and FN, their precision, recall and F1 with intervals, by stratum and along QUAL."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from math import sqrt

import numpy as np

from clair3.evaluation.classify import ClassifiedVariant

Z_95 = 1.959963984540054
"""Standard deviations that hold 95 % of a normal distribution."""

Interval = tuple[float, float]

LENGTHS = ((1, 1), (2, 5), (6, 15), (16, 50), (51, None))
RUNS = ((1, 3), (4, 6), (7, 10), (11, None))
DEPTHS = ((0, 9), (10, 19), (20, 39), (40, None))
QUALITIES = ((0, 4), (5, 9), (10, 19), (20, 29), (30, None))


def wilson_interval(successes: int, trials: int) -> Interval | None:
    """Compute the 95 % interval of a proportion after Wilson; None without trials."""
    if not trials:
        return None
    share, spread = successes / trials, Z_95**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Score:
    """Counts of one stratum: TP among calls and among true variants, FP, FN; and how many of the FN were called with
    another genotype."""

    tp_calls: int = 0
    fp: int = 0
    tp_truth: int = 0
    fn: int = 0
    genotype_errors: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    @property
    def precision(self) -> float | None:
        return divide(self.tp_calls, self.tp_calls + self.fp)

    @property
    def recall(self) -> float | None:
        return divide(self.tp_truth, self.tp_truth + self.fn)

    @property
    def f1(self) -> float | None:
        if self.precision is None and self.recall is None:
            return None
        if not self.precision or not self.recall:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)

    @property
    def f1_interval(self) -> Interval | None:
        """The 95 % interval of F1, from that of J = TP / (TP + FP + FN): F1 = 2 J / (1 + J)."""
        interval = None if self.f1 is None else wilson_interval(self.tp_truth, self.tp_truth + self.fn + self.fp)
        return interval and (2 * interval[0] / (1 + interval[0]), 2 * interval[1] / (1 + interval[1]))

    def values(self) -> dict:
        """All numbers by name, intervals as [low, high]; None where there is nothing to divide by."""
        return {
            "tp_calls": self.tp_calls,
            "fp": self.fp,
            "tp_truth": self.tp_truth,
            "fn": self.fn,
            "genotype_errors": self.genotype_errors,
            "precision": self.precision,
            "precision_interval": wilson_interval(self.tp_calls, self.tp_calls + self.fp),
            "recall": self.recall,
            "recall_interval": wilson_interval(self.tp_truth, self.tp_truth + self.fn),
            "f1": self.f1,
            "f1_interval": self.f1_interval,
        }


def divide(part: int, whole: int) -> float | None:
    """Divide two counts; None when the second is 0."""
    return part / whole if whole else None


def format_bin(bins: Iterable[tuple[int, int | None]], value: float) -> str:
    """Format the bin of a value: `2-5`, `51+`, or `1`."""
    for low, high in bins:
        if high is None:
            return f"{low}+"
        if value < high + 1:
            return str(low) if low == high else f"{low}-{high}"
    raise AssertionError("the last bin has no end")


def format_bins(bins: Iterable[tuple[int, int | None]]) -> list[str]:
    """Format all bins of a stratification."""
    return [format_bin([(low, high)], low) for low, high in bins]


def stratify_by_type(item: ClassifiedVariant) -> str:
    """Return the stratum by type: SNP or indel."""
    return "indel" if item.variant.is_indel else "SNP"


def stratify_by_length(item: ClassifiedVariant) -> str | None:
    """Return the stratum by the length of an indel, e.g. `deletion 2-5`; None for a SNP."""
    length = item.variant.length
    return f"{'insertion' if length > 0 else 'deletion'} {format_bin(LENGTHS, abs(length))}" if length else None


def stratify_by_run(item: ClassifiedVariant) -> str:
    """Return the stratum by the homopolymer of the reference at the variant."""
    return f"{stratify_by_type(item)} {format_bin(RUNS, item.run)}"


def stratify_by_depth(item: ClassifiedVariant) -> str | None:
    """Return the stratum by the depth of a call; None for a true variant, or without DP."""
    depth = item.variant.depth if item.is_call else None
    return None if depth is None else f"{stratify_by_type(item)} {format_bin(DEPTHS, depth)}"


def stratify_by_quality(item: ClassifiedVariant) -> str | None:
    """Return the stratum by the QUAL of a call; None for a true variant."""
    return f"{stratify_by_type(item)} {format_bin(QUALITIES, item.quality)}" if item.is_call else None


@dataclass(frozen=True)
class Stratification:
    """A way to sort variants; of_calls: only calls have a place, so there is a precision and no recall."""

    name: str
    key: Callable[[ClassifiedVariant], str | None]
    strata: tuple[str, ...]
    calls_only: bool = False


def combine_strata(
    bins: Iterable[tuple[int, int | None]], kinds: tuple[str, ...] = ("SNP", "indel")
) -> tuple[str, ...]:
    """Combine kinds of variants and bins to the names of strata."""
    return tuple(f"{name} {text}" for name in kinds for text in format_bins(bins))


STRATIFICATIONS = (
    Stratification("type", stratify_by_type, ("SNP", "indel")),
    Stratification("indel length", stratify_by_length, combine_strata(LENGTHS, ("deletion", "insertion"))),
    Stratification("homopolymer length", stratify_by_run, combine_strata(RUNS)),
    Stratification("depth", stratify_by_depth, combine_strata(DEPTHS), calls_only=True),
    Stratification("quality", stratify_by_quality, combine_strata(QUALITIES), calls_only=True),
)


class Tally:
    """Counts classified variants contig by contig; memory grows by 8 bytes for each."""

    def __init__(self):
        self.counts: dict[tuple[str, str], Counter] = defaultdict(Counter)
        self.qualities: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, classified: Iterable[ClassifiedVariant]) -> None:
        for item in classified:
            outcome = name_outcome(item)
            self.qualities[stratify_by_type(item), outcome].append(item.quality)
            for stratification in STRATIFICATIONS:
                stratum = stratification.key(item)
                if stratum is not None:
                    counts = self.counts[stratification.name, stratum]
                    counts[outcome] += 1
                    counts["genotype_errors"] += item.is_genotype_error and not item.is_call

    def score(self, stratification: str, stratum: str) -> Score:
        return Score(**self.counts.get((stratification, stratum), {}))

    def scores(self) -> Iterator[tuple[Stratification, list[tuple[str, Score]]]]:
        """Yield each stratification with the scores of its strata, empty ones left out; first by type, and all."""
        for sort in STRATIFICATIONS:
            scores = [(stratum, self.score(sort.name, stratum)) for stratum in sort.strata]
            if sort.key is stratify_by_type:
                yield sort, [*scores, ("all", sum((score for _, score in scores), Score()))]
            else:
                yield sort, [pair for pair in scores if pair[1] != Score()]

    def curve(self, name: str) -> np.ndarray:
        """Compute precision and recall along QUAL, (points, 3) float64: a least QUAL, and precision and recall of the
        calls of that QUAL or more, from the highest to the lowest; name: SNP or indel. Empty without calls or truth."""
        tp_calls, fp, tp_truth = (np.sort(self.qualities[name, key])[::-1] for key in ("tp_calls", "fp", "tp_truth"))
        true_variants = len(tp_truth) + len(self.qualities[name, "fn"])
        thresholds = np.unique(np.concatenate([tp_calls, fp]))[::-1]
        if not len(thresholds) or not true_variants:
            return np.empty((0, 3))
        at_least = [np.searchsorted(-values, -thresholds, side="right") for values in (tp_calls, fp, tp_truth)]
        precision = at_least[0] / (at_least[0] + at_least[1])
        return np.stack([thresholds, precision, at_least[2] / true_variants], axis=1)


def name_outcome(item: ClassifiedVariant) -> str:
    """Name the count in Score that a classified variant adds to."""
    if item.is_call:
        return "tp_calls" if item.is_matched else "fp"
    return "tp_truth" if item.is_matched else "fn"


def find_best_point(curve: np.ndarray) -> dict | None:
    """Find the point of a curve with the greatest F1, the lowest QUAL of equal ones; None when no F1 is above 0."""
    if not len(curve):
        return None
    both = curve[:, 1] + curve[:, 2]
    f1 = np.divide(2 * curve[:, 1] * curve[:, 2], both, out=np.zeros(len(curve)), where=both > 0)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    if not f1[best]:
        return None
    quality, precision, recall = curve[best].tolist()
    return {"quality": quality, "precision": precision, "recall": recall, "f1": float(f1[best])}
