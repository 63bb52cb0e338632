"""Errors of real reads, counted over a BAM: what `clair3 profile` estimates an error profile from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysam

from clair3.errors import InputError
from clair3.io.alignments import Alignments, check_lengths, iter_alignments, read_alignments
from clair3.io.bed import read_bed, refuse_other_name
from clair3.io.fasta import Reference, read_reference
from clair3.simulate.error_counts import Columns, Counts, ErrorCounter, Runs, iter_batches, make_columns, widen_to_runs
from clair3.simulate.estimation import ReadFacts
from clair3.simulate.genome import read_contigs
from clair3.simulate.haplotypes import read_variants
from clair3.simulate.variants import Variant

BATCH = 4_000_000
"""Read bases that are counted together."""

LEAST_BASES = 100_000
LEAST_MAPQ = 20


def count_errors(
    bam: Path, fasta: Path, truth: Path | None, bed: Path | None, most_bases: float
) -> tuple[Counts, ReadFacts]:
    """Count the errors of the reads of all contigs, until most_bases read bases were seen.

    truth  VCF of the sample's variants, which are left out; None: what a quarter of the reads agree on is left out
    bed    regions to look at; None: everywhere

    Raises InputError when files do not fit, or when fewer than LEAST_BASES bases are aligned.
    """
    genome = read_reference(fasta)
    alignments = read_alignments(bam, genome)
    known = read_variants(truth, np.random.default_rng(0)) if truth else None
    targets = read_bed(bed) if bed else None
    counter, facts, seen = ErrorCounter(), ReadFacts(), 0
    for _, contig, codes in read_contigs(fasta, tuple(sorted(alignments.with_reads))):
        check_lengths(alignments, genome, [contig])
        for path, by_contig in ((truth, known), (bed, targets)):
            refuse_other_name(path or Path(), contig.name, by_contig or ())
        regions = None if targets is None else targets.get(contig.name, np.empty((0, 2), np.int64))
        for batch in iter_batches(iter_usable_reads(alignments, genome, contig.name, regions), BATCH):
            columns = make_columns(batch, codes, str(bam))
            out = mark_outside(regions, columns)
            if known is not None:
                out |= mark_variants(known.get(contig.name, []), columns)
            counter.add(columns, out, known is None)
            for read in batch:
                facts.add(read, contig.length)
            seen += int(columns.length.sum())
            if seen >= most_bases:
                return counter.counts, facts
    if counter.counts.bases.sum() < LEAST_BASES:
        aligned = int(counter.counts.bases.sum())
        raise InputError(f"{bam}: {aligned} aligned bases are too few for a profile; {LEAST_BASES} are needed")
    return counter.counts, facts


def iter_usable_reads(
    alignments: Alignments, genome: Reference, contig: str, regions: np.ndarray | None
) -> Iterator[pysam.AlignedSegment]:
    """Yield the primary alignments of MAPQ 20 or more by position; those over regions, (k, 2) int64, if given."""
    low, high = (0, None) if regions is None else (int(regions[:, 0].min(initial=0)), int(regions[:, 1].max(initial=0)))
    if high == 0:
        return
    for read in iter_alignments(alignments, genome, (contig,), low, high):
        wrong = read.is_secondary or read.is_supplementary or read.is_duplicate or read.is_qcfail
        if not wrong and read.mapping_quality >= LEAST_MAPQ and read.query_sequence and read.reference_length > 1:
            yield read


def mark_outside(regions: np.ndarray | None, columns: Columns) -> np.ndarray:
    """Mark the positions of a batch that are in none of the regions: (n,) bool."""
    out = np.full(len(columns.codes), regions is not None)
    for start, end in () if regions is None else regions - columns.low:
        out[max(0, start) : max(0, end)] = False
    return out


def mark_variants(variants: list[Variant], columns: Columns) -> np.ndarray:
    """Mark the positions of a batch at or next to true variants, with the homopolymer runs they are in: (n,) bool."""
    out = np.zeros(len(columns.codes), bool)
    for variant in variants:
        start, end = variant.pos - columns.low, variant.end + 1 - columns.low
        if end > 0 and start < len(out):
            out[max(0, start) : end] = True
    return widen_to_runs(out, Runs.find(columns.codes))
