"""Training by several processes, each with a share of every batch: started by torchrun, or by --gpus."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from clair3.errors import ClairError, ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run: its rank of count, and its number on this host."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def is_writer(self) -> bool:
        """One process writes files and speaks."""
        return self.rank == 0

    def wrap(self, form: nn.Module, device: torch.device) -> nn.Module:
        """The training form whose gradients are averaged over all ranks; itself in a run of one process."""
        if self.count == 1:
            return form
        return DistributedDataParallel(form, device_ids=[device.index] if device.type == "cuda" else None)

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every rank the tensors of rank 0. Every rank must take part."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Until every rank is here."""
        if self.count > 1:
            torch.distributed.barrier()


def join(device: str, local_rank: int | None = None) -> Ranks:
    """Take part in the run that torchrun started, by its environment; alone when there is none.

    device is "cpu", "cuda" or "mps": NCCL connects CUDA devices, gloo the others. local_rank overrules LOCAL_RANK.
    Raises ConfigError when the environment is not complete.
    """
    try:
        count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        local = int(os.environ.get("LOCAL_RANK", 0)) if local_rank is None else local_rank
    except ValueError:
        raise ConfigError("RANK, WORLD_SIZE and LOCAL_RANK must be numbers; start with torchrun or --gpus") from None
    if count == 1:
        return Ranks()
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise ConfigError(
            f"WORLD_SIZE is {count} but {missing[0]} is not set; start with torchrun or --gpus, or unset WORLD_SIZE"
        )
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return Ranks(rank, count, local)


def leave(ranks: Ranks) -> None:
    """End what join began."""
    if ranks.count > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def is_started() -> bool:
    """Whether torchrun (or --gpus) started this process."""
    return "WORLD_SIZE" in os.environ


def launch(processes: int, arguments: list[str]) -> None:
    """Start as many processes of this training on this host and wait for them. Raises ClairError when one fails."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)),
        *("--module", "clair3", "Train", *arguments),
    ]
    logger.info("Starting %d processes", processes)
    with subprocess.Popen(command) as launcher:
        try:
            code = launcher.wait()
        finally:  # interrupted: torchrun ends its processes, if it is asked to and not killed
            if launcher.poll() is None:
                launcher.terminate()
    if code:
        raise ClairError(f"a process of the training failed (exit code {code}); its own words are above")


def seed_torch(*numbers: int) -> None:
    """Seed torch's generators on all devices from several numbers."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
