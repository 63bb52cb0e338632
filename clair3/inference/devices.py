"""Networks of lower precision: the layers with nearly all of the arithmetic in 16 bits, the rest in float32.

The dense layers and the softmax stay in float32: in 16 bits a probability near 1 has two or three digits, and QUAL,
which is made of what is missing to 1, would take a handful of values.
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

from clair3.errors import ConfigError
from clair3.inference.compute import AMP, AUTO, BF16, CPU, CUDA, FP16, MPS, Compute
from clair3.inference.executors import DeviceExecutor, LocalExecutor, Wait, blaming
from clair3.inference.predictor import Predictor
from clair3.model import HEAD_SIZES, Clair3_F

logger = logging.getLogger(__name__)


DTYPES = {BF16: torch.bfloat16, FP16: torch.float16}


def lower_precision(model: nn.Module, precision: str) -> nn.Module:
    """The same network (Clair3_P or Clair3_F, changed in place) with its body in "bf16" or "fp16"; as it is for "fp32".

    It takes and gives what it did before: inputs of any dtype, float32 features and probabilities.
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


TOGETHER = 512
"""Candidates that a CPU worker predicts at a time: 12 MB of the largest tensors. With 64 full-alignment candidates the
unfilled pieces cost 14 % more (clair3.inference.predictor.FilledRows)."""

PIECE = {"pileup": 1024, "full_alignment": 256}
"""Rows of a piece on a device: enough to fill it; a last piece that is not full costs time, so no more."""

MOST_PIECES = 8
"""Pieces of a batch where memory allows it."""

ACTIVATIONS = {"pileup": 0.6e6, "full_alignment": 2.0e6}
"""Bytes of intermediate results per row of a piece, as float32."""

TENSOR_BYTES = {"pileup": 33 * 18 * 4, "full_alignment": 89 * 33 * 9}
"""Largest tensor of a candidate as it is copied to a device."""

MEMORY_SHARE = 0.5
"""Of the free memory; the rest is for workspaces of the libraries."""

AMPERE = (8, 0)
"""First compute capability with bf16 arithmetic."""


def resolve(compute: Compute) -> Compute:
    """The same choice with everything known: devices by number and name, and precision.

    "auto" takes the CUDA GPUs, else the CPU: MPS is used when it is named, as its results are less well tested.
    Takes no GPU into use: training has a process for each. Raises ConfigError, naming what was found, when a device is
    not there or cannot do the precision.
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
            raise ConfigError(f"--device=mps: there is no Metal device for this PyTorch; {found()}")
        logger.info("Networks run on mps")
        return replace(compute, precision=precision, names=("Apple MPS",))
    if not torch.backends.cuda.is_built():
        raise ConfigError(
            f"--device={compute} (--use_gpu): this PyTorch ({torch.__version__}) was built without CUDA; {found()}"
        )
    if not torch.cuda.is_available():
        raise ConfigError(
            f"--device={compute} (--use_gpu): no CUDA GPU can be used; {found()}; see what nvidia-smi says"
        )
    return resolve_cuda(replace(compute, device=CUDA, precision=precision))


def resolve_cuda(compute: Compute) -> Compute:
    """Numbers and names of CUDA GPUs, of which there are some."""
    count = torch.cuda.device_count()
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        logger.info("ENV 'CUDA_VISIBLE_DEVICES' is set to %s, using these GPUs only.", visible)
    numbers = tuple(range(count)) if compute.numbers is None else compute.numbers
    if max(numbers) >= count:
        raise ConfigError(f"--device={compute}: there is no cuda:{max(numbers)}; {found()}")
    if compute.precision == BF16 and torch.version.hip is None:
        for number in numbers:
            if torch.cuda.get_device_capability(number) < AMPERE:
                name = torch.cuda.get_device_name(number)
                raise ConfigError(f"--precision=bf16: cuda:{number} ({name}) has no bf16 arithmetic; use fp16 or fp32")
    names = tuple(dict.fromkeys(torch.cuda.get_device_name(number) for number in numbers))
    return replace(compute, numbers=numbers, names=tuple(sorted(names)))


def take_gpus(compute: Compute) -> None:
    """Take the GPUs of a resolved choice, if any, into use: from here on each holds some memory of this process.

    Raises DeviceError for one that is another process's alone, or has no memory left.
    """
    for number in compute.numbers or ():
        name = torch.cuda.get_device_name(number)
        with blaming(f"cuda:{number} ({name})"):
            free, total = torch.cuda.mem_get_info(number)
        logger.info("Networks run on cuda:%d (%s), %.1f of %.1f GB free", number, name, free / 1e9, total / 1e9)
    if len(compute.names) > 1:
        logger.warning(
            "GPUs of different models (%s): last digits may differ from run to run", ", ".join(compute.names)
        )


def found() -> str:
    """The devices that are there, in words."""
    names = [CPU]
    if torch.cuda.is_available():
        names += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append(MPS)
    return f"found: {', '.join(names)}"


def make_inference(compute: Compute, model: torch.nn.Module) -> LocalExecutor | DeviceExecutor:
    """A network (in eval mode, on the CPU) where a resolved choice wants it; close it after the last worker's end.

    Raises DeviceError when a device does not take it.
    """
    model = lower_precision(model, compute.precision)
    if compute.device == CPU:
        torch.set_num_threads(compute.torch_threads)
        return LocalExecutor(Predictor(model), TOGETHER)
    compute_exactly()
    networks = []
    for number in compute.numbers or (0,):
        device = torch.device(compute.device, number)
        with blaming(str(device)):
            networks.append(DeviceNetwork(copy.deepcopy(model), device))
    return DeviceExecutor(networks)


def compute_exactly() -> None:
    """float32 means float32 (no TF32), and a sum is added up in the same order each time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read with the first product; LSTMs need it too
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


class DeviceNetwork:
    """A network on one device, for the one thread that serves it (clair3.inference.executors.Network)."""

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
        """Pieces of a batch for which the free memory suffices; 1 at least, it is tried."""
        if self.device.type != CUDA:
            return MOST_PIECES
        self.free()  # what the network of another stage has left
        free, _ = torch.cuda.mem_get_info(self.device)
        row = TENSOR_BYTES[kind] + 4 * self.classes
        left = MEMORY_SHARE * free - self.piece * ACTIVATIONS[kind]
        return int(min(MOST_PIECES, max(1, left // (2 * self.piece * row))))

    def start(self, rows: Sequence[np.ndarray]) -> Wait:
        """See executors.Network. Rows go through pinned memory, so copying does not hold the device up."""
        pinned = self.device.type == CUDA
        like = torch.from_numpy(rows[0])
        batch = torch.empty((len(rows) * self.piece, *like.shape[1:]), dtype=like.dtype, pin_memory=pinned)
        for place, piece in zip(np.split(batch.numpy(), len(rows)), rows, strict=True):
            place[: len(piece)] = piece
            place[len(piece) :] = 0
        return self.start_cuda(batch) if pinned else self.start_plain(batch)

    def start_cuda(self, batch: torch.Tensor) -> Wait:
        """Queue copies and kernels on the GPU and return at once."""
        with torch.cuda.device(self.device):
            began, ended = (torch.cuda.Event(enable_timing=True, blocking=True) for _ in range(2))  # sleep, not spin
            began.record()
            predicted = self.predict(batch)
            answer = torch.empty(predicted.shape, pin_memory=True)
            answer.copy_(predicted, non_blocking=True)
            ended.record()

        def wait() -> np.ndarray:
            ended.synchronize()
            self.busy += began.elapsed_time(ended) / 1000
            return answer.numpy()

        return wait

    def start_plain(self, batch: torch.Tensor) -> Wait:
        """Compute now, on devices without pinned memory."""
        began = time.perf_counter()
        answer = self.predict(batch).cpu().numpy()
        self.busy += time.perf_counter() - began
        return lambda: answer

    def predict(self, batch: torch.Tensor) -> torch.Tensor:
        """Probabilities of whole pieces, on the device."""
        with torch.inference_mode():
            batch = batch.to(self.device, non_blocking=True)
            return torch.cat([self.model.predict(piece) for piece in batch.split(self.piece)])

    def free(self) -> None:
        """Give memory back that torch keeps for later."""
        if self.device.type == CUDA:
            torch.cuda.empty_cache()
        elif self.device.type == MPS:
            torch.mps.empty_cache()
