"""How well a network does, per head and per variant (spec/training.md C.7)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from clair3.model import HEAD_SIZES
from clair3.training.losses import HEAD_NAMES

HOM_REF = 0


def _of_head(classes: int) -> MetricCollection:
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
        self.collections = [_of_head(classes).to(device) for classes in HEAD_SIZES[:heads]]
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
