"""An evaluation as text, JSON and a precision-recall plot."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from clair3.errors import UsageError, install_command
from clair3.evaluation.counting import Interval, Score, Tally, find_best_point
from clair3.io.atomic import unfinished
from clair3.version import VERSION

COLUMNS = ("truth", "found", "missed", "GT wrong", "calls", "right", "false")
KINDS = ("SNP", "indel")
NAME_WIDTH, COUNT_WIDTH, SHARE_WIDTH = 22, 9, 27
DRAWN_POINTS = 2000
"""Points of a curve that are stored and drawn; a genome has millions of calls."""


@dataclass(frozen=True)
class Result:
    """The result of an evaluation.

    skipped  for `calls` and `truth`: records that were left out, by reason
    cut      contig, and 0-based [start, end) of clusters in which a better match may exist
    """

    inputs: dict[str, str]
    tally: Tally
    skipped: dict[str, dict[str, int]]
    cut: list[tuple[str, int, int]] = field(default_factory=list)


def format_report(result: Result) -> Iterator[str]:
    """Format the report as text: a table for each stratification, the best QUAL, and what was left out."""
    for sort, scores in result.tally.scores():
        if scores:
            yield format_heading(sort.name, sort.calls_only)
            yield from (format_score(stratum, score, sort.calls_only) for stratum, score in scores)
            yield ""
    for kind in KINDS:
        best = find_best_point(result.tally.curve(kind))
        if best:
            numbers = " ".join(f"{name} {best[name]:.4f}" for name in ("precision", "recall", "f1"))
            yield f"{kind}: best F1 with QUAL >= {best['quality']:.2f}: {numbers}"
    for side, reasons in result.skipped.items():
        yield from (f"{side}: {count} records left out: {reason}" for reason, count in reasons.items())
    for contig, start, end in result.cut:
        yield f"{contig}:{start + 1}-{end}: too many variants to try every way; a better match may have been missed"


def format_heading(name: str, calls_only: bool) -> str:
    counts = "".join(f"{column:>{COUNT_WIDTH}}" for column in COLUMNS)
    shares = ("precision (95 %)",) if calls_only else ("precision (95 %)", "recall (95 %)", "F1 (95 %)")
    return f"{name:{NAME_WIDTH}}{counts}" + "".join(f"{text:>{SHARE_WIDTH}}" for text in shares)


def format_score(stratum: str, score: Score, calls_only: bool) -> str:
    truth = (score.tp_truth + score.fn, score.tp_truth, score.fn, score.genotype_errors)
    counts = ["-"] * len(truth) if calls_only else list(truth)
    counts += [score.tp_calls + score.fp, score.tp_calls, score.fp]
    values = score.values()
    names = ("precision",) if calls_only else ("precision", "recall", "f1")
    shares = (format_share(values[name], values[f"{name}_interval"]) for name in names)
    cells = "".join(f"{count:>{COUNT_WIDTH}}" for count in counts)
    return f"{stratum:{NAME_WIDTH}}{cells}" + "".join(f"{text:>{SHARE_WIDTH}}" for text in shares)


def format_share(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f} [{interval[0]:.4f}-{interval[1]:.4f}]"


def make_json(result: Result) -> dict:
    """Make the content of the JSON file: all numbers of the report and the curves, by name; None for what a table of
    calls alone cannot say."""
    strata = {}
    for sort, scores in result.tally.scores():
        strata[sort.name] = {stratum: score.values() for stratum, score in scores}
        if sort.calls_only:
            for values in strata[sort.name].values():
                values.update(
                    dict.fromkeys(name for name in values if not name.startswith(("tp_c", "fp", "precision")))
                )
    curves = {kind: thin_curve(result.tally.curve(kind)).tolist() for kind in KINDS}
    return {
        "version": VERSION,
        "inputs": result.inputs,
        "strata": strata,
        "best": {kind: find_best_point(result.tally.curve(kind)) for kind in KINDS},
        "curve": {"columns": ["quality", "precision", "recall"], **curves},
        "skipped": result.skipped,
        "not_searched_fully": [{"contig": name, "start": start, "end": end} for name, start, end in result.cut],
    }


def thin_curve(curve):
    """Select some of the points, first and last among them, of a curve with very many."""
    step = -(-len(curve) // DRAWN_POINTS) or 1
    return curve[::-1][::step][::-1]


def check_plots() -> None:
    """Raises UsageError without matplotlib."""
    if find_spec("matplotlib") is None:
        raise UsageError(f"--plot needs matplotlib; run {install_command('plots')}")


def plot(result: Result, path: Path) -> None:
    """Draw precision against recall along QUAL, for SNPs and indels, as PNG; complete or absent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    for kind in KINDS:
        curve = thin_curve(result.tally.curve(kind))
        if len(curve):
            best = find_best_point(curve)
            note = f", best F1 {best['f1']:.4f} at QUAL {best['quality']:.1f}" if best else ""
            line = axes.plot(curve[:, 2], curve[:, 1], label=f"{kind}{note}")[0]
            if best:
                axes.plot(best["recall"], best["precision"], "o", color=line.get_color())
    axes.set(xlabel="recall", ylabel="precision", title="Calls of at least a QUAL", xlim=(0, 1.01), ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(loc="lower left")
    with unfinished(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
