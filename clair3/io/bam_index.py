"""The index of a BAM or CRAM file: where it is, whether it is whole, and which contigs have reads.

htslib trusts an index: a cut one can end the process, and a contig beyond its end is read from foreign memory. So it
is walked once here, before htslib sees it (a human .bai takes a fraction of a second).
"""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clair3.errors import InputError
from clair3.io.fasta import find_index
from clair3.io.text import read_rows

BAI_DEPTH, MAX_DEPTH = 5, 20
"""Levels of the binning of a .bai, and far more than any .csi has (it says its own)."""

BAI_SHIFT = 14
"""A smallest bin of a .bai spans 2**14 bases; a .csi says its own size."""

CHUNK = np.dtype([("start", "<u8"), ("end", "<u8")])
"""Virtual offsets between which the records of a bin are: byte of the BGZF block << 16 | byte within it."""

COUNTS_CHUNKS = 2
"""Chunks that the bin with the counts of a contig seems to have (SAM specification 5.2)."""

MAKE_AGAIN = 'make it again with "samtools index"'


def is_cram(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"CRAM"


def is_sam_text(path: Path) -> bool:
    """Return whether a file begins as SAM text with a header does."""
    with open(path, "rb") as file:
        return file.read(1) == b"@"


def no_alignments(path: Path) -> InputError:
    """The error of a file that is no BAM or CRAM."""
    made = path.with_name(f"{path.stem}.sorted.bam")  # the SAM text may be named .bam
    return InputError(
        f'{path}: not a BAM or CRAM file; of SAM text "samtools sort -o {made} {path}" makes one, and '
        f'"samtools index {made}" its index'
    )


def misfit(path: Path, index: Path, what: str) -> InputError:
    """The error of an index by which other reads are found than the alignments at path hold."""
    return InputError(
        f"{index}: does not fit {path.name}: {what}; {MAKE_AGAIN}; if that does not help, {path.name} is damaged"
    )


def find_alignment_index(path: Path) -> Path:
    """The .bai, .csi or .crai of a BAM or CRAM. Raises InputError when file or index is missing (spec/cli.md 3.5)."""
    if not path.is_file():
        raise InputError(f"BAM file {path} not found")
    index = find_index(path, [".crai"] if is_cram(path) else [".csi", ".bai"])
    if index is None and is_sam_text(path):
        raise no_alignments(path)
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
    _, starts, found, blocks = _read_whole(index)
    return len(starts), found, blocks


def _read_whole(index: Path) -> tuple[bytes, list[int], set[int], list[int]]:
    """The content of a .bai or .csi, and what _walk finds in it. Raises InputError as read_alignment_index does."""
    try:
        with (open if index.suffix == ".bai" else gzip.open)(index, "rb") as file:
            data = file.read()
        return data, *_walk(data)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        if getattr(error, "errno", None) is not None:  # not of the content: no permission, say
            raise InputError(f"{index}: cannot be read ({error.strerror})") from None
        raise InputError(f"{index}: the index is damaged; {MAKE_AGAIN}") from None


def _walk(data: bytes) -> tuple[list[int], set[int], list[int]]:
    """Where the entry of each contig begins in the content of an index, the contigs with reads, and the furthest block
    of each contig that has any (SAM specification 5.2, CSIv1).

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
    starts, found, blocks = [], set(), []
    for contig in range(contigs):
        starts.append(at)
        at, mapped, furthest = _walk_bins(data, at, bin_layout, count_bin)
        if mapped:
            found.add(contig)
        if furthest >= 0:
            blocks.append(furthest)
        if not is_csi:
            at += 4 + 8 * struct.unpack_from("<I", data, at)[0]
    if len(data) - at not in (0, 8):  # the count of unplaced reads may follow
        raise ValueError("cut, or something follows")
    return starts, found, blocks


def _walk_bins(data: bytes, at: int, layout: struct.Struct, count_bin: int) -> tuple[int, bool, int]:
    """Where the bins of a contig end that begin at an offset, whether it has mapped reads, and its furthest block; -1
    without any. Raises as _walk does."""
    (bins,) = struct.unpack_from("<I", data, at)
    at += 4
    mapped, counted, furthest = bins > 0, None, -1
    for _ in range(bins):
        number, *_, chunks = layout.unpack_from(data, at)
        at += layout.size
        if number > count_bin or (number == count_bin and chunks != COUNTS_CHUNKS):
            raise ValueError("no such bin")
        if number == count_bin:
            mapped, unmapped = struct.unpack_from("<16x2Q", data, at)
            counted = mapped + unmapped
        elif chunks:
            start, _ = struct.unpack_from("<2Q", data, at + 16 * (chunks - 1))  # the last of the bin
            furthest = max(furthest, start >> 16)
        at += 16 * chunks
    if furthest >= 0 and counted == 0:
        raise ValueError("records, but no reads")
    return at, bool(mapped), furthest


@dataclass(frozen=True, eq=False)
class ContigIndex:
    """What a .bai or .csi says about the alignments on one contig.

    chunks   (n,)     CHUNK   where the records of its bins are, in any order
    spans    (n, 2)   int64   positions [start, end) of the bin of each chunk
    limits   (m,)     CHUNK   start: a position; end: no record that reaches beyond it lies before this offset
    reads    reads that have a position on the contig, mapped or not; None when the index does not say
    """

    chunks: np.ndarray
    spans: np.ndarray
    limits: np.ndarray
    reads: int | None


class BinnedIndex:
    """A .bai or .csi file, whose contigs are taken apart one by one: an assembly may have a million.

    Raises InputError as read_alignment_index does.
    """

    def __init__(self, path: Path):
        self.path = path
        self.data, self.starts, _, _ = _read_whole(path)
        self.is_csi, self.shift, self.depth = self.data[:4] == b"CSI\x01", BAI_SHIFT, BAI_DEPTH
        if self.is_csi:
            self.shift, self.depth = struct.unpack_from("<2I", self.data, 4)

    def read_contig(self, number: int) -> ContigIndex:
        """The entry of a contig, by its number."""
        data, at = self.data, self.starts[number]
        count_bin = (8 ** (self.depth + 1) - 1) // 7 + 1
        bin_layout = struct.Struct("<IQI" if self.is_csi else "<2I")
        (bins,) = struct.unpack_from("<I", data, at)
        at += 4
        reads, numbers, offsets, sizes, chunks = None, [], [], [], []
        for _ in range(bins):
            bin_number, *offset, size = bin_layout.unpack_from(data, at)
            at += bin_layout.size
            if bin_number == count_bin:
                reads = sum(struct.unpack_from("<2Q", data, at + 16))
            else:
                numbers.append(bin_number)
                offsets += offset
                sizes.append(size)
                chunks.append(np.frombuffer(data, CHUNK, size, at))
            at += 16 * size
        spans = self._find_spans(np.array(numbers, np.int64))
        if self.is_csi:
            limits = np.array([*zip(spans[:, 0].tolist(), offsets, strict=True)], CHUNK)
        else:
            (windows,) = struct.unpack_from("<I", data, at)
            limits = np.empty(windows, CHUNK)
            limits["start"] = np.arange(windows) << BAI_SHIFT
            limits["end"] = np.frombuffer(data, "<u8", windows, at + 4)
        chunks = np.concatenate(chunks) if chunks else np.empty(0, CHUNK)
        return ContigIndex(chunks, np.repeat(spans, sizes, axis=0), limits, reads)

    def _find_spans(self, bins: np.ndarray) -> np.ndarray:
        """Positions [start, end) of bins, (n, 2) int64, by their numbers (SAM specification 5.1.1, CSIv1)."""
        firsts = (8 ** np.arange(self.depth + 2) - 1) // 7  # the first bin of each level
        level = np.searchsorted(firsts, bins, side="right") - 1
        size = np.int64(1) << (self.shift + 3 * (self.depth - level))
        start = (bins - firsts[level]) * size
        return np.stack([start, start + size], axis=1).reshape(-1, 2)


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
