"""Damaged alignments through the C core: an error that names the file, never a crash, a hang or a short result."""

import shutil

import numpy as np
import pysam
import pytest
from tiny_genome import write_fasta, write_reads

from clair3 import core
from clair3.config import CandidateOptions, ReadFeatureOptions
from clair3.core.phasing import haplotypes, phase_alleles
from clair3.errors import CoreError
from clair3.features.full_alignment import iter_realigned
from clair3.records import PhasedSnps, Region

EVERYWHERE = np.array([[0, 2**40]])


def pile_up(folder, bam="reads.bam"):
    with core.Source(folder / bam, folder / "ref.fa") as source:
        return core.pileup(source, Region("chr20", 0, 60_000), CandidateOptions(), EVERYWHERE)


def pile_up_short_reads(folder):
    with core.Source(folder / "reads.bam", folder / "ref.fa") as source:
        return core.pileup(source, Region("chr20", 0, 60_000), CandidateOptions(short_read_rules=True), EVERYWHERE)


def tag(folder):
    pos = np.arange(500, 60_000, 500)
    snps = PhasedSnps(pos, None, np.full(len(pos), ord("A")), np.ones(len(pos)), np.ones(len(pos)))
    with core.Source(folder / "reads.bam", folder / "ref.fa") as source:
        return haplotypes(source, "chr20", snps)


def realign(folder):
    with core.Source(folder / "reads.bam", folder / "ref.fa") as source:
        return list(iter_realigned(source, "chr20", np.arange(500, 60_000, 500), ReadFeatureOptions(rows=55)))


WAYS = pytest.mark.parametrize("use", [pile_up, pile_up_short_reads, tag, realign])
"""Everything that reads all reads of a contig."""


@pytest.fixture
def reads(sample_reads, tmp_path):
    """A copy of the sample's reads that may be damaged."""
    for name in ("reads.bam", "reads.bam.bai", "ref.fa", "ref.fa.fai"):
        shutil.copy(sample_reads / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.999])
def test_truncated(reads, share):
    """Cut anywhere, the end-of-file mark is missing."""
    data = (reads / "reads.bam").read_bytes()
    (reads / "reads.bam").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CoreError, match="reads.bam"):
        pile_up(reads)


@WAYS
@pytest.mark.parametrize("at", [0.1, 0.25, 0.5, 0.7])
def test_broken_block(reads, at, use):
    """Zeros inside a block: its checksum does not fit; the reads before it are no excuse."""
    data = bytearray((reads / "reads.bam").read_bytes())
    start = int(len(data) * at)
    data[start : start + 64] = bytes(64)
    (reads / "reads.bam").write_bytes(data)
    with pytest.raises(CoreError, match="unreadable record"):
        use(reads)


def test_random_damage(reads):
    """Any flipped byte is noticed, or changes nothing (a header comment, padding)."""
    whole = pile_up(reads)
    data = (reads / "reads.bam").read_bytes()
    rng = np.random.default_rng(5)
    noticed = 0
    for at in rng.integers(0, len(data), 60):
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(rng.integers(8))
        (reads / "reads.bam").write_bytes(damaged)
        try:
            found = pile_up(reads)
        except CoreError:
            noticed += 1
            continue
        np.testing.assert_array_equal(found.pos, whole.pos)
        np.testing.assert_array_equal(found.columns(), whole.columns())
    assert noticed > 30


def test_cram_equals_bam(reads):
    cram = reads / "reads.cram"
    pysam.view("-C", "-T", str(reads / "ref.fa"), "-o", str(cram), str(reads / "reads.bam"), catch_stdout=False)
    pysam.index(str(cram))
    whole, same = pile_up(reads), pile_up(reads, "reads.cram")
    np.testing.assert_array_equal(same.columns(), whole.columns())
    assert len(whole) == len(same) > 0


def test_cram_of_another_reference(reads, monkeypatch):
    """CRAM stores differences from its reference: with another one it must not decode quietly."""
    monkeypatch.setenv("REF_PATH", "/dev/null")
    cram = reads / "reads.cram"
    pysam.view("-C", "-T", str(reads / "ref.fa"), "-o", str(cram), str(reads / "reads.bam"), catch_stdout=False)
    pysam.index(str(cram))
    text = (reads / "ref.fa").read_text()
    (reads / "ref.fa").write_text(text[:7] + text[7:].translate(str.maketrans("ACGT", "CATG")))
    with pytest.raises(CoreError, match="reads.cram"):
        pile_up(reads, "reads.cram")


def test_no_such_files(tmp_path, reads):
    with pytest.raises(CoreError, match="cannot be opened"):
        core.Source(tmp_path / "none.bam", reads / "ref.fa")
    (tmp_path / "reads.bam.bai").unlink()
    with pytest.raises(CoreError, match="no usable index"):
        core.Source(tmp_path / "reads.bam", reads / "ref.fa")


SNPS = PhasedSnps(np.array([20, 130]), None, np.full(2, ord("A")), np.ones(2), np.ones(2))


@pytest.mark.parametrize(
    "read, where",
    [
        (lambda source: core.pileup(source, Region("chr1", 0, 400), CandidateOptions(), EVERYWHERE), "chr1:1-400"),
        (lambda source: core.full_alignment(source, "chr1", SNPS.pos, ReadFeatureOptions(55)), "chr1:21-131"),
        (lambda source: haplotypes(source, "chr1", SNPS), "chr1"),
        (lambda source: phase_alleles(source, "chr1", SNPS.pos, SNPS.alt), "chr1"),
    ],
    ids=["pileup", "full_alignment", "haplotypes", "phase_alleles"],
)
def test_unsorted_reads(tmp_path, read, where):
    """Beside the index of a sorted copy; reads that come too late would be lost in silence."""
    write_fasta(tmp_path / "ref.fa")
    write_reads(tmp_path / "sorted.bam", [("chr1", 10), ("chr1", 60), ("chr1", 110)])
    write_reads(tmp_path / "x.bam", [("chr1", 10), ("chr1", 110), ("chr1", 60)], index=False)
    shutil.copy(tmp_path / "sorted.bam.bai", tmp_path / "x.bam.bai")
    with (
        core.Source(tmp_path / "x.bam", tmp_path / "ref.fa") as source,
        pytest.raises(CoreError, match=rf'x.bam {where}: is not sorted by coordinate; run "samtools sort"'),
    ):
        read(source)


@pytest.fixture
def spoilt(tmp_path):
    """A folder with a bgzip FASTA that is damaged in its middle."""
    fasta = write_fasta(tmp_path / "ref.fa.gz", {"chr1": 200_000})
    data = bytearray(fasta.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 30] = bytes(30)
    fasta.write_bytes(data)
    return tmp_path


@pytest.mark.parametrize(
    "starts, message",
    [
        ([10, 60, 110], r"ref.fa.gz chr1:1-200000: the reference cannot be read here: it is damaged"),
        ([10, 110, 60], r"x.bam chr1:1-200000: is not sorted"),
        ([], r"ref.fa.gz chr1:1-200000: the reference cannot be read here: it is damaged"),
    ],
)
def test_a_damaged_reference_is_not_blamed_on_the_reads(spoilt, starts, message):
    """The reads come first: when both are wrong, their order is told. Without reads the reference is looked at, too."""
    lengths = {"chr1": 200_000}
    write_reads(spoilt / "sorted.bam", [("chr1", start) for start in sorted(starts)], lengths)
    write_reads(spoilt / "x.bam", [("chr1", start) for start in starts], lengths, index=False)
    shutil.copy(spoilt / "sorted.bam.bai", spoilt / "x.bam.bai")
    with core.Source(spoilt / "x.bam", spoilt / "ref.fa.gz") as source, pytest.raises(CoreError, match=message):
        core.pileup(source, Region("chr1", 0, 200_000), CandidateOptions(), EVERYWHERE)


def test_cram_that_names_no_reference(shared_data):
    """Without UR tags only --ref_fn can say what the CRAM is to be decoded with; it gives what the BAM gives."""
    folder = shared_data / "sim" / "small"
    with pysam.AlignmentFile(str(folder / "ont.chr21.cram"), check_sq=False) as file:
        assert not any("UR" in contig for contig in file.header.to_dict()["SQ"])
    found = []
    for name in ("ont.chr21.cram", "ont.bam"):
        with core.Source(folder / name, folder / "ref.fa") as source:
            found.append(core.pileup(source, Region("chr21", 0, 40_000), CandidateOptions(), EVERYWHERE))
    cram, bam = found
    np.testing.assert_array_equal(cram.columns(), bam.columns())
    np.testing.assert_array_equal(cram.pos, bam.pos)
    assert len(cram) > 100 and cram.support.pool == bam.support.pool
