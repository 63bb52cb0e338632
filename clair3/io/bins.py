"""What a row of a training bin is (spec/training.md A.8)."""

import io
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from clair3 import tensor_shapes
from clair3.errors import ConfigError, InputError, install_command
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP, WIDTH
from clair3.platforms import DEFAULT_PLATFORM, PLATFORMS
from clair3.records import TrainingExamples
from clair3.version import VERSION

logger = logging.getLogger(__name__)


COLUMNS = tuple(field.name for field in fields(TrainingExamples))
"""The datasets."""

LABELS = WIDTH[FULL_ALIGNMENT]
TEXTS = {"position": np.dtype("S83"), "alt_info": np.dtype("S5000")}
"""Widths of the texts; longer ones are cut."""


@dataclass(frozen=True)
class BinFormat:
    """What one row of a bin is.

    kind      PILEUP or FULL_ALIGNMENT
    rows      height of a full-alignment tensor, 0 for pileup
    channels  18 for pileup, else 8, or 9 with dwell time
    """

    kind: str
    rows: int
    channels: int

    @classmethod
    def of(cls, kind: str, platform: str, dwell: bool = False) -> "BinFormat":
        """Raises ConfigError for a pileup with dwell time."""
        if kind == PILEUP:
            if dwell:
                raise ConfigError("--enable_dwell_time is for full alignment; leave it or --pileup out")
            return cls(PILEUP, 0, tensor_shapes.PILEUP_CHANNEL_COUNT)
        return cls(FULL_ALIGNMENT, PLATFORMS[platform].rows, tensor_shapes.FULL_ALIGNMENT_CHANNEL_COUNT + dwell)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one tensor."""
        return (self.rows, tensor_shapes.WINDOW, self.channels) if self.rows else (tensor_shapes.WINDOW, self.channels)

    @property
    def dtype(self) -> np.dtype:
        """Of tensors and labels."""
        return np.dtype(np.int32 if self.kind == PILEUP else np.int8)

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms whose tensors look like this."""
        return tuple(name for name, platform in PLATFORMS.items() if self.rows in (0, platform.rows))

    def __str__(self):
        what = "full-alignment" if self.kind == FULL_ALIGNMENT else self.kind
        return f"{what} tensors of {' x '.join(map(str, self.shape))}"


FORMATS = {
    made.shape: made
    for made in (
        BinFormat.of(PILEUP, DEFAULT_PLATFORM),
        *(BinFormat.of(FULL_ALIGNMENT, name, dwell) for name in PLATFORMS for dwell in (False, True)),
    )
}
"""Every kind of tensor by its shape."""

try:
    import h5py
    import hdf5plugin
except ImportError as error:
    raise ConfigError(f"{error.name} is missing; run {install_command('train')}") from None


FORMAT_VERSION = 1
"""Of the attributes."""

CHUNK_ROWS = 500
"""Rows of an HDF5 chunk, as v2.0.2 writes them. Whoever reads some rows unpacks all of their chunks."""

NUMBERS = ("position_matrix", "label")
"""What a network is trained with."""

CACHE_BYTES = 2**25
"""Of a dataset's unpacked chunks in memory: two of the largest ones, so that reading on does not unpack again."""

PIECE_ROWS = 2000
"""Rows that are copied or looked through at a time: 50 MB of the largest tensors."""


class Bin:
    """A training bin, of this program, of v2.0.2 or an older one (PyTables); nothing is read but what is asked for.

    It may be handed to worker processes, by pickle or fork: each opens the file for itself.

    format      BinFormat of its rows
    platform    that it was made for, None where the file does not say
    attributes  of the root: format_version, platform, kind, channels, seed, tool_version; {} in bins of v2.0.2

    Raises InputError when the file is not there, truncated, damaged or no bin.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._files: dict[int, h5py.File] = {}
        file = self._file()
        missing = [name for name in COLUMNS if not isinstance(file.get(name), h5py.Dataset)]
        if missing:
            raise InputError(f"{path}: no training bin, it lacks {', '.join(missing)}")
        lengths = {name: len(file[name]) for name in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise InputError(f"{path}: damaged, its datasets differ in rows: {lengths}; make it again")
        shapes = {name: file[name].shape[1:] for name in COLUMNS}
        if shapes["position_matrix"] not in FORMATS or shapes["label"] != (LABELS,):
            found = f"tensors of {shapes['position_matrix']} and labels of {shapes['label']}"
            raise InputError(f"{path}: no training bin of this program, it has {found}")
        self.length = lengths["label"]
        self.format = FORMATS[shapes["position_matrix"]]
        known = ("format_version", "platform", "kind", "channels", "seed", "tool_version")
        self.attributes = {name: _plain(file.attrs[name]) for name in known if name in file.attrs}
        self.platform: str | None = self.attributes.get("platform")
        self.extra = sorted(set(file) - set(COLUMNS))

    def _file(self) -> h5py.File:
        """The file as this process opened it; a handle that came over a fork is not touched."""
        if os.getpid() not in self._files:
            if not self.path.is_file():
                raise InputError(f"{self.path}: no such bin")
            try:
                self._files[os.getpid()] = h5py.File(self.path, "r", locking=False, rdcc_nbytes=CACHE_BYTES)
            except OSError as error:
                refused = os.strerror(error.errno) if error.errno else "it is no HDF5 file"
                reason = "it is truncated, make it again" if "truncated" in str(error) else refused
                raise InputError(f"{self.path}: cannot be read as a training bin; {reason}") from None
        return self._files[os.getpid()]

    def __len__(self):
        return self.length

    def __getstate__(self):
        return {**self.__dict__, "_files": {}}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        """Close this process's handle; a later read opens the file again."""
        if file := self._files.pop(os.getpid(), None):
            file.close()

    @property
    def kind(self) -> str:
        return self.format.kind

    @property
    def channels(self) -> int:
        return self.format.channels

    def rows(self, start: int, stop: int, columns: Sequence[str] = NUMBERS) -> dict[str, np.ndarray]:
        """Rows start <= i < stop of some datasets, by name.

        position_matrix  (k, 33, 18) int32 or (k, depth, 33, 8 or 9) int8
        label            (k, 90) int32 or int8, one-hot
        position         (k,) S83, alt_info (k,) S5000

        Raises InputError when they cannot be unpacked, IndexError beyond the end.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"{self.path}: rows {start} to {stop} of {len(self)}")
        file = self._file()
        try:
            found = {name: file[name][start:stop] for name in columns}
        except OSError:
            raise InputError(f"{self.path}: rows {start + 1} to {stop} are damaged; make the bin again") from None
        return {name: values.reshape(-1) if name in TEXTS else values for name, values in found.items()}

    def pieces(self, columns: Sequence[str] = COLUMNS, rows: int = PIECE_ROWS) -> Iterator[dict[str, np.ndarray]]:
        """All rows in order, some at a time, as `rows` gives them."""
        for start in range(0, len(self), rows):
            yield self.rows(start, min(start + rows, len(self)), columns)

    def contig(self) -> str | None:
        """The contig of the first row; None in a bin without rows."""
        return position_contig(self.rows(0, 1, ["position"])["position"][0]) if len(self) else None

    def packing(self) -> str:
        """How the tensors lie on the disk, in words."""
        dataset, size = self._file()["position_matrix"], self.path.stat().st_size
        filters = dataset.id.get_create_plist()
        names = [filters.get_filter(i)[3].decode() for i in range(filters.get_nfilters())]
        pieces = f"{dataset.chunks[0]} rows a piece" if dataset.chunks else "in one piece"
        return f"{', '.join(names) or 'not packed'}, {pieces}, {size:,} bytes"

    def check(self, wanted: BinFormat, platform: str | None = None) -> None:
        """Raises InputError when the rows are not of this format, or were made for another platform."""
        if self.format != wanted:
            raise InputError(f"{self.path}: holds {self.format}, expected {wanted}{_advice(self.format, wanted)}")
        if platform is not None and self.platform not in (None, platform):
            raise InputError(f"{self.path}: made for --platform={self.platform}, not for {platform}")


def _advice(found: BinFormat, wanted: BinFormat) -> str:
    """What to do about another format than wanted."""
    if found.kind != wanted.kind:
        return "; give --pileup for pileup bins only"
    if found.rows != wanted.rows:
        return f"; give --platform={' or '.join(found.platforms)}"
    return "; nine channels need --enable_dwell_time, eight do without"


def _plain(value: Any) -> Any:
    """An attribute as h5py gives it, as text or a number of Python."""
    return value.decode() if isinstance(value, bytes) else value.item() if isinstance(value, np.generic) else value


def position_contig(position: bytes) -> str:
    """The contig in `contig:pos:window`; its name may hold colons."""
    return position.decode("utf-8", "replace").rsplit(":", 2)[0]


def find_bins(folder: Path, exclude: Sequence[str] = ()) -> list[Path]:
    """The files of a folder in order of their names, without hidden ones and those whose name contains one of exclude.

    Raises InputError when there is no such folder, or no file in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that holds the training bins")
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not found:
        raise InputError(f"{folder}: no training bins in it; make some with CreateTrainingTensorDirect and MergeBin")
    return [path for path in found if not any(part in path.name for part in exclude)]


@contextmanager
def write_bin(
    path: Path, rows: BinFormat, platform: str | None, seed: int | None = None, chunk_rows: int = CHUNK_ROWS
) -> Iterator["BinWriter"]:
    """A bin in the making, for a with-block: under its name once the block ends well, else there is no file.

    seed is that of sampling and shuffling, None if there was neither; chunk_rows are the rows of an HDF5 chunk.
    Raises InputError when the disk refuses, here and in the writer's methods.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with ForgivingFile(partial) as disk:
            with h5py.File(disk, "w", rdcc_nbytes=CACHE_BYTES) as file:
                attributes = {"format_version": FORMAT_VERSION, "platform": platform, "seed": seed}
                attributes |= {"tool_version": VERSION, "kind": rows.kind, "channels": rows.channels}
                file.attrs.update({name: value for name, value in attributes.items() if value is not None})
                writer = BinWriter(file, rows, chunk_rows, disk.check)
                yield writer
                writer.write_rest()
            disk.check()
        partial.replace(path)
    except DiskError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); check the folder and the disk") from None
    finally:
        partial.unlink(missing_ok=True)


class DiskError(OSError):
    """What the disk said when it refused."""


class ForgivingFile(io.FileIO):
    """A new file that HDF5 may go on writing to after the disk refused, for HDF5 crashes when it cannot close a file.

    check raises DiskError when the disk did. Raises DiskError when the file cannot be made.
    """

    def __init__(self, path: Path):
        self.refusal: OSError | None = None
        try:
            super().__init__(path, "w+")
        except OSError as error:
            raise DiskError(*error.args) from None

    def check(self) -> None:
        if self.refusal:
            raise DiskError(*self.refusal.args)

    def write(self, data) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left):  # a disk that runs full takes a part first
            left = left[self._try(super().write, left, len(left)) :]
        return size

    def truncate(self, size: int | None = None) -> int:
        return self._try(super().truncate, size, size)

    def _try(self, method: Callable, argument: Any, otherwise: Any) -> Any:
        """method(argument), or the other value once the disk has refused."""
        if not self.refusal:
            try:
                return method(argument)
            except OSError as error:
                self.refusal = error
        return otherwise


class BinWriter:
    """Takes the rows of a bin, see write_bin: rows counts them, cut the texts that did not fit their width.

    check is called after each write and raises when the disk refused it.
    """

    def __init__(self, file: h5py.File, rows: BinFormat, chunk_rows: int, check: Callable[[], None]):
        self.file, self.chunk_rows, self.check = file, chunk_rows, check
        self.rows = self.written = self.cut = 0
        self.waiting: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        packing = hdf5plugin.Blosc(cname="lz4hc", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)
        shapes = {"position_matrix": rows.shape, "label": (LABELS,)}
        for name in COLUMNS:
            shape, dtype = shapes.get(name, (1,)), TEXTS.get(name, rows.dtype)
            sizes = {"shape": (0, *shape), "maxshape": (None, *shape), "chunks": (chunk_rows, *shape)}
            file.create_dataset(name, dtype=dtype, **sizes, **packing)

    def append(self, rows: TrainingExamples) -> None:
        """Add rows; whole HDF5 chunks are written at once."""
        self.append_columns({name: getattr(rows, name) for name in COLUMNS})

    def append_columns(self, columns: dict[str, Any]) -> None:
        """Add rows as Bin.rows gives them, with all four columns."""
        for name, values in columns.items():
            dataset = self.file[name]
            if name in TEXTS:
                self.cut += sum(len(text) > dataset.dtype.itemsize for text in values)
            self.waiting[name].append(np.asarray(values, dataset.dtype).reshape(-1, *dataset.shape[1:]))
        self.rows += len(columns["label"])
        self._write((self.rows - self.written) // self.chunk_rows * self.chunk_rows)

    def write_rest(self) -> None:
        """Write the rows that wait for a whole chunk; at the end."""
        self._write(self.rows - self.written)

    def _write(self, count: int) -> None:
        """Move the first rows that wait into the file."""
        if not count:
            return
        for name, parts in self.waiting.items():
            values, dataset = np.concatenate(parts), self.file[name]
            dataset.resize(self.written + count, axis=0)
            dataset[self.written :] = values[:count]
            self.waiting[name] = [values[count:]]
        self.written += count
        self.check()


def merge_bins(paths: Sequence[Path], output: Path, wanted: BinFormat, platform: str | None, **options) -> int:
    """Write the rows of bins one after the other into one, and return their number (spec/training.md A.9).

    Raises InputError when a bin is not of this format or platform; options as of write_bin.
    """
    bins = [Bin(path) for path in paths]
    for each in bins:
        each.check(wanted, platform)
        if each.extra:
            logger.warning("%s: %s is not copied, nothing reads it", each.path, ", ".join(each.extra))
    with write_bin(output, wanted, platform, **options) as writer:
        for each in bins:
            with each:
                for piece in each.pieces():
                    writer.append_columns(piece)
    return writer.rows
