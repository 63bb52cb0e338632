"""Writes TensorFlow checkpoints as spec/models.md 9 and 10 describe them, whole or broken on purpose."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from torch import nn

from clair3.inference.tf_checkpoint import masked_crc32c

FLOAT32 = 1
DTYPES = {"float32": FLOAT32, "float64": 2, "float16": 19, "int32": 3, "int64": 9}
GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
MAGIC = bytes.fromhex("57fb808b247547db")


def varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number % 128 + 128)
        number //= 128
    return bytes([*digits, number])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol-buffer message: a varint, or a text or message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed32(number: int, value: int) -> bytes:
    return varint(number << 3 | 5) + value.to_bytes(4, "little")


def checked(data: bytes, crc: int | None = None) -> bytes:
    return data + (masked_crc32c(data) if crc is None else crc).to_bytes(4, "little")


def block(entries: Iterable[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """A block with its trailer; every fourth key is written whole, the others share their beginnings."""
    body, restarts, last = b"", [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % 4 == 0:
            restarts.append(len(body))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    body += b"".join(start.to_bytes(4, "little") for start in restarts) + len(restarts).to_bytes(4, "little")
    return checked(body + bytes([compression]))


def table(entries: dict[bytes, bytes], per_block: int = 3, compression: int = 0) -> bytes:
    """An index file of these entries, in blocks of so many."""
    content, handles, rows = b"", [], sorted(entries.items())
    for start in range(0, len(rows), per_block):
        data = block(rows[start : start + per_block], compression)
        handles.append((rows[start : start + per_block][-1][0], varint(len(content)) + varint(len(data) - 5)))
        content += data
    footer = b""
    for data in (block([]), block(handles)):  # meta-index, index
        footer += varint(len(content)) + varint(len(data) - 5)
        content += data
    return content + footer.ljust(40, b"\0") + MAGIC


def object_graph(variables: dict[tuple[str, ...], bytes]) -> bytes:
    """The graph in which each path from the root leads to the variable of that key; it has a cycle."""
    children, keys = [{"root": 0}], {0: None}
    for path, key in variables.items():
        node = 0
        for name in path:
            if name not in children[node]:
                children[node][name] = len(children)
                children.append({})
            node = children[node][name]
        keys[node] = key
    nodes = b""
    for number, names in enumerate(children):
        message = b"".join(field(1, field(1, child) + field(2, name.encode())) for name, child in names.items())
        if keys.get(number):
            named = field(1, b"VARIABLE_VALUE") + field(2, b"any/name") + field(3, keys[number])
            message += field(2, field(1, b"OTHER") + field(3, b"nowhere")) + field(2, named)
        nodes += field(1, message)
    return nodes


def string_tensor(text: bytes) -> tuple[bytes, int]:
    """The bytes of a scalar string tensor and its checksum (spec/models.md 10.4)."""
    length = len(text).to_bytes(4, "little")
    head = masked_crc32c(length).to_bytes(4, "little")
    return varint(len(text)) + head + text, masked_crc32c(length + head + text)


def entry(dtype: int, shape: Iterable[int], shard: int, offset: int, size: int, crc: int, more: bytes = b"") -> bytes:
    dimensions = b"".join(field(2, field(1, length)) for length in shape)
    return (
        field(1, dtype)
        + field(2, dimensions)
        + field(3, shard)
        + field(4, offset)
        + field(5, size)
        + fixed32(6, crc)
        + more
    )


def write_checkpoint(
    prefix: Path,
    variables: dict[tuple[str, ...], np.ndarray],
    *,
    numbered: bool = False,
    shards: int = 1,
    slots: bool = False,
    header: bytes | None = None,
    graph: bytes | None = None,
    compression: int = 0,
    change: Callable[[dict[bytes, bytes]], dict[bytes, bytes]] = lambda entries: entries,
) -> Path:
    """Write a checkpoint of variables by their paths from the root; the path of its index.

    numbered  keys as a SavedModel has them, not attribute paths
    slots     with what an optimizer keeps
    header, graph, compression, change   what to write instead: for broken files
    """
    keys = {
        path: f"{f'variables/{number}' if numbered else '/'.join(path)}/.ATTRIBUTES/VARIABLE_VALUE".encode()
        for number, path in enumerate(variables)
    }
    values = {keys[path]: np.ascontiguousarray(array) for path, array in variables.items()}
    if slots:
        values[b"optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE"] = np.array(7)
        for path, array in variables.items():
            values[f"{'/'.join(path)}/.OPTIMIZER_SLOT/optimizer/slow/.ATTRIBUTES/VARIABLE_VALUE".encode()] = array + 1
    contents, entries = [b""] * shards, {b"": field(1, shards) if header is None else header}
    data, crc = string_tensor(object_graph(keys) if graph is None else graph)
    entries[GRAPH] = entry(7, (), 0, 0, len(data), crc)
    contents[0] += data
    for number, (key, array) in enumerate(values.items()):
        shard, data = number % shards, array.tobytes()
        entries[key] = entry(
            DTYPES[array.dtype.name], array.shape, shard, len(contents[shard]), len(data), masked_crc32c(data)
        )
        contents[shard] += data
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{shards:05d}").write_bytes(content)
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(table(change(entries), compression=compression))
    return index


def keras_variables(model: nn.Module) -> dict[tuple[str, ...], np.ndarray]:
    """What v1's network with the weights of one of ours would save (spec/models.md 9 and 11).

    Keras has one bias where an LSTM of PyTorch has two: it is their sum.
    """
    found = {}
    for name, layer in model.named_modules():
        path = tuple("layer_with_weights-0" if part == "0" else part for part in name.split("."))
        weights = {key: value.detach().numpy() for key, value in layer.named_parameters(recurse=False)}
        if isinstance(layer, nn.Linear):
            found |= {(*path, "kernel"): weights["weight"].T, (*path, "bias"): weights["bias"]}
        elif isinstance(layer, nn.Conv2d):
            kernel = weights["weight"].transpose(2, 3, 1, 0)
            found |= {(*path, "kernel"): kernel, (*path, "bias"): weights["bias"]}
        elif isinstance(layer, nn.BatchNorm2d):
            found |= {(*path, "gamma"): weights["weight"], (*path, "beta"): weights["bias"]}
            found[(*path, "moving_mean")] = layer.running_mean.numpy()
            found[(*path, "moving_variance")] = layer.running_var.numpy()
        elif isinstance(layer, nn.LSTM):
            for direction, suffix in (("forward_layer", "_l0"), ("backward_layer", "_l0_reverse")):
                cell = (*path, direction, "cell")
                found[(*cell, "kernel")] = weights[f"weight_ih{suffix}"].T
                found[(*cell, "recurrent_kernel")] = weights[f"weight_hh{suffix}"].T
                found[(*cell, "bias")] = weights[f"bias_ih{suffix}"] + weights[f"bias_hh{suffix}"]
    return found
