"""Tensors as lines of text, between the two halves of v2.0.2's older way to training bins (spec/training.md A.7.2).

A line holds contig, 1-based position, the 33 reference bases around, the numbers of the tensor and the support,
separated by tabs. Of a full-alignment tensor only the rows of reads are there.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from clair3.errors import InputError
from clair3.io.text import is_number, read_rows
from clair3.records import SupportBatch
from clair3.tensor_shapes import WINDOW
from clair3.training.data.examples import Candidates

FIELDS = 5
BATCH = 500
"""Lines that become tensors at a time."""

SUPPORT_KINDS = {"X": "X", "D": "D", "I": "i", "R": "R"}
"""First letters of what reads show, and the kinds of SupportBatch."""


def iter_lines(candidates: Candidates) -> Iterator[str]:
    """A line for each candidate, without line end."""
    for i, pos in enumerate(candidates.pos.tolist()):
        tensor = candidates.tensors[i]
        rows = tensor[read_row_slice(tensor)] if tensor.ndim == 3 else tensor
        numbers = " ".join(map(str, rows.ravel().tolist()))
        yield f"{candidates.contig}\t{pos + 1}\t{candidates.windows[i]}\t{numbers}\t{candidates.alt_info[i]}"


def read_row_slice(tensor: np.ndarray) -> slice:
    """The fewest rows of a full-alignment tensor, (depth, 33, channels), that give it back when they are centred."""
    depth = len(tensor)
    used = np.flatnonzero(tensor.any(axis=(1, 2)))
    count = 0
    while len(used) and not (above(depth, count) <= used[0] and used[-1] < above(depth, count) + count):
        count += 1
    return slice(above(depth, count), above(depth, count) + count)


def above(depth: int, count: int) -> int:
    """Empty rows above the rows of reads."""
    return (depth - count) // 2


def find_files(name: str, index: int = 0, count: int = 1) -> list[Path]:
    """A file of tensors, or those whose names begin with `name_` or `name.`; of several the part `index` of `count`.

    Raises InputError when there is none at all.
    """
    path = Path(name)
    if path.is_file():
        return [path]
    starts = (f"{path.name}_", f"{path.name}.")
    found = sorted(file for file in path.parent.glob("*") if file.is_file() and file.name.startswith(starts))
    if not found:
        raise InputError(f"{name}: neither a file of tensors nor the beginning of the names of some")
    size = -(-len(found) // count)
    return found[size * index : size * (index + 1)]


def read_tensors(
    lines: Iterable[tuple[int, str]], source: str, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[Candidates]:
    """The candidates of numbered lines, some of one contig at a time.

    shape, dtype  of one tensor
    source        names the lines in errors
    Raises InputError when a line does not hold such a tensor.
    """
    waiting: list[tuple[str, int, str, np.ndarray, str]] = []
    for number, line in lines:
        if not line:
            continue
        fields = line.split("\t")
        if len(fields) != FIELDS or not is_number(fields[1]) or len(fields[2]) != WINDOW:
            found = f"row {number} is {line[:60]!r}"
            raise InputError(f"{source}: {found}, not contig, position, bases, tensor and support")
        if waiting and (waiting[0][0] != fields[0] or len(waiting) == BATCH):
            yield joined(waiting)
            waiting = []
        contig, pos, window, numbers, alt_info = fields
        tensor = parse_tensor(numbers, f"{source}: row {number}", shape, dtype)
        waiting.append((contig, int(pos) - 1, window.upper(), tensor, alt_info))
    if waiting:
        yield joined(waiting)


def joined(rows: list[tuple[str, int, str, np.ndarray, str]]) -> Candidates:
    contigs, pos, windows, tensors, alt_info = zip(*rows, strict=True)
    return Candidates(contigs[0], np.array(pos, np.int64), list(windows), np.stack(tensors), list(alt_info))


def parse_tensor(text: str, where: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The numbers of a line as a tensor of this shape, rows of reads in the middle. Raises InputError naming where."""
    try:
        values = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise InputError(f"{where}: the tensor holds something else than whole numbers") from None
    row = int(np.prod(shape[-2:]))
    count, rest = divmod(len(values), row)
    depth = shape[0] if len(shape) == 3 else 1
    if rest or count > depth or (len(shape) == 2 and count != 1):
        expected = "x".join(map(str, shape))
        raise InputError(f"{where}: {len(values)} numbers do not make a tensor of {expected}; look at --platform, "
                         "--pileup and --enable_dwell_time")  # fmt: skip
    limits = np.iinfo(dtype)
    if len(values) and not limits.min <= values.min() <= values.max() <= limits.max:
        raise InputError(f"{where}: numbers beyond {limits.min} to {limits.max}")
    tensor = np.zeros((depth, row), dtype)
    tensor[above(depth, count) : above(depth, count) + count] = values.reshape(count, row)
    return tensor.reshape(shape)


def read_files(paths: Iterable[Path], shape: tuple[int, ...], dtype: np.dtype) -> Iterator[Candidates]:
    """The candidates of files of tensors, plain or gzip. Raises InputError as read_tensors does."""
    for path in paths:
        yield from read_tensors(read_rows(path), str(path), shape, dtype)


def parse_support(texts: Sequence[str]) -> SupportBatch:
    """The read support of candidates from its text, see SupportBatch.text; insertions keep their anchor (kind i).

    Raises InputError naming a text that is none.
    """
    depth, ends, kinds, counts, bases = [], [0], [], [], []
    for text in texts:
        reads, dash, items = text.partition("-")
        keys, numbers = items.split()[::2], items.split()[1::2]
        known = all(key[0] in SUPPORT_KINDS for key in keys)
        if not dash or len(keys) != len(numbers) or not known or not all(map(is_number, (reads, *numbers))):
            raise InputError(f"{text[:60]!r} is no read support, like 37-XT 14 RA 21")
        depth.append(int(reads))
        ends.append(ends[-1] + len(keys))
        kinds += [ord(SUPPORT_KINDS[key[0]]) for key in keys]
        counts += map(int, numbers)
        bases += ["" if key[0] == "R" else key[1:] for key in keys]
    return SupportBatch(
        depth=np.array(depth, np.int32),
        item_start=np.array(ends, np.int64),
        kind=np.array(kinds, np.uint8),
        count=np.array(counts, np.int32),
        seq_start=np.cumsum([0, *map(len, bases)]),
        pool="".join(bases).encode(),
    )
