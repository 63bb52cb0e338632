"""Classify each call and true variant of a contig as TP, FP or FN, with what sorts them into strata."""

import logging
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pysam

from clair3.errors import InputError
from clair3.evaluation.matching import match
from clair3.evaluation.variants import Variant, VcfVariants
from clair3.io.bed import merge, read_bed
from clair3.io.fasta import Reference, read_reference
from clair3.records import agree

logger = logging.getLogger(__name__)


REACH = 1000
"""Bases around the BED intervals from which variants take part in the matching; only those inside are counted."""

LONGEST_RUN = 100
"""Homopolymers are not followed further, in bases."""


@dataclass(frozen=True)
class ClassifiedVariant:
    """A call or true variant inside the regions.

    is_matched         it spells the same as variants of the other side, with the same genotypes
    is_genotype_error  it is not matched, but its alleles are there on the other side with another genotype
    quality            QUAL of a call, 0 if missing; of a matched true variant, the lowest of its calls; else 0
    run                length of the longest homopolymer of the reference that it lies in or next to, bases
    """

    contig: str
    variant: Variant
    is_call: bool
    is_matched: bool
    is_genotype_error: bool
    quality: float
    run: int

    @property
    def row(self) -> str:
        """Class as RTG vcfeval names it, contig, 1-based position, REF, ALT, genotype, QUAL and a remark, by tabs."""
        kind = ("tp" if self.is_matched else "fp") if self.is_call else ("tp-baseline" if self.is_matched else "fn")
        remark = "genotype" if self.is_genotype_error else "."
        variant = self.variant
        values = (
            kind,
            self.contig,
            variant.pos + 1,
            variant.ref,
            variant.alts,
            variant.genotype,
            f"{self.quality:.2f}",
            remark,
        )
        return "\t".join(map(str, values))


def classify_variants(
    contig: str,
    calls: Sequence[Variant],
    truths: Sequence[Variant],
    sequence: str,
    bed: np.ndarray,
    ploidy: int = 2,
) -> tuple[list[ClassifiedVariant], list[tuple[int, int]]]:
    """Classify the variants inside the BED; return them by position, and clusters [start, end) not fully searched.

    sequence  the contig, upper case
    bed       (k, 2) int64  [start, end) of the contig
    ploidy    1: alleles count, not genotypes
    Raises InputError when a REF is not what the reference has.
    """
    near = merge(bed + np.array([-REACH, REACH]))
    calls, truths = ([v for v in side if overlaps(near, v)] for side in (calls, truths))
    check_reference(contig, (*calls, *truths), sequence)
    matches = match(calls, truths, sequence, ploidy)
    call_is_matched, truth_quality = set(), {}
    for call_group, truth_group in matches.groups:
        call_is_matched.update(call_group)
        quality = min(calls[i].quality or 0 for i in call_group)
        truth_quality.update(dict.fromkeys(truth_group, quality))
    sides = (
        (True, calls, {i: calls[i].quality or 0 for i in call_is_matched}),
        (False, truths, truth_quality),
    )
    left = [[v for i, v in enumerate(side) if i not in matched] for _, side, matched in sides]
    wrong_genotype = set(match_alleles(*left, sequence)) if ploidy == 2 else set()
    intervals, classified = merge(bed), []
    for is_call, side, matched in sides:
        for i, v in enumerate(side):
            if overlaps(intervals, v):
                quality = matched.get(i, (v.quality or 0) if is_call else 0)
                run = find_longest_run(sequence, v.start, v.end)
                classified.append(
                    ClassifiedVariant(contig, v, is_call, i in matched, v in wrong_genotype, quality, run)
                )
    return sorted(classified, key=lambda item: (item.variant.pos, item.is_call)), matches.cut


def match_alleles(calls: Sequence[Variant], truths: Sequence[Variant], sequence: str) -> Iterator[Variant]:
    """Yield the variants that match when genotypes are not compared."""
    for call_group, truth_group in match(calls, truths, sequence, ploidy=1).groups:
        yield from (calls[i] for i in call_group)
        yield from (truths[i] for i in truth_group)


def overlaps(intervals: np.ndarray, variant: Variant) -> bool:
    """Return whether the REF of a record overlaps one of the sorted, disjoint intervals, (k, 2) int64."""
    after = np.searchsorted(intervals[:, 1], variant.pos, side="right")
    return bool(after < len(intervals) and intervals[after, 0] < variant.pos + len(variant.ref))


def check_reference(contig: str, variants: Iterable[Variant], sequence: str) -> None:
    """Raises InputError when a REF is not what the reference has (letters but A, C, G and T left aside)."""
    for variant in variants:
        letters = sequence[variant.pos : variant.pos + len(variant.ref)]
        if not agree(variant.ref, letters):
            raise InputError(
                f"{contig}:{variant.pos + 1}: REF is {variant.ref[:20]}, the reference has {letters[:20] or 'ended'}; "
                "give the FASTA that the calls and the truth were made for"
            )


def find_longest_run(sequence: str, start: int, end: int) -> int:
    """Find the length of the longest homopolymer that reaches into [start - 1, end + 1); at most LONGEST_RUN."""
    first, last = max(0, start - 1 - LONGEST_RUN), min(len(sequence), end + 1 + LONGEST_RUN)
    longest, at = 1, first
    while at < last:
        behind = at + 1
        while behind < last and sequence[behind] == sequence[at]:
            behind += 1
        if behind > start - 1 and at < end + 1:
            longest = max(longest, behind - at)
        at = behind
    return min(longest, LONGEST_RUN)


def read_regions(bed: Path, reference: Reference) -> dict[str, np.ndarray]:
    """Read the intervals, (k, 2) int64, of each contig of the BED, in the reference's order.

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
    """Yield the variants of each of these contigs, in file order. Raises InputError when a contig comes in pieces."""
    seen = set()
    for contig, rows in groupby(vcf.iter(contigs), key=lambda row: row[0]):
        if contig in seen:
            raise InputError(f'{vcf.path}: {contig} comes in more than one piece; run "bcftools sort" on it')
        seen.add(contig)
        yield contig, [variant for _, variant in rows]


def pair_contigs(
    calls: VcfVariants, truth: VcfVariants, contigs: Container[str]
) -> Iterator[tuple[str, list[Variant], list[Variant]]]:
    """Yield name, calls and true variants of each of these contigs that has any; few are held when both files have one
    order.

    Raises InputError as iter_contigs does.
    """
    waiting: tuple[dict, dict] = ({}, {})
    sides = [iter_contigs(calls, contigs), iter_contigs(truth, contigs)]
    while sides[0] or sides[1]:
        for i, other in ((0, 1), (1, 0)):
            contig_variants = next(sides[i], None) if sides[i] else None
            if contig_variants is None:
                sides[i] = None
                continue
            contig, variants = contig_variants
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
) -> Iterator[tuple[str, list[ClassifiedVariant], list[tuple[int, int]]]]:
    """Yield contig, classified variants and clusters not fully searched, for each contig of the BED with variants.

    Raises InputError when a file cannot be used, or when the files do not name the contigs alike.
    """
    reference = read_reference(fasta)
    regions = read_regions(bed, reference)
    with pysam.FastaFile(str(reference.path), filepath_index=str(reference.index)) as sequences:
        for contig, called, true in pair_contigs(calls, truth, regions):
            sequence = sequences.fetch(contig).upper()
            classified, cut = classify_variants(contig, called, true, sequence, regions[contig], ploidy)
            logger.debug("%s: %d calls, %d true variants", contig, len(called), len(true))
            yield contig, classified, cut
    for vcf in (calls, truth):
        if vcf.others and not vcf.seen and not vcf.declared & regions.keys():
            names = ", ".join(sorted(vcf.others)[:5])
            raise InputError(
                f"{vcf.path}: its contigs ({names}) are none of those in {bed} ({', '.join([*regions][:5])})"
            )
