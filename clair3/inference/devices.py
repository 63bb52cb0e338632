"""Devices: which of them a run uses, and the networks on them, in float32 or with their body in 16 bits.

In lower precision the layers with nearly all of the arithmetic compute in 16 bits. The dense layers and the softmax
stay in float32: in 16 bits a probability near 1 has two or three digits, and QUAL, which is made of what is missing to
1, would take a handful of values.
"""

import copy
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from clair3.config import AMP, AUTO, BF16, CPU, CUDA, FP16, MPS, Compute
from clair3.errors import ConfigError
from clair3.inference.executors import (
    DeferredPrediction,
    DeviceExecutor,
    LocalExecutor,
    PredictionFuture,
    device_errors,
)
from clair3.inference.predictor import Predictor
from clair3.model import HEAD_SIZES, Clair3_F

logger = logging.getLogger(__name__)

DTYPES = {BF16: torch.bfloat16, FP16: torch.float16}
"""Type of the body of a network by lower precision."""

MIN_BATCH = 512
"""Candidates that a CPU worker predicts at a time: 12 MB of the largest tensors. With 64 full-alignment candidates the
unfilled pieces cost 14 % more (clair3.inference.predictor.FilledRows)."""

PIECE = {"pileup": 1024, "full_alignment": 256}
"""Rows of a piece on a device: enough to fill it; a last piece that is not full costs time, so no more."""

MAX_PIECES = 8
"""Pieces of a batch where memory allows it."""

ACTIVATION_BYTES = {"pileup": 0.6e6, "full_alignment": 2.0e6}
"""Bytes of intermediate results per row of a piece, as float32."""

TENSOR_BYTES = {"pileup": 33 * 18 * 4, "full_alignment": 89 * 33 * 9}
"""Bytes of the largest tensor of a candidate as it is copied to a device."""

MEMORY_SHARE = 0.5
"""Share of the free memory that is used; the rest is for workspaces of the libraries."""

BF16_CAPABILITY = (8, 0)
"""First compute capability (Ampere) with bf16 arithmetic."""


def resolve(compute: Compute) -> Compute:
    """Return the choice with devices by number and name, and with the precision that they compute in.

    "auto" takes the CUDA GPUs, else the CPU: MPS is used when it is named, as its results are less well tested.
    No GPU is initialised: training has a process for each. Raises ConfigError, which lists the devices of this machine,
    when a device is missing or cannot compute in the precision.
    """
    device = compute.device
    if device == AUTO:
        device = CUDA if torch.cuda.is_available() else CPU
    if device == CPU:
        if compute.device == AUTO:
            logger.info("Networks run on the CPU: no CUDA GPU found")
        return replace(compute, device=CPU)
    precision = FP16 if compute.precision == AMP else compute.precision
    if device == MPS:
        if not torch.backends.mps.is_available():
            raise ConfigError(f"--device=mps: there is no Metal device for this PyTorch; {list_devices()}")
        logger.info("Networks run on mps")
        return replace(compute, precision=precision, names=("Apple MPS",))
    if not torch.backends.cuda.is_built():
        raise ConfigError(
            f"--device={compute} (--use_gpu): this PyTorch ({torch.__version__}) was built without CUDA; "
            f"{list_devices()}"
        )
    if not torch.cuda.is_available():
        raise ConfigError(
            f"--device={compute} (--use_gpu): no CUDA GPU can be used; {list_devices()}; see what nvidia-smi says"
        )
    return resolve_cuda(replace(compute, device=CUDA, precision=precision))


def resolve_cuda(compute: Compute) -> Compute:
    """Return a choice of CUDA with numbers and names of its GPUs; there is one at least. Raises ConfigError."""
    count = torch.cuda.device_count()
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        logger.info("ENV 'CUDA_VISIBLE_DEVICES' is set to %s, using these GPUs only.", visible)
    numbers = tuple(range(count)) if compute.numbers is None else compute.numbers
    if max(numbers) >= count:
        raise ConfigError(f"--device={compute}: there is no cuda:{max(numbers)}; {list_devices()}")
    if compute.precision == BF16 and torch.version.hip is None:
        for number in numbers:
            if torch.cuda.get_device_capability(number) < BF16_CAPABILITY:
                name = torch.cuda.get_device_name(number)
                raise ConfigError(f"--precision=bf16: cuda:{number} ({name}) has no bf16 arithmetic; use fp16 or fp32")
    names = tuple(dict.fromkeys(torch.cuda.get_device_name(number) for number in numbers))
    return replace(compute, numbers=numbers, names=tuple(sorted(names)))


def take_gpus(compute: Compute) -> None:
    """Initialise the GPUs of a resolved choice, if any: from here on this process holds some memory of each.

    Raises DeviceError for a GPU that another process uses exclusively, or that has no memory left.
    """
    for number in compute.numbers or ():
        name = torch.cuda.get_device_name(number)
        with device_errors(f"cuda:{number} ({name})"):
            free, total = torch.cuda.mem_get_info(number)
        logger.info("Networks run on cuda:%d (%s), %.1f of %.1f GB free", number, name, free / 1e9, total / 1e9)
    if len(compute.names) > 1:
        logger.warning(
            "GPUs of different models (%s): last digits may differ from run to run", ", ".join(compute.names)
        )


def list_devices() -> str:
    """Return the devices of this machine as they are named in messages."""
    names = [CPU]
    if torch.cuda.is_available():
        names += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append(MPS)
    return f"found: {', '.join(names)}"


def make_inference(compute: Compute, model: torch.nn.Module) -> LocalExecutor | DeviceExecutor:
    """Return an executor for a network (in eval mode, on the CPU) on the devices of a resolved choice.

    Close it after the last worker has ended. Raises DeviceError when the network cannot be copied to a device.
    """
    model = lower_precision(model, compute.precision)
    if compute.device == CPU:
        torch.set_num_threads(compute.torch_threads)
        return LocalExecutor(Predictor(model), MIN_BATCH)
    compute_exactly()
    networks = []
    for number in compute.numbers or (0,):
        device = torch.device(compute.device, number)
        with device_errors(str(device)):
            networks.append(DeviceNetwork(copy.deepcopy(model), device))
    return DeviceExecutor(networks)


def lower_precision(model: nn.Module, precision: str) -> nn.Module:
    """Convert the body of a network (Clair3_P or Clair3_F) in place to "bf16" or "fp16", and return it.

    With "fp32" nothing changes. The network takes and gives what it did before: inputs of any dtype, float32 features
    and probabilities.
    """
    if precision not in DTYPES:
        return model
    dtype = DTYPES[precision]
    body = [getattr(model, name) for name in model.body]
    for layer in body:
        layer.to(dtype)
    body[0].register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))
    model.L4.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return model


def compute_exactly() -> None:
    """Let torch compute in full float32 (no TF32), and add up sums in the same order each time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read with the first product; LSTMs need it too
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


class DeviceNetwork:
    """A network on one device, used by one thread (clair3.inference.executors.Network)."""

    def __init__(self, model: torch.nn.Module, device: torch.device, piece: int | None = None):
        """Move the model (Clair3_P or Clair3_F, in eval mode) to the device."""
        self.device, self.name = device, str(device)
        self.piece = PIECE[model.kind] if piece is None else piece
        self.classes = sum(HEAD_SIZES[: model.heads])
        self.busy = 0.0
        layout = torch.channels_last if isinstance(model, Clair3_F) else torch.preserve_format
        self.model = model.to(device, memory_format=layout).eval()
        self.pieces = self.fitting_pieces(model.kind)

    def fitting_pieces(self, kind: str) -> int:
        """Return how many pieces of a batch fit the free memory; 1 at least, for that is tried in any case."""
        if self.device.type != CUDA:
            return MAX_PIECES
        self.free()  # memory that the network of another stage has left in the cache
        free, _ = torch.cuda.mem_get_info(self.device)
        row = TENSOR_BYTES[kind] + 4 * self.classes
        for_tensors = MEMORY_SHARE * free - self.piece * ACTIVATION_BYTES[kind]
        return int(min(MAX_PIECES, max(1, for_tensors // (2 * self.piece * row))))

    def start(self, rows: Sequence[np.ndarray]) -> PredictionFuture:
        """See executors.Network. Rows go through pinned memory, so that copies overlap with the computation."""
        pinned = self.device.type == CUDA
        first = torch.from_numpy(rows[0])
        batch = torch.empty((len(rows) * self.piece, *first.shape[1:]), dtype=first.dtype, pin_memory=pinned)
        for padded, piece in zip(np.split(batch.numpy(), len(rows)), rows, strict=True):
            padded[: len(piece)] = piece
            padded[len(piece) :] = 0
        return self.start_cuda(batch) if pinned else self.start_plain(batch)

    def start_cuda(self, batch: torch.Tensor) -> PredictionFuture:
        """Queue copies and kernels on the GPU and return at once."""
        with torch.cuda.device(self.device):
            began, ended = (torch.cuda.Event(enable_timing=True, blocking=True) for _ in range(2))  # sleep, not spin
            began.record()
            predicted = self.predict(batch)
            probabilities = torch.empty(predicted.shape, pin_memory=True)
            probabilities.copy_(predicted, non_blocking=True)
            ended.record()

        def fetch() -> np.ndarray:
            ended.synchronize()
            self.busy += began.elapsed_time(ended) / 1000
            return probabilities.numpy()

        return DeferredPrediction(fetch)

    def start_plain(self, batch: torch.Tensor) -> PredictionFuture:
        """Compute at once, on devices without pinned memory."""
        began = time.perf_counter()
        probabilities = self.predict(batch).cpu().numpy()
        self.busy += time.perf_counter() - began
        return DeferredPrediction(lambda: probabilities)

    def predict(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of whole pieces, (n * piece, ...) to (n * piece, classes), on the device."""
        with torch.inference_mode():
            batch = batch.to(self.device, non_blocking=True)
            return torch.cat([self.model.predict(piece) for piece in batch.split(self.piece)])

    def free(self) -> None:
        """Return memory to the device that torch caches."""
        if self.device.type == CUDA:
            torch.cuda.empty_cache()
        elif self.device.type == MPS:
            torch.mps.empty_cache()
