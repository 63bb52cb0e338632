"""Truth variants and candidates side by side: loaded, and locked to each other where they agree (A.5.2, A.5.4)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from clair3.training.data.truth import trim
from clair3.training.data.unify.read_alleles import REFERENCE, Site

Genotype = tuple[int, int]
"""Alleles of the two haplotypes: 0 the reference, k the k-th ALT."""

FEW_READS = 3
"""So few observations of an allele on a haplotype count as none."""

ILMN_HOMOZYGOUS = 0.9
"""Fraction of all reads that makes an Illumina site homozygous."""


@dataclass(frozen=True)
class Variant:
    """A truth variant, or a candidate (genotype is None). pos is 0-based.

    shown    of a candidate: the name that its site has for each ALT
    locked   candidate and truth of one position show the same alleles
    phased   the genotype that the haplotypes of the reads show
    """

    pos: int
    ref: str
    alts: tuple[str, ...]
    genotype: Genotype | None = None
    shown: tuple[str, ...] = ()
    locked: bool = False
    phased: Genotype | None = None

    @property
    def end(self) -> int:
        return self.pos + len(self.ref)

    @property
    def is_truth(self) -> bool:
        return self.genotype is not None

    @cached_property
    def trimmed(self) -> list[tuple[str, str]]:
        """REF and ALT of each ALT, trimmed for itself."""
        pairs = (trim(self.ref, [alt]) for alt in self.alts)
        return [(ref, alt) for ref, (alt,) in pairs]


@dataclass(frozen=True)
class UnifyOptions:
    """How truth and candidates are matched (spec/training.md A.5).

    distance    most bases between members of a group
    max_count   most combinations of genotypes that are tried in a group
    partition   most candidates, and most truths, of a group
    gap         fraction of reads that makes an allele worth a look
    """

    distance: int = 100
    max_count: int = 10_000
    partition: int = 15
    gap: float = 0.15
    illumina: bool = False


def make_candidate(site: Site, base: str, gap: float) -> Variant | None:
    """Make one record of the alleles of a site that enough reads show; None without any. base is the reference's
    letter.

    Of the two most frequent alleles, where the reference is one; so a third is never seen (KEEP, F4).
    """
    kept = [allele for allele, reads in site.frequent[:2] if len(reads) / site.depth >= gap and allele != REFERENCE]
    if not kept:
        return None
    shown = tuple(sorted(kept, key=lambda allele: allele[0] == "D"))  # deletions last
    deleted = max((allele[1:] for allele in shown if allele[0] == "D"), key=len, default="")
    alts = (base + deleted[len(name) - 1 :] if name[0] == "D" else name[1:] + deleted for name in shown)
    return Variant(site.pos, base + deleted, tuple(alts), shown=shown)


def have_same_alleles(truth: Variant, candidate: Variant) -> bool:
    """Return whether each ALT of the truth is one of the candidate's, and there are no more."""
    return len(truth.alts) == len(candidate.alts) and set(truth.trimmed) <= set(candidate.trimmed)


def find_phased_genotype(
    site: Site, candidate: Variant, truth: Variant | None, options: UnifyOptions
) -> Genotype | None:
    """Find the genotype of a candidate that its reads' haplotypes show; None when they leave doubt (A.5.4).

    truth is the variant that the candidate is locked to, if any.
    """
    homozygous = truth is not None and truth.genotype == (1, 1)
    if options.illumina:
        allele, reads = site.frequent[0]
        unknown = sum(haplotype == 0 for _, haplotype in reads)
        total = sum(map(len, (reads for _, reads in site.frequent)))
        return (1, 1) if homozygous and allele != REFERENCE and unknown / total > ILMN_HOMOZYGOUS else None
    counts = {allele: count_haplotypes(reads) for allele, reads in site.frequent}
    # every read of a haplotype is an observation, also one with a rare allele or a gap: the others are no consensus
    totals = [0, 0, 0]
    for reads in site.alleles.values():
        for _, haplotype in reads:
            totals[haplotype] += 1
    genotype: list[int | None] = [None, None]
    for allele, count in counts.items():
        if allele != REFERENCE and homozygous and sum(count) > (1 - options.gap / 2) * sum(totals):
            return (1, 1)
        for haplotype in (1, 2):
            share = count[haplotype] / totals[haplotype] if totals[haplotype] else 0
            if allele == REFERENCE and share >= 1 - options.gap:
                genotype[haplotype - 1] = 0
            elif allele in candidate.shown and share >= 1 - 2 * options.gap:
                genotype[haplotype - 1] = candidate.shown.index(allele) + 1
    return None if None in genotype else tuple(genotype)


def count_haplotypes(reads: Iterable[tuple[str, int]]) -> list[int]:
    """Reads of haplotype 0, 1 and 2; few are none."""
    counts = [0, 0, 0]
    for _, haplotype in reads:
        counts[haplotype] += 1
    return [count if count > FEW_READS else 0 for count in counts]


def site_allele(ref: str, alt: str) -> str:
    """The name that a site has for a trimmed allele."""
    if len(alt) > len(ref):
        return f"I{alt}"
    return f"D{ref[1:]}" if len(ref) > len(alt) else f"X{alt}"


def lock(
    truths: dict[int, Variant], candidates: dict[int, Variant], sites: dict[int, Site], options: UnifyOptions
) -> tuple[dict[int, Variant], dict[int, Variant]]:
    """Truths and candidates by position, locked to each other where they agree, with phased genotypes (A.5.4).

    A truth that is locked and phased takes over the candidate's way of writing it.
    """
    truths, candidates = dict(truths), dict(candidates)
    for pos, candidate in candidates.items():
        truth = truths.get(pos)
        locked = truth is not None and have_same_alleles(truth, candidate)
        phased = find_phased_genotype(sites[pos], candidate, truth if locked else None, options)
        if locked and phased:
            known = truth.genotype
            if phased.count(0) != known.count(0) or (known == (1, 2) and sum(phased) != 3):
                phased = None
            truths[pos] = replace(truth, ref=candidate.ref, alts=candidate.alts, phased=phased)
        candidates[pos] = replace(candidate, locked=locked, phased=phased)
    return truths, candidates
