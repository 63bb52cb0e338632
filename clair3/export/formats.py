"""The networks in the files of other runtimes, TorchScript and ONNX: how they are made, run and compared."""

import copy
import inspect
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clair3 import tensor_shapes
from clair3.errors import ConfigError, check_range
from clair3.model import HEAD_SIZES

OPSET = 17
"""ONNX operators of 2022: the newest set that torch 2.2 writes, and every ONNX Runtime since 1.12 reads."""

ONNX_HINT = 'ONNX needs the packages onnx and onnxruntime; run "pip install onnx onnxruntime"'

Predict = Callable[[np.ndarray], np.ndarray]
"""Tensors as random_tensors makes them to (N, classes): a network in any runtime."""


class Served(nn.Module):
    """A network as a server runs it: integer tensors as the caller has them in, one tensor with all heads out."""

    def __init__(self, network: nn.Module, logits: bool = False):
        """A copy of a network (Clair3_P or Clair3_F) in eval mode.

        logits: the answer is what the softmax of each head is taken of, in place of probabilities.
        """
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.logits = logits
        for name, layer in list(self.network.named_children()):
            if isinstance(layer, nn.LSTM):
                setattr(self.network, name, PortableLSTM(layer))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 33, 18) or (N, rows, 33, channels), any integers, to (N, 24) with two heads and (N, 90) with four."""
        return torch.cat(self.network.logits(x), dim=1) if self.logits else self.network.predict(x)


class PortableLSTM(nn.Module):
    """An LSTM whose zero state is made from its input: a trace of torch's own would stay on the device it was made."""

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        zeros = x.new_zeros(2, x.shape[0], self.lstm.hidden_size)
        return self.lstm(x, (zeros, zeros))


def to_torchscript(served: Served, example: Tensor) -> bytes:
    """The contents of a TorchScript file: a trace that takes any number of candidates, on any device.

    example is a batch of the tensors that will be given to it: the trace keeps their rows, not their number.
    """
    content = io.BytesIO()
    with _quiet(), torch.no_grad():
        torch.jit.save(torch.jit.trace(served, (example,), check_trace=False), content)
    return content.getvalue()


def to_onnx(served: Served, example: Tensor, names: tuple[str, str] = ("input", "output")) -> bytes:
    """The contents of an ONNX file with a first axis "batch" of any length; names are those of input and output.

    Raises ConfigError when the package onnx is not installed.
    """
    try:
        import onnx  # noqa: F401  torch's exporter wants it
    except ImportError as error:
        raise ConfigError(f"{ONNX_HINT} ({error})") from None
    # from torch 2.9 on another exporter is the default, which needs onnxscript too
    exporter = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    content = io.BytesIO()
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            served,
            (example,),
            content,
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=OPSET,
            **exporter,
        )
    return content.getvalue()


def run_torchscript(content: bytes) -> Predict:
    """The network in a TorchScript file, on the CPU."""
    with _quiet():
        script = torch.jit.load(io.BytesIO(content), map_location="cpu")

    def predict(tensors: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return script(torch.from_numpy(tensors)).numpy()

    return predict


def run_onnx(content: bytes) -> Predict:
    """The network in an ONNX file, in ONNX Runtime on the CPU. Raises ConfigError when that is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{ONNX_HINT} ({error})") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda tensors: session.run(None, {name: tensors})[0]


@dataclass(frozen=True)
class Format:
    """A kind of file: its suffix, how it is made (see to_onnx) and run, and Triton's back end and file name for it."""

    suffix: str
    make: Callable[[Served, Tensor, tuple[str, str]], bytes]
    run: Callable[[bytes], Predict]
    backend: str
    file: str


FORMATS = {
    "torchscript": Format(
        ".ts", lambda served, x, _: to_torchscript(served, x), run_torchscript, "pytorch", "model.pt"
    ),
    "onnx": Format(".onnx", to_onnx, run_onnx, "onnxruntime", "model.onnx"),
}


def input_shape(network: nn.Module, rows: int) -> tuple[int, ...]:
    """Shape of a candidate's tensor; rows is the height of a full-alignment tensor."""
    if network.kind == "pileup":
        return tensor_shapes.WINDOW, tensor_shapes.PILEUP_CHANNEL_COUNT
    return rows, tensor_shapes.WINDOW, network.channels


def random_tensors(network: nn.Module, rows: int, batch: int, generator: np.random.Generator) -> np.ndarray:
    """Random tensors with numbers in the range of real ones, as callers give them to the network.

    returns  (batch, 33, 18) int32, counts up to the depth of rescaling, negative for the reference's letter
             (spec/features.md B); or (batch, rows, 33, channels) int8, some rows in the middle filled (C)
    """
    shape = (batch, *input_shape(network, rows))
    if network.kind == "pileup":
        depth = generator.integers(1, tensor_shapes.RESCALE_ABOVE, (batch, 1, 1), endpoint=True)
        counts = generator.integers(0, depth, shape, endpoint=True).astype(np.int32)
        letter = generator.integers(0, 4, (*shape[:2], 1))
        return np.where(
            np.arange(tensor_shapes.PILEUP_CHANNEL_COUNT) % tensor_shapes.REVERSE == letter, -counts, counts
        )
    cells = generator.integers(-100, 100, shape, np.int8, endpoint=True)
    reads = generator.integers(1, rows, (batch, 1), endpoint=True)
    filled = abs(np.arange(rows) - rows // 2) <= reads // 2
    return cells * filled[:, :, None, None]


def largest_difference(network: nn.Module, predict: Predict, rows: int, batch: int, logits: bool = False) -> float:
    """How far predict is from the network in PyTorch at worst, on 1, 3 and batch random candidates.

    In shares of the candidate's greatest value where that is above 1 (logits: what is summed up to one rounds the
    others). An answer of another shape is infinitely far.
    """
    generator = np.random.default_rng(0)
    differences = []
    for size in sorted({1, 3, batch}):
        tensors = random_tensors(network, rows, size, generator)
        x = torch.from_numpy(tensors)
        with torch.inference_mode():
            expected = (torch.cat(network.logits(x), dim=1) if logits else network.predict(x)).numpy()
        found = predict(tensors)
        if found.shape != expected.shape:
            return np.inf
        scale = np.maximum(abs(expected).max(axis=1, keepdims=True), 1)
        differences.append((abs(found - expected) / scale).max())
    return float(np.max(differences))  # NaN where any is


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings: that tracing is deprecated, and that shapes (here: rows) become constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


MODEL_NAMES = {"pileup": "pileup", "full_alignment": "alignment"}
"""What the client of Clair3 v2 asks for, by kind of network."""

MAX_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Repository:
    """How Triton serves the networks.

    model_version  of the models: the number of their folder
    max_batch      candidates that Triton takes in one request, and merges requests up to
    """

    model_version: int = 1
    max_batch: int = 1000

    def __post_init__(self):
        check_range("model_version", self.model_version, 1, MAX_INT32)
        check_range("max_batch", self.max_batch, 1, MAX_INT32)

    def files(
        self, network: nn.Module, content: bytes, form: Format, rows: int, names: tuple[str, str]
    ) -> dict[Path, bytes]:
        """The files of one model by their place in the repository; content is the network in the given format."""
        folder = Path(MODEL_NAMES[network.kind])
        config = self.config(network, form, rows, names)
        return {folder / str(self.model_version) / form.file: content, folder / "config.pbtxt": config.encode()}

    def config(self, network: nn.Module, form: Format, rows: int, names: tuple[str, str]) -> str:
        """The text of config.pbtxt; dims are those of one candidate, the first axis is Triton's to fill."""
        integers = "TYPE_INT32" if network.kind == "pileup" else "TYPE_INT8"
        dims = ", ".join(map(str, input_shape(network, rows)))
        classes = sum(HEAD_SIZES[: network.heads])
        return (
            f'name: "{MODEL_NAMES[network.kind]}"\n'
            f'backend: "{form.backend}"\n'
            f"max_batch_size: {self.max_batch}\n"
            f'input [ {{ name: "{names[0]}", data_type: {integers}, dims: [ {dims} ] }} ]\n'
            f'output [ {{ name: "{names[1]}", data_type: TYPE_FP32, dims: [ {classes} ] }} ]\n'
            "dynamic_batching { max_queue_delay_microseconds: 100 }\n"
        )
