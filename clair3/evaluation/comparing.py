"""Two VCFs compared contig by contig: from files to verdicts."""

import logging
from collections.abc import Container, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pysam

from clair3.evaluation.judging import Judged, judge
from clair3.evaluation.variants import Variant, VcfVariants
from shared.errors import InputError
from shared.reference import Reference, read_reference
from shared.regions import read_bed

logger = logging.getLogger(__name__)


def read_regions(bed: Path, reference: Reference) -> dict[str, np.ndarray]:
    """Intervals, (k, 2) int64, of each contig of the BED, in the reference's order.

    Raises InputError when there are none, or for a contig that the reference lacks.
    """
    regions = read_bed(bed)
    if not regions:
        raise InputError(f"{bed}: no intervals; an evaluation needs the regions where the truth is known")
    known = [contig.name for contig in reference.contigs]
    for contig in regions:
        if contig not in known:
            raise InputError(f"{bed}: contig {contig} is not in {reference.path}, which has {', '.join(known[:5])}")
    return {contig: regions[contig] for contig in known if contig in regions}


def iter_contigs(vcf: VcfVariants, contigs: Container[str]) -> Iterator[tuple[str, list[Variant]]]:
    """The variants of each of these contigs, in file order. Raises InputError when a contig comes in pieces."""
    seen = set()
    for contig, rows in groupby(vcf.iter(contigs), key=lambda row: row[0]):
        if contig in seen:
            raise InputError(f'{vcf.path}: {contig} comes in more than one piece; run "bcftools sort" on it')
        seen.add(contig)
        yield contig, [variant for _, variant in rows]


def paired(
    calls: VcfVariants, truth: VcfVariants, contigs: Container[str]
) -> Iterator[tuple[str, list[Variant], list[Variant]]]:
    """Name, calls and true variants of each of these contigs that has any; few are held when both files have one order.

    Raises InputError as iter_contigs does.
    """
    waiting: tuple[dict, dict] = ({}, {})
    sides = [iter_contigs(calls, contigs), iter_contigs(truth, contigs)]
    while sides[0] or sides[1]:
        for i, other in ((0, 1), (1, 0)):
            found = next(sides[i], None) if sides[i] else None
            if found is None:
                sides[i] = None
                continue
            contig, variants = found
            if contig in waiting[other]:
                pair = (variants, waiting[other].pop(contig))
                yield contig, pair[i], pair[other]
            else:
                waiting[i][contig] = variants
    for contig, variants in waiting[0].items():
        yield contig, variants, []
    for contig, variants in waiting[1].items():
        yield contig, [], variants


def compare(
    calls: VcfVariants, truth: VcfVariants, bed: Path, fasta: Path, ploidy: int = 2
) -> Iterator[tuple[str, list[Judged], list[tuple[int, int]]]]:
    """Contig, verdicts and clusters not fully searched, for each contig of the BED that has calls or true variants.

    Raises InputError when a file cannot be used, or when the files do not name the contigs alike.
    """
    reference = read_reference(fasta)
    regions = read_regions(bed, reference)
    with pysam.FastaFile(str(reference.path), filepath_index=str(reference.index)) as sequences:
        for contig, found, true in paired(calls, truth, regions):
            sequence = sequences.fetch(contig).upper()
            judged, cut = judge(contig, found, true, sequence, regions[contig], ploidy)
            logger.debug("%s: %d calls, %d true variants", contig, len(found), len(true))
            yield contig, judged, cut
    for vcf in (calls, truth):
        if vcf.others and not vcf.seen and not vcf.declared & regions.keys():
            names = ", ".join(sorted(vcf.others)[:5])
            raise InputError(
                f"{vcf.path}: its contigs ({names}) are none of those in {bed} ({', '.join([*regions][:5])})"
            )
