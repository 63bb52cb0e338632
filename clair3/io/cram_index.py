"""Whether the index of a CRAM file fits it: its rows are held against the containers (CRAM specification 7, 8.1, 9)."""

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clair3.errors import InputError
from clair3.io.bam_index import misfit
from clair3.io.text import read_rows

FILE_HEADER = 26
"""Bytes before the first container: the magic, the version and an id."""

NEWEST = 3
"""Major version of the format whose containers are read here."""

LONGEST_HEADER = 1 << 16
"""Bytes of a container's header that are looked at: the slices of a container are few."""

SEVERAL = -2
"""Number of the contig of a container with reads of several ones."""


@dataclass(frozen=True)
class Container:
    """What the header of a container says: contig number (-1: none, or SEVERAL), 0-based [start, end), records, and the
    offsets of its slices."""

    contig: int
    start: int
    end: int
    records: int
    slices: frozenset[int]


def check_cram_index(path: Path, index: Path, names: Sequence[str], contigs: Sequence[str]) -> dict[str, int | None]:
    """Hold a .crai against its CRAM file on some contigs; names are those of the file's header.

    Return how many reads the containers of each contig have; None when some are in containers of several contigs, or
    the file is of a version that is not looked at. Raises InputError when index and file do not fit.
    """
    containers = dict(iter_containers(path))
    rows = defaultdict(list)
    for _, text in read_rows(index):
        contig, start, span, offset, slice_offset, _ = map(int, text.split("\t"))  # read_alignment_index looked at them
        rows[offset].append((contig, start - 1, start - 1 + span, slice_offset))
    promised = dict.fromkeys(contigs, 0)
    if not containers:
        return dict.fromkeys(contigs)
    numbers = {names.index(contig): contig for contig in contigs}
    for offset, found in rows.items():
        container = containers.get(offset)
        if container is None or any(row[3] not in container.slices for row in found):
            raise misfit(path, index, "it points to what is no slice of reads")
        if container.contig == SEVERAL:
            promised |= {numbers[row[0]]: None for row in found if row[0] in numbers}
    for offset, container in containers.items():
        found = rows[offset]
        if container.contig == SEVERAL and container.slices - {row[3] for row in found}:
            raise misfit(path, index, "it leaves out reads")
        if container.contig not in numbers:
            continue
        name = numbers[container.contig]
        found = [row for row in found if row[0] == container.contig]
        if container.slices - {row[3] for row in found}:
            raise misfit(path, index, f"it leaves out reads of {name}")
        if min(row[1] for row in found) > container.start or max(row[2] for row in found) < container.end:
            raise misfit(path, index, f"it has reads of {name} where they are not")
        if promised[name] is not None:
            promised[name] += container.records
    return promised


def iter_containers(path: Path) -> Iterator[tuple[int, Container]]:
    """Yield offset and header of each container that has records; none for a version that is not known.

    Raises InputError when one cannot be read.
    """
    with open(path, "rb") as file:
        major = file.read(FILE_HEADER)[4]
        size, offset = path.stat().st_size, FILE_HEADER
        try:
            while major <= NEWEST and offset < size:
                container, end = read_container(file, offset, major)
                if container.records:
                    yield offset, container
                offset = end
        except (struct.error, IndexError, ValueError):
            raise InputError(
                f"{path}: no container can be read at byte {offset}; the file is damaged, copy or write it again"
            ) from None


def read_container(file: BinaryIO, offset: int, major: int) -> tuple[Container, int]:
    """The header of the container at an offset, and the offset behind the container."""
    file.seek(offset)
    data = file.read(LONGEST_HEADER)
    (length,) = struct.unpack_from("<i", data)
    if length < 0:
        raise ValueError("no container")
    at = 4
    values = []
    for bits in (32, 32, 32, 32, 32 if major < NEWEST else 64, 64, 32, 32):
        value, at = read_varint(data, at, bits)
        values.append(value)
    contig, start, span, records, _, _, _, count = values
    slices = []
    for _ in range(count):
        value, at = read_varint(data, at, 32)
        slices.append(value)
    header_end = offset + at + (4 if major == NEWEST else 0)  # a checksum
    return Container(contig, start - 1, start - 1 + span, records, frozenset(slices)), header_end + length


def read_varint(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number as ITF8 (32 bits) or LTF8 (64) that begins at a byte, and where it ends (CRAM specification 2.3)."""
    first, more = data[at], 0
    while more < bits // 8 and first & (0x80 >> more):
        more += 1
    if bits == 32 and more == 4:  # the fifth byte has four bits
        value = (first & 0x0F) << 28 | int.from_bytes(data[at + 1 : at + 4], "big") << 4 | data[at + 4] & 0x0F
    else:
        kept = first & (0x7F >> more) if more < 8 else 0
        value = kept << 8 * more | int.from_bytes(data[at + 1 : at + 1 + more], "big")
    return value - (1 << bits if value >> (bits - 1) else 0), at + 1 + more
