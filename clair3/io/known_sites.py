"""The known sites of --vcf_fn: where to call, and in genotyping mode what stands in the output (spec/calling.md 10).

A site is a contig and a position. Where nothing is called its REF in the output is the letter of the FASTA, so rows
without a usable REF are called as well as others; what cannot be called is left out with a warning, never in silence.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysam

from clair3.errors import InputError
from clair3.io.fasta import Reference, output_rank, suggest_contig
from clair3.io.text import is_number, read_rows
from clair3.io.vcf import VcfRecord, make_uncalled_record, parse_record
from clair3.records import agree, iupac_to_n

logger = logging.getLogger(__name__)

KnownSites = dict[str, dict[int, VcfRecord]]
"""Per contig, in output order: 0-based position -> record for the output where nothing is called, ascending."""

BASES = re.compile(r"[ACGTURYKMSWBDHVN]+", re.IGNORECASE)

OTHER = "these are sites of another assembly, give those of the FASTA"

WINDOW = 1 << 20
"""Bases of the reference that are kept at hand."""


def iter_known_sites(path: Path) -> Iterator[tuple[int, VcfRecord]]:
    """(line number from 1, record) of a VCF of known sites, plain or compressed.

    Lines without tabs may have blanks between the columns; blanks around a column are none of it. Raises InputError
    with v2.0.2's words, naming the line, when there is no contig and position, and when the file cannot be read to
    its end.
    """
    for number, line in read_rows(path):
        if line.startswith("#") or not line.strip():
            continue
        record = parse_record(line if "\t" in line else "\t".join(line.split()))
        record = VcfRecord._make(map(str.strip, record))
        if not record.contig or not is_number(record.pos_text):
            row = f"{record.contig} {record.pos_text}".strip()[:80]
            raise InputError(f"Invalid vcf input in {number}-th row {row} of {path}: expected contig and position")
        yield number, record


class RowCount:
    """How many rows of a file have one kind of defect, which is the first, and its contig."""

    def __init__(self):
        self.count, self.first, self.contig = 0, "", ""

    def add(self, number: int, record: VcfRecord) -> None:
        """Count a row; number is that of its line, from 1."""
        if not self.count:
            self.first, self.contig = f"line {number} ({record.contig} {record.pos_text})", record.contig
        self.count += 1

    def warn(self, path: Path, what: str) -> None:
        """Warn about the rows, if there are any."""
        if self.count:
            logger.warning("%s: %d sites %s, the first in %s", path, self.count, what, self.first)


def read_sites(path: Path, reference: Reference) -> KnownSites:
    """The known sites of a VCF, held against the reference. Raises InputError as read_known_sites does."""
    with pysam.FastaFile(str(reference.path), filepath_index=str(reference.index)) as fasta:
        return read_known_sites(path, reference.lengths, fasta)


def read_known_sites(
    path: Path, lengths: dict[str, int], fasta: pysam.FastaFile | None = None, keep_records: bool = False
) -> KnownSites:
    """The known sites with the record that stands for each where nothing is called: ID, letter of REF, GT `./.`.

    lengths       contigs in .fai order with their bases; sites elsewhere, beyond the end of their contig and at POS 0
                  (a telomere in VCF) are left out, with a warning
    fasta         gives the letter of REF and is compared with that of the file; without it, the file's first letter
                  counts and sites without one are left out
    keep_records  takes the known records as they are, with "." in the columns that they lack and the first sample
    Of several records at one position the last counts.
    Raises InputError as iter_known_sites does, and when the file seems to be of another assembly: no contig is known,
    all sites lie beyond their contig, or more than half of the REFs are not those of fasta.
    """
    rows, total, unknown, at_zero, beyond = defaultdict(list), 0, RowCount(), RowCount(), RowCount()
    for number, record in iter_known_sites(path):
        if record.contig not in lengths:
            unknown.add(number, record)
            continue
        total += 1
        if record.pos < 0:
            at_zero.add(number, record)
        elif record.pos >= lengths[record.contig]:
            beyond.add(number, record)
        else:
            rows[record.contig].append((number, record))
    if unknown.count and not total:
        raise InputError(
            f"{path}: none of its sites is on a contig of the reference, {unknown.first} neither; "
            f"{suggest_contig(unknown.contig, lengths)}"
        )
    unknown.warn(path, "are on contigs that the reference lacks and left out")
    at_zero.warn(path, "are at POS 0, before the first base, and left out")
    if beyond.count and beyond.count == total:
        raise InputError(f"{path}: all {total} sites lie beyond the end of their contig, as {beyond.first}; {OTHER}")
    beyond.warn(path, "lie beyond the end of their contig and are left out")

    for contig_rows in rows.values():
        contig_rows.sort(key=lambda row: row[1].pos)  # of one position in file order: the last counts
    known = sorted((contig for contig in lengths if contig in rows), key=output_rank)
    if fasta is None:
        return take_given_letters(path, {contig: rows[contig] for contig in known}, keep_records)
    return take_reference_letters(path, {contig: rows[contig] for contig in known}, fasta)


def take_reference_letters(
    path: Path, rows: dict[str, list[tuple[int, VcfRecord]]], fasta: pysam.FastaFile
) -> KnownSites:
    """The sites with the FASTA's letters, as read_known_sites gives them; rows are ascending (line number, record)."""
    sites, compared, other, without = {}, 0, RowCount(), RowCount()
    for contig, contig_rows in rows.items():
        records, start, window = {}, 0, ""
        for number, record in contig_rows:
            pos, ref = record.pos, record.ref.upper()
            end = pos + max(len(ref), 1)
            if end > start + len(window):
                start, window = pos, read_bases(fasta, contig, pos, max(end, pos + WINDOW))
            bases = window[pos - start : end - start]
            if not BASES.fullmatch(ref):
                without.add(number, record)
            elif set(ref) & set("ACGT"):
                compared += 1
                if not agree(ref, bases):
                    other.add(number, record)
            records[pos] = to_uncalled(record, bases[:1])
        sites[contig] = records
    fasta_name = fasta.filename.decode("utf-8", "backslashreplace")
    if 2 * other.count > compared:
        raise InputError(
            f"{path}: {other.count} of {compared} sites have another REF than {fasta_name}, first in {other.first}; "
            f"{OTHER}"
        )
    other.warn(path, f"have another REF than {fasta_name}, whose letter is taken")
    without.warn(path, "have no bases in REF; the letter of the FASTA is taken")
    return sites


def to_uncalled(record: VcfRecord, letter: str) -> VcfRecord:
    """What stands in the output where a known site is not called: its place and ID, and the letter, upper case."""
    name = "_".join(record.id.split()) or "."  # no column of a VCF has blanks
    return make_uncalled_record(record.contig, record.pos, name, iupac_to_n(letter))


def read_bases(fasta: pysam.FastaFile, contig: str, start: int, end: int) -> str:
    """Upper-case bases [start, end), 0-based, up to the end of the contig. Raises InputError when there are none."""
    try:
        bases = fasta.fetch(contig, start, end).upper()
    except (OSError, ValueError, KeyError):
        bases = ""
    if not bases:
        name = fasta.filename.decode("utf-8", "backslashreplace")
        raise InputError(f"{name}: {contig} cannot be read at {start + 1}; the FASTA or its index is damaged")
    return bases


def take_given_letters(path: Path, rows: dict[str, list[tuple[int, VcfRecord]]], keep_records: bool) -> KnownSites:
    """The sites with the first letters of their REFs, or their records, as read_known_sites gives them."""
    sites, without = defaultdict(dict), RowCount()
    for contig, contig_rows in rows.items():
        for number, record in contig_rows:
            pos = record.pos
            if not BASES.fullmatch(record.ref):
                without.add(number, record)
            elif keep_records:
                kept = record._replace(sample=record.sample.partition("\t")[0])
                sites[contig][pos] = VcfRecord._make(column or "." for column in kept)
            else:
                sites[contig][pos] = to_uncalled(record, record.ref[:1].upper())
    without.warn(path, "have no bases in REF and are left out")
    return dict(sites)


def site_positions(sites: KnownSites) -> dict[str, np.ndarray]:
    """Positions of known sites per contig: (k,) int64, 0-based, distinct and ascending."""
    return {contig: np.fromiter(records, np.int64, len(records)) for contig, records in sites.items()}
