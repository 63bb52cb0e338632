"""The plan of a training: examples that train or validate, and the batches of an epoch (spec/training.md C.2).

Examples are numbers here: a bin is its count. Everything is drawn from the seed and the epoch's number alone, so
a resumed run, any number of loader workers and every rank of a distributed run see the same plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clair3.errors import ConfigError

CHUNK_ROWS = {"pileup": 250, "full_alignment": 200}
"""Neighbouring examples that are read together: one access to the file instead of many."""

VALIDATION_SHARE = 0.1
MODES = ("end", "random")

Span = tuple[int, int, int]
"""Examples [start, stop) of a bin: (bin, start, stop)."""


@dataclass(frozen=True)
class Split:
    """Spans of the examples that train and of those that validate; disjoint, ascending."""

    train: list[Span]
    validation: list[Span]


def split_examples(rows: Sequence[int], chunk: int, mode: str | None, seed: int = 0) -> Split:
    """Hold a tenth of each bin's chunks back for validation; a bin of fewer than 3 chunks trains whole.

    rows   rows of each bin
    chunk  rows per chunk; the last one of a bin may be shorter
    mode   "end": the last chunks of each bin, and one more, used for nothing, between them and the others (copies of
           a candidate, phased and unphased, are neighbours); "random": chunks anywhere; None: all rows train

    Raises ConfigError for another mode.
    """
    if mode not in (None, *MODES):
        raise ConfigError(f"validation mode {mode!r}; expected {' or '.join(MODES)}")
    train: list[Span] = []
    held_out: list[Span] = []
    for index, count in enumerate(rows):
        chunks = count // chunk
        held = max(1, int(chunks * VALIDATION_SHARE))
        if mode is None or chunks < 3:
            train.append((index, 0, count))
        elif mode == "end":
            start = (chunks - held) * chunk
            train.append((index, 0, start - chunk))
            held_out.append((index, start, count))
        else:
            drawn = np.random.default_rng([seed, index]).choice(chunks, held, replace=False)
            end = 0
            for at in sorted(drawn.tolist()):
                train.append((index, end, at * chunk))
                held_out.append((index, at * chunk, end := (at + 1) * chunk))
            train.append((index, end, count))
    return Split([span for span in train if span[1] < span[2]], held_out)


def plan_batches(spans: Sequence[Span], chunk: int, batch: int, seed: int, epoch: int) -> list[list[Span]]:
    """Plan the batches of one epoch: every example once, chunks in random order, cut at other places in each epoch.

    spans  rows that train, as in Split
    batch  rows per batch; the last one may have fewer
    """
    random = np.random.default_rng([seed, epoch])
    chunks: list[Span] = []
    for index, start, stop in spans:
        first = start + int(random.integers(1, chunk + 1))
        cuts = [start, *range(first, stop, chunk), stop]
        chunks += [(index, a, b) for a, b in pairwise(cuts) if a < b]
    return list(cut_batches([chunks[i] for i in random.permutation(len(chunks))], batch))


def cut_batches(spans: Sequence[Span], batch: int) -> Iterator[list[Span]]:
    """Cut spans into batches of `batch` examples, in the order of the spans; the last may have fewer."""
    parts: list[Span] = []
    wanted = batch
    for index, start, stop in spans:
        while start < stop:
            taken = min(wanted, stop - start)
            parts.append((index, start, start + taken))
            start, wanted = start + taken, wanted - taken
            if not wanted:
                yield parts
                parts, wanted = [], batch
    if parts:
        yield parts


def count_examples(spans: Sequence[Span]) -> int:
    """Count the examples of spans."""
    return sum(stop - start for _, start, stop in spans)


def select_share(batch: Sequence[Span], rank: int, ranks: int) -> list[Span]:
    """Select the examples of a batch that one of several processes computes: contiguous, disjoint, together all of
    them."""
    count = count_examples(batch)
    first, last = count * rank // ranks, count * (rank + 1) // ranks
    share: list[Span] = []
    at = 0
    for index, start, stop in batch:
        a, b = max(first, at), min(last, at + stop - start)
        if a < b:
            share.append((index, start + a - at, start + b - at))
        at += stop - start
    return share


def select_part(batches: Sequence[list[Span]], part: int, parts: int) -> list[list[Span]]:
    """Select one of `parts` mini-epochs: their sizes differ by one batch at most, and together they are the epoch."""
    return list(batches[len(batches) * part // parts : len(batches) * (part + 1) // parts])


@dataclass(frozen=True)
class UpstreamSplit:
    """Chunks of v2.0.2's arithmetic, (bin, number) each; wasteful, kept for comparison (`--split upstream`).

    per_bin  chunks per bin: of n rows, floor((n - batch) / chunk), which may be negative
    """

    per_bin: list[int]
    train: list[tuple[int, int]]
    validation: list[tuple[int, int]]


def split_like_upstream(rows: Sequence[int], chunk: int, batch: int, validate: bool) -> UpstreamSplit:
    """Split chunks by v2.0.2's arithmetic: it never uses the last rows of a bin, and leaves a batch between training
    and validation."""
    per_batch = batch // chunk
    per_bin = [(count - batch) // chunk for count in rows]
    train: list[tuple[int, int]] = []
    held_out: list[tuple[int, int]] = []
    for index, chunks in enumerate(per_bin):
        if not validate or chunks < per_batch:
            train += [(index, j) for j in range(chunks)]
            continue
        learned = int((chunks - per_batch) * (1 - VALIDATION_SHARE))
        train += [(index, j) for j in range(learned)]
        held_out += [(index, j) for j in range(learned + per_batch, chunks)]
    if not validate and (missing := sum(chunks for chunks in per_bin if chunks < 0)):
        train = train[:missing]
    return UpstreamSplit(per_bin, train, held_out)


def convert_upstream_split(split: UpstreamSplit, chunk: int) -> Split:
    """Convert v2.0.2's chunks at offset 0 to spans of examples."""
    return Split(*([(i, j * chunk, (j + 1) * chunk) for i, j in part] for part in (split.train, split.validation)))
