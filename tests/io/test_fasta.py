"""The FASTA index: reading, fitting, order of contigs."""

import gzip
import shutil

import pysam
import pytest
from tiny_genome import LENGTHS, write_fasta

from clair3.errors import InputError
from clair3.io.fasta import Contig, in_output_order, read_reference


def refused(path, message):
    with pytest.raises(InputError) as error:
        read_reference(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["ref.fa", "ref.fa.gz"])
def test_contigs_in_file_order(tmp_path, name):
    reference = read_reference(write_fasta(tmp_path / name))
    assert reference.contigs == tuple(Contig(*item) for item in LENGTHS.items())
    assert reference.index == tmp_path / f"{name}.fai"
    assert (reference.block_index is not None) == name.endswith(".gz")


def test_index_may_be_named_without_the_suffix_of_the_fasta(tmp_path):
    fasta = write_fasta(tmp_path / "ref.fa")
    shutil.move(tmp_path / "ref.fa.fai", tmp_path / "ref.fai")
    assert read_reference(fasta).index == tmp_path / "ref.fai"


@pytest.mark.parametrize(
    "text, length",
    [(">a\r\nACGT\r\nAC\r\n>b x\r\nACGT\r\n\r\n", 6), (">a\nAC", 2), (">  a\nAC\n\n>b\nA\n\n\n", 2)],
)
def test_odd_but_whole_fasta(tmp_path, text, length):
    (tmp_path / "ref.fa").write_bytes(text.encode())
    pysam.faidx(str(tmp_path / "ref.fa"))
    assert read_reference(tmp_path / "ref.fa").contigs[0] == Contig("a", length)


def test_missing_files(tmp_path):
    refused(tmp_path / "ref.fa", f"Reference file {tmp_path / 'ref.fa'} not found")
    (tmp_path / "ref.fa").write_text(">a\nAC\n")
    refused(tmp_path / "ref.fa", "Reference index fai file not found, please use 'samtools faidx")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no contigs"),
        ("chr1\t400\t16\t60\n", "row 1 is 'chr1\\t400\\t16\\t60', not five columns"),
        ("chr1\t400\t16\t60\t61\nchr2\tx\t1\t1\t1\n", "row 2 is"),
        ("chr1\t400\t16\t60\t61\nchr1\t400\t16\t60\t61\n", "row 2 has contig chr1 again; rename or remove one"),
        ("chr1\t400\t16\t0\t61\n", "has no line length"),
        ("chr1\t400\t16\t60\t61\n", "goes on after the last contig"),
        ("chr1\t420\t16\t60\t61\n", "chr1 is not where the index says"),
        ("chr1\t399\t16\t60\t61\n", "chr1 is not where the index says"),
        ("chrX\t400\t16\t60\t61\n", "chrX is not where the index says"),
        ("chr1\t400\t17\t60\t61\n", "chr1 is not where the index says"),
        (f"chr1\t400\t{10**17}\t60\t61\n", "chr1 is not where the index says"),
        (f"chr1\t{10**17}\t16\t1\t{10**17}\n", "chr1 is not where the index says"),
        (f"chr1\t{10**18}\t16\t60\t61\n", "not five columns"),
        ("chr1\t400000\t16\t60\t61\n", "chr1 is not where the index says"),
    ],
)
def test_stale_or_malformed_index(tmp_path, text, message):
    fasta = write_fasta(tmp_path / "ref.fa")
    (tmp_path / "ref.fa.fai").write_text(text)
    refused(fasta, message)


def test_fasta_that_changed_after_indexing(tmp_path):
    fasta = write_fasta(tmp_path / "ref.fa")
    fasta.write_text(fasta.read_text()[:-100])
    refused(fasta, "scaffold is not where the index says")


def test_compressed_fasta(tmp_path):
    fasta = write_fasta(tmp_path / "ref.fa.gz")
    gzi = tmp_path / "ref.fa.gz.gzi"
    whole = gzi.read_bytes()
    gzi.write_bytes(whole + b"1234")
    refused(fasta, "ref.fa.gz.gzi: damaged")
    gzi.unlink()
    refused(fasta, "ref.fa.gz.gzi not found")
    gzi.write_bytes(whole)
    (tmp_path / "ref.fa.gz.fai").write_text("chr1\t90000000\t16\t60\t61\n")
    refused(fasta, "does not fit the blocks")


def test_plain_gzip_is_refused(tmp_path):
    (tmp_path / "ref.fa.gz").write_bytes(gzip.compress(b">a\nAC\n"))
    (tmp_path / "ref.fa.gz.fai").write_text("a\t2\t3\t2\t3\n")
    plain = tmp_path / "ref.fa"
    advice = f'"gzip -dc {plain}.gz > {plain}" and "samtools faidx {plain}", or use bgzip'
    refused(tmp_path / "ref.fa.gz", advice)
    (tmp_path / "ref.fa.gz.fai").unlink()  # which samtools cannot make
    refused(tmp_path / "ref.fa.gz", advice)


def test_order_of_contigs():
    names = ["HLA:1", "Y", "chrX", "10", "chr2", "chrM", "chr10", "X", "2", "chr1_alt"]
    ordered = in_output_order([Contig(name, 1) for name in names])
    assert [c.name for c in ordered] == ["chr2", "chr10", "chrX", "2", "10", "X", "Y", "HLA:1", "chrM", "chr1_alt"]


def test_odd_files_end_in_a_sentence(shared_data, tmp_path):
    good = 0
    for fasta in [p for p in (shared_data / "robustness").glob("*/*") if p.suffix in (".fa", ".fasta", ".gz")]:
        try:
            good += len(read_reference(fasta).contigs) > 0
        except InputError as error:
            assert str(fasta) in str(error)
    assert good == 7
    shutil.copy(shared_data / "sim/small/ref.fa", tmp_path / "ref.fa")
    shutil.copy(shared_data / "robustness/made/ref_stale.fa.fai", tmp_path / "ref.fa.fai")
    refused(tmp_path / "ref.fa", "row 3 is 'chr2', not five columns")


def test_references_of_the_golden_runs(shared_data):
    assert [c.name for c in read_reference(shared_data / "sim/small/ref.fa").contigs] == [
        "chr20",
        "chr21",
        "chr22",
        "scaffold_1",
    ]
    assert read_reference(shared_data / "real/ref_chr20_0-10M.fa.gz").contigs == (Contig("chr20", 10_000_000),)
