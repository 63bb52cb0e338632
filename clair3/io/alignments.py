"""Alignments in BAM or CRAM: opened with their index, read in order, and held against the reference."""

import gzip
import logging
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import BinaryIO

import pysam

from clair3.errors import InputError
from clair3.io.bam_index import MAKE_AGAIN, find_alignment_index, is_cram, no_alignments, read_alignment_index
from clair3.io.fasta import Contig, Reference
from clair3.io.text import BGZF_EOF, ends_with

logger = logging.getLogger(__name__)

BAM_MAGIC = b"BAM\x01"
BLOCK_START = BGZF_EOF[:4]
"""How every block of a BAM file begins."""

CRAM_EOF = b"\xff\xff\xff\xff\x0f\xe0EOF"
"""Start of the empty container that ends a complete CRAM file, 2.1 and later (CRAM specification 9)."""

CRAM_EOF_REACH = 38
"""Bytes of that container, in its longer form."""

SORT_CHECK_READS = 1000
"""Reads whose order is looked at when the header does not say that the file is sorted."""


@dataclass(frozen=True)
class Alignments:
    """An indexed BAM or CRAM file: lengths of the contigs in its header, and which of them have mapped reads."""

    path: Path
    index: Path
    lengths: dict[str, int]
    with_reads: frozenset[str]


def stay_offline() -> None:
    """Keep htslib, also the copy in the C core, from looking for CRAM references on the network or in a cache.

    CRAM decodes against the given FASTA (spec/features.md A.1). An unset REF_PATH would mean a server of the EBI.
    """
    os.environ["REF_PATH"] = os.devnull
    os.environ.pop("REF_CACHE", None)


def read_alignments(path: Path, reference: Reference) -> Alignments:
    """Header and index of a BAM or CRAM file.

    Raises InputError: file or index missing, neither BAM nor CRAM, cut, damaged or without contigs; an index that is
    damaged or belongs to another file. Warns when the index is older than the file.
    """
    stay_offline()
    pysam.set_verbosity(0)  # what htslib would print is in our errors
    index = find_alignment_index(path)
    check_format(path)
    if index.stat().st_mtime < path.stat().st_mtime:
        logger.warning('%s is older than %s; if the reads changed since, run "samtools index"', index, path.name)
    if is_cram(path) and reference.index.name != f"{reference.path.name}.fai":
        raise InputError(f"{reference.index}: for CRAM input the index must be named {reference.path.name}.fai")
    indexed, numbers, blocks = read_alignment_index(index)  # before htslib sees it
    names, lengths = read_contigs(path)
    if not names:
        raise InputError(f"{path}: no contigs in the header (@SQ); the reads are not aligned")
    if indexed not in (None, len(names)) or max(numbers, default=0) >= len(names):
        raise InputError(f"{index}: made for a file with other contigs than {path.name}; {MAKE_AGAIN}")
    if max(blocks, default=0) >= path.stat().st_size:
        raise InputError(f"{index}: points beyond the end of {path.name}, which is cut or another file; {MAKE_AGAIN}")
    if not is_cram(path) and not all(starts_block(path, blocks)):
        raise InputError(
            f"{index}: does not fit {path.name}: made for another file, or before this one changed; {MAKE_AGAIN}"
        )
    with_reads = frozenset(names[number] for number in numbers)
    return Alignments(path, index, dict(zip(names, lengths, strict=True)), with_reads)


def starts_block(path: Path, offsets: Iterable[int]) -> Iterator[bool]:
    """Whether a BGZF block starts at each of these offsets of a BAM file."""
    with open(path, "rb") as file:
        for offset in offsets:
            file.seek(offset)
            yield file.read(len(BLOCK_START)) == BLOCK_START


def open_alignments(path: Path, index: Path, reference: Reference) -> pysam.AlignmentFile:
    fasta = str(reference.path) if is_cram(path) else None
    return pysam.AlignmentFile(str(path), "r", index_filename=str(index), reference_filename=fasta, check_sq=False)


def iter_alignments(
    alignments: Alignments, reference: Reference, contigs: Sequence[str] | None, start: int = 0, end: int | None = None
) -> Iterator[pysam.AlignedSegment]:
    """Yield the alignments on some contigs (None: on all), in the order of the file; those over [start, end), 0-based.

    Raises InputError when the file is damaged.
    """
    try:
        with open_alignments(alignments.path, alignments.index, reference) as source:
            for name in alignments.lengths:
                if contigs is None or name in contigs:
                    yield from source.fetch(name, start, end)
    except OSError:
        raise InputError(
            f"{alignments.path}: cannot be read to its end; it is damaged, copy or write it again"
        ) from None


def check_format(path: Path) -> None:
    """Raises InputError unless the file is a BAM or CRAM with its end marker."""
    if is_cram(path):
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - CRAM_EOF_REACH))
            whole = CRAM_EOF in file.read()
    else:
        try:
            with gzip.open(path) as file:
                magic = file.read(len(BAM_MAGIC))
        except (OSError, EOFError, zlib.error):
            magic = b""
        if magic != BAM_MAGIC:
            raise no_alignments(path)
        whole = ends_with(path, BGZF_EOF)
    if not whole:
        raise InputError(f"{path}: the end of the file is missing; it was cut, copy or write it again")


def read_contigs(path: Path) -> tuple[list[str], list[int]]:
    """Names and lengths of the contigs in the header. Raises InputError when it is damaged.

    For BAM this is the binary list: the text of the header may lack @SQ lines, and pysam would tell of damage twice.
    """
    try:
        if is_cram(path):
            with pysam.AlignmentFile(str(path), check_sq=False) as file:
                return list(file.references), list(file.lengths)
        with gzip.open(path) as file:
            file.read(len(BAM_MAGIC))
            file.read(read_number(file))
            names, lengths = [], []
            for _ in range(read_number(file)):
                names.append(file.read(read_number(file)).rstrip(b"\0").decode("utf-8", "backslashreplace"))
                lengths.append(read_number(file))
            file.read(1)  # the checksum of the header's last block is looked at only now
            return names, lengths
    except (OSError, EOFError, ValueError, zlib.error, struct.error):
        raise InputError(
            f"{path}: the start of the file cannot be read; it is damaged, copy or write it again"
        ) from None


def read_number(file: BinaryIO) -> int:
    return struct.unpack("<I", file.read(4))[0]


def check_common(alignments: Alignments, known: set[str]) -> None:
    """Raises InputError when no contig of the alignments is in the reference: chr1 against 1, another species."""
    if not known & alignments.lengths.keys():
        ours, theirs = next(iter(alignments.lengths)), min(known)
        raise InputError(
            f"{alignments.path}: none of its contigs ({ours}, ...) is in the reference ({theirs}, ...); "
            "give the FASTA that the reads were aligned to"
        )


def check_header(alignments: Alignments, name: str) -> None:
    """Raises InputError when the alignments have no contig of the name that --ctgName gives."""
    if name not in alignments.lengths:
        first = next(iter(alignments.lengths))
        raise InputError(f"{alignments.path}: no contig {name} (--ctgName) in the header; it has {first} ...")


def check_lengths(alignments: Alignments, reference: Reference, contigs: list[Contig]) -> None:
    """Raises InputError when a contig to call has another length in the alignments than in the reference."""
    for contig in contigs:
        if (length := alignments.lengths[contig.name]) != contig.length:
            raise InputError(
                f"{contig.name} has {length} bases in {alignments.path} and {contig.length} in {reference.path}: "
                "give the FASTA of the assembly that the reads were aligned to"
            )


def check_readable(alignments: Alignments, reference: Reference, contigs: list[Contig]) -> None:
    """Look at the first reads and the last base to call; a CRAM of another FASTA fails here, by its checksums.

    Raises InputError when they cannot be decoded, or when the reads are not sorted.
    """
    if not contigs:
        return
    path, first, last = alignments.path, contigs[0], contigs[-1]
    try:
        with pysam.FastaFile(str(reference.path), filepath_index=str(reference.index)) as fasta:
            base = fasta.fetch(last.name, last.length - 1, last.length)
    except (OSError, ValueError, KeyError):
        base = ""
    if not base:
        raise InputError(f"{reference.path}: {last.name} cannot be read; the FASTA or its index is damaged")
    try:
        with open_alignments(path, alignments.index, reference) as file:
            if file.header.to_dict().get("HD", {}).get("SO") != "coordinate":
                check_sorted(path, file)
            for contig in contigs:
                if next(file.fetch(contig.name), None) is None:
                    raise InputError(
                        f"{path}: the index {alignments.index.name} says that {contig.name} has reads, but there are "
                        f"none; it belongs to another file, {MAKE_AGAIN}"
                    )
    except (OSError, ValueError):
        cause = f" or were written with another FASTA than {reference.path}" if is_cram(path) else ""
        raise InputError(
            f"{path}: the reads of {first.name} cannot be decoded; they are damaged{cause}, or the index "
            f"{alignments.index.name} belongs to another file ({MAKE_AGAIN})"
        ) from None


def check_sorted(path: Path, file: pysam.AlignmentFile) -> None:
    """Raises InputError when the first reads are not in coordinate order (unplaced reads come last)."""
    reads = islice(file.fetch(until_eof=True), SORT_CHECK_READS)
    places = ((read.reference_id % 2**32, read.reference_start) for read in reads)
    if any(later < earlier for earlier, later in pairwise(places)):
        raise InputError(f'{path}: not sorted by coordinate; run "samtools sort", then "samtools index"')
