"""Pictures of a training run: loss curves, confusion matrices, length errors, calibration, precision and recall
(spec/training.md C.7)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from clair3.errors import install_command
from clair3.genotype import classes
from clair3.genotype.classes import GENOTYPE, GT21, LONGEST
from clair3.genotype.decode import quality

logger = logging.getLogger(__name__)

ZYGOSITIES = ("0/0", "1/1", "het")
QUAL_STEP = 2


@dataclass(frozen=True)
class Predictions:
    """Outputs of the best network for examples, and their true classes.

    probabilities  (n, 24 or 90) float32
    labels         (n, heads) int64
    """

    probabilities: np.ndarray
    labels: np.ndarray


def draw(folder: Path, epochs: Sequence[Mapping[str, Any]], predictions: Predictions) -> list[Path]:
    """Draw PNG files into `plots` of a folder and return their paths; none without matplotlib, which is logged.

    epochs: of the JSON log, in order.
    """
    if find_spec("matplotlib") is None:
        logger.info("No plots: they need matplotlib; run %s", install_command("plots"))
        return []
    from matplotlib.figure import Figure

    folder = folder / "plots"
    folder.mkdir(exist_ok=True)
    drawings = {
        "loss": (_draw_loss, epochs),
        "zygosity": (_draw_zygosity, predictions),
        "gt21": (_draw_gt21, predictions),
    }
    drawings |= {
        "calibration": (_draw_calibration, predictions),
        "precision_recall": (_draw_precision_recall, predictions),
    }
    if predictions.labels.shape[1] == 4:
        drawings["length_error"] = _draw_length_error, predictions
    paths = []
    for name, (drawing, data) in drawings.items():
        figure = Figure(figsize=(8, 6), layout="constrained")
        drawing(figure.subplots(), data)
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths


def _draw_loss(axes, epochs: Sequence[Mapping[str, Any]]) -> None:
    for part in ("train", "validation"):
        points = [(one["epoch"], one[part]["loss/total"]) for one in epochs if part in one]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=part)
    axes.set(xlabel="epoch", ylabel="focal loss", title="Loss")
    axes.legend()


def _draw_zygosity(axes, predictions: Predictions) -> None:
    _draw_confusion(
        axes, predictions.labels[:, 1], predictions.probabilities[:, GENOTYPE].argmax(axis=1), ZYGOSITIES, "Zygosity"
    )


def _draw_gt21(axes, predictions: Predictions) -> None:
    _draw_confusion(
        axes,
        predictions.labels[:, 0],
        predictions.probabilities[:, GT21].argmax(axis=1),
        classes.LABELS,
        "Genotype class",
    )


def count_confusion(true: np.ndarray, called: np.ndarray, classes: int) -> np.ndarray:
    """Count the examples of each true class (down) called as each class (across): (classes, classes) int64."""
    return np.bincount(true * classes + called, minlength=classes * classes).reshape(classes, classes)


def _draw_confusion(axes, true: np.ndarray, called: np.ndarray, names: Sequence[str], title: str) -> None:
    counts = count_confusion(true, called, len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set(
        xticks=range(len(names)), yticks=range(len(names)), yticklabels=names, xlabel="called", ylabel="true",
        title=f"{title}: share of each true class (rows)",
    )  # fmt: skip
    axes.set_xticklabels(names, rotation=90)
    size = 9 if len(names) < 10 else 5
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=size, color=colour)


def _draw_length_error(axes, predictions: Predictions) -> None:
    """Draw the errors of length of the examples whose allele differs in length from the reference."""
    classes = 2 * LONGEST + 1
    errors = []
    for index in (2, 3):
        start = GENOTYPE.stop + (index - 2) * classes
        called = predictions.probabilities[:, start : start + classes].argmax(axis=1)
        indels = predictions.labels[:, index] != LONGEST
        errors.append(called[indels] - predictions.labels[indels, index])
    counts = np.unique(np.concatenate(errors), return_counts=True)
    axes.bar(*counts)
    axes.set(
        yscale="log",
        xlabel="called minus true length change (bases)",
        ylabel="alleles",
        title="Length of indel alleles",
    )


def select_called_variants(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Select the examples called variants: QUAL, (k,) float64, and whether the call is right, (k,) bool.

    The QUAL is that of the product of the two heads' probabilities; a call is right when both classes are.
    """
    genotype = predictions.probabilities[:, GT21].argmax(axis=1)
    zygosity = predictions.probabilities[:, GENOTYPE].argmax(axis=1)
    probability = predictions.probabilities[:, GT21].max(axis=1) * predictions.probabilities[:, GENOTYPE].max(axis=1)
    called = zygosity > 0
    right = (genotype == predictions.labels[:, 0]) & (zygosity == predictions.labels[:, 1])
    return quality(probability[called]), right[called]


def compute_calibration(predictions: Predictions) -> list[tuple[float, int, int]]:
    """Compute for each step of 2 in QUAL: its middle, calls of variants with such a QUAL, and how many of them are
    right."""
    qualities, right = select_called_variants(predictions)
    step = (qualities // QUAL_STEP).astype(int)
    return [((at + 0.5) * QUAL_STEP, int((step == at).sum()), int(right[step == at].sum())) for at in np.unique(step)]


def compute_precision_recall(predictions: Predictions) -> np.ndarray:
    """Compute precision and recall along QUAL, (points, 3) float64: a least QUAL, and precision and recall of the calls
    of that QUAL or more, highest first."""
    qualities, right = select_called_variants(predictions)
    order = np.argsort(-qualities, kind="stable")
    hits = np.cumsum(right[order])
    last = np.flatnonzero(np.diff(qualities[order], append=-1))  # of equal ones
    wanted = max(1, int((predictions.labels[:, 1] > 0).sum()))
    return np.stack([qualities[order][last], hits[last] / (last + 1), hits[last] / wanted], axis=1)


def _draw_calibration(axes, predictions: Predictions) -> None:
    points = compute_calibration(predictions)
    if points:
        middles, counts, right = (np.array(column) for column in zip(*points, strict=True))
        sizes = 20 + 180 * counts / counts.max()
        axes.scatter(middles, right / counts, s=sizes, alpha=0.7, label="variants called (area: how many)")
        line = np.linspace(0, middles.max() + QUAL_STEP, 100)
        axes.plot(line, 1 / (1 + 10 ** ((10 - line) / 10)), linestyle="--", color="grey", label="what QUAL says")
        axes.legend()
    axes.set(xlabel="QUAL", ylabel="share that is right", ylim=(-0.02, 1.02), title="Calibration")


def _draw_precision_recall(axes, predictions: Predictions) -> None:
    _, precision, recall = compute_precision_recall(predictions).T
    axes.plot(recall, precision)
    axes.set(
        xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title="Variants called with a QUAL or more"
    )
    axes.grid(alpha=0.3)
