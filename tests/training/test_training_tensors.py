"""From tensors to labelled rows: which rows enter a bin, with which label, in which order; tensors as text."""

import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clair3.errors import ConfigError, InputError
from clair3.genotype import classes, labels
from clair3.legacy import tensor_text
from clair3.legacy.tensor_text import find_files, iter_lines, read_files, read_tensors
from clair3.records import TrainingExamples
from clair3.training.data.examples import Candidates, ExamplePicker, Tally, gather_examples, label_candidates
from clair3.training.data.truth import Truth, TruthSet

WINDOW = "ACGTACGTACGTACGT{}ACGTACGTACGTACGT"


def candidates(*sites: tuple[int, str, str], contig: str = "chr1") -> Candidates:
    """Candidates from (0-based position, reference letter, support), each with a tensor of its own."""
    pos, letters, alt_info = zip(*sites, strict=True)
    tensors = np.arange(len(sites) * 33 * 18, dtype=np.int32).reshape(len(sites), 33, 18)
    return Candidates(contig, np.array(pos), [WINDOW.format(letter) for letter in letters], tensors, list(alt_info))


def rows_at(*places: tuple[str, bool], seed: int = 0) -> TrainingExamples:
    """Rows from (contig:position, is a variant)."""
    classes = np.array([[0, 2 if variant else 0, 16, 16] for _, variant in places], np.int64).reshape(-1, 4)
    tensors = np.random.default_rng(seed).integers(0, 9, (len(places), 33, 18)).astype(np.int32)
    texts = [f"{place}:{WINDOW.format('A')}".encode() for place, _ in places]
    return TrainingExamples(tensors, labels.one_hot(classes), texts, [b"3-" + place.encode() for place, _ in places])


# Labels of candidates


def test_which_candidates_become_rows_and_with_which_label():
    truth = TruthSet(
        {20: Truth("A", ("G",), (1, 1)), 40: Truth("C", ("T",), (0, 1)), 50: Truth("AT", ("A",), (0, 1))},
        np.array([30]),
    )
    found = candidates(
        (10, "C", "9-XA 2 RC 7"),  # no variant
        (20, "A", "9-XG 9"),
        (30, "A", "9-XG 9"),  # of unknown truth
        (40, "C", "9-XG 5 RC 4"),  # the reads show another allele
        (50, "A", "9-DT 1 RA 8"),
        (60, "N", "9-XG 5"),
        (70, "M", "9-XG 5"),
    )
    tally = Tally()
    rows = label_candidates(found, truth, tally)
    names = [(classes.LABELS[pair], zygosity) for pair, zygosity, *_ in labels.labels_to_classes(rows.label).tolist()]
    assert names == [("CC", 0), ("GG", 1), ("ADel", 2)]
    assert [text.split(b":")[1] for text in rows.position] == [b"11", b"21", b"51"]
    assert rows.position[1] == f"chr1:21:{WINDOW.format('A')}".encode() and rows.alt_info[2] == b"9-DT 1 RA 8"
    assert (rows.position_matrix == found.tensors[[0, 1, 4]]).all()
    assert (tally.variants, tally.others, tally.unseen, tally.unknown) == (2, 1, 1, 1)


def test_each_tensor_is_judged_by_its_own_reads():
    """v2.0.2 drops all later tensors of a position after one whose reads do not show the variant (F 13)."""
    truth = TruthSet({20: Truth("A", ("G",), (0, 1))}, np.empty(0, np.int64))
    rows = label_candidates(candidates((20, "A", "9-XC 2"), (20, "A", "9-XG 2"), (20, "A", "9-XG 9")), truth, Tally())
    assert rows.alt_info == [b"9-XG 2", b"9-XG 9"]


# Which rows, in which order


def picked(picker: ExamplePicker, *parts: TrainingExamples) -> list[str]:
    rows = picker.pick(parts)
    return [text.decode() for text in gather_examples(parts, rows).alt_info] if len(rows) else []


def test_rows_are_ordered_by_text():
    places = [f"chr{contig}:{pos}" for contig, pos in ((2, 5), (1, 1000), (1, 200), (1, 3), (10, 7))]
    found = picked(ExamplePicker(), rows_at(*((place, False) for place in places)))
    assert found == [f"3-{place}" for place in sorted(places)]
    assert found[:2] == ["3-chr10:7", "3-chr1:1000"]


def test_further_tensors_of_a_position():
    rows = [rows_at(("chr1:7", True), seed=i) for i in range(55)]
    assert len(ExamplePicker().pick(rows)) == 1
    order = ExamplePicker(duplicates=True).pick(rows).tolist()
    # copies sort by a letter before the contig, upper case first, and there are as many as letters
    keys = {0: "chr1:7", **{i + 1: f"{letter}chr1:7" for i, letter in enumerate(string.ascii_letters)}}
    assert order == sorted(keys, key=keys.__getitem__) and len(order) == 53
    picker = ExamplePicker()
    assert [len(picker.pick([one])) for one in rows[:3]] == [1, 0, 0]  # of one bin, block after block


@given(st.lists(st.booleans(), max_size=60), st.floats(0, 3), st.integers(0, 5), st.booleans())
def test_all_variants_stay_and_the_draw_repeats(variants, ratio, seed, shuffle):
    rows = rows_at(*((f"chr1:{i + 1}", variant) for i, variant in enumerate(variants)))
    found = ExamplePicker(ratio, shuffle, seed=seed).pick([rows])
    assert len(set(found.tolist())) == len(found)
    assert set(np.flatnonzero(variants)) <= set(found.tolist())
    assert (found == ExamplePicker(ratio, shuffle, seed=seed).pick([rows])).all()
    if len(variants) - sum(variants) <= ratio * sum(variants):
        assert len(found) == len(variants)
    if not any(variants):
        assert not len(found)


def test_the_ratio_is_met_within_chance():
    """Four standard deviations of the binomial draw (G 14)."""
    rows = rows_at(*((f"chr1:{i + 1}", i % 20 == 0) for i in range(8000)))
    others = [len(ExamplePicker(5, seed=seed).pick([rows])) - 400 for seed in range(10)]
    spread = (2000 * (1 - 2000 / 7600)) ** 0.5
    assert all(abs(count - 2000) < 4 * spread for count in others) and len(set(others)) > 1
    assert abs(np.mean(others) - 2000) < 4 * spread / 10**0.5


def test_a_block_without_variants_ends_nothing():
    """v2.0.2 takes a block of which nothing is left for the end of all data (F 9)."""
    picker = ExamplePicker(ratio=1)
    blocks = [rows_at(("chr1:1", False)), rows_at(("chr1:2", True), ("chr1:3", False))]
    assert [picked(picker, block) for block in blocks] == [[], ["3-chr1:2", "3-chr1:3"]]


def test_shuffled_rows_are_all_there():
    rows = rows_at(*((f"chr1:{i}", False) for i in range(100)))
    first, second = (ExamplePicker(shuffle=True, seed=seed).pick([rows]).tolist() for seed in (0, 1))
    assert sorted(first) == sorted(second) == list(range(100)) and first != second


@pytest.mark.parametrize("name, value", [("ratio", -1), ("ratio", float("nan")), ("seed", -1)])
def test_values_out_of_range(name, value):
    with pytest.raises(ConfigError, match="out of range"):
        ExamplePicker(**{name: value})


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_gathered_rows_are_those_of_the_whole(counts, data):
    parts = [rows_at(*((f"chr{i}:{k}", False) for k in range(count)), seed=i) for i, count in enumerate(counts)]
    if not sum(counts):
        return
    numbers = data.draw(st.lists(st.integers(0, sum(counts) - 1), min_size=1, max_size=9))
    found = gather_examples(parts, np.array(numbers))
    tensors = np.concatenate([part.position_matrix for part in parts])
    texts = [text for part in parts for text in part.position]
    assert (found.position_matrix == tensors[numbers]).all() and found.position == [texts[i] for i in numbers]


# Tensors as text


@given(st.integers(0, 9), st.integers(0, 2**32), st.floats(0, 1))
def test_full_alignment_tensors_survive_as_text(count, seed, gone):
    """Bit by bit, also where rows of reads hold nothing but deleted bases."""
    random = np.random.default_rng(seed)
    tensor = np.zeros((1, 9, 33, 8), np.int8)
    above = (9 - count) // 2
    reads = random.integers(-128, 128, (count, 33, 8)) * (random.random((count, 1, 1)) >= gone)
    tensor[0, above : above + count] = reads
    one = Candidates("chr:1", np.array([7]), [WINDOW.format("A")], tensor, ["9-XG 2"])
    (found,) = read_tensors(enumerate(iter_lines(one), 1), "text", (9, 33, 8), np.dtype(np.int8))
    assert (found.tensors == tensor).all() and (found.contig, found.pos.tolist()) == ("chr:1", [7])
    assert len(next(iter_lines(one)).split("\t")[3].split()) <= count * 33 * 8


def test_pileup_tensors_as_text_come_back_by_contig(monkeypatch):
    monkeypatch.setattr(tensor_text, "BATCH", 2)
    parts = [candidates(*((i, "A", f"{i}-RA 1") for i in range(3)), contig=contig) for contig in ("chr1", "chr2")]
    lines = [line for part in parts for line in iter_lines(part)]
    assert lines[0].startswith(f"chr1\t1\t{WINDOW.format('A')}\t0 1 2 3 ") and lines[0].endswith("\t0-RA 1")
    found = list(read_tensors(enumerate(lines, 1), "text", (33, 18), np.dtype(np.int32)))
    assert [(one.contig, one.pos.tolist()) for one in found] == [
        *(("chr1", [0, 1]), ("chr1", [2])),
        *(("chr2", [0, 1]), ("chr2", [2])),
    ]
    assert (np.concatenate([one.tensors for one in found[:2]]) == parts[0].tensors).all()


GOOD = "chr1\t5\t" + WINDOW.format("A") + "\t" + " ".join(["1"] * 33 * 8) + "\t3-XA 1"


@pytest.mark.parametrize(
    "line, words",
    [
        ("chr1\t5", "not contig, position, bases, tensor and support"),
        (GOOD.replace("\t5\t", "\tx\t"), "row 2 is 'chr1"),
        (GOOD.replace("1 1 1", "1 1", 1), "263 numbers do not make a tensor of 4x33x8; look at --platform"),
        (GOOD.replace("\t1 ", "\t" + "1 " * (4 * 33 * 8 + 1)), "1320 numbers do not make"),
        (GOOD.replace("1 1", "1 x", 1), "something else than whole numbers"),
        (GOOD.replace("1 1", "1 128", 1), "numbers beyond -128 to 127"),
    ],
)
def test_text_that_holds_no_tensors(line, words):
    with pytest.raises(InputError, match=words):
        list(read_tensors([(1, GOOD), (2, line)], "text", (4, 33, 8), np.dtype(np.int8)))


def test_files_of_tensors_by_the_beginning_of_their_names(tmp_path):
    for name in ("t_2", "t_1", "t.gz", "tt_1", "other"):
        (tmp_path / name).write_text(GOOD + "\n")
    found = [path.name for path in find_files(str(tmp_path / "t"))]
    assert found == ["t.gz", "t_1", "t_2"]
    halves = [find_files(str(tmp_path / "t"), index, 2) for index in (0, 1)]
    assert [[path.name for path in half] for half in halves] == [found[:2], found[2:]]
    assert find_files(str(tmp_path / "t_1")) == [tmp_path / "t_1"]
    with pytest.raises(InputError, match="neither a file of tensors nor"):
        find_files(str(tmp_path / "x"))
    read = read_files(halves[0], (4, 33, 8), np.dtype(np.int8))
    assert Counter(pos for part in read for pos in part.pos.tolist()) == {4: 2}
