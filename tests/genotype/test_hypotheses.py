"""GenotypeHypothesis table, probabilities, and what the heads mean."""

import numpy as np
import pytest

from clair3.errors import InputError
from clair3.genotype import classes, hypotheses
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP, WIDTH, length_index, zygosity
from clair3.genotype.hypotheses import Event
from clair3.records import base_index, iupac_to_n

f32 = np.float32


def random_heads(kind: str, n: int, seed: int = 1) -> np.ndarray:
    """(n, 24|90) float32, each head sums to 1; from flat to peaked."""
    rng = np.random.default_rng(seed)
    parts = [rng.dirichlet(np.full(size, 0.3), n) for size in (21, 3, 33, 33)]
    return np.concatenate(parts, axis=1)[:, : WIDTH[kind]].astype(f32)


def table_of_the_spec(row: np.ndarray, ref: str, sized: bool) -> list[np.float32]:
    """spec/calling.md 2.2, one product at a time."""
    g = dict(zip(classes.LABELS, row[:21], strict=True))
    z0, z1, z2 = row[21:24]
    snps = ["AC", "AG", "AT", "CG", "CT", "GT"]
    if not sized:
        return [
            z0 * g[ref + ref],
            *[z1 * g[b + b] for b in "ACGT"],
            *[z2 * g[pair] for pair in snps],
            z1 * g["InsIns"],
            *[g[b + "Ins"] * z2 for b in "ACGT"],
            z2 * g["InsIns"],
            z1 * g["DelDel"],
            *[g[b + "Del"] * z2 for b in "ACGT"],
            z2 * g["DelDel"],
            z2 * g["InsDel"],
        ]
    first = {n: row[24 + 16 + n] for n in range(-16, 17)}
    second = {n: row[57 + 16 + n] for n in range(-16, 17)}
    l0, sizes = first[0] * second[0], range(1, 17)
    return [
        (l0 * z0) * g[ref + ref],
        *[(l0 * z1) * g[b + b] for b in "ACGT"],
        *[(l0 * z2) * g[pair] for pair in snps],
        *[(first[n] * second[n]) * (z1 * g["InsIns"]) for n in sizes],
        *[((first[0] * second[n]) * g[b + "Ins"]) * z2 for n in sizes for b in "ACGT"],
        *[(first[i] * second[j]) * (z2 * g["InsIns"]) for i in sizes for j in range(i, 17)],
        *[(first[-n] * second[-n]) * (z1 * g["DelDel"]) for n in sizes],
        *[((first[-n] * second[0]) * g[b + "Del"]) * z2 for n in sizes for b in "ACGT"],
        *[(first[-i] * second[-j]) * (z2 * g["DelDel"]) for i in sizes for j in sizes if i != j or i == 16],
        *[(first[-i] * second[j]) * (z2 * g["InsDel"]) for i in sizes for j in sizes],
    ]


def test_genotype_labels_in_output_order():
    order = "AA AC AG AT CC CG CT GG GT TT DelDel ADel CDel GDel TDel InsIns AIns CIns GIns TIns InsDel"
    assert classes.LABELS == tuple(order.split())


@pytest.mark.parametrize(
    "ref, alleles, label",
    [
        ("A", ("A", "G"), "AG"),
        ("A", ("T", "C"), "CT"),
        ("G", ("G", "GTT"), "GIns"),
        ("ATG", ("A", "ATG"), "ADel"),
        ("AT", ("GT", "A"), "GDel"),
        ("ATT", ("A", "AT"), "DelDel"),
        ("AT", ("ATC", "A"), "InsDel"),
    ],
)
def test_class_of_two_alleles(ref, alleles, label):
    assert classes.pair_index(*[classes.allele_name(ref, allele) for allele in alleles]) == classes.INDEX[label]


def test_no_class_for_other_letters():
    assert classes.pair_index("A", "N") is None


@pytest.mark.parametrize("alleles, index", [((0, 0), 0), ((1, 1), 1), ((2, 2), 1), ((0, 1), 2), ((1, 2), 2)])
def test_zygosity(alleles, index):
    assert zygosity(*alleles) == index


@pytest.mark.parametrize("change, index", [(-40, 0), (-16, 0), (-1, 15), (0, 16), (3, 19), (16, 32), (99, 32)])
def test_length_index(change, index):
    assert length_index(change) == index


@pytest.mark.parametrize("kind, members", [(PILEUP, 24), (FULL_ALIGNMENT, 804)])
def test_table_is_in_tie_order(kind, members):
    events = [h.event for h in hypotheses.TABLES[kind].hypotheses]
    assert len(events) == members
    assert events == sorted(events)
    assert set(events) == set(Event)


@pytest.mark.parametrize("kind", [PILEUP, FULL_ALIGNMENT])
def test_probabilities_equal_the_table_bit_by_bit(kind):
    heads, refs = random_heads(kind, 40), "ACGT" * 10
    table = hypotheses.TABLES[kind]
    base = base_index(np.frombuffer(refs.encode(), np.uint8))
    reference, _ = hypotheses.reference_probability(heads, base, table)
    got = hypotheses.hypothesis_probabilities(heads, reference, table)
    want = np.array([table_of_the_spec(row, ref, table.has_lengths) for row, ref in zip(heads, refs, strict=True)])
    assert want.dtype == got.dtype == np.float32
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "z, g, length_1, length_2, pileup, full_alignment",
    [
        (0.5, 0.5, 0.5, 0.5, True, True),
        (0.49, 0.9, 0.9, 0.9, False, False),
        (0.9, 0.49, 0.9, 0.9, False, False),
        (0.9, 0.9, 0.49, 0.9, True, False),
        (0.9, 0.9, 0.9, 0.49, True, False),
    ],
)
def test_reference_call_at_once(z, g, length_1, length_2, pileup, full_alignment):
    heads = np.zeros((1, 90), f32)
    heads[0, [21, classes.INDEX["CC"], 24 + 16, 57 + 16]] = z, g, length_1, length_2
    for kind, certain in ((PILEUP, pileup), (FULL_ALIGNMENT, full_alignment)):
        _, settled = hypotheses.reference_probability(heads[:, : WIDTH[kind]], np.array([1]), hypotheses.TABLES[kind])
        assert settled.tolist() == [certain]


def test_codes_of_the_reference():
    codes = np.frombuffer(b"ACGTURYSWKMBDHVN", np.uint8)
    assert "".join("ACGT"[i] for i in base_index(codes)) == "ACGTTACCAGACAAAA"
    assert iupac_to_n("AcRnTKg") == "AcNnTNg"


@pytest.mark.parametrize("letter", [b"*", b"a", b"-"])
def test_letter_that_is_no_code(letter):
    with pytest.raises(InputError, match="reference letter"):
        base_index(np.frombuffer(b"AC" + letter, np.uint8))
