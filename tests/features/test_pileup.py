"""Examples, tables and golden data of spec/features.md B and G.2, by the slow reference and by the C core."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pileup_reference as reference
import pysam
import pytest
from core_pileup import core_pileup, with_defaults
from hypothesis import given, settings
from khash_reference import khash_order
from pileup_reference import Event, Read, count_column, events_by_position, is_hit, read_events, reference_pileup
from random_reads import cases, draw, read_bam, reference_span, rules

CHANNEL = {name: i for i, name in enumerate(reference.CHANNELS)}


@pytest.fixture(params=["reference", "core"])
def pileup(request, tmp_path):
    """pileup(ref, reads, start, end, **options) by the slow reference and by the C core."""
    return with_defaults(reference_pileup if request.param == "reference" else partial(core_pileup, tmp_path))


def alt_info_at(ref, reads, pos, max_indel_length=50):
    """alt-info of one column, whether a candidate or not."""
    column = count_column(events_by_position(reads, pos, pos + 1, 0)[pos], ref[pos])
    return reference.alt_info(column, ref, pos, max_indel_length)


# -- columns -----------------------------------------------------------------------------------------

WORKED_EXAMPLE = """
    = ACGTACGTACGTACGT
    >     ......
    >     ......
    +       TT
    <     ..**..
    <     ..T...
    >     ...N..
"""


@pytest.mark.parametrize(
    "pos1, forward, reverse, n_ref, n_total, items",
    [
        (5, [-3, 0, 0, 0, 0, 0, 0, 0, 0], [-2, 0, 0, 0, 0, 0, 0, 0, 0], 5, 5, "5-RA 5"),
        (6, [0, -3, 0, 0, 0, 0, 0, 0, 0], [0, -2, 0, 0, 0, 0, 1, 1, 0], 5, 6, "5-DGT 1 RC 4"),
        (7, [0, 0, -3, 0, 1, 1, 0, 0, 0], [0, 0, -1, 1, 0, 0, 0, 0, 2], 3, 5, "5-XT 1 IGTT 1 RG 2"),
        (8, [0, 0, 0, -2, 0, 0, 0, 0, 0], [0, 0, 0, -1, 0, 0, 0, 0, 1], 3, 3, "5-RT 3"),
    ],
)
def test_worked_example(pileup, pos1, forward, reverse, n_ref, n_total, items):  # B.11
    ref, reads = draw(WORKED_EXAMPLE)
    result = pileup(ref, reads)
    assert result.columns[pos1 - 1].tolist() == forward + reverse
    assert (result.n_ref[pos1 - 1], result.n_total[pos1 - 1]) == (n_ref, n_total)
    assert alt_info_at(ref, reads, pos1 - 1) == items


@pytest.mark.parametrize(
    "cigar, seq, columns",
    [
        ("2H1S2M1S", "GACG", "A C"),
        ("1=1X", "AC", "A C"),
        ("2M1D2D1M", "ACG", "A C-1 *-2 * * G"),  # neighbours are not merged
        ("2M2I3I1M", "ACGGTTTA", "A C+GG A"),
        ("2M2I1P3I1M", "ACGGTTTA", "A C+GG A"),
        ("1M1P1I1P2I1M", "AGTTC", "A+GTT C"),  # but behind a pad they are
        ("1M1P", "A", "A"),
        ("1M1P2D1M", "AC", "A * * C"),
        ("1M2I2D1M", "AGGC", "A+GG * * C"),  # the start of the deletion is lost
        ("1M2D2I1M", "AGGC", "A-2 * *+GG C"),
        ("2S2I2M", "TTGGAC", "A C"),
        ("3I2D1M", "GGGA", "* * A"),
        ("2M2I1S", "ACGGT", "A C+GG"),
        ("2M2I", "ACGG", "A C+GG"),
        ("2M2D", "AC", "A C-2 * *"),
        ("1M2N1I1M", "AGC", "A _ _ C"),
        ("1M2N2D", "A", "A _ _ * *"),
        ("1M1D2N1D1M", "AC", "A-1 * _ _ * C"),
        ("1M2N3M", "A=NY", "A _ _ = N Y"),
        ("2S3I", "ACGTA", ""),
    ],
)
def test_cigar_to_columns(cigar, seq, columns):  # B.2
    def text(event):
        inserted = f"+{event.inserted}" if event.inserted else ""
        return event.letter.replace(" ", "_") + inserted + (f"-{event.deleted}" if event.deleted else "")

    events = list(read_events(Read(7, cigar, seq)))
    assert " ".join(text(event) for _, event in events) == columns
    assert [pos for pos, _ in events] == list(range(7, 7 + len(events)))


@pytest.mark.parametrize(
    "flag, kept",
    [(0, 1), (0x1, 1), (0x8, 1), (0x3, 1), (0x4, 0), (0x100, 0), (0x200, 0), (0x400, 0), (0x800, 0), (0x410, 0)],
)
def test_read_filter(pileup, flag, kept):  # A.2, E-K13
    read = Read(0, "3M", "ACG", flag)
    assert pileup("ACGT", [read]).has_column.tolist() == [kept] * 3 + [False]
    assert pileup("ACGT", [replace(read, mapq=4)]).has_column.sum() == 0
    assert pileup("ACGT", [replace(read, mapq=5)]).has_column.sum() == 3 * kept


def test_odd_letters_go_to_the_previous_emitted_column(pileup):  # K1, E-B1
    ref, reads = draw("""
        = ACGTACGTACGT
        >  NN.
        <  .N.
        >        N=.
        <        .R.
    """)
    result = pileup(ref, reads)
    assert result.columns[:, CHANNEL["#"]].tolist() == [0, 2, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0]
    assert pileup(ref, reads, 2).columns[:, CHANNEL["#"]].tolist() == [0, 1, 0, 0, 0, 2, 0, 0, 0, 0]
    assert count_column([Event("N", False), Event("G", False)], "G").depth == 2


def test_indel_channels_count_starts_and_the_commonest(pileup):  # B.3
    ref, reads = draw("""
        = ACGTACGT
        > ..*...
        +     T
        > ..**..
        +     T
        > ..**..
        +     GG
        < ......
        +     T
    """)
    columns = pileup(ref, reads).columns
    assert [columns[1, CHANNEL[c]] for c in ("D", "D1", "d", "d1")] == [3, 2, 0, 0]
    assert [columns[4, CHANNEL[c]] for c in ("I", "I1", "i", "i1")] == [3, 2, 1, 1]
    assert columns[2:4, CHANNEL["*"]].tolist() == [3, 2]


@pytest.mark.parametrize("letters, n_total", [("CCCTT", 3), ("CCTTT", 5), ("AAACCCTT", 6)])
def test_gvcf_total_skips_bases_below_the_maximum(letters, n_total):  # B.8, K2
    assert count_column([Event(letter, False) for letter in letters], "A").n_total == n_total


# -- candidates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ref, letters, insertions, deletions, snp_af, indel_af, hit",
    [
        ("A", "A" * 23 + "CC", 0, 0, 0.08, 1, True),
        ("A", "AAC", 0, 0, 0.33333334, 1, True),  # 1/3 is less in double precision
        ("A", "A" * 12 + "C", 0, 0, 0.08, 1, False),
        ("A", "ACC", 0, 0, 1, 1, True),
        ("C", "CCTT", 0, 0, 1, 1, True),  # a tie is a hit if the reference letter comes first
        ("C", "CCAA", 0, 0, 1, 1, False),
        ("A", "AACCNN", 0, 0, 0.34, 1, True),
        ("A", "A" * 4, 1, 0, 1, 0.25, True),
        ("A", "A" * 4, 0, 1, 1, 0.25, True),
        ("A", "A" * 4, 1, 1, 1, 0.26, False),
        ("A", "AC*", 2, 0, 1, 1, True),
        ("A", "AC*", 0, 2, 1, 1, True),
        ("A", "A" * 4, 0, 0, 0, 1, True),
    ],
)
def test_hit(ref, letters, insertions, deletions, snp_af, indel_af, hit):  # B.5
    events = [Event(letter, False, "G" * (i < insertions), i < deletions) for i, letter in enumerate(letters)]
    column = count_column(events, ref)
    assert is_hit(column, snp_af, indel_af, snp_only=False) == hit
    assert is_hit(column, snp_af, indel_af, snp_only=True) == (column.alt / len(letters) + 1e-8 >= snp_af)


@pytest.mark.parametrize(
    "ref, reads, limit, text",
    [
        ("ACA", [Read(0, "3M", "ACA")] * 6 + [Read(0, "1M2D", "A")] * 3, 50, "9-DCA 3 RA 6"),
        ("C", [Read(0, "1M", "C")] * 300 + [Read(0, "1M", "G")] * 300, 50, "600-XG 300 RC 300"),
        ("g", [Read(0, "1M", "G")] * 4, 50, "4-RG 4"),
        ("Atta", [Read(0, "1M", "A")] * 7 + [Read(0, "1M3D", "A")] * 5, 50, "12-Dtta 5 RA 7"),
        ("ACCC", [Read(0, "1M3D", "A"), Read(0, "1M3I", "ATTT"), Read(0, "1M3I", "ATGT")], 2, "3-"),
        ("ACCC", [Read(0, "1M3D", "A"), Read(0, "1M3D", "T"), Read(0, "1M", "A")], 3, "3-XT 1 DCCC 2"),  # K23
        ("ACCC", [Read(0, "1M2D", "A"), Read(0, "1M1D", "A"), Read(0, "1M2I", "ATG")], 2, "3-DC 1 DCC 1 IATG 1"),
    ],
)
def test_alt_info(ref, reads, limit, text):  # B.6
    assert alt_info_at(ref, reads, 0, limit) == text


@pytest.mark.parametrize(
    "keys, order",
    [
        ("T G C A", "A C T G"),
        ("GT A AA ACG TTT C CAC", "AA A C TTT ACG CAC GT"),
        ("AA TTT A GT CAC C ACG", "AA A C TTT CAC ACG GT"),
    ],
)
def test_hash_order_of_insertions(keys, order):  # B.7
    assert khash_order(keys.split()) == order.split()


def test_hash_order_of_numbers():  # B.7
    assert khash_order([12, 4, 8, 1, 3, 20, 36]) == [1, 3, 4, 20, 36, 8, 12]


def test_golden_key_orders(shared_data):
    lines = (shared_data / "golden/altinfo_key_order_cases.jsonl").read_text().splitlines()
    assert lines
    for case in map(json.loads, lines):
        insertions, deletions = case["insertions_read_order"], case["deletion_lengths_read_order"]
        ref = "C" * 60
        reads = [Read(0, f"1M{len(word)}I", "C" + word) for word in insertions]
        reads += [Read(0, f"1M{length}D", "C") for length in deletions]
        keys = alt_info_at(ref, reads, 0).split("-")[1].split()[::2]
        assert [key[2:] for key in keys if key[0] == "I"] == case["pileup_insertion_order"]
        assert [len(key) - 1 for key in keys if key[0] == "D"] == case["pileup_deletion_lengths"]
        assert khash_order(deletions) == case["full_alignment_deletion_lengths"]


# -- windows -----------------------------------------------------------------------------------------


def covered(contig_length, *runs):
    """A contig of A with three reads over each run."""
    return "A" * contig_length, [Read(start, f"{end - start}M", "A" * (end - start)) for start, end in runs] * 3


@pytest.mark.parametrize(
    "length, normal, with_head_and_tail",
    [
        (16, [], []),
        (17, [], [0]),
        (18, [], [0, 1, 16]),
        (20, [], [0, 1, 2, 3, 16, 17, 18]),
        (32, [], range(31)),
        (33, [], range(32)),
        (34, [], range(33)),
        (35, [16], range(34)),
        (36, [16, 17], range(35)),
        (60, range(16, 42), range(59)),
    ],
)
@pytest.mark.parametrize("start", [0, 1, 40])
def test_candidates_of_a_run(pileup, length, normal, with_head_and_tail, start):  # B.9, K5
    ref, reads = covered(150, (start, start + length))
    expected = [start + i for i in normal if (start, i) != (0, 16)]  # B.5: pos1 17 of a contig is lost
    assert pileup(ref, reads).candidates == expected
    assert pileup(ref, reads, head_and_tail=True).candidates == [start + i for i in with_head_and_tail]


def test_right_edge_and_contig_start(pileup):  # B.9, B.5
    assert [p + 1 for p in pileup(*covered(400, (100, 300))).candidates] == list(range(117, 283))
    assert pileup(*covered(400, (0, 300))).candidates[0] + 1 == 18
    two_runs = pileup(*covered(400, (0, 50), (51, 100))).candidates
    assert two_runs == [*range(17, 32), *range(67, 82)]


def test_head_and_tail_windows_are_padded_with_zeros(pileup):  # B.9
    result = pileup(*covered(80, (10, 43)), head_and_tail=True)
    for pos, tensor in zip(result.candidates, result.tensors, strict=True):
        padded = np.vstack([np.zeros((16, 18)), result.columns, np.zeros((16, 18))])
        assert (tensor == padded[pos : pos + 33]).all()


def test_windows_with_an_empty_column_are_lost_unless_letters_spill_into_it(pileup):  # B.9, K1
    ref, reads = covered(200, (0, 200))
    odd = [replace(read, seq=read.seq[:99] + "N" + read.seq[100:]) for read in reads]
    assert set(pileup(ref, reads).candidates) - set(pileup(ref, odd).candidates) == set(range(83, 116))
    odd = [replace(read, seq=read.seq[:99] + "NN" + read.seq[101:]) for read in reads]
    assert set(pileup(ref, reads).candidates) - set(pileup(ref, odd).candidates) == set(range(84, 117))
    skips = [Read(0, "99M1N100M", "A" * 199)] * 3
    assert set(pileup(ref, reads).candidates) - set(pileup(ref, skips).candidates) == set(range(83, 116))
    # at the end of a run nobody looks
    assert 190 in pileup(ref, [replace(r, seq="A" * 195 + "NAAAA") for r in reads], head_and_tail=True).candidates


def test_chunks_overlap(pileup):  # A.4
    ref, reads = covered(1000, (0, 1000))
    chunks = [pileup(ref, reads, *reference.task_columns(334 * k, 334 * k + 334)).candidates for k in range(3)]
    assert [(chunk[0] + 1, chunk[-1] + 1) for chunk in chunks] == [(18, 349), (316, 683), (650, 982)]


def test_bed_and_sites(pileup):  # A.6, A.7
    ref, reads = covered(400, (0, 400))
    inside = pileup(ref, reads, allowed=reference.bed_positions([(200, 300), (350, 350)])).candidates
    assert [p + 1 for p in inside] == [*range(200, 301), 350, 351]
    assert pileup(ref, reads, allowed=reference.bed_positions([])).candidates == []
    assert reference.site_positions([33]) == []
    assert reference.site_positions([34]) == [(33, 34)]
    assert reference.site_positions([15, 16, 50]) == [(15, 16), (49, 50)]  # the row of 50 covers 16, not 15


# -- golden tensors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, bam, contig, indel_min_af, columns",
    [
        ("deep_ont_chrX", "deep/ont", "chrX", 0.15, (0, 8033)),
        ("deep_hifi_chrX", "deep/hifi", "chrX", 0.08, (0, 8033)),
        ("deep_ont_chr22", "deep/ont", "chr22", 0.15, (0, 1000)),
        ("deep_hifi_chr21", "deep/hifi", "chr21", 0.08, (13000, 15033)),
        ("ont", "small/ont", "chr20", 0.15, (99966, 115000)),
        ("ont", "small/ont", "chr20", 0.15, (190000, 200033)),
        ("hifi", "small/hifi", "chr20", 0.08, (99966, 110000)),
        ("hifi", "small/hifi", "chr20", 0.08, (195000, 200033)),
    ],
)
def test_golden_tensors(pileup, shared_data, name, bam, contig, indel_min_af, columns):
    golden = np.load(shared_data / f"golden/tensors/{name}_pileup.npz")
    start, end = columns
    pos = golden["position"] - 1
    inside = (pos - 16 >= start) & (pos + 18 < end)
    folder = shared_data / "sim" / bam
    with pysam.FastaFile(str(folder.parent / "ref.fa")) as fasta:
        ref = fasta.fetch(contig)
    reads = read_bam(folder.with_suffix(".bam"), contig, start, min(end, len(ref)))
    result = pileup(ref, reads, start, end, snp_min_af=0.08, indel_min_af=indel_min_af)
    assert result.candidates == pos[inside].tolist()
    assert result.candidates
    assert result.alt_info == golden["alt_info"][inside].tolist()
    assert (result.tensors == golden["tensor"][inside]).all()


# -- laws --------------------------------------------------------------------------------------------


@given(cases(), rules())
@settings(max_examples=100, deadline=None)
def test_laws(case, rule):
    result = reference_pileup(case.ref, list(case.reads), case.start, case.end, **rule)
    kept = [read for read in case.reads if not read.flag & 0xF04 and read.mapq >= rule["min_mapq"]]
    spanned = {pos for read in kept for pos in range(read.pos, read.pos + reference_span(read.cigar))}
    assert set((np.flatnonzero(result.has_column) + case.start).tolist()) == spanned & set(range(case.start, case.end))
    assert not result.columns[~result.has_column].any()
    assert not result.n_total[~result.has_column].any()
    assert (result.n_ref <= result.n_total).all()
    assert result.candidates == sorted(set(result.candidates))
    assert len(result.candidates) == len(result.tensors) == len(result.alt_info)
    for pos, tensor in zip(result.candidates, result.tensors, strict=True):
        assert (tensor[16] == result.columns[pos - case.start]).all()
    allowed = reference_pileup(case.ref, list(case.reads), case.start, case.end, **rule, allowed=[(30, 40)])
    assert allowed.candidates == [pos for pos in result.candidates if 30 <= pos < 40]
