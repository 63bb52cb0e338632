"""Damaged alignments through the C core: an error that names the file, never a crash, a hang or a short result."""

import shutil

import numpy as np
import pysam
import pytest

from clair3 import core
from preprocess.candidates import CandidateRule
from shared.errors import CoreError
from shared.records import Region

EVERYWHERE = np.array([[0, 2**40]])


def pile_up(folder, bam="reads.bam"):
    with core.Source(folder / bam, folder / "ref.fa") as source:
        return core.pileup(source, Region("chr20", 0, 60_000), CandidateRule(), EVERYWHERE)


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


@pytest.mark.parametrize("at", [0.1, 0.25, 0.5, 0.7])
def test_broken_block(reads, at):
    """Zeros inside a block: its checksum does not fit; the reads before it are no excuse."""
    data = bytearray((reads / "reads.bam").read_bytes())
    start = int(len(data) * at)
    data[start : start + 64] = bytes(64)
    (reads / "reads.bam").write_bytes(data)
    with pytest.raises(CoreError, match="unreadable record"):
        pile_up(reads)


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
