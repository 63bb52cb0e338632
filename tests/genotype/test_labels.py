"""Labels of true variants and of reference candidates, and which variants the reads show."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clair3.genotype import classes, labels
from clair3.genotype.classes import LONGEST
from clair3.training.data.truth import Truth, is_supported, trim

QUIRKS = ("odd_gt_two_alts", "odd_gt_one_alt", "three_alts", "malformed")
"""Golden cases of genotypes that do not go with their alleles: v2.0.2's labels contradict themselves there (B.6)."""


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def truth_classes(ref: str, alts: str, genotype: tuple[int, int]) -> tuple[int, ...]:
    truth = Truth.from_genotype(ref, alts.split(","), genotype)
    return labels.variant_classes(truth.ref, truth.alts, truth.genotype)


def test_golden_labels(shared_data):
    cases = [case for case in lines(shared_data / "golden" / "label_cases.jsonl") if case["kind"] not in QUIRKS]
    assert len(cases) == 421
    for case in cases:
        expected = (case["gt21"], case["zygosity"], case["len1"], case["len2"])
        if case["kind"] == "reference":
            found = tuple(labels.reference_classes(np.frombuffer(case["ref"].encode(), np.uint8))[0].tolist())
        else:
            found = truth_classes(case["ref"], case["alt"], tuple(case["gt"]))
        assert found == expected, case


def test_golden_labels_of_odd_genotypes_follow_the_genotype(shared_data):
    """Not as v2.0.2: alleles that the genotype does not name have no influence, and no alternative means no variant."""
    seen = set()
    for case in lines(shared_data / "golden" / "label_cases.jsonl"):
        if case["kind"] not in QUIRKS:
            continue
        ref, alts, genotype = case["ref"], case["alt"].split(","), tuple(sorted(case["gt"]))
        if genotype[1] > len(alts):
            with pytest.raises(ValueError, match="alternative alleles"):
                Truth.from_genotype(ref, alts, genotype)
            continue
        named = [alts[number - 1] for number in dict.fromkeys(genotype) if number]
        if not named or not all(re.fullmatch("[ACGT]+", allele, re.IGNORECASE) for allele in (ref, *named)):
            assert Truth.from_genotype(ref, alts, genotype) is None
        else:
            reduced = (0, 1) if 0 in genotype else (1, len(named))
            assert truth_classes(ref, case["alt"], genotype) == truth_classes(ref, ",".join(named), reduced)
            seen.add(case["kind"])
    assert seen == set(QUIRKS) - {"odd_gt_one_alt"}


@pytest.mark.parametrize(
    "ref, alts, genotype, expected",
    [
        ("A", "G", (0, 1), ("AG", 2, 0, 0)),
        ("A", "C,G", (0, 2), ("AG", 2, 0, 0)),
        ("A", "C,G", (2, 2), ("GG", 1, 0, 0)),
        ("A", "C,G,T", (1, 3), ("CT", 2, 0, 0)),
        ("A", "ACC,<DEL>", (0, 1), ("AIns", 2, 0, 2)),
        ("a", "g", (1, 1), ("GG", 1, 0, 0)),
        ("ATT", "A,AT", (1, 2), ("DelDel", 2, -2, -1)),
        ("AT", "A,ATC", (2, 1), ("InsDel", 2, -1, 1)),
        ("AC", "GT", (0, 1), ("AG", 2, 0, 0)),
        ("A", "A" + 20 * "C", (0, 1), ("AIns", 2, 0, 16)),
    ],
)
def test_labels(ref, alts, genotype, expected):
    name, zygosity, shorter, longer = expected
    assert truth_classes(ref, alts, genotype) == (classes.INDEX[name], zygosity, shorter + LONGEST, longer + LONGEST)


@pytest.mark.parametrize("genotype", [(0, 0), (0, 1)])
@pytest.mark.parametrize("ref, alt", [("A", "<DEL>"), ("A", "*"), ("N", "A"), ("A", "AN"), ("A", "None"), ("A", ".")])
def test_what_has_no_label(ref, alt, genotype):
    assert Truth.from_genotype(ref, [alt], genotype) is None


@given(st.lists(st.tuples(*(st.integers(0, size - 1) for size in (21, 3, 33, 33))), max_size=20))
def test_one_hot_and_back(rows):
    array = np.array(rows, np.int64).reshape(-1, 4)
    encoded = labels.one_hot(array)
    assert encoded.shape == (len(rows), 90) and encoded.sum() == 4 * len(rows)
    assert (labels.labels_to_classes(encoded) == array).all()
    assert (labels.is_variant(encoded) == (array[:, 1] != 0)).all()


DNA = st.text("ACGT", min_size=1, max_size=6)


@given(DNA, st.lists(DNA, min_size=1, max_size=3))
def test_trimming_keeps_what_differs(ref, alts):
    """What is cut is the same everywhere, nothing is left empty, and trimming again changes nothing more than once."""
    short, shorter = trim(ref, alts)
    cut = len(ref) - len(short)
    assert short and all(shorter)
    assert [allele + ref[len(ref) - cut :] for allele in (short, *shorter)] == [ref, *alts]
    assert cut == 0 or len({allele[-1] for allele in (short, *shorter)}) > 1


def test_golden_trimming(shared_data):
    for case in lines(shared_data / "golden" / "remove_common_suffix_cases.jsonl"):
        assert trim(case["ref"], case["alts"]) == (case["out_ref"], tuple(case["out_alts"])), case


def test_golden_read_support(shared_data):
    """Exactly, but for single alternatives with letters to trim, which v2.0.2 never finds (B.5)."""
    checked = 0
    for case in lines(shared_data / "golden" / "read_support_cases.jsonl"):
        ref, alts = case["ref"], case["alt"].split(",")
        if not isinstance(case["support"], bool) or (len(alts) == 1 and trim(ref, alts) != (ref, tuple(alts))):
            continue
        pairs = [trim(ref, [alt]) for alt in alts]
        assert [[ref for ref, _ in pairs], [alt for _, (alt,) in pairs]] == [case["decoded_refs"], case["decoded_alts"]]
        assert is_supported(pairs, case["alt_info"]) == case["support"], case
        checked += 1
    assert checked == 149


@pytest.mark.parametrize(
    "ref, alts, alt_info, seen",
    [
        ("ATG", "AG", "20-DT 6 RA 9", True),  # trimmed to AT > A
        ("AC", "GC", "20-XG 9", True),
        ("AC", "GT", "20-XG 9", False),  # two bases are no single one
        ("ATT", "A", "20-Dtt 9", True),  # deleted bases have the case of the reference
        ("ATT", "A", "20-DT 9", False),
        ("C", "CG,CGG", "30-ICG 9 ICGG 1", True),
        ("C", "CG,CGG", "30-ICG 9", False),
        ("A", "C", "20-", False),
        ("A", "C", "0-*5 3 #4 2 XC 1", True),
    ],
)
def test_read_support(ref, alts, alt_info, seen):
    truth = Truth(ref, tuple(alts.split(",")), (0, 1))
    assert truth.is_seen(alt_info) == seen
