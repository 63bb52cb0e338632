"""Rules and examples of spec/features.md A.11 and C.3, asked of the slow reference."""

import gzip

import pytest
from haplotag_reference import PhasedSnp, haplotype, levenshtein, meetings, read_phased_snps, site_allele, walk
from hypothesis import given
from hypothesis import strategies as st
from pileup_reference import Read, parse_cigar

REF = "ACGTTGCAAGTCCGATACTGGATCTAACGGTTCAGCTTGAACCGTATGCCATAGGCTACTTG"
SNP = 30  # REF[30] is T


def snp(pos=SNP, alt="C", hap=1, phase_set=1, ref=REF):
    return PhasedSnp(pos, ref[pos].upper(), alt, hap, phase_set)


def read_of(start, end, changes=None, mapq=60):
    """A read that matches REF[start:end] except for {position: letter}."""
    seq = "".join((changes or {}).get(pos, REF[pos]) for pos in range(start, end))
    return Read(start, f"{end - start}M", seq, mapq=mapq)


# -- whole reads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapq, phased", [(19, False), (20, True), (255, True)])
@pytest.mark.parametrize("letter, hap, expected", [("T", 1, 1), ("C", 1, 2), ("T", 2, 2), ("C", 2, 1), ("G", 1, 0)])
def test_carriers(mapq, phased, letter, hap, expected):
    read = read_of(5, 55, {SNP: letter}, mapq)
    assert haplotype(read, REF, [snp(hap=hap)]) == (expected if phased else 0)
    assert haplotype(read, REF, None) == 0
    assert haplotype(read, REF, []) == 0


def test_soft_masked_reference_hides_the_reads_with_ref():  # K4
    masked = REF.lower()
    assert haplotype(read_of(5, 55), masked, [snp()]) == 0
    assert haplotype(read_of(5, 55, {SNP: "C"}), masked, [snp()]) == 2
    assert haplotype(read_of(5, 55, {SNP: "C"}), masked, [snp(alt="c")]) == 0
    one = REF[:SNP] + REF[SNP].lower() + REF[SNP + 1 :]
    assert haplotype(read_of(5, 55), one, [snp()]) == 0
    assert haplotype(read_of(5, 55, {SNP: "C"}), one, [snp()]) == 2


@pytest.mark.parametrize(
    "start, end, allele",
    [
        (20, 41, 2),
        (21, 41, 2),  # left runs out: the right half decides alone
        (20, 40, 1),  # right runs out: ALT is appended to the left half, which is one letter too many
        (20, 31, 1),
        (30, 41, 2),
        (21, 40, None),  # both run out
        (30, 31, None),
        (31, 55, None),
        (5, 30, None),
    ],
)
def test_alt_carriers_that_end_near_the_snp(start, end, allele):  # K7
    read = read_of(start, end, {SNP: "C"})
    assert haplotype(read, REF, [snp()]) == (allele or 0)


@pytest.mark.parametrize(
    "votes, expected",
    [
        ({7: +1}, 1),
        ({7: -1}, 2),
        ({7: 0}, 0),
        ({7: +2, 8: -1}, 1),
        ({7: +1, 8: -2}, 2),
        ({7: +1, 8: -1}, 2),  # K18
        ({7: 0, 8: +1}, 1),
        ({7: +1, 8: +1, 9: -2}, 2),  # the largest set counts, not the sum
    ],
)
def test_decision(votes, expected):
    read = read_of(0, len(REF))
    ballots = [(phase_set, hap) for phase_set, n in votes.items() for hap in [1] * n or [2] * -n or [1, 2]]
    snps = [
        snp(pos, "A" if REF[pos] != "A" else "C", hap, phase_set) for pos, (phase_set, hap) in enumerate(ballots, 12)
    ]
    assert haplotype(read, REF, snps) == expected


# -- SNPs under a CIGAR ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cigar, positions, met",
    [
        ("5M", [99, 100, 104, 105], "100:0+0@0 104:0+4@4"),
        ("2S3=2X", [100, 103], "100:1+0@2 103:2+0@5"),
        ("2H2M2D2M", [102, 103, 104], "102:2+0@2 103:2+1@2 104:3+0@2"),
        ("2M3I2M", [102, 103], "102:1+0@2 103:2+1@6"),  # at the insertion, before it
        ("2M3I2M", [102, 102, 102], "102:1+0@2 102:2+0@5 102:2+0@5"),
        ("2M1I1P1I2M", [102, 102], "102:1+0@2 102:3+0@3"),
        ("2M2N2M", [102, 103, 104], "104:2+0@2"),
        ("2M2N1I2M", [103, 104], "104:2+0@2"),
        ("2I2M", [100], "100:0+0@0"),
        ("2M2I", [102], "102:1+0@2"),
        ("2M2S", [102], ""),
    ],
)
def test_meetings(cigar, positions, met):  # position:operation+consumed@anchor
    snps = [PhasedSnp(pos, "A", "C", 1, 1) for pos in positions]
    found = meetings(parse_cigar(cigar), 100, snps)
    assert " ".join(f"{m.snp.pos}:{m.op}+{m.consumed}@{m.anchor}" for m in found) == met


@pytest.mark.parametrize(
    "ops, expected",
    [
        ("10M", (10, 10)),
        ("99M", (10, 10)),
        ("9M", (0, 0)),
        ("4M2I6X", (10, 12)),
        ("4M2I3M", (0, 0)),
        ("4M3D6=", (10, 7)),
        ("4M8D6M", (10, 4)),
        ("4M2N6M", (10, 4)),
        ("3I2N", (10, 3)),
        ("4M2P6M", (10, 10)),
        ("6M5S9H4M", (10, 10)),
        ("10M2I", (10, 10)),
        ("0M0I9M1D", (10, 9)),
        ("", (0, 0)),
    ],
)
def test_walk(ops, expected):
    assert walk(parse_cigar(ops), 10) == expected


@pytest.mark.parametrize(
    "cigar, seq, alleles",
    [
        ("25M2I25M", REF[5:30] + "GG" + REF[30:55], [1]),
        ("25M2I25M", REF[5:30] + "GG" + "C" + REF[31:55], [2]),
        ("25M1I25M", REF[5:30] + "C" + REF[30:55], [None]),  # CT: one edit from T and from C
        ("24M3D23M", REF[5:29] + REF[32:55], [None]),
        ("25M1D24M", REF[5:30] + REF[31:55], [None]),
        ("20M30N1M2I24M", REF[5:25] + "C" + "GG" + REF[31:55], []),
    ],
)
def test_alleles_beside_indels(cigar, seq, alleles):
    ops = parse_cigar(cigar)
    assert [site_allele(seq, ops, met, REF) for met in meetings(ops, 5, [snp()])] == alleles


def test_windows_are_cut_at_the_ends_of_the_contig():
    """A skip claims all bases it is asked for, also where the contig has none."""
    ops = parse_cigar("2N3M1N")
    (met,) = meetings(ops, 0, [snp(3)])
    assert walk([("M", 1), ("N", 2)], 10) == (10, 1)
    assert site_allele(REF[2:5], ops, met, REF[:6]) == 1
    assert site_allele(REF[2] + "C" + REF[4], ops, met, REF[:6]) == 2
    assert (
        site_allele("GTT", ops, met, "ACG" + "TTGGGGGGGGGGG") == 1
    )  # without ACG the window would offer no G to delete


# -- edit distance -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "a, b, distance",
    [
        ("", "", 0),
        ("", "ACG", 3),
        ("ACGT", "ACGT", 0),
        ("ACGT", "acgt", 4),
        ("KITTEN", "SITTING", 3),
        ("AACG", "ACGA", 2),
    ],
)
def test_levenshtein(a, b, distance):
    assert levenshtein(a, b) == levenshtein(b, a) == distance


letters = st.text("ACgt", max_size=8)


@given(letters, letters, letters)
def test_distance_is_a_metric(a, b, c):
    assert (levenshtein(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= levenshtein(a, b) <= max(len(a), len(b))
    assert levenshtein(a, c) <= levenshtein(a, b) + levenshtein(b, c)
    assert levenshtein(a + c, b + c) == levenshtein(a, b)


# -- phased VCF --------------------------------------------------------------------------------------

ROWS = [
    ("chr1", 5, "A", "G", "0|1:20:5"),
    ("chr1", 9, "A", "G", "0/1:20:5"),
    ("chr1", 11, "a", "*", "1|0:20:7"),
    ("chr1", 12, "A", "G", "1|1:-3"),
    ("chr1", 13, "AT", "G", "0|1:20:5"),  # E-B15, and so the next ones
    ("chr1", 14, "A", "G,T", "0|1:20:5"),
    ("chr1", 15, "A", "G", "0|1:20:."),
    ("chr1", 16, "A", "G", "0|1"),
    ("chr1", 17, "A", "G", "1/1:0|1"),  # the bar is not in GT
    ("chr2", 18, "A", "G", "0|1:20:5"),
    ("chr1", 19, "A", "G", "1|2:20:0x5:6"),
    ("chr1", 20, "A", "G", "0|2:8"),
]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_phased_vcf(tmp_path, compress):  # A.11
    columns = [
        (c, str(pos1), ".", ref, alt, "9", "PASS", ".", "GT:GQ:PS", sample) for c, pos1, ref, alt, sample in ROWS
    ]
    text = "##fileformat=VCFv4.2\n#CHROM\n" + "".join("\t".join(row) + "\n" for row in columns)
    path = tmp_path / "phased.vcf.gz"
    path.write_bytes(compress(text.encode()))
    assert read_phased_snps(path, "chr1") == [
        PhasedSnp(4, "A", "G", 1, 5),
        PhasedSnp(10, "a", "*", 2, 7),
        PhasedSnp(11, "A", "G", 2, -3),
        PhasedSnp(18, "A", "G", 2, 6),
        PhasedSnp(19, "A", "G", 2, 8),
    ]
    assert read_phased_snps(path, "chr3") == []
