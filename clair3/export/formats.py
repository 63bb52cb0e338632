"""Formats of exported networks, TorchScript and ONNX: made, run, compared with PyTorch, and laid out for Triton."""

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
from clair3.errors import ConfigError, check_range, install_command
from clair3.model import HEAD_SIZES

OPSET = 17
"""Version of the ONNX operators (2022): the newest that torch 2.2 writes; every ONNX Runtime since 1.12 reads it."""

ONNX_HINT = f"ONNX needs the packages onnx and onnxruntime; run {install_command('export')}"

MODEL_NAMES = {"pileup": "pileup", "full_alignment": "alignment"}
"""Names of the models in Triton that the client of Clair3 v2 uses, by kind of network."""
MAX_INT32 = 2**31 - 1

Predict = Callable[[np.ndarray], np.ndarray]
"""A network in any runtime: a function from tensors, as random_tensors makes them, to (N, classes)."""


class ExportedNetwork(nn.Module):
    """A network as other runtimes run it: the integer tensors of the C core in, one tensor with all heads out."""

    def __init__(self, network: nn.Module, logits: bool = False):
        """Copy a network (Clair3_P or Clair3_F) in eval mode; with `logits`, these take the place of probabilities."""
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.logits = logits
        for name, layer in list(self.network.named_children()):
            if isinstance(layer, nn.LSTM):
                setattr(self.network, name, PortableLSTM(layer))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 33, 18) or (N, rows, 33, channels), any integers, to (N, 24) with two heads and (N, 90) with four."""
        return torch.cat(self.network.logits(x), dim=1) if self.logits else self.network.predict(x)


class PortableLSTM(nn.Module):
    """An LSTM that makes its zero state from the input; a trace of torch's own is bound to the device of the trace."""

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        zeros = x.new_zeros(2, x.shape[0], self.lstm.hidden_size)
        return self.lstm(x, (zeros, zeros))


def to_torchscript(exported: ExportedNetwork, example: Tensor) -> bytes:
    """Return the contents of a TorchScript file: a trace that takes any number of candidates, on any device.

    example is a batch of tensors as callers have them: the trace is bound to their rows, not to their number.
    """
    content = io.BytesIO()
    with _no_warnings(), torch.no_grad():
        torch.jit.save(torch.jit.trace(exported, (example,), check_trace=False), content)
    return content.getvalue()


def to_onnx(exported: ExportedNetwork, example: Tensor, names: tuple[str, str] = ("input", "output")) -> bytes:
    """Return the contents of an ONNX file with a first axis "batch" of any length; names are those of input and output.

    Raises ConfigError when the package onnx is not installed.
    """
    try:
        import onnx  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise ConfigError(f"{ONNX_HINT} ({error})") from None
    # from torch 2.9 on another exporter is the default, which needs onnxscript too
    exporter = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    content = io.BytesIO()
    with _no_warnings(), torch.no_grad():
        torch.onnx.export(
            exported,
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
    """Load the network of a TorchScript file on the CPU."""
    with _no_warnings():
        script = torch.jit.load(io.BytesIO(content), map_location="cpu")

    def predict(tensors: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return script(torch.from_numpy(tensors)).numpy()

    return predict


def run_onnx(content: bytes) -> Predict:
    """Load the network of an ONNX file in ONNX Runtime on the CPU. Raises ConfigError when that is not installed."""
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
    """A file format: its suffix, functions that make (see to_onnx) and load it, Triton's back end and file name."""

    suffix: str
    make: Callable[[ExportedNetwork, Tensor, tuple[str, str]], bytes]
    run: Callable[[bytes], Predict]
    backend: str
    file: str


FORMATS = {
    "torchscript": Format(
        ".ts", lambda exported, x, _: to_torchscript(exported, x), run_torchscript, "pytorch", "model.pt"
    ),
    "onnx": Format(".onnx", to_onnx, run_onnx, "onnxruntime", "model.onnx"),
}


def input_shape(network: nn.Module, rows: int) -> tuple[int, ...]:
    """Return the shape of a candidate's tensor; rows is the height of a full-alignment tensor."""
    if network.kind == "pileup":
        return tensor_shapes.WINDOW, tensor_shapes.PILEUP_CHANNEL_COUNT
    return rows, tensor_shapes.WINDOW, network.channels


def random_tensors(network: nn.Module, rows: int, batch: int, generator: np.random.Generator) -> np.ndarray:
    """Make random tensors with values in the range of real ones.

    returns  (batch, 33, 18) int32, counts up to the depth of rescaling, negative for the reference base
             (spec/features.md B); or (batch, rows, 33, channels) int8, some rows in the middle filled (C)
    """
    shape = (batch, *input_shape(network, rows))
    if network.kind == "pileup":
        depth = generator.integers(1, tensor_shapes.RESCALE_ABOVE, (batch, 1, 1), endpoint=True)
        counts = generator.integers(0, depth, shape, endpoint=True).astype(np.int32)
        reference = generator.integers(0, 4, (*shape[:2], 1))
        return np.where(
            np.arange(tensor_shapes.PILEUP_CHANNEL_COUNT) % tensor_shapes.REVERSE == reference, -counts, counts
        )
    cells = generator.integers(-100, 100, shape, np.int8, endpoint=True)
    reads = generator.integers(1, rows, (batch, 1), endpoint=True)
    filled = abs(np.arange(rows) - rows // 2) <= reads // 2
    return cells * filled[:, :, None, None]


def largest_difference(network: nn.Module, predict: Predict, rows: int, batch: int, logits: bool = False) -> float:
    """Return the largest difference between predict and the network in PyTorch, on 1, 3 and `batch` random candidates.

    It is relative to the largest value of a candidate where that is above 1: the rounding of a logit is, too. For a
    result of another shape it is infinite.
    """
    generator = np.random.default_rng(0)
    differences = []
    for size in sorted({1, 3, batch}):
        tensors = random_tensors(network, rows, size, generator)
        x = torch.from_numpy(tensors)
        with torch.inference_mode():
            expected = (torch.cat(network.logits(x), dim=1) if logits else network.predict(x)).numpy()
        actual = predict(tensors)
        if actual.shape != expected.shape:
            return np.inf
        scale = np.maximum(abs(expected).max(axis=1, keepdims=True), 1)
        differences.append((abs(actual - expected) / scale).max())
    return float(np.max(differences))  # NaN if any value is


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Suppress torch's warnings that tracing is deprecated, and that shapes (here: rows) become constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Repository:
    """A model repository of Triton.

    model_version  version of the models, which names their folder
    max_batch      largest request in candidates, and largest batch that Triton merges requests to
    """

    model_version: int = 1
    max_batch: int = 1000

    def __post_init__(self):
        check_range("model_version", self.model_version, 1, MAX_INT32)
        check_range("max_batch", self.max_batch, 1, MAX_INT32)

    def files(
        self, network: nn.Module, content: bytes, form: Format, rows: int, names: tuple[str, str]
    ) -> dict[Path, bytes]:
        """Return the files of one model by their path in the repository; content is the network in this format."""
        folder = Path(MODEL_NAMES[network.kind])
        config = self.config(network, form, rows, names)
        return {folder / str(self.model_version) / form.file: content, folder / "config.pbtxt": config.encode()}

    def config(self, network: nn.Module, form: Format, rows: int, names: tuple[str, str]) -> str:
        """Return the text of config.pbtxt; dims are those of one candidate, without the batch axis."""
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
