"""Rules and examples of spec/features.md A.10 and C: reads, rows, counters; by the slow reference and the C core."""

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import islice

import full_alignment_reference as reference
import numpy as np
import pytest
from core_full_alignment import core_full_alignment
from examples import examples
from full_alignment_reference import glibc_random, reference_full_alignment, shuffled
from haplotag_reference import PhasedSnp
from hypothesis import given, settings
from pileup_reference import REVERSE_FLAG, Read, parse_cigar
from random_full_alignment import DEFAULTS, full_alignment_cases, many, matching, random_full_alignment_case
from random_reads import Case, draw, read_bam, write_bam, write_case

from clair3 import core
from clair3.config import ReadFeatureOptions

REF, ALT, STRAND, MAPQ, QUALITY, FRACTION, INSERTED, HAPLOTYPE = range(8)


@pytest.fixture(params=["reference", "core"])
def align(request, tmp_path):
    """align(ref, reads, candidates, **options) by the slow reference and by the C core."""
    engine = reference_full_alignment if request.param == "reference" else partial(core_full_alignment, tmp_path)

    def run(ref, reads, candidates, **options):
        return engine(ref, reads, candidates, **(DEFAULTS | options))

    return run


# -- random numbers, C.6 -----------------------------------------------------------------------------


def test_random_numbers():
    numbers = list(islice(glibc_random(), 1000))
    assert numbers[:6] == [1804289383, 846930886, 1681692777, 1714636915, 1957747793, 424238335]
    assert numbers[-1] == 1143565421


def test_shuffles():
    assert shuffled(5, glibc_random()) == [4, 2, 0, 1, 3]
    assert sorted(shuffled(100, glibc_random())[89:]) == [3, 4, 28, 31, 47, 62, 63, 79, 81, 87, 90]
    random = glibc_random()
    assert sorted(shuffled(300, random)) == list(range(300))
    assert next(random) == next(islice(glibc_random(), 299, None))


# -- which reads, A.2, A.10, C.2 ---------------------------------------------------------------------


def test_candidate_files(tmp_path):  # A.10
    path = tmp_path / "chr1.0_3"
    candidates = [0, 15, 16, 17, 18, 1000]
    rows = [f"chr1\t{a}\t{b}\n" for a, b in reference.candidate_rows(candidates)]
    path.write_text("".join(rows[::-1] + rows[2:4] + ["chr2\t83\t117\n", "chr1\t183\t217\thet\n"]))
    assert reference.read_candidates(path, "chr1") == candidates
    assert reference.read_candidates(path, "chr3") == []


@pytest.mark.parametrize(
    "flag, kept",
    [(0, 1), (0x1, 1), (0x3, 1), (0x200, 1), (0x400, 1), (0x4, 0), (0x8, 0), (0x100, 0), (0x800, 0), (0x610, 1)],
)
def test_read_filter(align, flag, kept):  # A.2, K13
    assert len(align("A" * 60, [matching(0, 60, flag=flag)], [30]).kept) == kept
    assert align("A" * 60, [matching(0, 60, flag=flag, mapq=4)], [30]).kept == []


def test_reads_of_the_region(align):  # C.2, K6 is mended
    def kept(*reads, candidates=(50, 200)):
        return [read.pos for read in align("A" * 400, list(reads), list(candidates)).kept]

    assert kept(matching(40, 60), matching(180, 210)) == [40, 180]  # of one name
    assert kept(matching(100, 150), matching(180, 210)) == [180]
    assert kept(matching(10, 34), matching(10, 35)) == [10]
    assert kept(matching(30, 40), matching(217, 250), matching(216, 250)) == [30, 216]


@pytest.mark.parametrize("rows", [89, 55], ids=["ont", "hifi"])
@pytest.mark.parametrize("seed", range(4))
def test_reads_that_share_a_name_are_different_reads(tmp_path, seed, rows):
    """Their number is known; depth, support, tensors and haplotypes are those of the same reads with unique names."""
    case = random_full_alignment_case(seed)
    ordered = [replace(read, flag=read.flag & REVERSE_FLAG, mapq=60) for read in case.reads]
    found = {}
    for names, distinct in (("unique", len(ordered)), ("shared", 5), ("same", 1)):
        reads = tuple(replace(read, name=f"r{i % distinct}") for i, read in enumerate(ordered))
        options = case.options | {"rows": rows}
        folder = tmp_path / names
        folder.mkdir()
        found[names] = core_full_alignment(folder, case.ref, reads, list(case.candidates), **options)
        result = found[names]
        assert (result.depth, result.alt_info) == (found["unique"].depth, found["unique"].alt_info)
        assert result.haplotypes == found["unique"].haplotypes
        np.testing.assert_array_equal(result.tensors, found["unique"].tensors)


def test_reads_that_share_a_name_are_counted(tmp_path):
    """After the filters: a filtered read, and one that lies beside the region, has no say."""
    reads = [matching(0, 60, flag=0x100), *(matching(start, start + 40) for start in (1, 2, 3)), *many(2)]
    bam, fasta = write_case(tmp_path, Case("A" * 400, (*reads, matching(300, 340)), 0, 400))
    with core.Source(bam, fasta) as source:
        found = core.full_alignment(source, "chr1", np.array([30]), ReadFeatureOptions(rows=55))
    assert (found.shared_names, len(found.haplotypes)) == (2, 5)


def test_reads_beside_the_windows_are_dropped(align):  # C.2
    reads = [matching(start, start + 10, name=f"r{start}") for start in (0, 23, 24, 25, 56, 57, 58, 80)]
    assert [read.pos for read in align("A" * 100, reads, [40]).kept] == [23, 24, 25, 56]
    assert [read.pos for read in align("A" * 100, reads, [3]).kept] == [0]


def test_no_reads_and_no_candidates(align):  # C.1, B10
    empty = align("A" * 60, [], [20, 30])
    assert (empty.depth, empty.alt_info, empty.kept) == ([0, 0], ["0-", "0-"], [])
    assert empty.tensors.shape == (2, 89, 33, 8)
    assert not empty.tensors.any()
    assert align("A" * 60, many(1), [], dwell=True).tensors.shape == (0, 89, 33, 9)


# -- rows, C.6 ---------------------------------------------------------------------------------------


def shown_rows(tensor):
    """(row, MAPQ code, haplotype code) of the rows that are not empty."""
    return [(i, int(row[16, MAPQ]), int(row[16, HAPLOTYPE])) for i, row in enumerate(tensor) if row.any()]


@pytest.mark.parametrize("n, rows, first", [(1, 4, 1), (2, 4, 1), (3, 4, 0), (2, 5, 1), (4, 4, 0), (0, 3, 0)])
def test_padding(align, n, rows, first):
    tensor = align("A" * 100, many(n), [50], rows=rows).tensors[0]
    assert [row for row, _, _ in shown_rows(tensor)] == list(range(first, first + n))


def test_candidates_near_the_contig_start_have_no_rows(align):  # K8
    result = align("C" + "A" * 99, many(3), [0, 15, 16])
    assert [len(shown_rows(tensor)) for tensor in result.tensors] == [0, 0, 3]
    assert result.alt_info == ["3-XA 3", "3-RA 3", "3-RA 3"]


def test_rows_are_the_reads_near_the_candidate(align):
    reads = [matching(start, end, name=f"{start}-{end}") for start, end in [(0, 34), (0, 35), (66, 80), (67, 80)]]
    result = align("A" * 100, reads, [20, 50])
    assert [read.name for read in result.kept] == ["0-34", "0-35", "66-80"]
    assert result.tensors[1][:, 0, REF].tolist() == [0] * 43 + [100] + [0] * 45
    assert result.tensors[1][:, 32, REF].tolist() == [0] * 44 + [100] + [0] * 44


def test_rows_by_haplotype_then_read_index(align):  # K18, K24
    snps = [PhasedSnp(60, "A", "C", 1, 1)]
    carrier = "A" * 60 + "C" + "A" * 39
    reads = [
        replace(read, seq=carrier if i in (0, 3) else read.seq, mapq=[20, 21, 18, 40, 15, 50][i])
        for i, read in enumerate(many(6))
    ]
    result = align("A" * 100, reads, [50], rows=6, snps=snps)
    assert result.haplotypes == [2, 1, 0, 2, 0, 1]
    assert shown_rows(result.tensors[0]) == [
        (0, 30, 60),
        (1, 25, 60),
        (2, 35, 30),
        (3, 83, 30),
        (4, 33, 90),
        (5, 66, 90),
    ]
    assert {hap for _, _, hap in shown_rows(align("A" * 100, reads, [50]).tensors[0])} == {60}


def test_deep_candidates_share_one_sequence_of_random_numbers(align):
    reads = [replace(read, mapq=i + 5) for i, read in enumerate(many(55))]
    reads += [matching(60, 100, name=f"s{i}", mapq=60) for i in range(3)]
    quality = {100 * mapq // 60: mapq - 5 for mapq in range(5, 60)}

    def shown(tensor):
        return [quality[mapq] for _, mapq, _ in shown_rows(tensor)]

    one, two = align("A" * 100, reads, [30, 40], rows=50).tensors
    random = glibc_random()
    assert shown(one) == sorted(shuffled(55, random)[:50])
    assert shown(two) == sorted(shuffled(55, random)[:50])
    assert shown(one) != shown(two)
    alone = align("A" * 100, reads, [40], rows=50).tensors[0]
    assert (alone == one).all()  # each call starts anew, and the reads are the same ones
    everything = align("A" * 100, reads, [30, 40], rows=55).tensors
    assert shown(everything[0]) == shown(everything[1]) == list(range(55))


def test_shallow_candidates_take_no_random_numbers(align):
    reads = [replace(read, mapq=i + 5) for i, read in enumerate(many(10))]
    deep = [replace(read, pos=200, name="d" + read.name) for read in reads] + [matching(200, 300, name="e")]
    (only,) = align("A" * 400, deep, [250], rows=10).tensors
    assert (align("A" * 400, reads + deep, [50, 250], rows=10).tensors[1] == only).all()


# -- counters, fractions and texts, C.5, C.8, C.9 ----------------------------------------------------


def hundred_reads():
    """The reads of C.12 at candidate 50, a T: ref and reads."""
    ref = "A" * 50 + "T" + "CCA" + "G" * 46

    def read(i, letter="T", inserted="", deleted=0):
        cigar = "51M" + (f"{len(inserted)}I" if inserted else "") + (f"{deleted}D" if deleted else "")
        tail = ref[51 + deleted :]
        return Read(0, f"{cigar}{len(tail)}M", ref[:50] + letter + inserted + tail, name=f"r{i}")

    special = [*["A"] * 29, "N"]
    reads = [read(i, letter) for i, letter in enumerate(special)]
    reads += [read(30, inserted="GG"), read(31, inserted="GG"), read(32, "G", "GG")]
    reads += [read(33 + i, deleted=3) for i in range(3)]
    return ref, reads + [read(i) for i in range(36, 100)]


def test_hundred_reads(align):  # C.12, K14, K23
    ref, reads = hundred_reads()
    result = align(ref, reads, [50], rows=100)
    assert result.alt_info == ["100-XA 30 XG 1 ITGG 3 DCCA 3 RT 63"]
    assert result.depth == [100]
    fractions = [30] * 30 + [3] * 6 + [0] * 64
    covered = result.tensors[0][:, :, REF] != 0
    assert (result.tensors[0][:, :, FRACTION] == covered * np.array(fractions)[:, None]).all()
    assert result.tensors[0][:, 16, ALT].tolist() == [100] * 30 + [-50] * 3 + [-100] * 3 + [0] * 64
    assert result.tensors[0][33, 16:21][:, [REF, FRACTION]].tolist() == [[50, 3], [0, 0], [0, 0], [0, 0], [75, 3]]


@pytest.mark.parametrize(
    "count, depth, fraction", [(29, 100, 29), (53, 100, 53), (1, 101, 0), (2, 3, 66), (99, 100, 99), (7, 7, 100)]
)
def test_fraction_is_multiplied_first(align, count, depth, fraction):  # K12
    reads = many(depth)
    reads[:count] = [replace(read, seq="A" * 50 + "C" + "A" * 49) for read in reads[:count]]
    tensor = align("A" * 100, reads, [50], rows=depth).tensors[0]
    assert (tensor[:count, :, FRACTION] == fraction).all()
    assert not tensor[count:, :, FRACTION].any()


def test_rows_without_an_alternative_at_the_centre_have_no_fraction(align):
    ref, reads = draw("""
        = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        > ..........C........................
        > .................*.................
        > .................                ..
        > ................ .................
        > .................C................
    """)
    tensor = align(ref, reads, [17], rows=5).tensors[0]
    assert tensor[:, :, FRACTION].max(axis=1).tolist() == [0, 0, 0, 0, 25]
    assert tensor[1, 16:18, ALT].tolist() == [0, 0]  # deleted at the centre
    assert tensor[1, 15, ALT] == -100


def test_fractions_of_indels_are_those_of_one_allele(align):
    ref, reads = draw("""
        = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        > ..................................
        +                 TT
        > ..................................
        +                 TT
        > ..................................
        +                 TG
        > .................***..............
        > .................**...............
        > ..................................
    """)
    result = align(ref, reads, [16], rows=6)
    assert result.alt_info == ["6-IATT 2 IATG 1 DAA 1 DAAA 1 RA 1"]
    assert result.tensors[0][:, 16, FRACTION].tolist() == [33, 33, 16, 16, 16, 0]
    # a deletion next to another starts on a deleted base, which the text tells and the row does not
    result = align("A" * 16 + "ACGTACGTA", [Read(0, "17M1D2D3M", "A" * 17 + "ACG")], [17], rows=1)
    assert result.alt_info == ["1-DGT 1"]
    assert not result.tensors[0][0, :, [ALT, FRACTION]][:, 17:].any()


def test_letters_that_are_no_base_share_the_count_of_a(align):  # K14, E-B8
    letters = "AAN=RC"
    reads = [replace(read, seq="A" * 50 + letters[i] + "A" * 49) for i, read in enumerate(many(6))]
    ref = "A" * 50 + "T" + "A" * 49
    result = align(ref, reads, [50], rows=6)
    assert result.alt_info == ["6-XA 5 XC 1"]
    assert result.tensors[0][:, 16, ALT].tolist() == [100, 100, 100, 0, 0, 25]
    assert result.tensors[0][:, 16, FRACTION].tolist() == [83] * 5 + [16]
    same = align("A" * 50 + "N" + "A" * 49, reads, [50], rows=6)
    assert same.alt_info == ["6-XC 1 RN 5"]
    assert same.tensors[0][:, 16, ALT].tolist() == [100, 100, 0, 0, 0, 25]
    assert same.tensors[0][:, 16, FRACTION].tolist() == [83, 83, 0, 83, 83, 16]


def test_indels_after_a_skip(align):
    """A read without a letter counts for no depth, but its indels do; of nothing they are everything."""
    reads = [Read(0, "40M11N2I10M", "A" * 52), Read(0, "40M11N1D10M", "A" * 50, name="b")]
    result = align("A" * 100, reads, [50], rows=2)
    assert result.alt_info == ["0-IAAA 1 DA 1"]
    assert result.tensors[0][:, 16].tolist() == [
        [100, -50, 100, 100, 0, 100, 100, 60],
        [100, -100, 100, 100, 0, 100, 0, 60],
    ]


def test_all_kept_reads_count(align):  # K22
    result = align("A" * 100, [*many(3), matching(50, 60, name="short")], [50], rows=1)
    assert result.alt_info == ["4-RA 4"]
    assert len(shown_rows(result.tensors[0])) == 1


@pytest.mark.parametrize(
    "ref, reads, limit, text",
    [
        ("ACGTacgt", [("1M2D1M", "AT"), ("1M5D1M", "AG"), ("2M", "AC")], 4, "3-DCG 1 RA 1"),
        ("ACGTacgt", [("1M2D1M", "AT"), ("1M2D1M", "AT")], 2, "2-DCG 2"),
        ("Acgtacgt", [("1M3D1M", "AA")] * 2 + [("2M", "AC")] * 9, 50, "11-Dcgt 2 RA 9"),  # K3
        ("acgt", [("1M2I1M", "AGGC"), ("1M1I", "AT"), ("1M", "T")], 2, "3-XT 1 IAGG 1 IAT 1"),
        ("acgt", [("1M3I", "AGGC"), ("1M", "A")], 2, "2-RA 1"),
        ("acgt", [("1M3I", "AGGC")], 2, "1-"),
        ("ACGT", [("1M1I1D1M", "ATG"), ("1M1D1I1M", "ATG"), ("1M", "A")], 50, "3-IAT 1 DC 2"),  # K19
        ("ACGT", [("1M1I2I1M", "ATGGC"), ("1M", "A")], 50, "2-IAT 1 IAGG 1"),
        ("ACGT", [("1M3D", "T"), ("1M", "A"), ("1M", "A")], 50, "3-XT 1 DCGT 1 RA 1"),  # K23
        ("NCGT", [("1M", "A"), ("1M", "C"), ("1M", "N"), ("1M", "R")], 50, "4-XC 1 RN 3"),
        ("RCGT", [("1M1I", "GA")], 50, "1-XG 1 IRA 1"),
        ("ACGT", [("1M1I", "A" + letter) for letter in "TGCA"], 50, "4-IAA 1 IAC 1 IAT 1 IAG 1"),  # K15
    ],
)
def test_alt_info(align, ref, reads, limit, text):  # C.9
    lead = 20
    aligned = [Read(lead, cigar, seq, name=f"r{i}") for i, (cigar, seq) in enumerate(reads)]
    assert align("T" * lead + ref, aligned, [lead], max_indel_length=limit).alt_info == [text]


# -- laws --------------------------------------------------------------------------------------------


@given(full_alignment_cases())
@settings(max_examples=examples(100), deadline=None)
def test_laws(case):
    result = case.reference()
    n = len(case.candidates)
    assert result.tensors.shape == (n, case.options["rows"], 33, 9 if case.options["dwell"] else 8)
    assert len(result.depth) == len(result.alt_info) == n
    assert len(result.kept) == len(result.haplotypes)
    assert [text.split("-")[0] for text in result.alt_info] == [str(depth) for depth in result.depth]
    for centre, tensor in zip(case.candidates, result.tensors, strict=True):
        near = sum(read.pos < centre + 17 and read.pos + reference.span(read) > centre - 16 for read in result.kept)
        covered = tensor[:, :, STRAND] != 0
        assert covered.any(axis=1).sum() <= (min(near, len(tensor)) if centre >= 16 else 0)
        assert (covered == (tensor[:, :, HAPLOTYPE] != 0)).all()
        assert not tensor[~covered][:, [REF, ALT, MAPQ, QUALITY, FRACTION]].any()
        order = [int(row.max()) for row in tensor[:, :, HAPLOTYPE] if row.any()]
        assert order == sorted(order, key=[60, 30, 90].index)
    unphased = replace(case, options=case.options | {"snps": None}).reference()
    assert unphased.alt_info == result.alt_info
    assert not any(unphased.haplotypes)


@pytest.mark.parametrize("seed", range(10))
def test_reads_of_the_region_are_all_it_takes(tmp_path, align, seed):
    """Cases survive files, and htslib's idea of a read in a region is that of the reference."""
    case = random_full_alignment_case(seed)
    bam = write_bam(tmp_path / "reads.bam", {"chr1": len(case.ref)}, {"chr1": list(case.reads)})
    assert read_bam(bam, "chr1", qualities=True) == list(case.reads)
    region = reference.region_of(list(case.candidates))
    inside = read_bam(bam, "chr1", region[0], min(region[1], len(case.ref)), qualities=True)
    result, expected = align(case.ref, inside, list(case.candidates), **case.options), case.reference()
    assert result.kept == expected.kept
    assert result.alt_info == expected.alt_info
    assert (result.tensors == expected.tensors).all()


def test_bulk_cases_reach_every_corner():
    bulk = [random_full_alignment_case(seed, most_reads=80) for seed in range(60)]
    assert bulk[:3] == [random_full_alignment_case(seed, most_reads=80) for seed in range(3)]
    results = [case.reference() for case in bulk]
    haplotypes = Counter(hap for result in results for hap in result.haplotypes)
    assert min(haplotypes[hap] for hap in (0, 1, 2)) > 100
    assert {len(result.kept) == len(case.reads) for case, result in zip(bulk, results, strict=True)} == {True, False}
    tensors = [tensor for result in results for tensor in result.tensors]
    full = [tensor for tensor in tensors if tensor[:, :, STRAND].any(axis=1).all()]
    assert len(full) > 100
    assert {-50, -100, 0, 100, 25, 75, 50} == {int(v) for tensor in tensors for v in np.unique(tensor[:, :, ALT])}
    dwell = [tensor[:, :, 8] for tensor in tensors if tensor.shape[2] == 9]
    assert min(cells.min() for cells in dwell) < -100  # wrapped
    assert max(text.count(" D") for result in results for text in result.alt_info) > 3
    assert any(case.candidates and case.candidates[0] < 16 for case in bulk)
    read_letters = {letter for case in bulk for read in case.reads for letter in read.seq}
    assert {"=", "N", "D", "R"} <= read_letters
    assert {op for case in bulk for read in case.reads for op, _ in parse_cigar(read.cigar)} == set("MIDNSHP=X")
