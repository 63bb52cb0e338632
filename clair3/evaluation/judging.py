"""The verdict on each call and each true variant of a contig, and what is needed to sort them into strata."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clair3.evaluation.matching import match
from clair3.evaluation.variants import Variant
from shared.errors import InputError
from shared.regions import merge
from shared.sequence import agree

REACH = 1000
"""Bases around the BED intervals from which variants take part in the matching; only those inside are counted."""

LONGEST_RUN = 100
"""Homopolymers are not followed further, in bases."""


@dataclass(frozen=True)
class Judged:
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
        found = self.variant
        values = (
            kind,
            self.contig,
            found.pos + 1,
            found.ref,
            found.alts,
            found.genotype,
            f"{self.quality:.2f}",
            remark,
        )
        return "\t".join(map(str, values))


def judge(
    contig: str,
    calls: Sequence[Variant],
    truths: Sequence[Variant],
    sequence: str,
    bed: np.ndarray,
    ploidy: int = 2,
) -> tuple[list[Judged], list[tuple[int, int]]]:
    """The verdicts inside the BED by position, and clusters [start, end) where not every way was followed.

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
    wrong_genotype = set(alleles_shared(*left, sequence)) if ploidy == 2 else set()
    intervals, judged = merge(bed), []
    for is_call, side, matched in sides:
        for i, v in enumerate(side):
            if overlaps(intervals, v):
                quality = matched.get(i, (v.quality or 0) if is_call else 0)
                run = longest_run(sequence, v.start, v.end)
                judged.append(Judged(contig, v, is_call, i in matched, v in wrong_genotype, quality, run))
    return sorted(judged, key=lambda item: (item.variant.pos, item.is_call)), matches.cut


def alleles_shared(calls: Sequence[Variant], truths: Sequence[Variant], sequence: str) -> Iterator[Variant]:
    """Those that match when genotypes are not looked at."""
    for call_group, truth_group in match(calls, truths, sequence, ploidy=1).groups:
        yield from (calls[i] for i in call_group)
        yield from (truths[i] for i in truth_group)


def overlaps(intervals: np.ndarray, variant: Variant) -> bool:
    """Whether the REF of a record overlaps one of the sorted, disjoint intervals, (k, 2) int64."""
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


def longest_run(sequence: str, start: int, end: int) -> int:
    """Length of the longest homopolymer that reaches into [start - 1, end + 1); at most LONGEST_RUN."""
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
