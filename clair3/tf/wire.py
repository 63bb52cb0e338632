"""Numbers and messages in the bytes of a checkpoint: varints and protocol buffers (spec/models.md 10)."""

from collections.abc import Iterator

NUMBER_BYTES = 10
"""Longest varint: 64 bits, seven in each byte."""


class Malformed(Exception):
    """The bytes are not what they should be: what was found and what to do. The reader adds which file it is."""

    def __init__(self, found: str, remedy: str = "copy the model again"):
        super().__init__(found)
        self.remedy = remedy


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a position of data, and the position behind it. Raises Malformed when it is cut or too long."""
    number = 0
    for place, byte in enumerate(data[at : at + NUMBER_BYTES]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if place and not byte:
                break  # writers put no zeros in front: bits have changed
            return number, at + place + 1
    raise Malformed("a number is cut or too long")


def read_bytes(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """So many bytes at a position of data, and the position behind them. Raises Malformed when data end before."""
    if size > len(data) - at:
        raise Malformed("it ends too early")
    return data[at : at + size], at + size


def iter_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a protocol-buffer message: int, or bytes of wire type 2. Raises Malformed."""
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
            raise Malformed("a message has a field of unknown kind")
        yield tag >> 3, value


class Message:
    """The fields of a protocol-buffer message by number. Raises Malformed for other bytes, or another kind of field."""

    def __init__(self, data: bytes):
        self.fields: dict[int, list[int | bytes]] = {}
        for number, value in iter_fields(data):
            self.fields.setdefault(number, []).append(value)

    def number(self, field: int) -> int:
        """A number; 0 when it is absent."""
        return (self._all(field, int) or [0])[-1]

    def texts(self, field: int) -> list[bytes]:
        """Texts or messages, in their order."""
        return self._all(field, bytes)

    def text(self, field: int) -> bytes:
        """One text or message; empty when it is absent."""
        return (self.texts(field) or [b""])[-1]

    def _all(self, field: int, kind: type) -> list:
        values = self.fields.get(field, [])
        if not all(isinstance(value, kind) for value in values):
            raise Malformed(f"field {field} of a message is of another kind")
        return values
