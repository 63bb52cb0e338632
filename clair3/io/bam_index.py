"""The index of a BAM or CRAM file: where it is, whether it is whole, and which contigs have reads.

htslib trusts an index: a cut one can end the process, and a contig beyond its end is read from foreign memory. So it
is walked once here, before htslib sees it (a human .bai takes a fraction of a second).
"""

import gzip
import struct
import zlib
from pathlib import Path

from clair3.errors import InputError
from clair3.io.fasta import find_index
from clair3.io.text import read_rows

BAI_DEPTH, MAX_DEPTH = 5, 20
"""Levels of the binning of a .bai, and far more than any .csi has (it says its own)."""

MAKE_AGAIN = 'make it again with "samtools index"'


def is_cram(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"CRAM"


def find_alignment_index(path: Path) -> Path:
    """The .bai, .csi or .crai of a BAM or CRAM. Raises InputError when file or index is missing (spec/cli.md 3.5)."""
    if not path.is_file():
        raise InputError(f"BAM file {path} not found")
    index = find_index(path, [".crai"] if is_cram(path) else [".csi", ".bai"])
    if index is None:
        raise InputError(f"BAM index file not found, please use 'samtools index {path}' first")
    return index


def read_alignment_index(index: Path) -> tuple[int | None, set[int], list[int]]:
    """How many contigs an index covers (None: a .crai does not say), the numbers of those with mapped reads, and of
    each contig the furthest block or container pointed to (offset in bytes).

    A .bai or .csi without counts of reads, as some programs write it, says which contigs have any alignments; so does
    a .crai. Raises InputError when the index is damaged or cannot be read.
    """
    if index.suffix == ".crai":
        return None, *_walk_crai(index)
    try:
        with (open if index.suffix == ".bai" else gzip.open)(index, "rb") as file:
            return _walk(file.read())
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        if getattr(error, "errno", None) is not None:  # not of the content: no permission, say
            raise InputError(f"{index}: cannot be read ({error.strerror})") from None
        raise InputError(f"{index}: the index is damaged; {MAKE_AGAIN}") from None


def _walk(data: bytes) -> tuple[int, set[int], list[int]]:
    """Number of contigs, those with reads, and the furthest block of each (SAM specification 5.2, CSIv1).

    Raises ValueError or struct.error when the bytes do not hold what they announce. Counts are read as unsigned, so
    that a wrong one leads beyond the end and never back.
    """
    at, depth, is_csi = 4, BAI_DEPTH, data[:4] == b"CSI\x01"
    if is_csi:
        _, depth, extra = struct.unpack_from("<3I", data, at)
        if depth > MAX_DEPTH:
            raise ValueError("not the head of an index")
        at += 12 + extra
    elif data[:4] != b"BAI\x01":
        raise ValueError("no index")
    count_bin = (8 ** (depth + 1) - 1) // 7 + 1
    bin_layout = struct.Struct("<IQI" if is_csi else "<2I")
    (contigs,) = struct.unpack_from("<I", data, at)
    at += 4
    found, blocks = set(), []
    for contig in range(contigs):
        furthest = -1
        (bins,) = struct.unpack_from("<I", data, at)
        at += 4
        mapped = bins > 0
        for _ in range(bins):
            number, *_, chunks = bin_layout.unpack_from(data, at)
            at += bin_layout.size
            if number > count_bin:
                raise ValueError("no such bin")
            if number == count_bin:
                (mapped,) = struct.unpack_from("<16xQ", data, at)
            elif chunks:
                start, _ = struct.unpack_from("<2Q", data, at + 16 * (chunks - 1))  # the last of the bin
                furthest = max(furthest, start >> 16)
            at += 16 * chunks
        if mapped:
            found.add(contig)
        if furthest >= 0:
            blocks.append(furthest)
        if not is_csi:
            at += 4 + 8 * struct.unpack_from("<I", data, at)[0]
    if len(data) - at not in (0, 8):  # the count of unplaced reads may follow
        raise ValueError("cut, or something follows")
    return contigs, found, blocks


def _walk_crai(index: Path) -> tuple[set[int], list[int]]:
    """Contigs that have slices in a CRAM file, and the furthest container of each."""
    furthest: dict[int, int] = {}
    for number, text in read_rows(index):
        try:
            contig, *rest = map(int, text.split("\t"))
        except ValueError:
            rest = []
        if len(rest) != 5:
            raise InputError(f"{index}: row {number} is not of a CRAM index; {MAKE_AGAIN}")
        furthest[contig] = max(furthest.get(contig, 0), rest[2])
    return {contig for contig in furthest if contig >= 0}, list(furthest.values())
