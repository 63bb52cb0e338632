"""The checks before a run: do the alignments, the reference and the regions fit together, and what is there to call?

Everything that can be known without decoding the reads is looked at here, so that a run that cannot succeed ends at
once with one sentence.
"""

import gzip
import logging
import os
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pysam

from clair3.errors import InputError
from clair3.io.bam_index import MAKE_AGAIN, find_alignment_index, is_cram, no_alignments, read_alignment_index
from clair3.io.bed import allowed_at_sites, allowed_in_bed, read_bed
from clair3.io.fasta import (
    MAJOR_CONTIGS,
    NAMES_SHOWN,
    Contig,
    Reference,
    first_few,
    in_output_order,
    read_reference,
    suggest_contig,
)
from clair3.io.known_sites import KnownSites, read_sites, site_positions
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


@dataclass(frozen=True)
class RunInputs:
    """What a run works on. contigs are those to call, in output order; none left is an ordinary outcome.

    targets  BED intervals (k, 2) or known sites (k,) of each contig as they were given, 0-based; None without
    known    what stands in the output for known sites that are not called; None without
    allowed  None, or per contig the positions where a candidate may lie: (k, 2) int64, sorted and disjoint
    """

    reference: Reference
    alignments: Alignments
    contigs: tuple[Contig, ...]
    allowed: dict[str, np.ndarray] | None
    targets: dict[str, np.ndarray] | None = None
    known: KnownSites | None = None


def check_inputs(
    bam: Path,
    fasta: Path,
    *,
    bed: Path | None = None,
    sites: Path | None = None,
    names: Iterable[str] | None = None,
    include_all: bool = False,
    min_contig_size: int = 0,
) -> RunInputs:
    """Check the inputs of a run and choose its contigs (spec/cli.md 4). Not both of bed and sites are given.

    Raises InputError naming the file, what is wrong with it and what to do; logs what is left out as warnings.
    """
    logger.info("Check environment variables")
    reference = read_reference(fasta)
    known = read_sites(sites, reference) if sites else None
    targets = read_bed(bed) if bed else None if known is None else site_positions(known)
    alignments = read_alignments(bam, reference)
    if names is not None:
        names = list(names)
        check_asked(reference, names, f"{reference.path}")
    if bed and targets:
        check_asked(reference, list(targets), f"{bed}, {reference.path}")
    explicit = explicit_contigs(names, targets, "--bed_fn" if bed else "--vcf_fn")
    if explicit is None:
        state = "enabled" if include_all else "not enabled, use chr{1..22,X,Y} and {1..22,X,Y} by default"
        logger.info("--include_all_ctgs %s", state)
    contigs = select_contigs(reference, alignments, explicit, include_all, min_contig_size)
    check_names(reference, contigs)
    check_lengths(alignments, reference, contigs)
    check_readable(alignments, reference, contigs)
    allowed = None
    if targets is not None:
        if not targets:
            logger.warning("%s: no rows, nothing will be called", bed or sites)
        if bed:
            warn_beyond_end(bed, targets, contigs)
        allowed_in = allowed_in_bed if bed else allowed_at_sites
        allowed = {contig.name: allowed_in(targets[contig.name], contig.length) for contig in contigs}
    return RunInputs(reference, alignments, tuple(contigs), allowed, targets, known)


def stay_offline() -> None:
    """Keep htslib, also the copy in the C core, from looking for CRAM references on the network or in a cache.

    CRAM decodes against the given FASTA (spec/features.md A.1). An unset REF_PATH would mean a server of the EBI.
    """
    os.environ["REF_PATH"] = os.devnull
    os.environ.pop("REF_CACHE", None)


# Alignments


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


# Contigs


def explicit_contigs(names: Iterable[str] | None, targets: dict | None, option: str) -> set[str] | None:
    """Contigs that the user names, by --ctg_name and by the BED or VCF file; None when neither is given."""
    if names is not None and targets is not None:
        logger.warning("both --ctg_name and %s provided, will only proceed contigs in intersection", option)
        return set(names) & set(targets)
    if names is not None:
        return set(names)
    return None if targets is None else set(targets)


def check_asked(reference: Reference, names: Sequence[str], where: str) -> None:
    """Raises InputError, with the nearest name, when none of these contigs is in the reference; where begins it."""
    known = {contig.name for contig in reference.contigs}
    if known & set(names):
        return
    what = f"no contig {names[0]}" if len(names) == 1 else f"none of the contigs {first_few(names)}"
    raise InputError(f"{where}: {what}; {suggest_contig(names[0], reference.lengths)}")


def select_contigs(
    reference: Reference, alignments: Alignments, explicit: set[str] | None, include_all: bool, min_size: int
) -> list[Contig]:
    """Contigs to call, in output order (spec/cli.md 4.1): those named explicitly, else all or the major ones.

    Warns about each contig left out, and when none is left. Raises InputError when reads and reference have no contig
    in common.
    """
    known = {contig.name for contig in reference.contigs}
    check_common(alignments, known)
    if unknown := sorted((explicit or set()) - known):
        warn_of_each(
            unknown,
            "Contig %s given but not found in reference fai file",
            "%d contigs given but not found in reference fai file: %s",
        )
    default = known | alignments.with_reads if include_all else set(MAJOR_CONTIGS)
    wanted = default if explicit is None else explicit
    if lost := sorted(wanted & alignments.with_reads - known):
        logger.warning(
            "%d contigs with mapped reads are not in the reference and not called: %s", len(lost), first_few(lost)
        )

    called, small, without_reads = [], [], []
    for contig in in_output_order(contig for contig in reference.contigs if contig.name in wanted):
        if contig.length < min_size:
            small.append(f"{contig.name} contig length {contig.length}")
        elif contig.name in alignments.with_reads:
            called.append(contig)
        else:
            without_reads.append(contig.name)
    limit = f"smaller than minimum contig size {min_size}"
    warn_of_each(small, f"%s is {limit}, will skip it!", f"%d contigs are {limit}, will skip them: %s")
    warn_of_each(
        without_reads,
        "Contig name %s provided but no mapped reads in BAM, skip!",
        "%d contigs provided but no mapped reads in BAM, skip: %s",
    )
    if not called:
        warn_of_none(without_reads, explicit is not None)
    return called


def warn_of_none(without_reads: Sequence[str], is_explicit: bool) -> None:
    """Say why no contig is called."""
    if without_reads:
        logger.warning("No mapped reads support in BAM for provided contigs set %s", first_few(without_reads))
    elif is_explicit:
        logger.warning("No contig of --bed_fn|--vcf_fn|--ctg_name is in the reference")
    else:
        logger.warning("No contig of the reference is called by default; use --ctg_name or --include_all_ctgs")


def warn_of_each(names: Sequence[str], one: str, many: str) -> None:
    """A warning for each name, in v2.0.2's words; when they are many, one with their number and the first of them."""
    if len(names) > NAMES_SHOWN:
        logger.warning(many, len(names), first_few(names))
        return
    for name in names:
        logger.warning(one, name)


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


PLAIN = re.compile("[!-~]+")
NOT_FIRST = "#*="
"""What names of contigs may not begin with in a VCF; a line that begins with # is no record."""
NOT_IN_VCF = frozenset(",<>\"'`\\()[]{}")
"""What they may not hold: readers of VCF refuse the header or lose records (VCF 4.3, 1.4.7)."""


def find_fault(name: str) -> str | None:
    """What is wrong with the name of a contig for a VCF; None for a name that it can hold."""
    if held := sorted(NOT_IN_VCF & set(name)):
        return "has a comma" if held == [","] else f"has {' '.join(held)}"
    if name[0] in NOT_FIRST:
        return f"begins with {name[0]}"
    return None if PLAIN.fullmatch(name) else "is no plain ASCII text"


def check_names(reference: Reference, contigs: list[Contig]) -> None:
    """Raises InputError for a contig whose name no VCF can hold."""
    for contig in contigs:
        if fault := find_fault(contig.name):
            raise InputError(
                f"{reference.path}: a VCF cannot hold the contig name {contig.name!r}, which {fault}; rename it in "
                "the FASTA and the reads, or choose others with --ctg_name"
            )


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


def warn_beyond_end(path: Path, intervals: dict[str, np.ndarray], contigs: list[Contig]) -> None:
    """Warn about BED intervals that reach beyond the end of their contig; they are cut there."""
    for contig in contigs:
        rows = intervals[contig.name]
        beyond = rows[rows[:, 1] > contig.length]
        if len(beyond):
            logger.warning(
                "%s: %d rows of %s reach beyond its end at %d and are cut there, the first is %d-%d",
                path, len(beyond), contig.name, contig.length, *beyond[0].tolist(),
            )  # fmt: skip


MOVE_CHECK_READS = 50


def check_moves(alignments: Alignments, reference: Reference) -> None:
    """Raises InputError unless one of the first reads of the file has a move table (spec/cli.md 3.15)."""
    with open_alignments(alignments.path, alignments.index, reference) as file:
        for read in islice(file, MOVE_CHECK_READS):
            if read.has_tag("mv") and len(read.get_tag("mv")) > 0:
                return
    raise InputError(
        f"{alignments.path}: Dwell time is enabled but no valid 'mv' tag was found in the first {MOVE_CHECK_READS} "
        "alignments. Basecall with move tables (dorado --emit-moves), or leave out --enable_dwell_time"
    )


FIRST = 1000
"""Reads that are looked at."""

LONGEST_SHORT_READ = 1000
"""Bases; Illumina's pairs have up to 300 each, merged ones twice that."""


def warn_of_long_reads(alignments: Alignments, reference: Reference) -> None:
    """Warn when most of the first reads are too long for a platform of short reads."""
    with open_alignments(alignments.path, alignments.index, reference) as file:
        lengths = sorted(length for read in islice(file, FIRST) if (length := read.query_length))
    if lengths and (median := lengths[len(lengths) // 2]) > LONGEST_SHORT_READ:
        logger.warning(
            "%s: half of the first reads have %d bases or more; --platform=ilmn is for short reads",
            alignments.path, median,
        )  # fmt: skip


def warn_of_linked_reads(alignments: Alignments, reference: Reference) -> None:
    """Warn when one of the first reads has a BX tag: WhatsHap's haplotagging, which v2.0.2 uses for short reads
    (spec/calling.md 7.2), gives reads of one molecule the same haplotype, ours looks at pairs alone."""
    with open_alignments(alignments.path, alignments.index, reference) as file:
        if any(read.has_tag("BX") for read in islice(file, FIRST)):
            logger.warning(
                "%s: linked reads (tag BX); here only the pair of a read tells its haplotype, v2.0.2 also uses BX",
                alignments.path,
            )


def warn_of_uncounted_reads(
    alignments: Alignments, reference: Reference, contigs: Sequence[Contig], min_mapq: int, short_reads: bool
) -> None:
    """Warn, with the reasons, when none of the first reads on the contigs counts; for a run that found nothing.

    min_mapq: least mapping quality; short_reads: rules of Illumina reads.
    """
    with open_alignments(alignments.path, alignments.index, reference) as file:
        reads = chain.from_iterable(file.fetch(contig.name) for contig in contigs)
        reasons = Counter(why_not(read, min_mapq, short_reads) for read in islice(reads, FIRST))
    if reasons and None not in reasons:
        text = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        logger.warning("%s: none of the first %d reads counts: %s", alignments.path, reasons.total(), text)


def why_not(read: pysam.AlignedSegment, min_mapq: int, short_reads: bool) -> str | None:
    """Why the pileup leaves a read out (spec/features.md A.2); None when it counts."""
    if read.is_unmapped or read.is_secondary or read.is_supplementary:
        return "unmapped, secondary or supplementary"
    if short_reads and (read.mate_is_unmapped or (read.is_paired and not read.is_proper_pair)):
        return "not in proper pairs"
    if not short_reads and (read.is_qcfail or read.is_duplicate):
        return "duplicates or failed in quality checks"
    if read.mapping_quality < min_mapq:
        return f"of mapping quality below {min_mapq} (--min_mq)"
    return None if read.query_sequence else "without bases"
