"""The index file of a checkpoint: a sorted table of names, in LevelDB's layout (spec/models.md 10.1)."""

from collections.abc import Iterator

from clair3.tf.crc32c import masked_crc32c
from clair3.tf.wire import Malformed, read_bytes, read_varint

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER_BYTES, TRAILER_BYTES = 48, 5
MAX_KEY = 512
"""Longest name. Names share their beginnings, so a small file could unfold to very many long ones."""


def read_table(content: bytes) -> dict[bytes, bytes]:
    """Names and their values, of a whole index file. Raises Malformed; checksums are verified."""
    if len(content) < FOOTER_BYTES or content[-len(MAGIC) :] != MAGIC:
        raise Malformed("it does not end with the mark of one")
    footer = content[-FOOTER_BYTES:]
    meta, at = _read_handle(footer, 0)
    root, at = _read_handle(footer, at)
    if footer[at : -len(MAGIC)].strip(b"\0"):
        raise Malformed("its last bytes are damaged")
    _block(content, *meta)  # says nothing we need, but what is damaged is not to be trusted
    table, last, end = {}, None, 0
    for _, handle in _iter_entries(_block(content, *root)):
        (offset, size), _ = _read_handle(handle, 0)
        if offset < end:
            raise Malformed("its blocks overlap")
        end = offset + size
        for key, value in _iter_entries(_block(content, offset, size)):
            if last is not None and key <= last:
                raise Malformed("its names are not in order")
            table[key] = value
            last = key
    return table


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """(offset, size) of a block, and the position behind."""
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (offset, size), at


def _block(content: bytes, offset: int, size: int) -> bytes:
    """The entries of a block, without its restart points."""
    if offset + size + TRAILER_BYTES > len(content) - FOOTER_BYTES:
        raise Malformed("a block lies behind its end")
    block, crc = content[offset : offset + size + 1], content[offset + size + 1 : offset + size + TRAILER_BYTES]
    if masked_crc32c(block) != int.from_bytes(crc, "little"):
        raise Malformed("wrong checksum of a block")
    if block[-1]:
        raise Malformed("a block is compressed, which is not supported", "save the model again with TensorFlow")
    restarts = int.from_bytes(block[-5:-1], "little")
    if 4 * restarts + 4 > size:
        raise Malformed("a block has no entries")
    return block[: size - 4 * restarts - 4]


def _iter_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of each entry; a key is given by what differs from the one before."""
    key, at = b"", 0
    while at < len(block):
        shared, at = read_varint(block, at)
        new, at = read_varint(block, at)
        size, at = read_varint(block, at)
        if shared > len(key) or shared + new > MAX_KEY:
            raise Malformed("an entry has an impossible name")
        rest, at = read_bytes(block, at, new)
        value, at = read_bytes(block, at, size)
        key = key[:shared] + rest
        yield key, value
