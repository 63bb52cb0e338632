"""Speed of both networks in one thread, per piece size: `python scripts/bench/network.py` (spec/performance.md 2, 3).

Prints the machine's matrix-multiplication rate first, for scaling times between machines, then one row per case.
Times are CPU seconds of the process: median of three runs, with the fastest and the slowest. GFLOP/s are those of all
rows, so skipped empty rows raise them above what the processor does.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is imported

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from clair3.inference.predictor import Predictor
from clair3.model import random_model

SIZE = 2048
CASES = (  # network, shape of a candidate, rows filled, MFLOP of all rows (spec/models.md 14), candidates, piece sizes
    ("pileup", (33, 18), (33, 33), 47.8, 1536, (32, 64, 128, 192, 256, 512)),
    ("full_alignment", (89, 33, 8), (89, 89), 451.5, 256, (32, 64)),
    ("full_alignment", (89, 33, 8), (23, 39), 451.5, 256, (32, 64)),  # 30x
    ("full_alignment", (89, 33, 8), (2, 12), 451.5, 256, (32, 64)),
    ("full_alignment", (55, 33, 8), (55, 55), 272.8, 256, (32, 64)),
    ("full_alignment", (55, 33, 8), (23, 38), 272.8, 256, (32, 64)),  # 30x
    ("full_alignment", (55, 33, 8), (2, 12), 272.8, 256, (32, 64)),
)


def measure(work: Callable[[], object], runs: int = 3) -> tuple[float, float, float]:
    """CPU seconds of a piece of work: (median, min, max) after a first run that is not counted."""
    work()
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), min(seconds), max(seconds)


def print_matrix_rates() -> None:
    """GFLOP/s of a float32 product through torch's BLAS, and through oneDNN, which runs the networks."""
    a, b = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
    ours, theirs = a.to_mkldnn(), b.to_mkldnn()
    for name, product in (("BLAS", lambda: a @ b), ("oneDNN", lambda: torch.nn.functional.linear(ours, theirs))):
        rates = [2 * SIZE**3 / seconds / 1e9 for seconds in measure(product)]
        print(f"sgemm {SIZE}^3, {name}\t{rates[0]:.0f} GFLOP/s\t({rates[2]:.0f}-{rates[1]:.0f})")


def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    with torch.inference_mode():
        print_matrix_rates()
    print("network\tcandidate\tfilled\tpiece\tms per 1000 candidates (min-max)\tGFLOP/s")
    rng = np.random.default_rng(1)
    for kind, shape, (fewest, most), mflop, n, pieces in CASES:
        model = random_model(kind, 1)
        tensors = rng.integers(-60, 61, (n, *shape), np.int32 if kind == "pileup" else np.int8)
        filled = rng.integers(fewest, most + 1, (n, 1))
        above = (shape[0] - filled) // 2
        row = np.arange(shape[0])
        tensors[(row < above) | (row >= above + filled)] = 0
        for piece in pieces:
            predict = Predictor(model, piece=piece)
            median, fastest, slowest = (1e6 * s / n for s in measure(lambda p=predict, x=tensors: p(x)))
            case = f"{kind}\t{'x'.join(map(str, shape))}\t{fewest}-{most}\t{piece}"
            print(f"{case}\t{median:.0f} ({fastest:.0f}-{slowest:.0f})\t{1e3 * mflop / median:.0f}")


if __name__ == "__main__":
    main()
