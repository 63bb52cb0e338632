"""CRC-32C (Castagnoli), as TensorFlow's files keep it (spec/models.md 10); 12 MB take a tenth of a second."""

import numpy as np

POLYNOMIAL = 0x82F63B78
LANES = 1024
"""Long data are cut into so many equal pieces, whose registers move on side by side; a power of two."""


def _table() -> list[int]:
    """What the register's lowest byte becomes when eight bits are shifted out."""
    values = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ POLYNOMIAL * (value & 1)
        values.append(value)
    return values


TABLE = _table()
TABLE_ARRAY = np.array(TABLE, np.uint32)
BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)


def masked_crc32c(data: bytes) -> int:
    """The checksum of data as it is stored: turned right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The plain checksum of data."""
    lanes = len(data) // LANES
    register, head = 0xFFFFFFFF, len(data) - lanes * LANES if lanes >= 4 else len(data)
    for byte in data[:head]:
        register = TABLE[(register ^ byte) & 0xFF] ^ register >> 8
    if head < len(data):
        register = _lanes_register(np.frombuffer(data, np.uint8, offset=head), register)
    return register ^ 0xFFFFFFFF


def _lanes_register(data: np.ndarray, register: int) -> int:
    """The register after data, (LANES * n,) uint8 with n >= 4, from its value before.

    The register is linear in its start and in the data (over GF(2)): each lane starts from 0, and neighbours are joined
    by moving the left one over as many zero bytes as the right one has. The start is added to the first four bytes.
    """
    lanes = data.reshape(LANES, -1).T.copy()  # (n, LANES): row k has byte k of each lane
    lanes[:4, 0] ^= np.frombuffer(register.to_bytes(4, "little"), np.uint8)
    registers = np.zeros(LANES, np.uint32)
    for row in lanes:
        registers = TABLE_ARRAY[(registers ^ row) & 0xFF] ^ registers >> 8
    move = _zero_bytes(len(lanes))
    while len(registers) > 1:
        registers = _apply(move, registers[::2]) ^ registers[1::2]
        move = _apply(move, move)
    return int(registers[0])


def _zero_bytes(count: int) -> np.ndarray:
    """What each bit of a register becomes when `count` zero bytes pass: (32,) uint32."""
    moved, step = BITS, TABLE_ARRAY[BITS & 0xFF] ^ BITS >> 8  # one byte, then 2, 4, 8 ...
    while count:
        if count & 1:
            moved = _apply(step, moved)
        step, count = _apply(step, step), count >> 1
    return moved


def _apply(move: np.ndarray, registers: np.ndarray) -> np.ndarray:
    """Registers after a linear move, (n,) uint32; move (32,) says what becomes of each bit."""
    return np.bitwise_xor.reduce(np.where(registers[:, None] & BITS, move, np.uint32(0)), axis=1)
