"""The order in which klib's khash returns its keys, simulated from the rules of spec/features.md B.7.

Equally supported indels are resolved by this order (E-K15). Independent of the C core.
"""

from collections.abc import Hashable, Iterable, Iterator


def khash_order(keys: Iterable[Hashable]) -> list:
    """Distinct keys (all text or all int) in the slot order of klib's khash after these puts (B.7)."""
    table: list = []
    occupied = 0
    for key in keys:
        if occupied >= int(len(table) * 0.77 + 0.5):
            table = double(table)
        for slot in probes(key, len(table)):
            if table[slot] is None:
                table[slot] = key
                occupied += 1
            if table[slot] == key:
                break
    return [key for key in table if key is not None]


def probes(key: Hashable, size: int) -> Iterator[int]:
    """Slots at which khash looks for a key, one after the other: steps of 1, 2, 3 ..."""
    slot = key_hash(key) % size
    for step in range(1, size + 1):
        yield slot
        slot = (slot + step) % size


def key_hash(key: Hashable) -> int:
    """A number is its own hash; text is a number to the base 31, modulo 2**32."""
    if isinstance(key, int):
        return key
    value = 0
    for byte in key.encode("ascii"):
        value = (value * 31 + byte) % 2**32
    return value


def double(old: list) -> list:
    """The table at twice its size (at least 4), filled in the order in which khash does it in place."""
    old = list(old)
    new: list = [None] * max(4, 2 * len(old))
    for j in range(len(old)):
        key, old[j] = old[j], None
        while key is not None:
            slot = next(slot for slot in probes(key, len(new)) if new[slot] is None)
            new[slot] = key
            # the key that still waited in this slot has to leave it, and is placed next
            key = None
            if slot < len(old):
                key, old[slot] = old[slot], None
    return new
