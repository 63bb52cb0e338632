"""Reading TensorFlow checkpoints: the format, and a sentence for everything that can be wrong with one."""

import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tf_writer
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_writer import entry, field, fixed32, table, write_checkpoint

from clair3.errors import InputError
from clair3.inference.tf_checkpoint import POLYNOMIAL, TfCheckpoint, crc32c

VARIABLES = {
    ("dense", "kernel"): np.arange(6, dtype=np.float32).reshape(2, 3),
    ("dense", "bias"): np.array([0.5, -1, 2], np.float32),
    ("block", "layer_with_weights-0", "gamma"): np.ones(4, np.float32),
}
KERNEL = b"dense/kernel/.ATTRIBUTES/VARIABLE_VALUE"


def read_all(index):
    """Every variable of VARIABLES, read from a checkpoint."""
    checkpoint = TfCheckpoint(index)
    return {path: checkpoint.variable(*path, shape=array.shape) for path, array in VARIABLES.items()}


def assert_same(found):
    for path, array in VARIABLES.items():
        assert found[path].dtype == np.float32
        np.testing.assert_array_equal(found[path], array)


def crc_by_bits(data):
    """The checksum from its definition, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (POLYNOMIAL if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_published_check_value():
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=300))
def test_crc_of_short_data(data):
    assert crc32c(data) == crc_by_bits(data)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 5119, 5120, 10_007, 65_536])
def test_crc_of_long_data(size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    assert crc32c(data) == crc_by_bits(data)


@pytest.mark.parametrize("numbered", [False, True], ids=["weights-only", "SavedModel"])
@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("slots", [False, True])
def test_styles(tmp_path, numbered, shards, slots):
    assert_same(read_all(write_checkpoint(tmp_path / "m", VARIABLES, numbered=numbered, shards=shards, slots=slots)))


def test_the_other_name_of_an_element(tmp_path):
    renamed = {("block", "layer-0", "gamma") if "block" in path else path: x for path, x in VARIABLES.items()}
    assert_same(read_all(write_checkpoint(tmp_path / "m", renamed)))


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_float_types_become_float32(tmp_path, dtype):
    assert_same(read_all(write_checkpoint(tmp_path / "m", {k: v.astype(dtype) for k, v in VARIABLES.items()})))


def test_reading_needs_neither_torch_nor_tensorflow(tmp_path):
    index = write_checkpoint(tmp_path / "m", VARIABLES)
    code = (
        "import sys; from pathlib import Path; from clair3.inference.tf_checkpoint import TfCheckpoint\n"
        f"print(TfCheckpoint(Path({str(index)!r})).variable('dense', 'bias', shape=(3,)).tolist())\n"
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[0.5, -1.0, 2.0]\n"), done.stderr


# what is wrong with the files, and the words that tell it


def with_entry(**changes):
    """Say something else of the kernel than what is true."""
    values = {"dtype": 1, "shape": (2, 3), "shard": 0, "offset": 0, "size": 24, "crc": 0} | changes
    return lambda entries: entries | {KERNEL: entry(**values)}


def without(*keys):
    return lambda entries: {key: value for key, value in entries.items() if key not in keys}


BROKEN = [
    ({"header": field(1, 1) + field(2, 1)}, "big-endian"),
    ({"compression": 1}, "a block is compressed"),
    ({"change": without(b"")}, "it has no header"),
    ({"change": without(tf_writer.GRAPH)}, "it has no object graph; save the weights with TensorFlow 2"),
    ({"change": without(KERNEL)}, f"{KERNEL.decode()} of its object graph is missing"),
    ({"change": with_entry(more=field(7, b""))}, "is stored in slices"),
    ({"change": with_entry(shape=(3, 2))}, r"dense/kernel has shape \(3, 2\), not \(2, 3\)"),
    ({"change": with_entry(dtype=3)}, "dense/kernel is int32, not float32"),
    ({"change": with_entry(dtype=14)}, "dense/kernel is bfloat16, not float32"),
    ({"change": with_entry(dtype=77)}, "dense/kernel is of type 77, not float32"),
    ({"change": with_entry(size=23)}, "dense/kernel is damaged .its size is not that of its shape"),
    ({"change": with_entry(shard=1)}, "it lies in shard 1 of 1"),
    ({"change": with_entry(offset=1 << 40)}, "dense/kernel is damaged .the file ends at"),
    ({"change": with_entry(crc=5)}, "dense/kernel is damaged .wrong checksum"),
    ({"change": lambda e: e | {KERNEL: b"\x07"}}, "the entry of dense/kernel.* is damaged"),
    ({"change": lambda e: e | {KERNEL: field(3, b"text")}}, "field 3 of a message is of another kind"),
    ({"change": lambda e: e | {tf_writer.GRAPH: entry(1, (), 0, 0, 4, 0)}}, "its object graph is no text"),
    ({"change": lambda e: e | {tf_writer.GRAPH: entry(7, (), 0, 0, 1 << 30, 0)}}, "1073741824 bytes are too many"),
    ({"header": field(1, 3)}, "data-00000-of-00003: missing; put all parts of the checkpoint into one folder"),
    ({"graph": b""}, "it points to an object that is not there"),
    ({"graph": b"\xff"}, "a number is cut or too long"),
    ({"graph": field(1, field(1, field(1, 9) + field(2, b"dense")))}, "it points to an object that is not there"),
    ({"graph": field(1, b"")}, "it has no dense/kernel; it is no complete model of Clair3 v1"),
]


@pytest.mark.parametrize("changes, words", BROKEN, ids=[words[:40] for _, words in BROKEN])
def test_broken_checkpoints(tmp_path, changes, words):
    index = write_checkpoint(tmp_path / "m", VARIABLES, **changes)
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))}/m.*{words}") as caught:
        read_all(index)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(tmp_path, value):
    index = write_checkpoint(tmp_path / "m", VARIABLES | {("dense", "bias"): np.full(3, value, np.float32)})
    with pytest.raises(InputError, match="dense/bias holds infinite numbers or NaN"):
        read_all(index)


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>", bytes(100), bytes(1 << 21)])
def test_other_files(tmp_path, content):
    (tmp_path / "m.index").write_bytes(content)
    with pytest.raises(InputError, match="is no index of a TensorFlow checkpoint"):
        TfCheckpoint(tmp_path / "m.index")


def test_missing_parts(tmp_path):
    index = write_checkpoint(tmp_path / "m", VARIABLES, shards=2)
    (tmp_path / "m.data-00001-of-00002").unlink()
    with pytest.raises(InputError, match="m.data-00001-of-00002: missing; put all parts"):
        read_all(index)
    index.unlink()
    with pytest.raises(InputError, match=r"m\.index: missing"):
        read_all(index)


# no damage passes, or ends in anything but an InputError


@pytest.fixture
def files(tmp_path):
    index = write_checkpoint(tmp_path / "m", VARIABLES)
    return index, tmp_path / "m.data-00000-of-00001"


def damaged(path, content, index):
    """Whether it is noticed that one of the files was replaced; if not, it must have changed nothing."""
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        assert_same(read_all(index))
    except InputError:
        return True
    finally:
        path.write_bytes(whole)
    return False


@pytest.mark.parametrize("part", [0, 1], ids=["index", "shard"])
def test_every_truncation_is_noticed(files, part):
    content = files[part].read_bytes()
    assert all(damaged(files[part], content[:length], files[0]) for length in range(len(content)))


@pytest.mark.parametrize("part", [0, 1], ids=["index", "shard"])
@pytest.mark.parametrize("bits", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_noticed(files, part, bits):
    """One bit of each byte, or all."""
    content = files[part].read_bytes()
    for at in range(len(content)):
        for bit in range(at, at + bits):
            flipped = content[:at] + bytes([content[at] ^ 1 << bit % 8]) + content[at + 1 :]
            assert damaged(files[part], flipped, files[0]), (at, bit % 8)


@given(content=st.binary(max_size=400))
def test_random_index(tmp_path_factory, content):
    index = tmp_path_factory.getbasetemp() / "random.index"
    index.write_bytes(content + bytes(40) + tf_writer.MAGIC)
    with pytest.raises(InputError):
        read_all(index)


messages = st.recursive(
    st.builds(field, st.integers(0, 8), st.integers(0, 1 << 64) | st.binary(max_size=20)),
    lambda parts: st.builds(field, st.integers(0, 8), st.lists(parts, max_size=4).map(b"".join)),
    max_leaves=12,
)


@settings(max_examples=50)
@given(graph=messages, value=messages, head=messages, name=st.sampled_from([KERNEL, b"dense", b"x" * 2000]))
def test_random_messages_under_right_checksums(tmp_path_factory, graph, value, head, name):
    """The table is sound; what it holds makes no sense, or only a little."""
    folder = tmp_path_factory.getbasetemp()
    for more in ({"graph": graph}, {"header": head}, {"change": lambda entries: entries | {name: value}}):
        index = write_checkpoint(folder / "messages", VARIABLES, **more)
        try:
            assert_same(read_all(index))
        except InputError as error:
            assert str(error).startswith(str(folder))


def shared_keys():
    """An index of 60 kB with 10,000 names of 500 letters, which differ in the last two only."""
    names = [bytes([65 + n // 100, 27 + n % 100]) for n in range(10_000)]
    entries = b"".join(tf_writer.varint(498) + b"\x02\0" + name for name in names[1:])
    body = b"\0" + tf_writer.varint(500) + b"\0" + b"k" * 498 + names[0] + entries + bytes(4)
    data, meta = tf_writer.checked(body + b"\0"), tf_writer.block([])
    root = tf_writer.block([(b"z", tf_writer.varint(0) + tf_writer.varint(len(body)))])
    ends = len(data), len(meta) - 5, len(data) + len(meta), len(root) - 5
    return data + meta + root + b"".join(map(tf_writer.varint, ends)).ljust(40, b"\0") + tf_writer.MAGIC


def many_handles():
    """An index whose 40,000 entries all point to the same block of 100,000 bytes without an entry."""
    body = bytes(4 * 25_000) + (25_000).to_bytes(4, "little")
    data, meta = tf_writer.checked(body + b"\0"), tf_writer.block([])
    root = tf_writer.block((b"%08d" % n, tf_writer.varint(0) + tf_writer.varint(len(body))) for n in range(40_000))
    ends = len(data), len(meta) - 5, len(data) + len(meta), len(root) - 5
    return data + meta + root + b"".join(map(tf_writer.varint, ends)).ljust(40, b"\0") + tf_writer.MAGIC


HUGE_GRAPH = {b"": field(1, 1), tf_writer.GRAPH: field(1, 7) + field(5, 1 << 40) + fixed32(6, 0)}
BOMBS = {
    "keys that unfold": (shared_keys, "it has no header"),
    "one block many times": (many_handles, "its blocks overlap"),
    "a graph of a terabyte": (lambda: table(HUGE_GRAPH), "1099511627776 bytes are too many"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_and_time_are_bounded(tmp_path, bomb):
    (tmp_path / "m.index").write_bytes(BOMBS[bomb][0]())
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"")
    tracemalloc.start()
    with pytest.raises(InputError, match=BOMBS[bomb][1]):
        TfCheckpoint(tmp_path / "m.index")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20
