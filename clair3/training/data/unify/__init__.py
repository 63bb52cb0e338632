"""Unification: truth variants written as the alignments show them (spec/training.md A.5).

sites (who shows what where) and truths -> variants (candidates, locked to truths) -> groups of neighbours -> matching
of each group -> records.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clair3.errors import InputError
from clair3.io.bed import merge
from clair3.records import agree
from clair3.training.data.truth import trim
from clair3.training.data.unify import matching
from clair3.training.data.unify.matching import HOMOZYGOUS_REFERENCE, Segment, Slice, iter_groups
from clair3.training.data.unify.read_alleles import GAP, REFERENCE, Site
from clair3.training.data.unify.variants import Genotype, UnifyOptions, Variant, lock, make_candidate, site_allele

WINDOW = 50_000
"""Bases whose groups are made together."""

EDGE = 100
"""Bases of the neighbouring windows that are looked at too."""

MARGIN = 200
"""Bases around a range from which sites and truth are wanted."""

Window = tuple[int, int]


@dataclass(frozen=True)
class UnifiedRecord:
    """A record of the unified truth. pos is 0-based, the genotype ascending."""

    pos: int
    ref: str
    alts: tuple[str, ...]
    genotype: Genotype

    @property
    def row(self) -> str:
        """The columns of a VCF row from POS on (A.5.7)."""
        alts, genotype = ",".join(self.alts), "/".join(map(str, self.genotype))
        return f"{self.pos + 1}\t.\t{self.ref}\t{alts}\t10\tPASS\t.\tGT:GQ:DP:AF\t{genotype}:10:10:0.5000"


def unify(
    sites: Iterable[Site],
    truths: dict[int, Variant],
    sequence: str,
    start: int,
    end: int,
    options: UnifyOptions,
    bed: np.ndarray | None = None,
) -> list[UnifiedRecord]:
    """Unify the truth of [start, end), 0-based, with the alignments: records by position, one at each.

    sites     candidate sites of the contig, also of MARGIN bases around the range; others are left out
    truths    truth variants by position, as read_truth gives them
    sequence  the whole contig, upper case
    bed       (k, 2) int64  [start, end) where truths count; None: everywhere
    Raises InputError when a truth does not fit the reference.
    """
    near = {pos: truth for pos, truth in truths.items() if start - MARGIN <= pos < end + MARGIN}
    check_reference(near.values(), sequence)
    wanted = (site for site in sites if start - MARGIN <= site.pos < min(end + MARGIN, len(sequence)))
    known = {site.pos: site for site in sorted(wanted, key=lambda site: site.pos)}
    unification = Unification(known, near, sequence, options, bed)
    for first in range(start, end, WINDOW):
        unification.add((first, min(first + WINDOW, end)))
    return unification.records()


def check_reference(truths: Iterable[Variant], sequence: str) -> None:
    """Raises InputError when a truth's REF is not what the reference has there (letters but A, C, G, T left aside)."""
    for truth in truths:
        letters = sequence[truth.pos : truth.end]
        if not agree(truth.ref, letters):
            raise InputError(
                f"truth at position {truth.pos + 1}: REF is {truth.ref[:20]}, the reference has {letters[:20]}; "
                "give the FASTA that the truth was made for"
            )


class Unification:
    """The truths, candidates and reads of a range, and the records made so far.

    sites, truths  by position, sites ascending; sequence is the whole contig
    """

    def __init__(
        self,
        sites: dict[int, Site],
        truths: dict[int, Variant],
        sequence: str,
        options: UnifyOptions,
        bed: np.ndarray | None = None,
    ):
        self.sites, self.original, self.sequence, self.options = sites, truths, sequence, options
        shown = {pos: make_candidate(site, sequence[pos], options.gap) for pos, site in sites.items()}
        candidates = {pos: item for pos, item in shown.items() if item is not None}
        self.truths, self.candidates = lock(truths, candidates, sites, options)
        self.segments = read_segments(sites.values(), sequence)
        items = select_inside([*self.candidates.values(), *self.truths.values()], bed)
        self.items = sorted(items, key=lambda item: (item.pos, item.is_truth))
        self.written: dict[int, UnifiedRecord] = {}
        self.rescued: list[UnifiedRecord] = []

    def records(self) -> list[UnifiedRecord]:
        """Return the records by position; a matched record wins over a rescued one."""
        rescued = {record.pos: record for record in reversed(self.rescued)}
        return sorted((rescued | self.written).values(), key=lambda record: record.pos)

    def add(self, window: Window) -> None:
        """Match the groups of a window, [start, end)."""
        edges = (window[0] - EDGE, window[0] + WINDOW + EDGE)
        first, last = (bisect_left(self.items, edge, key=lambda item: item.pos) for edge in edges)
        items = self.items[first:last]
        for group in iter_groups(items, self.truths, self.candidates, self.options):
            self.settle(group, window)

    def settle(self, group: Sequence[Variant], window: Window) -> None:
        """Match a group and keep its records (A.5.7)."""
        candidates = [item for item in group if not item.is_truth]
        truths = [item for item in group if item.is_truth]
        if not truths:
            return
        if matching.is_confident(candidates, truths):
            self.write(self.original_record(truth) for truth in truths)
            return
        match = self.match(candidates, truths) if candidates else None
        if match is None:
            self.rescue(truths)
            return
        given = zip(truths, match.truths, strict=True)
        dropped = [truth for truth, genotype in given if matching.is_dropped(truth, genotype)]
        chosen = list(zip(candidates, match.candidates, strict=True))
        self.write(make_record(item, genotype) for item, genotype in chosen if genotype != HOMOZYGOUS_REFERENCE)
        if dropped:
            empty = (item for item, genotype in chosen if genotype == HOMOZYGOUS_REFERENCE)
            self.rescued += [make_record(item, item.phased) for item in empty if self.is_lone(item)]
        self.rescue(truth for truth in dropped if window[0] <= truth.pos < window[1])

    def match(self, candidates: Sequence[Variant], truths: Sequence[Variant]) -> matching.Match | None:
        start = max(0, min(item.pos for item in (*candidates, *truths)) - 1)
        end = max(item.end for item in (*candidates, *truths)) + matching.MARGIN
        seen = (reads for item in candidates for reads in self.sites[item.pos].alleles.values())
        names = {name for reads in seen for name, _ in reads}
        reads = [self.segments.get(name, ()) for name in names]
        return matching.match(
            candidates, truths, self.truths, Slice(self.sequence[start:end], start), reads, self.options
        )

    def is_lone(self, item: Variant) -> bool:
        """Whether the reads' haplotypes show a variant where the truth has none."""
        return item.pos not in self.truths and item.phased not in (None, HOMOZYGOUS_REFERENCE)

    def write(self, records: Iterable[UnifiedRecord]) -> None:
        for record in records:
            self.written.setdefault(record.pos, record)

    def rescue(self, truths: Iterable[Variant]) -> None:
        """Keep truths as they are where any read shows one of their alleles (KEEP, F5)."""
        for truth in truths:
            known, site = self.original[truth.pos], self.sites.get(truth.pos)
            if site is not None and any(site_allele(*pair) in site.alleles for pair in known.trimmed):
                self.rescued.append(self.original_record(truth))

    def original_record(self, truth: Variant) -> UnifiedRecord:
        known = self.original[truth.pos]
        return UnifiedRecord(known.pos, known.ref, known.alts, known.genotype)


def read_segments(sites: Iterable[Site], sequence: str) -> dict[str, list[Segment]]:
    """What each read has in place of the reference, in the order of the sites (A.5.2)."""
    segments: dict[str, list[Segment]] = {}
    for site in sites:
        for allele, reads in site.alleles.items():
            if allele in (REFERENCE, GAP):
                continue
            segment = (site.pos, site.pos + 1, allele[1:])
            if allele[0] == "D":
                segment = (site.pos, site.pos + len(allele), sequence[site.pos])
            for name, _ in reads:
                segments.setdefault(name, []).append(segment)
    return segments


def select_inside(items: Sequence[Variant], bed: np.ndarray | None) -> list[Variant]:
    """Select the items that lie in or next to an interval of the BED, (k, 2) int64; all of them without one (A.5.5)."""
    if bed is None:
        return list(items)
    start, end = merge(bed).T
    reach = np.array([(item.pos - 1, item.end + 3) for item in items], np.int64).reshape(-1, 2)
    overlap = np.searchsorted(end, reach[:, 0], side="right") < np.searchsorted(start, reach[:, 1], side="left")
    return [item for item, within in zip(items, overlap.tolist(), strict=True) if within]


def make_record(item: Variant, genotype: Genotype) -> UnifiedRecord:
    """Make the record of a candidate with this genotype, its unused alleles gone, the others trimmed and in order of
    use."""
    used = list(dict.fromkeys(k for k in genotype if k))
    ref, alts = trim(item.ref, [item.alts[k - 1] for k in used])
    first, second = sorted(used.index(k) + 1 if k else 0 for k in genotype)
    return UnifiedRecord(item.pos, ref, tuple(alts), (first, second))
