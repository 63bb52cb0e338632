"""The rules by which records of the stages become the output: full alignment wins, and the filters of the user."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import numpy as np

from clair3.config import PRECISE, OutputFilter
from clair3.io.vcf import VcfRecord


def filter_record(record: VcfRecord, options: OutputFilter) -> VcfRecord | None:
    """The record as the user asked for it, or None when it is not written (spec/calling.md 3.5, 8.3, 8.4).

    A QUAL equal to the limit is low (C2), and a low limit never turns LowQual into PASS (C1).
    """
    is_variant = record.alt_text != "."
    if not is_variant and not options.print_ref_calls:
        return None
    if options.haploid:
        genotype = to_haploid(record, options.haploid)
        if genotype is None:
            return None
        record = record._replace(sample=genotype + record.sample[len(record.genotype) :])
    if is_variant and options.qual and record.filter != "LowQual" and record.qual <= options.qual:
        record = record._replace(filter="LowQual")
    return record


def to_haploid(record: VcfRecord, mode: str) -> str | None:
    """The one allele of a diploid genotype, None when the mode has no place for it. PL stays diploid (8.3)."""
    if mode == PRECISE:
        return {"1/1": "1", "0/0": "0"}.get(record.genotype)
    if len(record.alts) == 2:
        return None
    return "1" if record.genotype in ("0/1", "1/0", "1/1") else "0"


def merge_records(
    pileup: Iterable[VcfRecord], full_alignment: Iterable[VcfRecord], within: np.ndarray | None = None
) -> Iterator[VcfRecord]:
    """Records of both stages in order of position, where full alignment wins.

    Both are of one contig, ascending, one per position. A position with a full-alignment record loses its pileup
    record, also when the full-alignment record is a reference call or is filtered later; a position that was sent to
    full alignment but came back without a record keeps that of the pileup.
    within  (k, 2) int64, sorted and disjoint [start, end): of short reads, only full-alignment records count there,
            and only pileup records elsewhere (spec/calling.md 8.2)
    """
    if within is not None:
        pileup = keep_records(pileup, within, inside=False)
        full_alignment = keep_records(full_alignment, within, inside=True)
    full_alignment = iter(full_alignment)
    waiting = next(full_alignment, None)
    for record in pileup:
        if waiting is None:
            yield record
            continue
        pos = record.pos
        while waiting is not None and waiting.pos < pos:
            yield waiting
            waiting = next(full_alignment, None)
        if waiting is None or waiting.pos > pos:
            yield record
    if waiting is not None:
        yield waiting
        yield from full_alignment


def keep_records(records: Iterable[VcfRecord], intervals: np.ndarray, inside: bool) -> Iterator[VcfRecord]:
    """The records inside, or outside, of sorted and disjoint intervals, (k, 2) int64 [start, end), in order."""
    edges = intervals.ravel().tolist()
    return (record for record in records if (bisect_right(edges, record.pos) % 2 == 1) == inside)
