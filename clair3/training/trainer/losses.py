"""Focal loss over the heads of a network (spec/training.md C.3)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from clair3.model import HEAD_SIZES

GAMMA = 2
"""Exponent of (1 - p): rows that are already certain count little."""

LEAST_PROBABILITY = 1e-9
"""Probabilities are not taken to be smaller, so that the loss of a row is at most 20.7."""

CLASS_WEIGHT_BETA = 0.999

HEAD_NAMES = ("gt21", "zygosity", "len1", "len2")
"""Names of the heads in logs, in output order."""


def focal_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Focal loss of one head, per row.

    logits   (n, classes) floating   what the softmax is taken of; computed in float32 at least, whatever it is
    labels   (n,) int64              true classes
    weights  (classes,) or None      class weights, see class_weights
    returns  (n,) float32 or float64
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_p = F.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    # clamped after the exponential: the gradient of (1 - p)^2 stays where the logarithm is cut off
    loss = (1 - log_p.exp()) ** GAMMA * -log_p.clamp(min=math.log(LEAST_PROBABILITY))
    return loss if weights is None else loss * weights[labels]


def focal_loss_of_probabilities(p: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """The same from probabilities, in v2.0.2's form: (n, classes) and (n,) to (n,)."""
    true = p.gather(1, labels[:, None])[:, 0].clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    loss = (1 - true) ** GAMMA * -true.log()
    return loss if weights is None else loss * weights[labels]


def class_weights(counts: Tensor) -> list[Tensor]:
    """Weights of the classes of each head by their effective number of rows; they sum to the number of classes.

    counts   (24,) or (90,) int64   rows per class, the heads side by side; a class without rows counts as one
    returns  float32 tensors, one per head
    """
    heads = counts.split(HEAD_SIZES[: 2 if len(counts) == sum(HEAD_SIZES[:2]) else 4])
    weights = []
    for head in heads:
        weight = (1 - CLASS_WEIGHT_BETA) / (1 - CLASS_WEIGHT_BETA ** head.double().clamp(min=1))
        weights.append((weight / weight.sum() * len(weight)).float())
    return weights


def head_losses(logits: list[Tensor], labels: Tensor, weights: list[Tensor] | None = None) -> Tensor:
    """Sum of the focal loss over the rows, of each head: (heads,).

    labels (n, heads) int64. The training loss is the plain sum over the heads, divided by the number of rows.
    """
    per_head = weights or [None] * len(logits)
    return torch.stack(
        [
            focal_loss(head, labels[:, index], weight).sum()
            for index, (head, weight) in enumerate(zip(logits, per_head, strict=True))
        ]
    )


HOM_REF = 0


def _make_metrics(classes: int) -> MetricCollection:
    return MetricCollection(
        {
            "accuracy": MulticlassF1Score(classes, average="micro"),
            "f1": MulticlassF1Score(classes, average="macro"),
            "precision": MulticlassPrecision(classes, average="macro"),
            "recall": MulticlassRecall(classes, average="macro"),
        },
        # which ones share their counts; found in the first batch otherwise, which not every rank may have
        compute_groups=[["accuracy"], ["f1", "precision", "recall"]],
    )


class EpochMetrics:
    """Losses and metrics of an epoch, gathered batch by batch and computed once, over all ranks.

    accuracy is the micro-averaged F1; f1, precision and recall are macro-averaged over the classes that occur.
    """

    def __init__(self, heads: int, device: torch.device):
        self.names = HEAD_NAMES[:heads]
        self.collections = [_make_metrics(classes).to(device) for classes in HEAD_SIZES[:heads]]
        # loss of each head, rows, called, true and rightly called variants; MPS has no float64
        exact = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(heads + 4, dtype=exact, device=device)

    @torch.no_grad()
    def update(self, losses: Tensor, logits: Sequence[Tensor], labels: Tensor) -> None:
        """Add a batch.

        losses  (heads,)              sums over the rows
        logits  heads x (n, classes)  probabilities serve as well
        labels  (n, heads) int64
        """
        classes = torch.stack([head.argmax(dim=1) for head in logits], dim=1)
        for index, collection in enumerate(self.collections):
            collection.update(classes[:, index], labels[:, index])
        called, true = classes[:, 1] != HOM_REF, labels[:, 1] != HOM_REF
        right = true & (classes[:, :2] == labels[:, :2]).all(dim=1)
        counts = torch.stack([torch.ones_like(true).sum(), called.sum(), true.sum(), right.sum()])
        self.sums += torch.cat([losses, counts]).to(self.sums.dtype)

    def compute(self) -> dict[str, float]:
        """`loss/total`, `loss/HEAD`, `accuracy/HEAD`, `f1/HEAD` ..., and precision, recall and F1 of `variant`.

        A variant is called rightly when its genotype class and its zygosity are right. Losses are means over rows.
        Every rank must take part; all get the figures of all. Of no rows the losses are NaN.
        """
        sums = self.sums.clone()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        *losses, rows, called, true, right = sums.tolist()
        means = [loss / rows if rows else math.nan for loss in losses]
        figures = {f"loss/{name}": mean for name, mean in zip(self.names, means, strict=True)}
        figures = {"loss/total": sum(means), **figures, "rows": int(rows)}
        for name, collection in zip(self.names, self.collections, strict=True):
            if rows:
                values = collection.compute()
                figures |= {f"{key}/{name}": float(value) for key, value in values.items() if value.dim() == 0}
        precision, recall = right / max(called, 1), right / max(true, 1)
        figures |= {
            "precision/variant": precision,
            "recall/variant": recall,
            "f1/variant": 2 * precision * recall / max(precision + recall, 1e-12),
        }
        return figures
