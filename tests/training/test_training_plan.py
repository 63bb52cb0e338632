"""Splits and batches against v2.0.2's arithmetic, and the laws of ours."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clair3.errors import ConfigError
from clair3.training.trainer.plan import (
    MODES,
    count_examples,
    cut_batches,
    plan_batches,
    select_part,
    select_share,
    split_examples,
    split_like_upstream,
)

BINS = st.lists(st.integers(1, 900), min_size=1, max_size=5)


def row_numbers(spans):
    return [(index, row) for index, start, stop in spans for row in range(start, stop)]


def test_upstream_split(shared_data):
    for case in json.loads((shared_data / "golden" / "chunk_split_cases.json").read_text()):
        for validate, expected in ((True, case["random_validation"]), (False, case["no_validation"])):
            split = split_like_upstream(case["rows"], case["chunk"], case["batch"], validate)
            assert split.per_bin == case["chunks_per_bin"]
            assert len(split.train) == expected["train_chunks"]
            assert len(split.train) // case["chunks_per_batch"] == expected["train_batches_per_epoch"]
            for chunks, name in ((split.train, "train"), (split.validation, "val")):
                ranges = expected.get(f"{name}_ranges_min_max_n", {})
                for index, (least, most, count) in ranges.items():
                    mine = [j for i, j in chunks if i == int(index)]
                    assert [min(mine), max(mine), len(mine)] == [least, most, count]
            assert len(split.validation) == expected.get("val_chunks", 0)


@given(BINS, st.sampled_from([None, *MODES]), st.integers(0, 9))
def test_split_is_disjoint(rows, mode, seed):
    split = split_examples(rows, 50, mode, seed)
    train, held_out = row_numbers(split.train), row_numbers(split.validation)
    assert len(set(train)) == len(train) and len(set(held_out)) == len(held_out)
    assert not set(train) & set(held_out)
    unused = sum(rows) - len(train) - len(held_out)
    buffers = len({index for index, _, _ in split.validation}) if mode == "end" else 0
    assert unused == 50 * buffers
    if mode:
        expected = sum(max(1, count // 50 // 10) for count in rows if count >= 150)
        assert len(held_out) // 50 >= expected
        assert bool(held_out) == bool(expected)
    else:
        assert not held_out


def test_split_refuses_other_modes():
    with pytest.raises(ConfigError, match="middle"):
        split_examples([1000], 50, "middle")


@given(BINS, st.integers(1, 300), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_has_every_row_once(rows, batch, seed, epoch):
    spans = split_examples(rows, 50, "random", seed).train
    batches = plan_batches(spans, 50, batch, seed, epoch)
    assert sorted(row for one in batches for row in row_numbers(one)) == sorted(row_numbers(spans))
    assert all(count_examples(one) == batch for one in batches[:-1])
    assert batches == plan_batches(spans, 50, batch, seed, epoch)


def test_epochs_differ():
    spans = [(0, 0, 5000)]
    assert plan_batches(spans, 50, 500, 1, 0) != plan_batches(spans, 50, 500, 1, 1)
    assert plan_batches(spans, 50, 500, 1, 0) != plan_batches(spans, 50, 500, 2, 0)


@given(BINS, st.integers(1, 300), st.integers(1, 5))
def test_ranks_share_a_batch(rows, batch, ranks):
    for one in cut_batches([(i, 0, count) for i, count in enumerate(rows)], batch):
        shares = [select_share(one, rank, ranks) for rank in range(ranks)]
        assert [row for share in shares for row in row_numbers(share)] == row_numbers(one)
        sizes = [count_examples(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 40), st.integers(1, 7))
def test_mini_epochs_are_the_epoch(batches, parts):
    plan = [[(0, i, i + 1)] for i in range(batches)]
    assert [one for part in range(parts) for one in select_part(plan, part, parts)] == plan
