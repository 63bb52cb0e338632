"""Speed of training: what the loader gives and what a network takes, in rows per second (spec/training.md C.7, E.5).

`python scripts/bench/training.py [--device cuda] [--kind pileup] ...`. Rows are made here: sparse counts, or the middle
rows of a full alignment, so that they pack about as well as real ones. The
loader must give more than the network takes.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from clair3.io.bins import Bin, BinFormat, write_bin
from clair3.records import TrainingExamples
from clair3.training.trainer.config import TrainingConfig
from clair3.training.trainer.data import Batches, Examples, ExamplesInMemory
from clair3.training.trainer.distributed import Ranks
from clair3.training.trainer.loop import Trainer
from clair3.training.trainer.network import TrainingForm, make_network
from clair3.training.trainer.plan import Split

KINDS = {"pileup": 2, "full_alignment": 4}


def make_bin(path: Path, rows: int, bin_format: BinFormat) -> None:
    """Rows of random numbers, two thirds of them zero."""
    random = np.random.default_rng(1)
    with write_bin(path, bin_format, "ont", 1) as writer:
        for _ in range(0, rows, 500):
            tensors = random.integers(-40, 40, (500, *bin_format.shape)).astype(bin_format.dtype)
            if bin_format.rows:
                tensors[:, : bin_format.rows // 3] = tensors[:, -(bin_format.rows // 3) :] = 0
            else:
                tensors[..., ::3] = tensors[..., 1::3] = 0
            labels = np.zeros((500, 90), np.int8)
            labels[:, [1, 23, 24 + 16, 57 + 16]] = 1
            writer.append(TrainingExamples(tensors, labels, [b"chr1:1:A"] * 500, [b"30-XA 10 RC 20"] * 500))


def rate(work, rows: int, runs: int) -> str:
    """Rows per second of wall clock: median (smallest - largest)."""
    rates = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        rates.append(rows / (time.perf_counter() - began))
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--steps", type=int, default=2, help="of the network, per run")
    parser.add_argument("--precision", default="none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, batches of {options.batch}")
    for kind in options.kind:
        with tempfile.TemporaryDirectory() as folder:
            measure(kind, Path(folder), device, options)


def measure(kind: str, folder: Path, device: torch.device, options: argparse.Namespace) -> None:
    config = TrainingConfig(
        "ont", folder, folder / "x", kind, KINDS[kind], batch=options.batch, precision=options.precision, epochs=1
    )
    make_bin(folder / "bin", options.rows, config.format)
    bins, shape = [Bin(folder / "bin")], (config.heads, config.format.channels)
    split = Split([(0, 0, options.rows)], [])
    places = {
        "streamed, 0 workers": (Examples, 0),
        "streamed, 2 workers": (Examples, 2),
        "in memory": (ExamplesInMemory, 0),
    }
    for place, (reader, workers) in places.items():
        with closing(Batches(reader(bins, *shape), workers, 2, device)) as batches:
            network = make_network(config).to(device)
            form = TrainingForm(network, device, config.precision)
            trainer = Trainer(config, network, form, device, split, batches, None, Ranks())
            load = partial(exhaust, batches, trainer.plan_epoch(0))
            print(f"{kind}\tloader, {place}\t{rate(load, options.rows, options.runs)}")
    few = replace(split, train=[(0, 0, options.batch * options.steps)])
    trainer.split = few
    plan = trainer.plan_epoch(0)
    trainer.training = Batches(ExamplesInMemory(bins, *shape, device=device), 0, 2, device)
    trainer.train(plan)
    print(
        f"{kind}\ttraining\t{rate(lambda: trainer.train(plan), options.batch * options.steps, options.runs)}",
        flush=True,
    )


def exhaust(batches: Batches, plan: list) -> None:
    for _ in batches.iter_plan(plan):
        pass


if __name__ == "__main__":
    main()
