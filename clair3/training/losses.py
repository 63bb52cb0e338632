"""Focal loss over the heads of a network (spec/training.md C.3)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

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
