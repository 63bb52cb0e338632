"""The matching of neighbouring truths and candidates, gathered into groups that are matched by themselves
(spec/training.md A.5.5)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod

from clair3.training.data.unify.variants import Genotype, UnifyOptions, Variant

NEAR = 100
"""Most bases from one member of a group to the next, whatever the distance between all members."""


def iter_groups(
    items: Sequence[Variant], truths: dict[int, Variant], candidates: dict[int, Variant], limits: UnifyOptions
) -> Iterator[list[Variant]]:
    """Yield groups of items, which come by position, candidates before truths.

    truths, candidates  all truths and candidates by position
    """
    group, count = [], 1
    for i, item in enumerate(items):
        weight = count_genotypes(item, truths, candidates)
        if not group or can_join(item, group, count * weight, limits):
            group.append(item)
            count *= weight
            continue
        last = group[-1]
        if item.pos == last.pos and item.is_truth != last.is_truth:  # they belong together
            group.append(item)
            after = items[i + 1] if i + 1 < len(items) else None
            if after is not None and after.pos not in truths and after.pos - item.pos < NEAR:
                group.append(after)
            yield group
            group, count = [], 1
        else:
            yield group
            group, count = [item], weight
    if group:
        yield group


def count_genotypes(item: Variant, truths: dict[int, Variant], candidates: dict[int, Variant]) -> int:
    """Estimate the number of genotypes that an item can have."""
    if item.is_truth:
        return 1 if item.phased and item.pos in candidates else len(item.alts)
    truth = truths.get(item.pos)
    if truth is not None and truth.phased:
        return 1
    return 2 if item.locked else len(item.alts) * (len(item.alts) + 1) // 2


def can_join(item: Variant, group: Sequence[Variant], count: int, limits: UnifyOptions) -> bool:
    """Return whether an item may join a group, which then has this many combinations."""
    alike = sum(member.is_truth == item.is_truth for member in group)
    near = (
        all(item.pos - member.end + 1 <= limits.distance for member in group) and item.pos - group[-1].end + 1 <= NEAR
    )
    return count < limits.max_count and alike < limits.partition and near


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
    """An interval of the reference, [start, end), on which haplotypes are spelled."""

    def __init__(self, sequence: str, start: int):
        self.sequence, self.start = sequence, start

    def between(self, start: int, end: int) -> str:
        """Return the bases of [start, end), 0-based."""
        return self.sequence[start - self.start : end - self.start]

    def spell(self, items: Sequence[Variant], alleles: Iterable[int]) -> str | None:
        """Spell the haplotype with these alleles of items in order of position; None when they overlap."""
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
        """Spell a read's haplotype: its alleles at candidate sites, and the reference elsewhere."""
        pieces, at = [], self.start
        end = self.start + len(self.sequence)
        for start, stop, bases in segments:
            if at <= start and stop <= end:
                pieces += [self.between(at, start), bases]
                at = stop
        pieces.append(self.sequence[at - self.start :])
        return "".join(pieces)


def list_truth_genotypes(truth: Variant) -> list[Genotype]:
    """List the genotypes that a truth may have."""
    if truth.locked and truth.phased:
        return [truth.phased]
    return list(dict.fromkeys([HOMOZYGOUS_REFERENCE, truth.genotype, truth.genotype[::-1]]))


def list_candidate_genotypes(
    candidate: Variant, truth: Variant | None, simple: bool = False, mixed: bool = True
) -> list[Genotype]:
    """List the genotypes that a candidate may have. simple: its phased one alone; mixed: also two different ALTs."""
    if candidate.phased and (simple or (truth is not None and truth.phased)):
        return [candidate.phased]
    if candidate.phased:
        return list(dict.fromkeys([HOMOZYGOUS_REFERENCE, candidate.phased]))
    pairs = product(range(len(candidate.alts) + 1), repeat=2)
    return [(first, second) for first, second in pairs if mixed or not (first and second and first != second)]


def list_group_genotypes(
    candidates: Sequence[Variant], truths: Sequence[Variant], known: dict[int, Variant], limits: UnifyOptions
) -> list[list[Genotype]]:
    """List the genotypes of each candidate; fewer where the combinations would be too many."""
    options = [list_candidate_genotypes(candidate, known.get(candidate.pos)) for candidate in candidates]
    if prod(map(len, options)) > limits.max_count:
        mixed = any(len(truth.alts) > 1 for truth in truths)
        options = [
            list_candidate_genotypes(candidate, known.get(candidate.pos), simple=True, mixed=mixed)
            for candidate in candidates
        ]
    if prod(map(len, options)) > limits.max_count:
        options = [[HOMOZYGOUS_REFERENCE] for _ in candidates]
    return options


def list_combinations(options: Sequence[Sequence[Genotype]]) -> list[Choice]:
    """List all combinations, in order, where one that differs by its haplotypes' names only comes once."""
    seen, kept = set(), []
    for choice in product(*options):
        if choice not in seen:
            kept.append(choice)
            seen.add(choice)
            seen.add(tuple([genotype[::-1] for genotype in choice]))
    return kept


def iter_spellings(
    items: Sequence[Variant], choices: Iterable[Choice], reference: Slice
) -> Iterator[tuple[Choice, tuple[str, str]]]:
    """Yield each choice of genotypes that can be spelled, with its two haplotypes in order of text."""
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
    limits: UnifyOptions,
) -> Match | None:
    """Find the best genotypes of a group; None when there are too many to try, or none fits.

    known  truths by position, also those outside the group
    reads  the segments of each read that is seen at a candidate of the group
    Best is what most reads show; then what drops fewest truths, has fewest candidates without and with variants.
    """
    truth_choices = list_combinations([list_truth_genotypes(truth) for truth in truths])
    choices = list_combinations(list_group_genotypes(candidates, truths, known, limits))
    if len(truth_choices) * len(choices) > limits.max_count:
        return None
    wanted: dict[tuple[str, str], list[Choice]] = {}
    for choice, haplotypes in iter_spellings(truths, truth_choices, reference):
        wanted.setdefault(haplotypes, []).append(choice)
    seen = Counter(reference.project(segments) for segments in reads)
    best, best_score = None, None
    for choice, haplotypes in iter_spellings(candidates, choices, reference):
        for truth_choice in wanted.get(haplotypes, ()):
            empty = choice.count(HOMOZYGOUS_REFERENCE)
            dropped = sum(is_dropped(truth, given) for truth, given in zip(truths, truth_choice, strict=True))
            score = (-sum(seen[text] for text in set(haplotypes)), dropped, empty, len(choice) - empty)
            if best_score is None or score < best_score:
                best, best_score = Match(truth_choice, choice), score
    return best


def is_dropped(truth: Variant, given: Genotype) -> bool:
    """Return whether a truth is given fewer alternate alleles than it has."""
    return given.count(0) > truth.genotype.count(0)


def is_confident(candidates: Sequence[Variant], truths: Sequence[Variant]) -> bool:
    """Return whether both sides have the same records: there is nothing to change (A.5.6, step 2)."""
    return [(item.pos, item.ref, item.alts) for item in candidates] == [
        (item.pos, item.ref, item.alts) for item in truths
    ]
