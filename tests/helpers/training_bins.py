"""Small bins of rows that a network can learn: the class of a row shows in its tensor."""

from pathlib import Path

import numpy as np

from clair3.io import bins
from clair3.io.bins import BinFormat
from clair3.model import HEAD_SIZES
from clair3.records import TrainingExamples


def rows(count: int, bin_format: BinFormat, seed: int, contig: str = "chr7") -> TrainingExamples:
    """Rows with random classes in all heads; each class writes its number into a place of the tensor."""
    random = np.random.default_rng(seed)
    tensors = random.integers(0, 5, (count, *bin_format.shape)).astype(bin_format.dtype)
    labels = np.zeros((count, sum(HEAD_SIZES)), np.int8)
    start = 0
    for head, size in enumerate(HEAD_SIZES):
        classes = random.integers(0, min(size, 3), count)
        labels[np.arange(count), start + classes] = 1
        start += size
        tensors[..., head] += (20 * classes).astype(bin_format.dtype).reshape(-1, *[1] * (tensors.ndim - 2))
    positions = [f"{contig}:{100 + i}:{'A' * 33}".encode() for i in range(count)]
    return TrainingExamples(tensors, labels, positions, [b"10-XA 5 RC 5"] * count)


def write_bin(path: Path, count: int, platform: str = "hifi", kind: str = "pileup", seed: int = 1, **more) -> Path:
    """A bin of such rows."""
    bin_format = BinFormat.of(kind, platform)
    path.parent.mkdir(exist_ok=True, parents=True)
    with bins.write_bin(path, bin_format, platform, seed) as writer:
        writer.append(rows(count, bin_format, seed, **more))
    return path
