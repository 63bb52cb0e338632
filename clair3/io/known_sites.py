"""Genotyping mode: every known site of --vcf_fn stands in the output, called or not (spec/calling.md 10)."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clair3.calling.tasks import Records
from clair3.errors import ClairError
from clair3.io.fasta import Reference, in_output_order
from clair3.io.text import is_number, read_rows
from clair3.io.vcf import record_pos

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownSites:
    """Known sites per contig in output order: 0-based position -> (ID, first letter of REF), ascending."""

    sites: dict[str, dict[int, tuple[str, str]]]

    def complete(self, rows: Records) -> Iterator[tuple[str, str]]:
        """Contig and line of each known site: the called row, or a row without genotype.

        Records at other positions are left out. Raises ClairError if a site were missing in the end.
        """
        total = sum(map(len, self.sites.values()))
        called = added = 0
        for contig, sites in self.sites.items():
            found = {pos: row for row in rows.of(contig) if (pos := record_pos(row)) in sites}
            for pos, (name, ref) in sites.items():
                row = found.get(pos)
                called, added = called + (row is not None), added + (row is None)
                yield contig, row or f"{contig}\t{pos + 1}\t{name}\t{ref}\t.\t.\t.\t.\tGT\t./."
        if called + added != total:
            raise ClairError(f"{total} known sites, but {called + added} rows: please report this")
        logger.info(
            "Total variants for genotyping: %d, total Clair3 variant output: %d, added %d variants into output VCF",
            *(total, called, added),
        )


def read_known_sites(path: Path, reference: Reference) -> KnownSites:
    """The sites of a VCF, plain or gzip, one per position: of several rows the last counts.

    Sites on contigs that the reference lacks have no place in the output and are left out with a warning.
    Raises InputError when the file is damaged, see clair3.io.bed.read_sites.
    """
    sites: dict[str, dict[int, tuple[str, str]]] = {contig.name: {} for contig in in_output_order(reference.contigs)}
    unknown = 0
    for _, line in read_rows(path):
        fields = line.split("\t", 4) if "\t" in line else line.split(None, 4)
        if line.startswith("#") or len(fields) < 4 or not is_number(fields[1]) or int(fields[1]) < 1:
            continue
        if fields[0] in sites:
            sites[fields[0]][int(fields[1]) - 1] = (fields[2], fields[3][:1])
        else:
            unknown += 1
    if unknown:
        logger.warning("%s: %d sites on contigs that the reference lacks are left out", path, unknown)
    return KnownSites({contig: dict(sorted(rows.items())) for contig, rows in sites.items() if rows})
