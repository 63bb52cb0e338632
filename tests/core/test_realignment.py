"""The steps of local realignment: against cases worked by hand and a slow reference."""

import random

import pytest
import realignment_reference as reference
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from clair3.core import CancelFlag, CancelledError
from clair3.core.short_reads import compose_cigars, haplotypes, local_alignment, reference_shift
from clair3.errors import CoreError

GOOD = bytes([40])


def letters(rng: random.Random, n: int, alphabet: str = "ACGT") -> str:
    return "".join(rng.choices(alphabet, k=n))


# ---- local alignment -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, target, score, start, cigar",
    [
        ("ACGTACGT", "TTACGTACGTTT", 32, 2, "8="),
        ("GGACGTACGTACGTCC", "TTACGTACGTACGTTT", 48, 2, "2S12=2S"),  # -6 at once is worse than an end
        ("ACGTACGTCACGTACGT", "ACGTACGTGACGTACGT", 58, 0, "8=1X8="),
        ("ACGTTGCAACTGACTG", "ACGTTGCAGACTGACTG", 56, 0, "8=1D8="),  # 16 matches, one gap of 1
        ("ACGTTGCATTACTGACTG", "ACGTTGCAACTGACTG", 54, 0, "8=2I8="),  # a gap of 2 costs 10
        ("GTCAAAGTC", "GTCAAAAGTC", 28, 0, "3=1D6="),  # of equal ones the gap lies left
        ("ACAC", "ACACAC", 16, 0, "4="),  # of equal ends the first
        ("ANGT", "ANGT", 8, 2, "2S2="),  # an N matches nothing ...
        ("ACGTNACGT", "ACGTNACGT", 26, 0, "9="),  # ... but is no mismatch either
    ],
)
def test_local_alignment(query, target, score, start, cigar):
    found = local_alignment(query, target)
    assert (found.score, found.start, found.cigar) == (score, start, cigar)


def test_nothing_aligns():
    assert local_alignment("AAAA", "CCCC") is None
    assert local_alignment("NNNN", "NNNN") is None
    assert local_alignment("", "ACGT") is None


def test_sequences_too_long_to_align():
    for query, target in ((8001, 4), (4, 8001)):
        words = f"local alignment of {query} bases to {target}: sequences of more than 8000 bases are not aligned"
        with pytest.raises(CoreError, match=words):
            local_alignment("A" * query, "A" * target)


@st.composite
def similar(draw) -> tuple[str, str]:
    """Two sequences, one made of the other by a few edits, with repeats and odd letters."""
    unit = draw(st.text(alphabet="ACGT", min_size=1, max_size=6))
    target = draw(st.text(alphabet="ACGTN", min_size=1, max_size=25)) + unit * draw(st.integers(0, 5))
    target += draw(st.text(alphabet="ACGT", max_size=25))
    query = list(target)
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(query)))
        query[at : at + draw(st.integers(0, 4))] = draw(st.text(alphabet="ACGTN", max_size=5))
    return "".join(query), target


@settings(max_examples=examples(150))
@given(similar())
def test_local_alignment_agrees_with_the_reference(pair):
    query, target = pair
    found = local_alignment(query, target)
    expected = reference.align(query, target) if query else None
    if expected is None:
        assert found is None
    else:
        assert (found.score, found.start, found.cigar) == (*expected[:2], reference.text(expected[2]))


# ---- haplotypes ------------------------------------------------------------------------------------------------------


def tiles(haplotype: str, length: int = 40, step: int = 5) -> list[tuple[str, bytes]]:
    """Reads of good quality all over a haplotype."""
    starts = range(0, max(1, len(haplotype) - length + 1), step)
    return [(haplotype[i : i + length], GOOD * len(haplotype[i : i + length])) for i in starts]


RNG = random.Random(5)
PLAIN = letters(RNG, 150)
SNP = PLAIN[:70] + {"A": "C", "C": "G", "G": "T", "T": "A"}[PLAIN[70]] + PLAIN[71:]


def test_haplotypes_of_a_snp():
    assert haplotypes(PLAIN, []) == [PLAIN]
    assert haplotypes(PLAIN, tiles(SNP)) == sorted([PLAIN, SNP])


def test_an_edge_seen_once_is_dropped():
    assert haplotypes(PLAIN, tiles(SNP)[10:11]) == [PLAIN]
    assert haplotypes(PLAIN, tiles(SNP)[10:11] * 2) == sorted([PLAIN, SNP])


@pytest.mark.parametrize("letter, quality", [("N", 40), ("same", 14)])
def test_bad_bases_break_reads(letter, quality):
    bases = [
        (read if letter == "same" else read.replace(SNP[70], letter), bytes([quality]) * 40) for read, _ in tiles(SNP)
    ]
    assert haplotypes(PLAIN, bases) == [PLAIN]


def test_repeats_need_larger_words():
    unit = letters(random.Random(1), 30)
    repeated = PLAIN[:70] + unit + "A" + unit + PLAIN[70:110]
    changed = repeated[:35] + ("A" if repeated[35] != "A" else "C") + repeated[36:]
    assert haplotypes(repeated, tiles(changed, 80) * 2) == sorted([repeated, changed])
    assert haplotypes("ACGT" * 30, []) == []  # no word length up to 101 makes this one a path
    assert haplotypes("ACGTACGT", []) == []  # too short for words of 10


def test_assembly_looks_at_the_flag_between_reads():
    flag = CancelFlag()
    assert haplotypes(PLAIN, tiles(SNP), flag) == sorted([PLAIN, SNP])
    flag.set()
    assert haplotypes(PLAIN, [], flag) == [PLAIN]
    with pytest.raises(CancelledError):
        haplotypes(PLAIN, tiles(SNP)[:1], flag)


def test_more_than_256_paths_are_none():
    """Eight SNPs 20 apart are 256 paths, of which 200 are used; with a ninth there are none."""
    for count, expected in ((3, 8), (7, 128), (8, 200), (9, 0)):
        base = list(letters(random.Random(count), 220))
        other = base.copy()
        for k in range(count):
            other[15 + 20 * k] = "A" if base[15 + 20 * k] != "A" else "C"
        found = haplotypes("".join(base), tiles("".join(other), 14, 1) * 2)
        assert len(found) == expected and found == sorted(found)


@st.composite
def assemblies(draw) -> tuple[str, list[tuple[str, bytes]]]:
    """A piece of reference, with repeats, and reads of it with errors."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    text = letters(rng, rng.randint(8, 40), "ACGTN" if rng.random() < 0.1 else "ACGT")
    text += letters(rng, rng.randint(1, 6)) * rng.choice([0, 0, 2, 5])
    text += text[: rng.choice([0, 0, 12, 30])] + letters(rng, rng.randint(5, 60))
    forms = [text]
    for _ in range(draw(st.integers(0, 3))):
        at, base = rng.randrange(len(text)), rng.choice(forms)
        forms.append(base[:at] + letters(rng, rng.choice([0, 1, 1, 6])) + base[at + rng.choice([0, 1, 1, 4]) :])
    reads = []
    for _ in range(draw(st.integers(0, 14))):
        form = rng.choice(forms)
        at = rng.randrange(max(1, len(form) - 10))
        bases = [
            letters(rng, 1, "ACGTN") if rng.random() < 0.01 else base for base in form[at : at + rng.randint(5, 60)]
        ]
        reads.append(("".join(bases), bytes(rng.choices([40, 15, 14], [60, 30, 1], k=len(bases)))))
    return text, reads


@settings(max_examples=examples(200))
@given(assemblies())
def test_haplotypes_agree_with_the_reference(assembly):
    assert haplotypes(*assembly) == reference.assemble(*assembly)


# ---- composing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read, place, haplotype, expected",
    [
        ("20=", 0, "50=", "20M"),
        ("20=", 5, "10=3D40=", "5M3D15M"),
        ("20=", 10, "10=3D40=", "20M"),  # it starts behind the deletion
        ("20=", 5, "10=4I40=", "5M4I11M"),
        ("20=", 11, "10=4I40=", "3I17M"),  # it starts inside the insertion
        ("10=2D10=", 0, "50=", "10M2D10M"),
        ("10=2D10=", 0, "10=3D40=", "10M5D10M"),  # both at the same place
        ("10=2I8=", 0, "50=", "10M2I8M"),
        ("10=2I10=", 0, "10=3I40=", "10M5I7M"),
        ("4S10=3X5S", 2, "50=", "4S13M5S"),
        ("10=", 0, "6=4S", "6M4S"),
        ("30=", 0, "20=", "30M"),  # the haplotype's alignment ends first
        ("10=5S", 0, "10=3D20=", "10M3D5S"),  # a clip stands where a match may
        ("10=4S", 0, "10=2I20=", "10M2I2S"),
        ("5=5I5=", 0, "5=20S", "5M5I5S"),
        ("5=3D5=", 0, "5=20S", "5M3D5S"),
        ("10=2I5=", 0, "10=2D20=", None),
        ("5=1X3=2D4=", 0, "5=4I20=", "5M4I3M2D1M"),  # the insertion uses up the mismatch alone
        ("5=6D5=", 0, "5=2X3=2I20=", "5M6D3M2I"),  # and the deletion
        ("10=2D3=", 0, "9=1X1=1X8=", "10M2D3M"),  # matches and mismatches are one in the result
    ],
)
def test_composed(read, place, haplotype, expected):
    assert compose_cigars(read, place, haplotype) == expected


@pytest.mark.parametrize(
    "haplotype, place, expected",
    [
        ("50=", 30, 0),
        ("10=3D40=", 9, 0),
        ("10=3D40=", 10, 3),
        ("10=4I40=", 10, 0),  # the first inserted base lies where the next reference base does
        ("10=4I40=", 12, -2),
        ("10=4I40=", 14, -4),
        ("5S10=2D20=", 3, -5),
        ("5S10=2D20=", 20, -3),
        ("10=5S", 12, 0),
    ],
)
def test_shift(haplotype, place, expected):
    assert reference_shift(haplotype, place) == expected


def alignment(rng: random.Random) -> list[tuple[int, str]]:
    """A local alignment: short pieces of = and X with gaps between them that are often longer, perhaps clipped."""
    middle = []
    for _ in range(rng.randint(0, 4)):
        middle += [*pieces(rng, rng.choice(["=X=", "X=X"])), (rng.randint(1, 12), rng.choice("ID"))]
    ends = [[(rng.randint(1, 15), "S")] if rng.random() < 0.4 else [] for _ in "<>"]
    return [*ends[0], *middle, *pieces(rng, "=X"), (rng.randint(1, 20), "="), *ends[1]]


def pieces(rng: random.Random, ops: str) -> list[tuple[int, str]]:
    """Runs of the last one or more of these operations."""
    return [(rng.randint(1, 9) if op == "=" else rng.randint(1, 2), op) for op in ops[rng.randrange(len(ops)) :]]


@settings(max_examples=examples(500))
@given(st.integers(0, 2**32))
def test_composed_agrees_with_the_reference(seed):
    rng = random.Random(seed)
    read, haplotype = alignment(rng), alignment(rng)
    place = rng.randrange(sum(length for length, op in haplotype if op != "D"))
    found = compose_cigars(reference.text(read), place, reference.text(haplotype))
    expected = reference.compose(read, place, haplotype)
    assert found == (None if expected is None else reference.text(expected))
    assert reference_shift(reference.text(haplotype), place) == reference.shift_of(haplotype, place)
