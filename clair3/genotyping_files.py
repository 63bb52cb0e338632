"""Known sites that were not called go back into a merged VCF, file by file (spec/calling.md 10)."""

import logging
from pathlib import Path

from clair3.sorting import compressed_name, in_contig_order
from clair3.vcf import VcfWriter, pos_of
from clair3.vcf_files import COLUMNS, contigs_of, iter_rows, read_header
from shared.compressed import is_number, read_rows
from shared.errors import InputError

logger = logging.getLogger(__name__)


def add_back(known: Path, merged: Path, output: Path, switch_genotype: bool) -> None:
    """Write the rows of the merged VCF at the known sites, and the known row where there is none.

    switch_genotype makes `./.` of a known row; without it the row is copied as it is. The output is bgzipped, with an
    index, complete or absent. Raises InputError when a file is missing or damaged, or a site's contig is unknown.
    """
    header = read_header(merged)
    contigs = contigs_of(header)
    sites = read_known_rows(known, switch_genotype)
    if unknown := sorted(sites.keys() - contigs.keys()):
        raise InputError(f"{known}: contig {unknown[0]} is not in the header of {merged}")
    total, called = sum(map(len, sites.values())), 0
    with VcfWriter(compressed_name(output), "".join(f"{line}\n" for line in header), contigs.items()) as writer:
        for contig in in_contig_order(name for name in contigs if name in sites):
            found = {pos_of(row): row for row in iter_rows(merged, contig)}
            for pos, row in sorted(sites[contig].items()):
                called += pos in found
                writer.write(contig, pos, found.get(pos, row))
    logger.info(
        "Total variants for genotyping: %d, total Clair3 variant output: %d, added %d variants into output VCF",
        *(total, called, total - called),
    )


def read_known_rows(path: Path, switch_genotype: bool) -> dict[str, dict[int, str]]:
    """Rows of the known sites per contig and 0-based position; of several at one position the last counts.

    Raises InputError when the file is missing or damaged, or a row has no position.
    """
    sites: dict[str, dict[int, str]] = {}
    for number, line in read_rows(path):
        fields = line.split("\t")
        if line.startswith("#") or not line:
            continue
        if len(fields) < 4 or not is_number(fields[1]) or int(fields[1]) < 1:
            raise InputError(f"Invalid vcf input in {number}-th row {line[:80]!r} of {path}")
        if switch_genotype:
            fields = [*fields[:3], fields[3][:1], *"....", "GT", "./."]
        row = "\t".join([*fields, *"." * (COLUMNS - len(fields))])
        sites.setdefault(fields[0], {})[int(fields[1]) - 1] = row
    return sites
