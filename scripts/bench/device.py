"""Speed on a device: `python scripts/bench/device.py --device cuda [-- OPTIONS OF run_clair3.sh]`.

First the networks alone, fed from one thread, then whole runs on the CPU and on the device: candidates/s, Mb/s and the
share of time that the device computed. Without options of a run it is the README's sample with the default model.
Runs on any machine: `--device cpu` sends the same work through the device path on the processor.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is imported

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from clair3 import core
from clair3.calling import pipeline, stages
from clair3.cli import run as run_command
from clair3.cli.arguments import make_parser
from clair3.config import CPU, FP32, PRECISIONS, CallingConfig, Compute, parse_device
from clair3.inference.devices import DeviceNetwork, compute_exactly, lower_precision, make_inference, resolve
from clair3.inference.executors import DeviceExecutor
from clair3.model import random_model

NETWORKS = (  # network, shape of a candidate, candidates of a request, sizes of a piece
    ("pileup", (33, 18), 2000, (256, 1024, 4096)),
    ("full_alignment", (89, 33, 8), 256, (64, 256, 1024)),
    ("full_alignment", (55, 33, 8), 256, (64, 256, 1024)),
)
SAMPLE = Path(__file__).resolve().parents[2] / "tests" / "data" / "sample"
WAITING = 6
"""Requests on their way, as of two workers."""


def measure_network(make: Callable[[], DeviceExecutor], tensors: np.ndarray, seconds: float) -> tuple[float, float]:
    """Candidates per second and busy share, after a first request that is not counted."""
    cancel = core.CancelFlag()
    with closing(make()) as queue:
        queue.submit(tensors, cancel).result()
        before, began, count, futures = busy_seconds(queue), time.perf_counter(), 0, []
        while time.perf_counter() - began < seconds:
            futures.append(queue.submit(tensors, cancel))
            if len(futures) == WAITING:
                futures.pop(0).result()
                count += len(tensors)
        for future in futures:
            future.result()
            count += len(tensors)
        passed = time.perf_counter() - began
        return count / passed, (busy_seconds(queue) - before) / passed / len(queue.networks)


def busy_seconds(queue: DeviceExecutor) -> float:
    return sum(network.busy for network in queue.networks)


def print_networks(compute: Compute, seconds: float) -> None:
    print("network\tcandidate\tpiece\tcandidates/s\tbusy")
    rng = np.random.default_rng(1)
    devices = [torch.device(compute.device, number) for number in compute.numbers or (0,)]
    compute_exactly()
    for kind, shape, n, pieces in NETWORKS:
        tensors = rng.integers(-60, 61, (n, *shape)).astype(np.int32 if kind == "pileup" else np.int8)
        for piece in pieces:

            def make(kind=kind, piece=piece):
                model = lower_precision(random_model(kind, 1), compute.precision)
                return DeviceExecutor([DeviceNetwork(model, device, piece) for device in devices])

            rate, busy = measure_network(make, tensors, seconds)
            print(f"{kind}\t{'x'.join(map(str, shape))}\t{piece}\t{rate:,.0f}\t{100 * busy:.0f} %", flush=True)


@dataclass
class Stages:
    """Watches the stages of a run: candidates, Mb, seconds, and how long the device computed."""

    through_devices: bool
    rows: list[tuple] = field(default_factory=list)

    def __post_init__(self):
        self.call_tasks = stages.call_tasks

    def make_inference(self, compute: Compute, model: torch.nn.Module):
        if not self.through_devices or compute.device != CPU:
            return make_inference(compute, model)
        return DeviceExecutor([DeviceNetwork(lower_precision(model, compute.precision), torch.device(CPU))])

    def watch(self, call, tasks, *rest) -> int:
        began = time.perf_counter()
        count = self.call_tasks(call, tasks, *rest)
        seconds = time.perf_counter() - began
        megabases = sum(task.region.end - task.region.start for task in tasks) / 1e6
        busy = ""
        if self.through_devices:
            busy = f"{100 * busy_seconds(call.inference) / seconds / len(call.inference.networks):.0f} %"
        self.rows.append((call.kind, count, seconds, megabases, busy))
        return count


def print_run(config: CallingConfig, name: str, through_devices: bool) -> None:
    """One run; the Mb of its stages are those of their tasks."""
    watched = Stages(through_devices)
    stages.make_inference = watched.make_inference
    stages.call_tasks = watched.watch
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        pipeline.call_variants(replace(config, output=Path(folder)))
    whole = time.perf_counter() - began
    stages.call_tasks = watched.call_tasks
    for kind, count, seconds, megabases, busy in watched.rows:
        print(f"{name}\t{kind}\t{count}\t{seconds:.2f}\t{count / seconds:,.0f}\t{megabases / seconds:.3f}\t{busy}")
    print(f"{name}\twhole run\t\t{whole:.2f}\t\t{watched.rows[0][3] / whole:.3f}\t", flush=True)


def run_config(words: list[str], folder: Path, threads: int) -> CallingConfig:
    """The run that was asked for, else the sample."""
    if not words:
        words = [f"--bam_fn={SAMPLE / 'ont.bam'}", f"--ref_fn={SAMPLE / 'ref.fa'}", "--platform=ont"]
        words += [f"--threads={threads}", "--var_pct_full=0.95", "--ref_pct_full=0.95"]  # more to compute
    args = make_parser(run_command, "", "run_clair3.sh").parse_args([*words, f"--output={folder / 'output'}"])
    args.command_line = None
    return run_command.config_from(args)


def main() -> None:
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="as of run_clair3.sh")
    parser.add_argument("--precision", choices=PRECISIONS, default=FP32)
    parser.add_argument("--seconds", type=float, default=3.0, help="per row of the networks")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the run on the sample")
    args = parser.parse_args(words[:split])
    logging.basicConfig(level=logging.WARNING)
    compute = resolve(Compute(*parse_device(args.device), args.precision))
    print(f"torch {torch.__version__}, {compute} {', '.join(compute.names)}, {compute.precision}")
    print_networks(compute, args.seconds)
    with tempfile.TemporaryDirectory() as folder:
        config = run_config(words[split + 1 :], Path(folder), args.threads)
        print("\ndevice\tstage\tcandidates\ts\tcandidates/s\tMb/s\tbusy")
        print_run(replace(config, compute=Compute()), "cpu", through_devices=False)
        print_run(replace(config, compute=compute), str(compute), through_devices=True)


if __name__ == "__main__":
    main()
