"""The genotypes of a group's candidates that spell the same haplotypes as its truths (spec/training.md A.5.6)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod

from preprocess.unify.variants import Genotype, UnifyRule, Variant

MARGIN = 50
"""Reference bases behind the last item of a group that belong to its haplotypes."""

HOMOZYGOUS_REFERENCE = (0, 0)

Choice = tuple[Genotype, ...]
"""A genotype for each item."""

Segment = tuple[int, int, str]
"""0-based start and end of a piece of the reference, and what a read has in its place."""


@dataclass(frozen=True)
class Match:
    """Genotypes of a group's truths and candidates, in their order, that spell the same pair of haplotypes."""

    truths: Choice
    candidates: Choice


class Slice:
    """A piece of the reference, [start, end), on which haplotypes are spelled."""

    def __init__(self, sequence: str, start: int):
        self.sequence, self.start = sequence, start

    def between(self, start: int, end: int) -> str:
        return self.sequence[start - self.start : end - self.start]

    def spell(self, items: Sequence[Variant], alleles: Iterable[int]) -> str | None:
        """The haplotype with these alleles of items in order of position; None when they overlap."""
        pieces, at = [], self.start
        for item, allele in zip(items, alleles, strict=True):
            if allele == 0:
                if item.pos >= at:
                    pieces.append(self.between(at, item.pos + 1))
                    at = item.pos + 1
                continue
            ref, alt = item.trimmed[allele - 1]
            if item.pos >= at:
                pieces += [self.between(at, item.pos), alt]
                at = item.pos + len(ref)
            elif item.pos == at - 1 and len(alt) > len(ref) == 1:
                pieces.append(alt[1:])
            else:
                return None
        pieces.append(self.sequence[at - self.start :])
        return "".join(pieces)

    def project(self, segments: Iterable[Segment]) -> str:
        """A read's haplotype: its alleles at candidate sites, and the reference elsewhere."""
        pieces, at = [], self.start
        end = self.start + len(self.sequence)
        for start, stop, bases in segments:
            if at <= start and stop <= end:
                pieces += [self.between(at, start), bases]
                at = stop
        pieces.append(self.sequence[at - self.start :])
        return "".join(pieces)


def truth_options(truth: Variant) -> list[Genotype]:
    if truth.locked and truth.phased:
        return [truth.phased]
    return list(dict.fromkeys([HOMOZYGOUS_REFERENCE, truth.genotype, truth.genotype[::-1]]))


def candidate_options(
    found: Variant, truth: Variant | None, simple: bool = False, mixed: bool = True
) -> list[Genotype]:
    """Genotypes that a candidate may have. simple: its phased one alone; mixed: also two different ALTs."""
    if found.phased and (simple or (truth is not None and truth.phased)):
        return [found.phased]
    if found.phased:
        return list(dict.fromkeys([HOMOZYGOUS_REFERENCE, found.phased]))
    pairs = product(range(len(found.alts) + 1), repeat=2)
    return [(first, second) for first, second in pairs if mixed or not (first and second and first != second)]


def group_options(
    candidates: Sequence[Variant], truths: Sequence[Variant], known: dict[int, Variant], rule: UnifyRule
) -> list[list[Genotype]]:
    """The genotypes of each candidate; fewer where the combinations would be too many."""
    options = [candidate_options(found, known.get(found.pos)) for found in candidates]
    if prod(map(len, options)) > rule.max_count:
        mixed = any(len(truth.alts) > 1 for truth in truths)
        options = [candidate_options(found, known.get(found.pos), simple=True, mixed=mixed) for found in candidates]
    if prod(map(len, options)) > rule.max_count:
        options = [[HOMOZYGOUS_REFERENCE] for _ in candidates]
    return options


def combinations(options: Sequence[Sequence[Genotype]]) -> list[Choice]:
    """All combinations, in order, where one that differs by its haplotypes' names only comes once."""
    seen, kept = set(), []
    for choice in product(*options):
        if choice not in seen:
            kept.append(choice)
            seen.add(choice)
            seen.add(tuple([genotype[::-1] for genotype in choice]))
    return kept


def spellings(
    items: Sequence[Variant], choices: Iterable[Choice], reference: Slice
) -> Iterator[tuple[Choice, tuple[str, str]]]:
    """Each choice of genotypes that can be spelled, with its two haplotypes in order of text."""
    spell = cache(lambda alleles: reference.spell(items, alleles))  # far fewer haplotypes than pairs of them
    for choice in choices:
        first, second = (spell(alleles) for alleles in zip(*choice, strict=True))
        if first is not None and second is not None:
            yield choice, (min(first, second), max(first, second))


def match(
    candidates: Sequence[Variant],
    truths: Sequence[Variant],
    known: dict[int, Variant],
    reference: Slice,
    reads: Iterable[Sequence[Segment]],
    rule: UnifyRule,
) -> Match | None:
    """The best genotypes of a group; None when there are too many to try, or none fits.

    known  truths by position, also those outside the group
    reads  the segments of each read that is seen at a candidate of the group
    Best is what most reads show; then what drops fewest truths, has fewest candidates without and with variants.
    """
    truth_choices = combinations([truth_options(truth) for truth in truths])
    choices = combinations(group_options(candidates, truths, known, rule))
    if len(truth_choices) * len(choices) > rule.max_count:
        return None
    wanted: dict[tuple[str, str], list[Choice]] = {}
    for choice, haplotypes in spellings(truths, truth_choices, reference):
        wanted.setdefault(haplotypes, []).append(choice)
    seen = Counter(reference.project(segments) for segments in reads)
    best, best_score = None, None
    for choice, haplotypes in spellings(candidates, choices, reference):
        for truth_choice in wanted.get(haplotypes, ()):
            empty = choice.count(HOMOZYGOUS_REFERENCE)
            dropped = sum(is_dropped(truth, given) for truth, given in zip(truths, truth_choice, strict=True))
            score = (-sum(seen[text] for text in set(haplotypes)), dropped, empty, len(choice) - empty)
            if best_score is None or score < best_score:
                best, best_score = Match(truth_choice, choice), score
    return best


def is_dropped(truth: Variant, given: Genotype) -> bool:
    """Whether a truth is given fewer alternate alleles than it has."""
    return given.count(0) > truth.genotype.count(0)


def is_confident(candidates: Sequence[Variant], truths: Sequence[Variant]) -> bool:
    """Whether both sides have the same records: there is nothing to change (A.5.6, step 2)."""
    return [(item.pos, item.ref, item.alts) for item in candidates] == [
        (item.pos, item.ref, item.alts) for item in truths
    ]
