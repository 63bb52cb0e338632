"""Networks of Clair3 v1: which TensorFlow variable becomes which entry of a state dict (spec/models.md 9 and 11)."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clair3 import tensor_shapes
from clair3.errors import InputError
from clair3.inference.tf_checkpoint import TfCheckpoint
from clair3.model import LENGTH_LAYERS, NETWORKS

LSTM = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel", "bias_ih": "bias"}
"""PyTorch adds two biases where Keras has one: bias_hh stays 0. Both order the gates input, forget, cell, output."""
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
DENSE = {"weight": "kernel", "bias": "bias"}

AXES = {0: (), 1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
"""Keras' axes in PyTorch's order, by their number: dense (in, out) and convolution (height, width, in, out) kernels."""


def read_network(index: Path) -> tuple[dict[str, Tensor], dict]:
    """Read a network of Clair3 v1: (state dict with the keys, order and dtypes of v2's, clair3_meta).

    index is the `.index` file of its checkpoint, see checkpoint.find_tf_index. The kind, heads and channels of the
    network come from the object graph and the shapes. Raises InputError, as TfCheckpoint does.
    """
    checkpoint = TfCheckpoint(index)
    kinds = [kind for kind, network in NETWORKS.items() if checkpoint.has(network.body[0])]
    if len(kinds) != 1:
        raise InputError(f"{index}: not a Clair3 network: its layers begin neither with LSTM1 nor with conv1")
    heads = 4 if any(map(checkpoint.has, LENGTH_LAYERS)) else 2
    options = {"heads": heads}
    if kinds[0] == "full_alignment":
        options["channels"] = _count_channels(checkpoint)
    with torch.device("meta"):  # allocates no weights: only names and shapes of the entries are needed
        expected = NETWORKS[kinds[0]](**options).state_dict()
    state = OrderedDict((key, _read_entry(checkpoint, key, tuple(value.shape))) for key, value in expected.items())
    meta = {"source": "tensorflow", "network": kinds[0], **options}
    return state, meta | ({"conv_padding": "tf_same"} if "channels" in options else {})


def _count_channels(checkpoint: TfCheckpoint) -> int:
    """Return the input channels of a full-alignment network. Raises InputError unless they are 8 or 9."""
    shape = checkpoint.shape("conv1", "conv", "kernel")
    known = (tensor_shapes.FULL_ALIGNMENT_CHANNEL_COUNT, tensor_shapes.DWELL_CHANNEL_COUNT)
    if len(shape) != 4 or shape[2] not in known:
        raise InputError(
            f"{checkpoint.index}: conv1/conv/kernel has shape {shape}, not (3, 3, {known[0]} or {known[1]}, 64); "
            "it is no model of Clair3 v1"
        )
    return shape[2]


def _read_entry(checkpoint: TfCheckpoint, key: str, shape: tuple[int, ...]) -> Tensor:
    """Return an entry of our state dict, contiguous, of this shape."""
    names = tf_variable(key)
    if names is None:
        return torch.zeros(shape, dtype=torch.int64 if key.endswith(".num_batches_tracked") else torch.float32)
    axes = AXES[len(shape)]
    tf_shape = tuple(size for _, size in sorted(zip(axes, shape, strict=True)))
    values = checkpoint.variable(*names, shape=tf_shape).transpose(axes)
    return torch.from_numpy(np.ascontiguousarray(values))


def tf_variable(key: str) -> tuple[str, ...] | None:
    """Return the attribute names that lead to the variable of an entry of our state dict; None for an entry of zeros.

    res_block1.0.bn2.running_mean -> res_block1, layer_with_weights-0, bn2, moving_mean
    """
    layers, name = key.split(".")[:-1], key.rpartition(".")[2]
    if layers[0].startswith("LSTM"):
        direction = "backward_layer" if name.endswith("_reverse") else "forward_layer"
        name = LSTM.get(name.removesuffix("_reverse").removesuffix("_l0"))
        layers += [direction, "cell"]
    else:
        name = (NORM if layers[-1].startswith("bn") else DENSE).get(name)
    return name and (*("layer_with_weights-0" if layer == "0" else layer for layer in layers), name)
