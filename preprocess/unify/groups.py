"""Neighbouring truths and candidates, gathered into groups that are matched by themselves (spec/training.md A.5.5)."""

from collections.abc import Iterator, Sequence

from preprocess.unify.variants import UnifyRule, Variant

NEAR = 100
"""Most bases from one member of a group to the next, whatever the distance between all members."""


def iter_groups(
    items: Sequence[Variant], truths: dict[int, Variant], found: dict[int, Variant], rule: UnifyRule
) -> Iterator[list[Variant]]:
    """Groups of items, which come by position, candidates before truths.

    truths, found  all truths and candidates by position
    """
    group, count = [], 1
    for i, item in enumerate(items):
        weight = choices(item, truths, found)
        if not group or fits(item, group, count * weight, rule):
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


def choices(item: Variant, truths: dict[int, Variant], found: dict[int, Variant]) -> int:
    """About how many genotypes an item can have."""
    if item.is_truth:
        return 1 if item.phased and item.pos in found else len(item.alts)
    truth = truths.get(item.pos)
    if truth is not None and truth.phased:
        return 1
    return 2 if item.locked else len(item.alts) * (len(item.alts) + 1) // 2


def fits(item: Variant, group: Sequence[Variant], count: int, rule: UnifyRule) -> bool:
    """Whether an item may join a group, which then has this many combinations."""
    alike = sum(member.is_truth == item.is_truth for member in group)
    near = all(item.pos - member.end + 1 <= rule.distance for member in group) and item.pos - group[-1].end + 1 <= NEAR
    return count < rule.max_count and alike < rule.partition and near
