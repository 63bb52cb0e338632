"""Read support: as text, one candidate at a time, and as arrays that are cut and joined."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clair3.records import Region, SupportBatch, haploid_likelihoods

bases = st.text("ACGT", min_size=1, max_size=5)
items = st.tuples(st.sampled_from("XDIR"), bases, st.integers(1, 99))


def batch_of(candidates: list[list[tuple[str, str, int]]], skipped: str = "") -> SupportBatch:
    """Support arrays of candidates given as (kind, bases, count); `skipped` stands unused before the bases."""
    flat = [("R", "", count) if kind == "R" else (kind, text, count) for row in candidates for kind, text, count in row]
    lengths = [len(text) for _, text, _ in flat]
    return SupportBatch(
        depth=np.arange(len(candidates), dtype=np.int32),
        item_start=np.cumsum([0, *map(len, candidates)]),
        kind=np.array([ord(kind) for kind, _, _ in flat], np.uint8),
        count=np.array([count for _, _, count in flat], np.int32),
        seq_start=len(skipped) + np.cumsum([0, *lengths]),
        pool=(skipped + "".join(text for _, text, _ in flat)).encode(),
    )


def load_rows(batch: SupportBatch) -> list:
    return [(int(batch.depth[i]), list(batch.items(i))) for i in range(len(batch))]


@given(st.lists(st.lists(items, max_size=4), max_size=6), st.data())
def test_cut_and_joined_batches_hold_the_same(candidates, data):
    whole = batch_of(candidates, skipped="AC")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    edges = [0, *cuts, len(whole)]
    parts = [whole.rows(start, end) for start, end in pairwise(edges)]
    assert [row for part in parts for row in load_rows(part)] == load_rows(whole)
    assert load_rows(SupportBatch.concatenate(parts)) == load_rows(whole)
    again = SupportBatch.concatenate([whole, whole])
    assert load_rows(again) == load_rows(whole) * 2


def test_text():
    batch = batch_of([[("X", "T", 14), ("I", "AC", 2), ("D", "gt", 3), ("R", "", 21)], [("i", "GTT", 2)], []])
    texts = [batch.text(i, "A") for i in range(3)]
    assert texts == ["0-XT 14 IAAC 2 Dgt 3 RA 21", "1-IGTT 2", "2-"]


def test_regions_read_as_samtools_writes_them():
    assert str(Region("HLA:A*01:02", 0, 10)) == "HLA:A*01:02:1-10"


@pytest.mark.parametrize(
    "diploid, want",
    [
        ([990], [0]),
        ([0, 30, 299], [0, 299]),
        ([20, 0, 5], [15, 0]),
        ([9, 8, 7, 6, 5, 4], [5, 3, 0]),  # 0/0, 1/1 and 2/2 are the first, the third and the sixth
        ([20, 0, 30, 990, 990, 990], [0, 10, 970]),
    ],
)
def test_haploid_likelihoods(diploid, want):
    assert haploid_likelihoods(diploid) == want
