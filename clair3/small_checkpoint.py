"""Checkpoints that are small enough for git and for wheels: weights of bfloat16 accuracy in packed files."""

import io
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from clair3.checkpoint import read_checkpoint
from shared.errors import InputError

PACKING_LEVEL = 6
"""Of zlib; 9 takes six times as long for 6 % less."""


def small_checkpoint(path: Path, mean_with: Path | None = None) -> bytes:
    """The bytes of a checkpoint file with the weights of another, a third of its size.

    Floating-point numbers are rounded to the nearest bfloat16 and kept as float32; counters and clair3_meta stay. The
    entries of the zip file are deflated, and bear no dates: the same weights give the same bytes, with the same zlib
    and torch. torch.load, v2.0.2's too, reads it, but not with mmap=True. mean_with: a checkpoint of the same shapes,
    the weights become the mean of both. Raises InputError, as read_checkpoint does, and when the shapes differ.
    """
    state, meta = read_checkpoint(path)
    if mean_with is not None:
        state = mean_of(path, state, mean_with)
    weights = OrderedDict((key, rounded(value)) for key, value in state.items())
    torch.save({"state_dict": weights, "clair3_meta": meta} if meta else weights, stored := io.BytesIO())
    with zipfile.ZipFile(stored) as entries, zipfile.ZipFile(packed := io.BytesIO(), "w") as archive:
        for name in entries.namelist():
            content = entries.read(name)
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, PACKING_LEVEL)
    return packed.getvalue()


def rounded(values: Tensor) -> Tensor:
    return values.bfloat16().float() if values.is_floating_point() else values.clone()


def mean_of(path: Path, state: dict[str, Tensor], other: Path) -> dict[str, Tensor]:
    """The mean of the weights of a checkpoint, state, and another; counters are those of the first.

    A network that went on from the other keeps more of what that one knew. Raises InputError when shapes differ.
    """
    weights, _ = read_checkpoint(other)
    if {key: value.shape for key, value in state.items()} != {key: value.shape for key, value in weights.items()}:
        raise InputError(f"{other}: weights of other names or shapes than those of {path}; there is no mean of them")
    return {key: (value + weights[key]) / 2 if value.is_floating_point() else value for key, value in state.items()}
