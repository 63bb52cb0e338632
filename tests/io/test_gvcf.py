"""gVCF: likelihoods of sites, blocks from intervals of site counts, variants among blocks (spec/calling.md 6)."""

import gzip
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysam
import pytest
from examples import examples
from golden_runs import PARITY, PARITY_RUNS, decided_records
from gvcf_reference import Site, block_line, block_lines, likelihoods, merged
from hypothesis import given, settings
from hypothesis import strategies as st

from clair3 import core
from clair3.config import CandidateOptions, GvcfOptions
from clair3.errors import ClairError, ConfigError
from clair3.io.gvcf import (
    TABLE_DEPTH,
    Blocks,
    Cell,
    cells_of_contig,
    cells_of_sites,
    letter_reader,
    look_up,
    merge_blocks,
    site_likelihoods,
    to_variant,
)
from clair3.io.vcf import parse_record
from clair3.platforms import PLATFORMS
from clair3.records import Region

RULE, EACH = GvcfOptions(), GvcfOptions(bp_resolution=True)
EVERYWHERE = 10**6
"""Length of a contig whose end is far away."""


def counts(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def plain(site: np.void) -> tuple[str, int, int, list[int]]:
    """GT, GQ, binned GQ and PL of a site."""
    return "0/0" if site["reference"] else "./.", int(site["gq"]), int(site["binned_gq"]), site["pl"].tolist()


def golden_cases(shared_data: Path, name: str) -> list[dict]:
    with open(shared_data / "golden" / f"gvcf_{name}_cases.jsonl") as lines:
        return [json.loads(line) for line in lines]


# ---- sites ----------------------------------------------------------------------------------------------------------


def test_golden_sites(shared_data):
    """Equal up to the depth where v2.0.2's sum underflows and makes any site a perfect reference (G1)."""
    underflown = []
    for case in golden_cases(shared_data, "site"):
        rule = GvcfOptions(case["base_err"], case["gq_bin_size"])
        pair = counts(case["n_ref"]), counts(case["n_total"])
        rows, table = look_up(*pair, rule)
        assert table[rows] == site_likelihoods(*pair, rule)
        want = case["gt"], case["gq"], case["binned_gq"], case["pl"]
        if plain(table[rows[0]]) != want:
            underflown.append(case)
            assert case["n_total"] > TABLE_DEPTH and want == ("0/0", 50, 46, [0, 0, 0])
    assert len(underflown) == 12


@pytest.mark.parametrize(
    "n_ref, n_total, want",
    [
        (0, 0, ("0/0", 1, 1, [0, 0, 0])),
        (22, 23, ("0/0", 50, 46, [0, 39, 629])),  # G1: 36 with the greatest term taken out
        (550, 1100, ("./.", 0, 0, [13191, 0, 13191])),
        (2700, 3000, ("0/0", 18, 16, [0, 17, 71992])),
        (0, 100_000, ("./.", 0, 0, [2999676, 300565, 0])),
    ],
)
def test_site(n_ref, n_total, want):
    rows, table = look_up(counts(n_ref), counts(n_total), RULE)
    assert plain(table[rows[0]]) == want


@given(st.integers(0, 1023), st.floats(0, 1), st.sampled_from([1e-4, 0.001, 0.01, 0.2]))
def test_site_law(n_total, share, base_err):
    n_ref = round(share * n_total)
    gt, gq, _, pl = plain(site_likelihoods(counts(n_ref), counts(n_total), GvcfOptions(base_err))[0])
    assert (gt, gq, pl) == likelihoods(n_ref, n_total, base_err)


@given(st.lists(st.tuples(st.sampled_from([3, 70, 1023, 1024, 5000]), st.floats(0, 1)), max_size=8))
def test_look_up_is_the_computed_site(sites):
    n_total = counts(*[depth for depth, _ in sites])
    n_ref = counts(*[round(depth * share) for depth, share in sites])
    rows, table = look_up(n_ref, n_total, RULE)
    assert np.array_equal(table[rows], site_likelihoods(n_ref, n_total, RULE))


@pytest.mark.parametrize("width, want", [(5, 46), (1, 50), (0, 50), (-3, 50), (100, 1)])  # G8
def test_bins(width, want):
    site = site_likelihoods(counts(30, 1), counts(30, 30), GvcfOptions(gq_bin_size=width))
    assert site["binned_gq"].tolist() == [want, 0]


@pytest.mark.parametrize("base_err", [0, 1, -0.1])
def test_rule_is_checked(base_err):
    with pytest.raises(ConfigError, match="base_err"):
        GvcfOptions(base_err)


# ---- blocks ---------------------------------------------------------------------------------------------------------


def blocks_of(
    sites: list[tuple], length: int, rule: GvcfOptions, cuts: tuple[int, ...] = (), cells: list[Cell] | None = None
) -> list[str]:
    """The lines of consecutive sites (1-based), fed in stretches that end at the cuts."""
    pos, letters, n_ref, n_total = zip(*sites, strict=True)
    blocks = Blocks("chr1", length, cells or [Cell(pos[0] - 1, pos[-1])], rule)
    text = b""
    for start, end in pairwise([0, *sorted(cuts), len(sites)]):
        part = "".join(letters[start:end]).encode()
        text += blocks.feed(pos[0] - 1 + start, part, counts(*n_ref[start:end]), counts(*n_total[start:end]))
    return (text + blocks.finish()).decode().splitlines()


def test_golden_blocks(shared_data):
    for case in golden_cases(shared_data, "block"):
        rule = GvcfOptions(case["base_err"], case["gq_bin_size"], case["bp_resolution"])
        if not {site[1].upper() for site in case["sites"]} <= set("ACGTN"):
            continue  # v2.0.2 joins other letters with the bases beside them
        for cuts in ((), range(1, len(case["sites"]), 7)):
            found = blocks_of(case["sites"], case["contig_length"], rule, tuple(cuts))
            assert found == decided_records(case["lines"])


def drawn(letters: str, n_total: list[int], n_ref: list[int] | None = None, start: int = 100) -> list[Site]:
    """Sites from 1-based `start` on; every read shows the reference unless said otherwise."""
    return [Site(start + i, *site) for i, site in enumerate(zip(letters, n_ref or n_total, n_total, strict=True))]


def shown(lines: list[str]) -> list[str]:
    """POS-END REF GT:GQ:MIN_DP of lines."""
    fields = [line.split("\t") for line in lines]
    return [f"{f[1]}-{f[7].removeprefix('END=')} {f[3]} {f[9].rsplit(':', 1)[0]}" for f in fields]


@pytest.mark.parametrize(
    "letters, n_total, n_ref, rule, want",
    [
        ("ACGT", [30, 30, 29, 30], None, RULE, ["100-103 A 0/0:50:29"]),
        ("ACGT", [20, 26, 27, 26], None, RULE, ["100-101 A 0/0:50:20", "102-103 G 0/0:50:26"]),  # 26 = ceil(1.3 * 20)
        ("ACGT", [2, 2, 2, 2], None, RULE, ["100-103 A 0/0:6:2"]),
        ("acgt", [30] * 4, None, RULE, ["100-103 A 0/0:50:30"]),
        ("AANN", [0, 0, 0, 0], None, RULE, ["100-101 A ./.:1:0", "102-103 N ./.:1:0"]),
        ("AAAA", [1, 0, 0, 1], None, RULE, ["100-100 A 0/0:4:1", "101-102 A ./.:1:0", "103-103 A 0/0:4:1"]),
        ("ARNA", [0, 0, 0, 0], None, RULE, ["100-100 A ./.:1:0", "101-102 N ./.:1:0", "103-103 A ./.:1:0"]),
        ("RRAA", [30] * 4, None, RULE, ["100-101 N ./.:1:30", "102-103 A 0/0:50:30"]),
        ("NNNN", [3, 3, 9, 9], None, RULE, ["100-103 N ./.:1:3"]),  # G9: two in v2.0.2
        ("ACGT", [30, 33, 28, 30], [15, 15, 15, 30], RULE, 
         ["100-100 A ./.:0:30", "101-101 C ./.:0:33", "102-102 G ./.:0:28", "103-103 T 0/0:50:30"]),
        ("ACNN", [30] * 4, None, EACH, ["100-100 A 0/0:46:30", "101-101 C 0/0:46:30", "102-103 N ./.:1:30"]),
        ("AR", [0, 0], None, EACH, ["100-100 A ./.:1:0", "101-101 N ./.:1:0"]),
    ],
)  # fmt: skip
def test_blocks(letters, n_total, n_ref, rule, want):
    """Each drawn as the sites from 100 on."""
    sites = [Site(99, "C", 500, 500), *drawn(letters, n_total, n_ref)]  # a read before, so that no cell is silent
    assert shown(blocks_of(sites, EVERYWHERE, rule))[1:] == want


@pytest.mark.parametrize(
    "length, n_total, want",
    [
        (103, [30, 30, 30], ["100-103 A 0/0:50:30"]),  # the last base is in no cell
        (102, [30, 30, 30], ["100-102 A 0/0:50:30"]),
        (102, [30, 30, 3], ["100-101 A 0/0:50:30", "102-102 G 0/0:9:3"]),  # G7: v2.0.2 lets the first reach 102
        (104, [30, 30, 30], ["100-102 A 0/0:50:30"]),
    ],
)
def test_end_of_contig(length, n_total, want):
    for cuts in ((), (1,), (2,), (1, 2)):
        assert shown(blocks_of(drawn("ACG", n_total), length, RULE, cuts)) == want


@st.composite
def counted_sites(draw) -> list[Site]:
    """Sites whose counts stay alike for a while, so that all rules have something to do."""
    sites, pos = [], draw(st.integers(1, 30))
    for _ in range(draw(st.integers(1, 12))):
        depth, share = draw(st.integers(0, 40)), draw(st.sampled_from([1, 1, 1, 0.9, 0.5, 0]))
        for letter in draw(st.text("AcNnR", min_size=1, max_size=5)):
            n_total = max(0, depth + draw(st.integers(-4, 4)))
            sites.append(Site(pos + len(sites), letter, round(share * n_total), n_total))
    return sites


@given(counted_sites(), st.integers(0, 2), st.sampled_from([1, 5, 60]), st.booleans(), st.lists(st.integers(0, 60)))
@settings(max_examples=examples(300))
def test_blocks_law(sites, behind, width, bp_resolution, cuts):
    if not any(site.n_total for site in sites):
        sites = [*sites[:-1], sites[-1]._replace(n_ref=7, n_total=7)]
    length = sites[-1].pos + behind
    want = block_lines("chr1", length, sites, 0.001, width, bp_resolution)
    stretches = tuple(cut for cut in cuts if cut <= len(sites))
    assert blocks_of(sites, length, GvcfOptions(0.001, width, bp_resolution), stretches) == want


def test_long_stretch_is_the_same_in_one_and_in_many():
    """Longer than what the core takes at once."""
    random = np.random.default_rng(5)
    n = 150_000
    n_total = random.integers(20, 32, n).astype(np.int32)
    n_ref = (n_total * random.choice([1, 1, 1, 0.9, 0.5], n)).astype(np.int32)
    letters = random.choice(list(b"ACGTN"), n).astype(np.uint8).tobytes()
    texts = set()
    for size in (n, 70_001, 999):
        blocks = Blocks("chr1", n, cells_of_contig(n), RULE)
        parts = [
            blocks.feed(i, letters[i : i + size], n_ref[i : i + size], n_total[i : i + size]) for i in range(0, n, size)
        ]
        texts.add(b"".join([*parts, blocks.finish()]))
    assert len(texts) == 1
    ends = [(int(line.split(b"\t")[1]), int(line.split(b"\t")[7][4:])) for line in texts.pop().splitlines()]
    assert ends[0][0] == 1 and ends[-1][1] == n
    assert all(start == end + 1 for (_, end), (start, _) in pairwise(ends))


# ---- cells ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "length, span, want",
    [
        (3000, None, [(0, 2999)]),
        (5_000_000, None, [(0, 4_999_999)]),
        (5_000_001, None, [(0, 2_500_000), (2_500_000, 5_000_001)]),
        (10_000_000, None, [(0, 4_999_999), (4_999_999, 9_999_999)]),
        (1, None, []),  # the only base is the last one
        (3000, (967, 2033), [(967, 2033)]),
        (12_000_000, (0, 100), [(0, 34), (34, 68), (68, 102)]),
        (3000, (100, 3033), [(100, 3000)]),
        (3000, (3000, 3100), []),
    ],
)
def test_cells_of_contig(length, span, want):
    assert [(cell.start, cell.end) for cell in cells_of_contig(length, span) if cell.start < cell.end] == want


@pytest.mark.parametrize(
    "length, sites, want",
    [
        (3000, [], []),
        (3000, [7], [(7, 7)]),
        (3000, [7, 20, 99], [(7, 99)]),
        (10_000_000, [7, 20, 99], [(7, 20), (99, 99)]),
        (10_000_000, [7], [(7, 7)]),
    ],
)
def test_cells_of_sites(length, sites, want):
    assert [(cell.start, cell.end) for cell in cells_of_sites(length, np.array(sites, np.int64))] == want


TWO_CELLS = [Cell(0, 4), Cell(4, 8)]


@pytest.mark.parametrize(
    "n_total, want",
    [
        ([0, 0, 0, 0, 0, 0, 0, 0], ["1-5 N ./.:1:0", "5-9 N ./.:1:0"]),  # END as v2.0.2 has it: one further
        ([0, 0, 0, 0, 0, 9, 0, 0], ["1-5 N ./.:1:0", "5-5 A ./.:1:0", "6-6 A 0/0:27:9", "7-8 A ./.:1:0"]),
        ([0, 0, 0, 0, 9, 9, 0, 0], ["1-4 A ./.:1:0", "5-6 A 0/0:27:9", "7-8 A ./.:1:0"]),  # not silent: a read at 5
        ([0, 0, 9, 9, 9, 9, 0, 0], ["1-2 A ./.:1:0", "3-4 A 0/0:27:9", "5-6 A 0/0:27:9", "7-8 A ./.:1:0"]),
    ],
)
def test_silent_cells_and_cut_blocks(n_total, want):
    for cuts in ((), (4,), (1, 5), tuple(range(1, 8))):
        assert shown(blocks_of(drawn("A" * 8, n_total, start=1), 20, RULE, cuts, TWO_CELLS)) == want


def test_silent_cell_ends_with_the_contig():
    assert shown(blocks_of(drawn("A" * 8, [0] * 8, start=1), 8, RULE, (), TWO_CELLS))[-1] == "5-8 N ./.:1:0"


def test_last_base_in_a_cell_of_its_own():
    found = blocks_of(drawn("A" * 8, [9] * 8, start=1), 8, RULE, (), [Cell(0, 7), Cell(7, 8)])  # G7
    assert shown(found) == ["1-7 A 0/0:27:9", "8-8 A 0/0:27:9"]


@pytest.mark.parametrize("reads, want", [(0, ["4-4 N ./.:1:0"]), (9, [])])
def test_cell_without_sites(reads, want):
    """A single known site; whether it was read is still seen, as in v2.0.2."""
    assert shown(blocks_of(drawn("A" * 8, [reads] * 8, start=1), 20, RULE, (), [Cell(3, 3)])) == want


@pytest.mark.parametrize("stretches", [[(0, 3)], [(0, 3), (5, 8)], [(0, 3), (2, 8)], [(2, 8)], [(0, 4)], []])
def test_site_counts_with_gaps_is_an_error(stretches):
    blocks = Blocks("chr1", 20, TWO_CELLS, RULE)
    with pytest.raises(ClairError, match="chr1:[0-9]+: gVCF site counts go on at"):
        for start, end in stretches:
            depth = counts(*[3] * (end - start))
            blocks.feed(start, b"A" * (end - start), depth, depth)
        blocks.finish()


# ---- merging --------------------------------------------------------------------------------------------------------


def merge_lines(rows, blocks: list[str], reference: str, haploid=False, cuts=()) -> list[str]:
    """merge_blocks of VCF lines, with the block lines in pieces that end at the cuts."""
    pieces = ("".join(f"{line}\n" for line in blocks[a:b]).encode() for a, b in pairwise([0, *cuts, len(blocks)]))
    records = map(parse_record, rows)
    return b"".join(merge_blocks(records, pieces, lambda pos: reference[pos].upper(), haploid)).decode().splitlines()


def test_golden_merges(shared_data):
    """As v2.0.2 where it has no defect, and always what the slow reference says.

    A contig without variants loses its first block in v2.0.2, which the golden cases do not mark.
    """
    head, *cases = golden_cases(shared_data, "merge")
    reference = head["reference"]["seq"]
    for case in cases:
        if case["haploid"]:
            continue  # PL is another here; test_merge_law has them
        variants = map(to_variant, map(parse_record, case["variants"]))
        rows = [variant.line.decode().rstrip("\n") for variant in variants if variant]
        found = merge_lines(case["variants"], case["nonvar"], reference, case["haploid"])
        assert found == merged(rows, case["nonvar"], reference, case["haploid"])
        if not rows:
            assert case["merged"] == found[1:] and not case["defect"]
        else:
            assert (case["merged"] == found) != case["defect"]


REFERENCE = "ACGTACGTac" * 10


def row(pos: int, ref: str, alt: str = "GG", values: str = "0/1:12:12:5,6:0.5000:20,0,30") -> str:
    return f"chr1\t{pos}\t.\t{ref}\t{alt}\t12.00\tPASS\tP\tGT:GQ:DP:AD:AF:PL\t{values}"


def block(start: int, end: int, gt: str = "0/0") -> str:
    return block_line("chr1", start, REFERENCE[start - 1].upper(), end, gt, 30, 10, [0, 30, 299])


def spans(lines: list[str]) -> list[str]:
    """`a-b X` for a block and its REF, `a REF` for a variant."""
    fields = [line.split("\t") for line in lines]
    return [f"{f[1]}-{f[7][4:]} {f[3]}" if f[4] == "<NON_REF>" else f"{f[1]} {f[3]}" for f in fields]


@pytest.mark.parametrize(
    "variants, blocks, want",
    [
        ([], [(1, 9), (10, 20)], ["1-9 A", "10-20 C"]),
        ([(5, "A"), (30, "C")], [], ["5 A", "30 C"]),
        ([(5, "ACG")], [(1, 20)], ["1-4 A", "5 ACG", "8-20 T"]),
        ([(1, "AC")], [(1, 20)], ["1 AC", "3-20 G"]),
        ([(19, "AC")], [(1, 20)], ["1-18 A", "19 AC"]),
        ([(5, "A")], [(1, 4), (5, 5), (6, 9)], ["1-4 A", "5 A", "6-9 C"]),
        ([(4, "TACGT")], [(1, 4), (5, 5), (6, 9)], ["1-3 A", "4 TACGT", "9-9 A"]),
        ([(2, "CGT"), (3, "G")], [(1, 1), (2, 9)], ["1-1 A", "2 CGT", "3 G", "5-9 A"]),  # G2: nested
        ([(2, "C")], [(10, 20)], ["2 C", "10-20 C"]),  # G2: before the first block
        ([(5, "A")], [(1, 20), (21, 30)], ["1-4 A", "5 A", "6-20 C", "21-30 A"]),  # G3
        ([(8, "TAC")], [(1, 9), (20, 30)], ["1-7 A", "8 TAC", "20-30 C"]),  # G4: nothing between 11 and 19
        ([(5, "A"), (7, "G"), (9, "A")], [(1, 20)], ["1-4 A", "5 A", "6-6 C", "7 G", "8-8 T", "9 A", "10-20 C"]),  # G5
    ],
)
def test_merge(variants, blocks, want):
    rows, lines = [row(*values) for values in variants], [block(*values) for values in blocks]
    for cuts in ((), range(1, len(lines)), (0, len(lines))):
        assert spans(merge_lines(rows, lines, REFERENCE, cuts=cuts)) == want


@pytest.mark.parametrize(
    "alts, values, want",
    [
        ("G", "0/1:12:12:5,6:0.5000:20,0,30", "0/1:12:12:5,6,0:0.5000,0.0000:20,0,30,990,990,990"),
        (
            "G,T",
            "1/2:12:12:5,6,1:0.5000,0.0833:1,2,3,4,0,5",
            "1/2:12:12:5,6,1,0:0.5000,0.0833,0.0000:1,2,3,4,0,5,990,990,990,990",
        ),
        ("G", "1:12:12:5,6:0.5000:20,0", "1:12:12:5,6,0:0.5000,0.0000:20,0,990"),
    ],
)
def test_record_of_a_gvcf(alts, values, want):
    found = to_variant(parse_record(row(7, "GTA", alts, values)))
    assert (found.start, found.end) == (6, 9)
    assert found.line.decode() == row(7, "GTA", f"{alts},<NON_REF>", want) + "\n"


@pytest.mark.parametrize("alt", [".", "A"])
def test_reference_calls_leave_the_block(alt):
    assert merge_lines([row(5, "A", alt)], [block(1, 20)], REFERENCE) == [block(1, 20)]


def test_haploid_blocks():
    lines = [block(1, 9), block(10, 20, "./.")]
    found = merge_lines([row(5, "A", values="1:12:12:5,6:0.5000:20,0")], lines, REFERENCE, haploid=True)
    samples = [line.split("\t")[9].split(":") for line in found]
    assert [(sample[0], sample[-1]) for sample in samples] == [
        *(("0", "0,299"), ("1", "20,0,990"), ("0", "0,299"), (".", "0,299")),
    ]


def test_merge_reads_no_further_than_it_must():
    """Pieces come out as they come in: a genome does not have to fit in memory."""
    taken = []

    def pieces() -> Iterator[bytes]:
        for start in range(1, 90, 10):
            taken.append(start)
            yield f"{block(start, start + 9)}\n".encode()

    lines = merge_blocks([parse_record(row(35, "A"))], pieces(), lambda pos: REFERENCE[pos])
    for count in range(1, 10):
        next(lines)
        assert len(taken) == count


@st.composite
def scenes(draw) -> tuple[list[str], list[str]]:
    """Variants, nested and overlapping ones too, and disjoint blocks on 100 bases."""
    starts = sorted(draw(st.sets(st.integers(1, 90), max_size=8)))
    rows = [row(pos, REFERENCE[pos - 1 : pos - 1 + draw(st.integers(1, 10))]) for pos in starts]
    edges = sorted(draw(st.sets(st.integers(1, 101), min_size=2, max_size=12)))
    blocks = [
        block(a, b - 1, draw(st.sampled_from(["0/0", "./."]))) for a, b in pairwise(edges) if draw(st.integers(0, 4))
    ]
    return rows, blocks


@given(scenes(), st.booleans(), st.lists(st.integers(0, 12)))
@settings(max_examples=examples(300))
def test_merge_law(scene, haploid, cuts):
    rows, blocks = scene
    written = [to_variant(parse_record(line)).line.decode().rstrip("\n") for line in rows]
    pieces = sorted(cut for cut in cuts if cut <= len(blocks))
    want = merged(written, blocks, REFERENCE, haploid)
    assert merge_lines(rows, blocks, REFERENCE, haploid, pieces) == want


def test_letter_reader(tmp_path, monkeypatch):
    (tmp_path / "ref.fa").write_text(">a\n" + "ACGTNacgtn\n" * 10)
    monkeypatch.setattr("clair3.io.gvcf.WINDOW", 7)
    with pysam.FastaFile(str(tmp_path / "ref.fa")) as fasta:
        letter = letter_reader(fasta, "a")
        assert "".join(map(letter, [*range(100), 3, 99, 0])) == "ACGTN" * 20 + "TNA"


# ---- runs -----------------------------------------------------------------------------------------------------------

RUNS = {
    "ont_gvcf": (0, 1),
    "hifi_gvcf": (0, 0),
    "ont_gvcf_all_hdr": (0, 0),
    "ont_iupac": (0, 0),
    "deep_hifi": (0, 1),
    "hifi_hot": (4, 1),
    "real_nfcore_ont": (0, 0),
    "real_hifi_chr20_gvcf": (0, 0),
    "ilmn_gvcf": (0, 0),
}
"""Golden runs: variants that v2.0.2 lost (G2), blocks that it wrote over a variant (G3)."""


def records(path: Path) -> list[str]:
    with gzip.open(path, "rt") as lines:
        return [line.rstrip("\n") for line in lines if not line.startswith("#")]


def gvcf_of_contig(data: Path, run: dict, contig: str, length: int, rows: list[str], stretch: int) -> list[str]:
    """The gVCF of a golden run's contig from its reads and its final variants, read in stretches."""
    options = dict(option.lstrip("-").split("=") for option in run["options"] if "=" in option)
    rule = GvcfOptions(float(options.get("base_err", 0.001)), int(options.get("gq_bin_size", 5)))
    candidates = CandidateOptions(short_read_rules=PLATFORMS[run["platform"]].short_reads)
    bam, ref, nowhere = data / run["bam"], data / run["ref"], np.empty((0, 2), np.int64)
    blocks = Blocks(contig, length, cells_of_contig(length), rule)
    with core.Source(bam, ref) as source, pysam.FastaFile(str(ref)) as fasta:

        def pieces():
            for start in range(0, length, stretch):
                region = Region(contig, start, min(start + stretch, length))
                found = core.pileup(source, region, candidates, nowhere, gvcf=True)
                yield blocks.feed(start, fasta.fetch(contig, start, region.end).encode(), *found.site_counts())
            yield blocks.finish()

        records = map(parse_record, rows)
        return b"".join(merge_blocks(records, pieces(), letter_reader(fasta, contig))).decode().splitlines()


@pytest.mark.parametrize("name", RUNS)
def test_gvcf_of_run(shared_data, name):
    folder = shared_data / "golden" / "runs" / name
    run = json.loads((folder / "run.json").read_text())
    golden, rows = (records(folder / f"merge_output.{kind}.gz") for kind in ("gvcf", "vcf"))
    with pysam.FastaFile(str(shared_data / run["ref"])) as fasta:
        lengths = dict(zip(fasta.references, fasta.lengths, strict=True))
    golden = decided_records(golden)
    lost = over = 0
    for contig in dict.fromkeys(line.split("\t")[0] for line in golden):
        want, variants = ([line for line in lines if line.startswith(f"{contig}\t")] for lines in (golden, rows))
        found = gvcf_of_contig(
            shared_data, run, contig, lengths[contig], variants, stretch=max(70_001, lengths[contig] // 9)
        )
        kept = set(found) & set(want)
        assert [line for line in found if line in kept] == [line for line in want if line in kept]
        behind = span_of(variants[-1])[1]
        for line in set(want) - kept:  # G3: the block that the last variant reaches into is there as a whole
            assert is_block(line) and span_of(line)[0] < behind <= span_of(line)[1]
            over += 1
        for line in set(found) - kept:
            if is_block(line):  # its right part instead
                assert span_of(line)[0] == behind
            else:
                lost += 1
    assert (lost, over) == RUNS[name]


@pytest.mark.parametrize("name", ["ont", "hifi", "ilmn"])
def test_gvcf_of_parity_run(name):
    """The reads and the merged records of v2.0.2 give its gVCF, read in stretches that cut the blocks."""
    golden, rows = (records(PARITY / "expected" / name / f"merge_output.{kind}.gz") for kind in ("gvcf", "vcf"))
    found = []
    for contig, length in (("chr21", 40_000), ("chr22", 3_000), ("scaffold_1", 12_000)):
        variants = [line for line in rows if line.startswith(f"{contig}\t")]
        found += gvcf_of_contig(PARITY, PARITY_RUNS[name], contig, length, variants, stretch=7_001)
    assert found == decided_records(golden)


def is_block(line: str) -> bool:
    return line.split("\t")[4] == "<NON_REF>"


def span_of(line: str) -> tuple[int, int]:
    """0-based [start, end) of a variant or block line."""
    fields = line.split("\t")
    start = int(fields[1]) - 1
    return start, int(fields[7][4:]) if fields[7].startswith("END=") else start + len(fields[3])


def test_speed(shared_data):
    """A megabase of noisy 30x reads takes well under 0.3 s (v2.0.2: 24 s)."""
    ref = shared_data / "sim" / "small" / "ref.fa"
    region = Region("chr20", 0, 300_000)
    with core.Source(shared_data / "sim" / "small" / "ont.bam", ref) as source, pysam.FastaFile(str(ref)) as fasta:
        found = core.pileup(source, region, CandidateOptions(), np.empty((0, 2), np.int64), gvcf=True).site_counts()
        letters = fasta.fetch("chr20").encode()
    took = []
    for _ in range(3):
        began = time.process_time()
        Blocks("chr20", 300_000, cells_of_contig(300_000), RULE).feed(0, letters, *found)
        took.append(time.process_time() - began)
    assert min(took) < 0.3 * 0.3
