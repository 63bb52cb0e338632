"""Where the records of a run come from - stages, their merge, files - and the rules by which they become the output."""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from clair3.calling.tasks import Ledger
from clair3.config import PRECISE, OutputFilter
from clair3.io.known_sites import KnownSites
from clair3.io.vcf import VcfRecord, iter_records, join_header, union_header
from clair3.records import Task, haploid_likelihoods


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
        values = record.sample_values()
        if values.get("PL", ".") != ".":
            values["PL"] = ",".join(map(str, haploid_likelihoods([int(value) for value in values["PL"].split(",")])))
            record = record.with_sample_values(values)
    if is_variant and options.qual and record.filter != "LowQual" and record.qual <= options.qual:
        record = record._replace(filter="LowQual")
    return record


def to_haploid(record: VcfRecord, mode: str) -> str | None:
    """The one allele of a diploid genotype, None when the mode has no place for it (8.3)."""
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


logger = logging.getLogger(__name__)

NOWHERE = np.empty((0, 2), np.int64)


class RecordSource:
    """VCF records by contig; contigs are in output order."""

    contigs: Sequence[str]

    def iter_contig(self, contig: str) -> Iterator[VcfRecord]:
        """Yield the records of one contig, ascending; none for a contig without."""
        raise NotImplementedError

    def iter_all(self) -> Iterator[VcfRecord]:
        """Yield the records of all contigs, one contig after the other."""
        return (record for contig in self.contigs for record in self.iter_contig(contig))

    def is_empty(self) -> bool:
        """Whether there is no record at all."""
        return next(self.iter_all(), None) is None


class StageRecords(RecordSource):
    """What a stage left in its ledger, in the order of the plan; each result is checked when it is read.

    ledger may be None when there are no tasks. Raises LedgerError when a result is not what was planned.
    """

    def __init__(self, ledger: Ledger | None = None, tasks: Sequence[Task] = ()):
        self.ledger = ledger
        self.tasks: dict[str, list[Task]] = {}
        for task in tasks:
            self.tasks.setdefault(task.contig, []).append(task)
        self.contigs = list(self.tasks)

    def iter_contig(self, contig: str) -> Iterator[VcfRecord]:
        for task in self.tasks.get(contig, ()):
            yield from self.ledger.read(task)


class MergedRecords(RecordSource):
    """Pileup records, full-alignment records in their place where there are any, through the final filters.

    With short reads, within says per contig where full-alignment records take their place, see merge_records.
    """

    def __init__(
        self,
        pileup: RecordSource,
        options: OutputFilter,
        full_alignment: RecordSource | None = None,
        within: dict[str, np.ndarray] | None = None,
    ):
        self.pileup, self.options, self.within = pileup, options, within
        self.full_alignment = full_alignment or StageRecords()
        self.contigs = pileup.contigs

    def iter_contig(self, contig: str) -> Iterator[VcfRecord]:
        within = None if self.within is None else self.within.get(contig, NOWHERE)
        merged = merge_records(self.pileup.iter_contig(contig), self.full_alignment.iter_contig(contig), within)
        return (kept for record in merged if (kept := filter_record(record, self.options)) is not None)


class GenotypedRecords(RecordSource):
    """One record at each known site: the called one, or one without genotype (spec/calling.md 10).

    Called records at other positions are left out. haploid: the missing genotype is of one allele, as the others are.
    """

    def __init__(self, called: RecordSource, sites: KnownSites, haploid: bool = False):
        self.called, self.sites, self.contigs, self.haploid = called, sites, list(sites), haploid
        self.called_count = 0

    def iter_contig(self, contig: str) -> Iterator[VcfRecord]:
        sites = self.sites[contig]
        called = {pos: record for record in self.called.iter_contig(contig) if (pos := record.pos) in sites}
        self.called_count += len(called)
        for pos, uncalled in sites.items():
            yield called.get(pos) or (uncalled._replace(sample=".") if self.haploid else uncalled)

    def iter_all(self) -> Iterator[VcfRecord]:
        """Yield the records of all contigs, then tell in the log how many sites were called."""
        self.called_count = 0
        yield from super().iter_all()
        total = sum(map(len, self.sites.values()))
        logger.info(
            "Total variants for genotyping: %d, total Clair3 variant output: %d, added %d variants into output VCF",
            *(total, self.called_count, total - self.called_count),
        )


class FileRecords(RecordSource):
    """The records of VCF files with one sample, one file per contig. Raises InputError when a file is damaged."""

    def __init__(self, files: dict[str, Path]):
        self.files = files
        self.contigs = list(files)

    def iter_contig(self, contig: str) -> Iterator[VcfRecord]:
        return iter_records(self.files[contig], contig)

    def header(self) -> str:
        """Header lines of all files, each once; without the programs' command lines (9). Empty without files."""
        return join_header(union_header(self.files.values()))
