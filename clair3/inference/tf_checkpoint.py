"""Reading checkpoints of TensorFlow without TensorFlow (spec/models.md 10).

An index file is a sorted table of names; the table's values are protocol buffers that say where in the data shards a
tensor lies. The object graph, a tensor itself, leads from attribute names to the names of the table. Blocks of the
table and tensors have masked CRC-32C checksums, which are verified.

The order below: checkpoint, table, protocol buffers, checksums.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clair3.errors import InputError

MAX_BYTES = 1 << 20
"""Largest index file, and largest object graph, in bytes; those of Clair3 have some 5 and 50 kB."""
MAX_KEY_BYTES = 512
"""Longest name in the table. Names share their beginnings, so a small file could unfold to very many long ones."""

GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
"""Name of the object graph in the table."""
DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64"}
DTYPES |= {10: "bool", 14: "bfloat16", 19: "float16"}
"""Types of tensors by their number in TensorFlow."""
WEIGHT_DTYPES = ("float16", "float32", "float64")
"""Types that weights may have; all become float32."""

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
"""Last bytes of an index file."""
FOOTER_BYTES, TRAILER_BYTES = 48, 5
VARINT_BYTES = 10
"""Longest varint: 64 bits, seven in each byte."""

POLYNOMIAL = 0x82F63B78
"""CRC-32C (Castagnoli), bits reversed."""
LANES = 1024
"""Number of equal lanes into which long data are cut, whose registers are computed side by side; a power of two."""


class MalformedError(Exception):
    """Bytes are not what they should be; the message and the remedy become an InputError that names the file."""

    def __init__(self, problem: str, remedy: str = "copy the model again"):
        super().__init__(problem)
        self.remedy = remedy


@dataclass(frozen=True)
class TensorEntry:
    """Place and type of a tensor's bytes: `size` of them at an offset of a shard, with their masked CRC-32C."""

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
        with _file_errors(index, "is no index of a TensorFlow checkpoint"):
            self.table = read_table(_read_range(index, 0, None, MAX_BYTES))
            if b"" not in self.table:
                raise MalformedError("it has no header")
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
        with _file_errors(shard, "the object graph is damaged"):
            self.nodes = Message(_read_text(shard, entry)).texts(1)
        self.parsed: dict[int, tuple[dict[bytes, int], bytes | None]] = {}

    def shard(self, number: int) -> Path:
        """Return the file of a shard, by its number from 0."""
        return self.index.with_name(f"{self.index.stem}.data-{number:05d}-of-{self.shards:05d}")

    def has(self, *names: str) -> bool:
        """Return whether a path of attribute names leads to an object of the graph."""
        return self._find(names) is not None

    def shape(self, *names: str) -> tuple[int, ...]:
        """Return the shape of a variable, by its path of attribute names from the root."""
        return self._entry(self._table_key(names)).shape

    def variable(self, *names: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return a variable as float32, by its path of attribute names; `shape` is the shape that it must have."""
        entry, name = self._entry(self._table_key(names)), "/".join(names)
        if entry.shape != shape:
            raise InputError(f"{self.index}: {name} has shape {entry.shape}, not {shape}; it is no model of Clair3 v1")
        if entry.dtype not in WEIGHT_DTYPES:
            raise InputError(f"{self.index}: {name} is {entry.dtype}, not float32; save the model as float32")
        dtype, shard = np.dtype(entry.dtype).newbyteorder("<"), self.shard(entry.shard)
        with _file_errors(shard, f"{name} is damaged"):
            if entry.size != dtype.itemsize * int(np.prod(shape)):
                raise MalformedError("its size is not that of its shape")
            data = _read_range(shard, entry.offset, entry.size, entry.size)
            if masked_crc32c(data) != entry.checksum:
                raise MalformedError("wrong checksum")
        with np.errstate(over="ignore"):
            values = np.frombuffer(data, dtype).reshape(shape).astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{self.index}: {name} holds infinite numbers or NaN; use another model")
        return values

    def _table_key(self, names: tuple[str, ...]) -> bytes:
        """Return the name under which the table has a variable."""
        node = self._find(names)
        key = None if node is None else self._node(node)[1]
        if key is None:
            raise InputError(f"{self.index}: it has no {'/'.join(names)}; it is no complete model of Clair3 v1")
        return key

    def _find(self, names: tuple[str, ...]) -> int | None:
        """Return the number of the object at the end of a path from the root; None when there is none.

        Keras gives the elements of a Sequential two names, layer-N and layer_with_weights-N; either is taken.
        """
        node = 0
        for name in names:
            children = self._node(node)[0]
            node = children.get(name.encode(), children.get(name.replace("_with_weights", "").encode()))
            if node is None:
                return None
        return node

    def _node(self, number: int) -> tuple[dict[bytes, int], bytes | None]:
        """Return an object's children by name, and the table's name of its value when it is a variable."""
        if number not in self.parsed:
            with _file_errors(self.index, "its object graph is damaged"):
                if number >= len(self.nodes):
                    raise MalformedError("it points to an object that is not there")
                node = Message(self.nodes[number])
                children = [Message(child) for child in node.texts(1)]
                attributes = [Message(attribute) for attribute in node.texts(2)]
                keys = [field.text(3) for field in attributes if field.text(1) == b"VARIABLE_VALUE"]
                self.parsed[number] = {child.text(2): child.number(1) for child in children}, (keys or [None])[0]
        return self.parsed[number]

    def _entry(self, key: bytes) -> TensorEntry:
        """Return the entry that the table has of a tensor."""
        name = key.decode(errors="backslashreplace")
        if key not in self.table:
            raise InputError(f"{self.index}: {name} of its object graph is missing; copy the model again")
        with _file_errors(self.index, f"the entry of {name} is damaged"):
            entry = Message(self.table[key])
            sizes = tuple(Message(dimension).number(1) for dimension in Message(entry.text(2)).texts(2))
            shard = entry.number(3)
            if shard >= self.shards:
                raise MalformedError(f"it lies in shard {shard} of {self.shards}")
            if not entry.texts(7):
                dtype = DTYPES.get(entry.number(1), f"of type {entry.number(1)}")
                return TensorEntry(dtype, sizes, shard, *map(entry.number, (4, 5, 6)))
        raise InputError(f"{self.index}: {name} is stored in slices, which is not supported; save the model unsliced")


@contextmanager
def _file_errors(path: Path, what: str) -> Iterator[None]:
    """Turn a MalformedError or OSError into an InputError that names the file."""
    try:
        yield
    except MalformedError as error:
        raise InputError(f"{path}: {what} ({error}); {error.remedy}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: missing; put all parts of the checkpoint into one folder") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the model path") from None


def _read_range(path: Path, offset: int, size: int | None, limit: int) -> bytes:
    """Read `size` bytes of a file, all with None. Raises MalformedError when they are missing, or more than `limit`."""
    with open(path, "rb") as file:
        length = file.seek(0, 2)
        size = length if size is None else size
        if size > limit:
            raise MalformedError(f"{size} bytes are too many")
        if offset + size > length:
            raise MalformedError(f"the file ends at {length} bytes, before it")
        file.seek(offset)
        return file.read(size)


def _read_text(path: Path, entry: TensorEntry) -> bytes:
    """Read a scalar string tensor, which has two checksums: of its length, and of all (spec/models.md 10.4)."""
    data = _read_range(path, entry.offset, entry.size, MAX_BYTES)
    length, at = read_varint(data, 0)
    lengths = length.to_bytes(4 if length < 1 << 32 else 8, "little") if length < 1 << 64 else b""
    stored, at = read_bytes(data, at, 4)
    text, at = read_bytes(data, at, length)
    if at != len(data) or int.from_bytes(stored, "little") != masked_crc32c(lengths):
        raise MalformedError("its length is wrong")
    if masked_crc32c(lengths + stored + text) != entry.checksum:
        raise MalformedError("wrong checksum")
    return text


def read_table(content: bytes) -> dict[bytes, bytes]:
    """Return the values of an index file by name. Raises MalformedError, also for wrong checksums."""
    if len(content) < FOOTER_BYTES or content[-len(MAGIC) :] != MAGIC:
        raise MalformedError("it does not end with the mark of one")
    footer = content[-FOOTER_BYTES:]
    meta, at = _read_handle(footer, 0)
    root, at = _read_handle(footer, at)
    if footer[at : -len(MAGIC)].strip(b"\0"):
        raise MalformedError("its last bytes are damaged")
    _read_block(content, *meta)  # nothing in it is needed, but a damaged file is not to be trusted
    table, last, end = {}, None, 0
    for _, handle in _iter_entries(_read_block(content, *root)):
        (offset, size), _ = _read_handle(handle, 0)
        if offset < end:
            raise MalformedError("its blocks overlap")
        end = offset + size
        for key, value in _iter_entries(_read_block(content, offset, size)):
            if last is not None and key <= last:
                raise MalformedError("its names are not in order")
            table[key] = value
            last = key
    return table


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return (offset, size) of a block, and the position behind its handle."""
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (offset, size), at


def _read_block(content: bytes, offset: int, size: int) -> bytes:
    """Return the entries of a block, without its restart points, after a look at its checksum."""
    if offset + size + TRAILER_BYTES > len(content) - FOOTER_BYTES:
        raise MalformedError("a block lies behind its end")
    block, crc = content[offset : offset + size + 1], content[offset + size + 1 : offset + size + TRAILER_BYTES]
    if masked_crc32c(block) != int.from_bytes(crc, "little"):
        raise MalformedError("wrong checksum of a block")
    if block[-1]:
        raise MalformedError("a block is compressed, which is not supported", "save the model again with TensorFlow")
    restarts = int.from_bytes(block[-5:-1], "little")
    if 4 * restarts + 4 > size:
        raise MalformedError("a block has no entries")
    return block[: size - 4 * restarts - 4]


def _iter_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of each entry; a key is stored as what differs from the one before."""
    key, at = b"", 0
    while at < len(block):
        shared, at = read_varint(block, at)
        new, at = read_varint(block, at)
        size, at = read_varint(block, at)
        if shared > len(key) or shared + new > MAX_KEY_BYTES:
            raise MalformedError("an entry has an impossible name")
        rest, at = read_bytes(block, at, new)
        value, at = read_bytes(block, at, size)
        key = key[:shared] + rest
        yield key, value


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a position of data, and the position behind it.

    Raises MalformedError when the number is cut or too long.
    """
    number = 0
    for place, byte in enumerate(data[at : at + VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if place and not byte:
                break  # writers put no zeros in front: bits have changed
            return number, at + place + 1
    raise MalformedError("a number is cut or too long")


def read_bytes(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Return `size` bytes at a position of data, and the position behind. Raises MalformedError if data end before."""
    if size > len(data) - at:
        raise MalformedError("it ends too early")
    return data[at : at + size], at + size


def iter_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of each field of a message: an int, or bytes (wire type 2). Raises MalformedError."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        if tag & 7 == 0:
            value, at = read_varint(message, at)
        elif tag & 7 == 2:
            size, at = read_varint(message, at)
            value, at = read_bytes(message, at, size)
        elif tag & 7 in (1, 5):
            value, at = read_bytes(message, at, 8 if tag & 7 == 1 else 4)
            value = int.from_bytes(value, "little")
        else:
            raise MalformedError("a message has a field of unknown kind")
        yield tag >> 3, value


class Message:
    """The fields of a protocol-buffer message by number. Raises MalformedError for other bytes or kinds of field."""

    def __init__(self, data: bytes):
        self.fields: dict[int, list[int | bytes]] = {}
        for number, value in iter_fields(data):
            self.fields.setdefault(number, []).append(value)

    def number(self, field: int) -> int:
        """Return the last number in a field; 0 when it is absent."""
        return (self._all(field, int) or [0])[-1]

    def texts(self, field: int) -> list[bytes]:
        """Return the texts, or embedded messages, of a repeated field in their order."""
        return self._all(field, bytes)

    def text(self, field: int) -> bytes:
        """Return the last text, or embedded message, of a field; empty when it is absent."""
        return (self.texts(field) or [b""])[-1]

    def _all(self, field: int, kind: type) -> list:
        values = self.fields.get(field, [])
        if not all(isinstance(value, kind) for value in values):
            raise MalformedError(f"field {field} of a message is of another kind")
        return values


def _make_crc_table() -> list[int]:
    """Make the 256 values that the register's lowest byte becomes when eight bits are shifted out."""
    values = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ POLYNOMIAL * (value & 1)
        values.append(value)
    return values


TABLE = _make_crc_table()
TABLE_ARRAY = np.array(TABLE, np.uint32)
BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C of data as it is stored: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of data."""
    lanes = len(data) // LANES
    register, head = 0xFFFFFFFF, len(data) - lanes * LANES if lanes >= 4 else len(data)
    for byte in data[:head]:
        register = TABLE[(register ^ byte) & 0xFF] ^ register >> 8
    if head < len(data):
        register = _lanes_register(np.frombuffer(data, np.uint8, offset=head), register)
    return register ^ 0xFFFFFFFF


def _lanes_register(data: np.ndarray, register: int) -> int:
    """Return the register after data, (LANES * n,) uint8 with n >= 4, from its value before.

    The register is linear in its start and in the data (over GF(2)): each lane starts from 0, and neighbours are joined
    by moving the left one over as many zero bytes as the right one has. The start is added to the first four bytes.
    """
    lanes = data.reshape(LANES, -1).T.copy()  # (n, LANES): row k has byte k of each lane
    lanes[:4, 0] ^= np.frombuffer(register.to_bytes(4, "little"), np.uint8)
    registers = np.zeros(LANES, np.uint32)
    for row in lanes:
        registers = TABLE_ARRAY[(registers ^ row) & 0xFF] ^ registers >> 8
    move = _move_of_zero_bytes(len(lanes))
    while len(registers) > 1:
        registers = _apply(move, registers[::2]) ^ registers[1::2]
        move = _apply(move, move)
    return int(registers[0])


def _move_of_zero_bytes(count: int) -> np.ndarray:
    """Return what each bit of a register becomes after `count` zero bytes, (32,) uint32."""
    moved, step = BITS, TABLE_ARRAY[BITS & 0xFF] ^ BITS >> 8  # one byte, then 2, 4, 8 ...
    while count:
        if count & 1:
            moved = _apply(step, moved)
        step, count = _apply(step, step), count >> 1
    return moved


def _apply(move: np.ndarray, registers: np.ndarray) -> np.ndarray:
    """Return registers, (n,) uint32, after a linear map; row i of move, (32,) uint32, is the image of bit i."""
    return np.bitwise_xor.reduce(np.where(registers[:, None] & BITS, move, np.uint32(0)), axis=1)
