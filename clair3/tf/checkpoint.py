"""A TensorFlow checkpoint: its variables by their place in the object graph (spec/models.md 10).

Everything a file says is checked before it is believed: sizes against the file before memory is taken, checksums before
numbers are used. NumPy only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clair3.tf.crc32c import masked_crc32c
from clair3.tf.table import read_table
from clair3.tf.wire import Malformed, Message, read_bytes, read_varint
from shared.errors import InputError

MAX_BYTES = 1 << 20
"""Most bytes of an index file, and of an object graph; those of Clair3 have some 5 and 50 kB."""

GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64"}
DTYPES |= {10: "bool", 14: "bfloat16", 19: "float16"}
"""TensorFlow's numbers of types."""
READABLE = ("float16", "float32", "float64")
"""Types that weights may have; all become float32."""


@dataclass(frozen=True)
class Entry:
    """Where the bytes of a tensor lie, and what they are; checksum is the masked CRC-32C of them."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


class TfCheckpoint:
    """The variables of a checkpoint in Keras' object style, weights-only or a SavedModel's; any number of shards.

    Raises InputError, here and in its methods, when a file is missing, damaged or not supported.
    """

    def __init__(self, index: Path):
        """index is the file `<prefix>.index`; the shards lie beside it."""
        self.index = index
        with _blame(index, "is no index of a TensorFlow checkpoint"):
            self.table = read_table(_read_range(index, 0, None, MAX_BYTES))
            if b"" not in self.table:
                raise Malformed("it has no header")
            header = Message(self.table[b""])
            self.shards, big_endian = header.number(1), header.number(2)
        if big_endian:
            raise InputError(f"{index}: its numbers are big-endian, which is not supported; save the model on a PC")
        if GRAPH not in self.table:
            raise InputError(f"{index}: it has no object graph; save the weights with TensorFlow 2 (Keras)")
        entry = self._entry(GRAPH)
        if entry.dtype != "string" or entry.shape:
            raise InputError(f"{index}: its object graph is no text; copy the model again")
        shard = self.shard(entry.shard)
        with _blame(shard, "the object graph is damaged"):
            self.nodes = Message(_read_text(shard, entry)).texts(1)
        self.parsed: dict[int, tuple[dict[bytes, int], bytes | None]] = {}

    def shard(self, number: int) -> Path:
        """The file of a shard, by its number from 0."""
        return self.index.with_name(f"{self.index.stem}.data-{number:05d}-of-{self.shards:05d}")

    def has(self, *names: str) -> bool:
        """Whether a path of attribute names leads to an object of the graph."""
        return self._find(names) is not None

    def shape(self, *names: str) -> tuple[int, ...]:
        """The shape of a variable, by its path of attribute names from the root."""
        return self._entry(self._key(names)).shape

    def variable(self, *names: str, shape: tuple[int, ...]) -> np.ndarray:
        """A variable of the shape it must have, float32."""
        entry, name = self._entry(self._key(names)), "/".join(names)
        if entry.shape != shape:
            raise InputError(f"{self.index}: {name} has shape {entry.shape}, not {shape}; it is no model of Clair3 v1")
        if entry.dtype not in READABLE:
            raise InputError(f"{self.index}: {name} is {entry.dtype}, not float32; save the model as float32")
        dtype, shard = np.dtype(entry.dtype).newbyteorder("<"), self.shard(entry.shard)
        with _blame(shard, f"{name} is damaged"):
            if entry.size != dtype.itemsize * int(np.prod(shape)):
                raise Malformed("its size is not that of its shape")
            data = _read_range(shard, entry.offset, entry.size, entry.size)
            if masked_crc32c(data) != entry.checksum:
                raise Malformed("wrong checksum")
        with np.errstate(over="ignore"):
            values = np.frombuffer(data, dtype).reshape(shape).astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{self.index}: {name} holds infinite numbers or NaN; use another model")
        return values

    def _key(self, names: tuple[str, ...]) -> bytes:
        """Under which name the table has a variable."""
        node = self._find(names)
        key = None if node is None else self._node(node)[1]
        if key is None:
            raise InputError(f"{self.index}: it has no {'/'.join(names)}; it is no complete model of Clair3 v1")
        return key

    def _find(self, names: tuple[str, ...]) -> int | None:
        """Number of the object at the end of a path from the root; None when there is none.

        Keras gives the elements of a Sequential two names, layer-N and layer_with_weights-N; one of them will do.
        """
        node = 0
        for name in names:
            children = self._node(node)[0]
            node = children.get(name.encode(), children.get(name.replace("_with_weights", "").encode()))
            if node is None:
                return None
        return node

    def _node(self, number: int) -> tuple[dict[bytes, int], bytes | None]:
        """An object's children by name, and the table's key of its value when it is a variable."""
        if number not in self.parsed:
            with _blame(self.index, "its object graph is damaged"):
                if number >= len(self.nodes):
                    raise Malformed("it points to an object that is not there")
                node = Message(self.nodes[number])
                children = [Message(child) for child in node.texts(1)]
                attributes = [Message(attribute) for attribute in node.texts(2)]
                keys = [field.text(3) for field in attributes if field.text(1) == b"VARIABLE_VALUE"]
                self.parsed[number] = {child.text(2): child.number(1) for child in children}, (keys or [None])[0]
        return self.parsed[number]

    def _entry(self, key: bytes) -> Entry:
        """What the table says of a tensor."""
        name = key.decode(errors="backslashreplace")
        if key not in self.table:
            raise InputError(f"{self.index}: {name} of its object graph is missing; copy the model again")
        with _blame(self.index, f"the entry of {name} is damaged"):
            entry = Message(self.table[key])
            sizes = tuple(Message(dimension).number(1) for dimension in Message(entry.text(2)).texts(2))
            shard = entry.number(3)
            if shard >= self.shards:
                raise Malformed(f"it lies in shard {shard} of {self.shards}")
            if not entry.texts(7):
                dtype = DTYPES.get(entry.number(1), f"of type {entry.number(1)}")
                return Entry(dtype, sizes, shard, *map(entry.number, (4, 5, 6)))
        raise InputError(f"{self.index}: {name} is stored in slices, which is not supported; save the model unsliced")


@contextmanager
def _blame(path: Path, what: str) -> Iterator[None]:
    """Turn what goes wrong with a file into a sentence about it."""
    try:
        yield
    except Malformed as error:
        raise InputError(f"{path}: {what} ({error}); {error.remedy}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: missing; put all parts of the checkpoint into one folder") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the model path") from None


def _read_range(path: Path, offset: int, size: int | None, most: int) -> bytes:
    """So many bytes of a file; None: the whole file. Raises Malformed when they are not there, or more than `most`."""
    with open(path, "rb") as file:
        length = file.seek(0, 2)
        size = length if size is None else size
        if size > most:
            raise Malformed(f"{size} bytes are too many")
        if offset + size > length:
            raise Malformed(f"the file ends at {length} bytes, before it")
        file.seek(offset)
        return file.read(size)


def _read_text(path: Path, entry: Entry) -> bytes:
    """A scalar string tensor. Two checksums: of its length, and of all (spec/models.md 10.4)."""
    data = _read_range(path, entry.offset, entry.size, MAX_BYTES)
    length, at = read_varint(data, 0)
    lengths = length.to_bytes(4 if length < 1 << 32 else 8, "little") if length < 1 << 64 else b""
    stored, at = read_bytes(data, at, 4)
    text, at = read_bytes(data, at, length)
    if at != len(data) or int.from_bytes(stored, "little") != masked_crc32c(lengths):
        raise Malformed("its length is wrong")
    if masked_crc32c(lengths + stored + text) != entry.checksum:
        raise Malformed("wrong checksum")
    return text
