"""The known sites of --vcf_fn: where to call, and in genotyping mode what stands in the output (spec/calling.md 10)."""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from clair3.errors import InputError
from clair3.io.fasta import output_rank
from clair3.io.text import is_number, read_rows
from clair3.io.vcf import VcfRecord, make_uncalled_record, parse_record

logger = logging.getLogger(__name__)

KnownSites = dict[str, dict[int, VcfRecord]]
"""Per contig, in output order: 0-based position -> record for the output where nothing is called, ascending."""


def iter_known_sites(path: Path) -> Iterator[VcfRecord]:
    """Records of a VCF of known sites, plain or compressed; lines without tabs may have blanks between the columns.

    Raises InputError with v2.0.2's words, naming the line, when there is no contig and position, and when the file
    cannot be read to its end.
    """
    for number, line in read_rows(path):
        if line.startswith("#") or not line.strip():
            continue
        record = parse_record(line if "\t" in line else "\t".join(line.split()))
        if not is_number(record.pos_text):
            row = f"{record.contig} {record.pos_text}".strip()[:80]
            raise InputError(f"Invalid vcf input in {number}-th row {row} of {path}: expected contig and position")
        yield record


def read_sites(path: Path) -> dict[str, np.ndarray]:
    """Positions of the known sites per contig: (k,) int64, 0-based, distinct and ascending.

    POS 0 (a telomere in VCF) has no base and is left out. Raises InputError as iter_known_sites does.
    """
    sites = defaultdict(list)
    for record in iter_known_sites(path):
        sites[record.contig].append(record.pos)
    distinct = {contig: np.unique(np.array(positions, np.int64)) for contig, positions in sites.items()}
    return {contig: positions[positions >= 0] for contig, positions in distinct.items()}


def read_known_sites(path: Path, keep_records: bool = False) -> KnownSites:
    """The known sites with the record that stands for each where nothing is called: ID, first letter of REF, GT `./.`.

    keep_records takes the known records as they are instead, with "." in the columns that they lack. Of several
    records at one position the last counts; those without REF, and POS 0, are left out, with a warning.
    Raises InputError as iter_known_sites does.
    """
    sites, left_out = defaultdict(dict), 0
    for record in iter_known_sites(path):
        contig, pos = record.contig, record.pos
        if pos < 0 or not record.ref:
            left_out += 1
        elif keep_records:
            sites[contig][pos] = VcfRecord(*(column or "." for column in record))
        else:
            sites[contig][pos] = make_uncalled_record(contig, pos, record.id, record.ref[:1])
    if left_out:
        logger.warning("%s: %d sites without REF or at POS 0 are left out", path, left_out)
    return {contig: dict(sorted(sites[contig].items())) for contig in sorted(sites, key=output_rank)}


def keep_contigs(sites: KnownSites, contigs: Collection[str], path: Path) -> KnownSites:
    """The known sites on contigs of the reference, given in .fai order, in output order; warns of other sites."""
    unknown = sum(len(records) for contig, records in sites.items() if contig not in contigs)
    if unknown:
        logger.warning("%s: %d sites on contigs that the reference lacks are left out", path, unknown)
    return {contig: sites[contig] for contig in sorted(contigs, key=output_rank) if contig in sites}
