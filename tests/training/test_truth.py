"""GetTruth, SplitExtendBed and what reads their files."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clair3.cli.main import main as clair3
from clair3.errors import InputError
from clair3.io.bed import extend_bed, intersection, is_within, merge, read_extended, read_intervals
from clair3.training.data.truth import Truth, iter_simplified, read_truth

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"


def write_vcf(path, *rows: str):
    """Rows as `contig pos ref alt GT`."""
    lines = ("\t".join([c, p, ".", r, a, ".", ".", ".", "GT", g]) for c, p, r, a, g in map(str.split, rows))
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def test_golden_get_truth(shared_data, capsys):
    """v2.0.2's lines without REF-only and symbolic records, and with the contig of the missing variants mended."""
    folder = shared_data / "golden" / "get_truth"
    expected = []
    for line in (folder / "output.upstream.txt").read_text().splitlines():
        _, pos, _, alt, *genotype = line.split()
        if genotype == ["-1", "-1"]:
            expected.append(f"chr1 {pos} None None -1 -1")
        elif genotype != ["0", "0"] and not alt.startswith("<"):
            expected.append(line)
    options = ["--ctgName=chr1", f"--truth_vcf_fn={folder / 'full_truth.vcf'}"]
    clair3(["GetTruth", f"--vcf_fn={folder / 'input.vcf'}", *options])
    printed = capsys.readouterr()
    assert printed.out.splitlines() == expected
    assert "chr1:200 A C,G,* is left out" in printed.err  # v2.0.2 says so among the lines


def test_the_file_is_compressed_and_the_same_each_time(tmp_path):
    vcf = write_vcf(tmp_path / "vcf", "chr1 5 A C 0/1", "chr2 6 G T 1/1")
    for name in ("first", "second"):
        clair3(["GetTruth", f"--vcf_fn={vcf}", f"--var_fn={tmp_path / name}"])
    assert gzip.decompress((tmp_path / "first").read_bytes()) == b"chr1 5 A C 0 1\nchr2 6 G T 1 1\n"
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize(
    "genotype, numbers", [("1", "1 1"), ("1|0", "0 1"), ("2/1", "1 2"), ("./2", "0 2"), ("0/0", None), ("0", None)]
)
def test_genotypes(tmp_path, genotype, numbers):
    vcf = write_vcf(tmp_path / "vcf", f"chr1 5 A C,G {genotype}")
    assert list(iter_simplified(vcf)) == ([f"chr1 5 A C,G {numbers}"] if numbers else [])


def test_ranges_contigs_and_missing_variants(tmp_path):
    rows = ["chr1 5 A C 0/1", "chr1 6 A C 0/1", "chr1 7 A C 0/1", "chr2 6 A T 1/1"]
    vcf = write_vcf(tmp_path / "vcf", *rows)
    more = write_vcf(tmp_path / "all", *rows, "chr2 9 A T 1/1", "chr1 3 A T 0/0")
    assert list(iter_simplified(vcf, "chr1", 6, 7)) == ["chr1 6 A C 0 1", "chr1 7 A C 0 1"]
    missing = ["chr1 3 None None -1 -1", "chr2 9 None None -1 -1"]
    assert list(iter_simplified(vcf, complete=more))[4:] == missing
    assert list(iter_simplified(vcf, "chr2", complete=more)) == ["chr2 6 A T 1 1", missing[1]]


@pytest.mark.parametrize(
    "row, words",
    [
        ("chr1\t5\t.\tA\tC\t.\t.\t.\n", "row 3 has no genotype; expected a sample column, GT first in it"),
        ("chr1\t5\t.\tA\tC\t.\t.\t.\tDP\t3\n", "row 3 has no genotype"),
        ("chr1\t5\t.\tA\tC\t.\t.\t.\tGT\tx/1\n", "row 3 has the genotype 'x/1'"),
        ("chr1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1/1\n", "expected one or two allele numbers"),
        ("chr1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/2\n", "row 3 has the genotype '0/2', but ALT is 'C'"),
        ("chr1\tfive\t.\tA\tC\n", "not a VCF record"),
        ("1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1\n", "has no contig chr1 but 1; rename it or use files of one assembly"),
    ],
)
def test_truths_that_cannot_be_used(tmp_path, capsys, row, words):
    (tmp_path / "vcf").write_text(HEADER + row)
    with pytest.raises(SystemExit):
        clair3(["GetTruth", f"--vcf_fn={tmp_path / 'vcf'}", "--ctgName=chr1", f"--var_fn={tmp_path / 'out'}"])
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("[ERROR] ") and words in error
    assert [path.name for path in tmp_path.iterdir()] == ["vcf"]


def test_a_contig_without_truth_is_ordinary(tmp_path, caplog):
    vcf = write_vcf(tmp_path / "vcf", "chr1 5 A C 0/1")
    assert list(iter_simplified(vcf, "chrY")) == [] and "nothing on contig chrY" in caplog.text


# Reading it back


def test_truth_files(tmp_path):
    lines = ["chr1 5 A C 0 1", "chr1 6 A C,G 0 2", "chr1 7 A <DEL> 0 1", "chr1 8 A C 0 0", "chr2 9 A C 0 1"]
    lines += ["chr1 10 None None -1 -1", "chr1 12 a g 1 1", "chr1 12 AT A 1 1", "chr1 4 None None -1 -1"]
    (tmp_path / "var").write_text("\n".join(lines) + "\n")
    found = read_truth(tmp_path / "var", "chr1")
    assert found.missing.tolist() == [3, 9]
    assert found.variants == {
        4: Truth("A", ("C",), (0, 1)),
        5: Truth("A", ("G",), (0, 1)),
        11: Truth("AT", ("A",), (1, 1)),
    }


@pytest.mark.parametrize(
    "text, words",
    [
        ("chr1 5 A C 0\n", "row 1 is 'chr1 5 A C 0', not contig, position, ref, alt and two allele numbers"),
        ("chr1 x A C 0 1\n", "make the file with GetTruth"),
        ("chr1 5 A C 0 2\n", "genotype 0/2 with 1 alternative alleles"),
        ("chr1 5 A C 0 x\n", "row 1"),
        ("chr7 5 A C 0 1\n", "true variants of chr7 but none of chr1"),
        ("1 5 A C 0 1\n", "has no contig chr1 but 1"),
        (HEADER, "row 1"),
    ],
)
def test_truth_files_that_cannot_be_used(tmp_path, text, words):
    (tmp_path / "var").write_text(text)
    with pytest.raises(InputError, match=words):
        read_truth(tmp_path / "var", "chr1")


def test_an_empty_truth_is_ordinary(tmp_path, caplog):
    (tmp_path / "var").write_bytes(gzip.compress(b""))
    assert read_truth(tmp_path / "var", "chr1").variants == {} and "every candidate counts as reference" in caplog.text


# Confident regions


def test_widened_intervals(tmp_path):
    """The example of spec/training.md A.4."""
    rows = [(100, 200), (250, 300), (1000, 1100), (1120, 1130), (5000, 5100)]
    (tmp_path / "bed").write_text("".join(f"chr1\t{start}\t{end}\n" for start, end in rows) + "chr2 7 9\n")
    options = [f"--bed_fn={tmp_path / 'bed'}", f"--output_fn={tmp_path / 'out'}"]
    clair3(["SplitExtendBed", *options, "--ctgName=chr1"])
    assert (tmp_path / "out").read_text() == "chr1 67 333\nchr1 967 1163\nchr1 4967 5133\n"
    clair3(["SplitExtendBed", *options, "--expand_region_size=10"])
    assert (tmp_path / "out").read_text().splitlines()[1:3] == ["chr1 240 310", "chr1 990 1140"]
    assert (tmp_path / "out").read_text().splitlines()[-1] == "chr2 0 19"


def test_intervals_in_a_range_in_any_order(tmp_path):
    (tmp_path / "bed").write_text("chr1 500 600\nchr1 100 200\nchr1 110 120\n")
    assert extend_bed(tmp_path / "bed", 5, "chr1") == ["chr1 95 205", "chr1 495 605"]  # one within another
    assert extend_bed(tmp_path / "bed", 5, "chr1", 1, 100) == []
    assert extend_bed(tmp_path / "bed", 5, "chr1", 1, 101) == ["chr1 95 205"]
    assert extend_bed(tmp_path / "bed", 5, "chr1", 600, 9999) == ["chr1 495 605"]
    assert extend_bed(tmp_path / "bed", 5, "chr1", 601) == []
    assert extend_bed(tmp_path / "bed", 5, "chr3") == []
    with pytest.raises(InputError, match="has no contig 1 but chr1"):
        extend_bed(tmp_path / "bed", 5, "1")


def test_extended_beds_allow_one_base_before(tmp_path):
    (tmp_path / "bed").write_text("chr1 100 200\nchr1 0 10\n")
    assert read_extended(tmp_path / "bed", "chr1").tolist() == [[0, 10], [99, 200]]
    assert read_intervals(tmp_path / "bed", "chr1").tolist() == [[0, 10], [100, 200]]


PIECES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=6).map(
    lambda pairs: merge(np.array([(start, start + size) for start, size in pairs], np.int64).reshape(-1, 2))
)


@given(PIECES, PIECES)
def test_intersection_has_the_positions_of_both(first, second):
    pos = np.arange(50)
    both = intersection(first, second)
    assert (is_within(pos, both) == (is_within(pos, first) & is_within(pos, second))).all()
    assert (merge(both) == both).all()
    inside = {p for start, end in first.tolist() for p in range(start, end)}
    assert set(pos[is_within(pos, first)].tolist()) == inside
