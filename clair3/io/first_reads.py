"""What the first reads of a file tell: whether they have move tables, and why none of them may count."""

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import chain, islice

import pysam

from clair3.errors import InputError
from clair3.io.alignments import Alignments, open_alignments
from clair3.io.fasta import Contig, Reference

logger = logging.getLogger(__name__)

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
