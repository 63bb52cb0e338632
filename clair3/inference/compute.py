"""What computes the networks, and how exactly: the choice of devices, precision and threads (docs/devices.md)."""

import argparse
import logging
import re
from dataclasses import dataclass
from typing import Any

from clair3.cli.arguments import add_switch, optional_text
from clair3.errors import ConfigError

logger = logging.getLogger(__name__)

AUTO, CPU, CUDA, MPS = DEVICES = ("auto", "cpu", "cuda", "mps")
FP32, BF16, FP16 = PRECISIONS = ("fp32", "bf16", "fp16")
AMP = "amp"
"""The lower precision that suits the device: fp16 on a GPU, bf16 on a CPU."""

NUMBERED = re.compile(r"cuda:(\d+(?:,\d+)*)")


@dataclass(frozen=True)
class Compute:
    """Where the networks run. Raises ConfigError when the values do not go together.

    device         "cpu", "cuda", "mps", or "auto" until clair3.inference.devices.resolve has looked
    numbers        GPUs of "cuda" by their number among the visible ones; None: all of them
    precision      "fp32", "bf16" or "fp16", or AMP until the device is known
    torch_threads  threads inside one operation of a network on the CPU
    names          models of the GPUs, each once; known after clair3.inference.devices.resolve
    """

    device: str = CPU
    numbers: tuple[int, ...] | None = None
    precision: str = FP32
    torch_threads: int = 1
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.torch_threads < 1:
            raise ConfigError(f"--torch_num_threads={self.torch_threads}; expected a whole number from 1")
        if self.device == CPU and self.precision == AMP:
            object.__setattr__(self, "precision", BF16)
        if self.device == CPU and self.precision == FP16:
            raise ConfigError(
                "--precision=fp16 is for GPUs: a CPU needs ten times as long for it as for fp32; use fp32 or bf16"
            )

    def __str__(self) -> str:
        """As --device takes it: cuda:0,1."""
        return self.device if self.numbers is None else f"{self.device}:{','.join(map(str, self.numbers))}"

    @property
    def identity(self) -> list:
        """What the last digits of a probability may depend on, for the digest of results."""
        threads = self.torch_threads if self.device == CPU else 0
        return [self.device, list(self.names), self.precision, threads]


def add_arguments(group: Any) -> None:
    """Declare the options of devices and precision; group is a parser or a group of one."""
    group.add_argument(
        "--device",
        type=optional_text,
        metavar="NAME",
        help="auto (a CUDA GPU if there is one, else the CPU), cpu, cuda (all visible GPUs), cuda:0,1 or mps "
        "(default: cpu)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="arithmetic of the networks; bf16 and fp16 change records (default: fp32)",
    )
    add_switch(group, "--amp", help="the lower precision that suits the device: fp16 on GPUs, bf16 on CPUs")
    group.add_argument(
        "--torch_num_threads",
        "--tensorflow_threads",
        type=int,
        default=Compute.torch_threads,
        metavar="N",
        help="threads inside one operation of a network on the CPU; threads / N parts are called at a time "
        "(default: %(default)s)",
    )


def compute_from(args: argparse.Namespace, threads: int) -> Compute:
    """The choice that the options of add_arguments and --use_gpu make. Raises ConfigError when they contradict."""
    device, numbers = parse_device(args.device)
    if args.use_gpu:
        if device == CPU and args.device is not None:
            raise ConfigError(f"--use_gpu and --device={args.device} contradict each other; leave one of them out")
        device = device if device == MPS else CUDA
    if args.amp and args.precision not in (None, BF16, FP16):
        raise ConfigError(f"--amp and --precision={args.precision} contradict each other; leave one of them out")
    torch_threads = args.torch_num_threads
    if torch_threads > threads:
        logger.warning("--torch_num_threads=%d is more than the threads of this run, using %d", torch_threads, threads)
        torch_threads = threads
    return Compute(device, numbers, args.precision or (AMP if args.amp else FP32), torch_threads)


def parse_device(text: str | None) -> tuple[str, tuple[int, ...] | None]:
    """Kind and numbers of --device; the CPU when it is not given. Raises ConfigError, in v2.0.2's words first."""
    if text is None:
        return CPU, None
    if text in DEVICES:
        return text, None
    found = NUMBERED.fullmatch(text)
    numbers = tuple(map(int, found.group(1).split(","))) if found else ()
    if not numbers or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"Please specify the device as '--device=cuda:0' or '--device=cuda:0,1', or as {', '.join(DEVICES)}; found "
            f"--device={text}"
        )
    return CUDA, numbers
