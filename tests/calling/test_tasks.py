"""The ledger: what a run starts with, and what it takes up."""

import errno
from pathlib import Path

import numpy as np
import pytest

from clair3.calling.tasks import Ledger, LedgerError
from clair3.features.chunks import Chunk

CHUNKS = [Chunk("chr1", index, 100 * index, 100 * index + 100) for index in range(3)]


def filled(folder: Path, digest: str = "inputs") -> Ledger:
    """A ledger with the rows and the gVCF evidence of all chunks."""
    ledger = Ledger(folder, "pileup", digest, evidence=True)
    assert ledger.start(CHUNKS, resume=False) == CHUNKS
    for chunk in CHUNKS:
        ledger.write(chunk, [f"chr1\t{chunk.start + 1}"])
        ledger.write_evidence(chunk, np.ones((2, 100), np.int32))
    return ledger


def test_a_new_run_starts_with_an_empty_folder(tmp_path):
    """Rows of an earlier run are never taken up by accident, also those that would fit and those of other chunks."""
    ledger = filled(tmp_path / "rows")
    (tmp_path / "rows" / "pileup_chr9_1.vcf").write_text("of another plan")
    (tmp_path / "rows" / "more").mkdir()
    assert ledger.start(CHUNKS, resume=False) == CHUNKS
    assert list((tmp_path / "rows").iterdir()) == []
    with pytest.raises(LedgerError, match="the result of chr1:1-100 is missing; run again"):
        ledger.read(CHUNKS[0])


def test_resume_keeps_what_fits(tmp_path):
    ledger = filled(tmp_path / "rows")
    ledger.path(CHUNKS[1]).unlink()
    assert ledger.start(CHUNKS, resume=True) == [CHUNKS[1]]
    assert ledger.read(CHUNKS[0]) == ["chr1\t1"]
    ledger.path(CHUNKS[2]).with_suffix(".evidence").unlink()
    assert ledger.start(CHUNKS, resume=True) == CHUNKS[1:]
    assert Ledger(tmp_path / "rows", "pileup", "other inputs").start(CHUNKS, resume=True) == CHUNKS


def test_resume_with_nothing_there(tmp_path):
    assert Ledger(tmp_path / "deep" / "rows", "pileup", "").start(CHUNKS, resume=True) == CHUNKS
    assert (tmp_path / "deep" / "rows").is_dir()


@pytest.mark.parametrize(
    "number, ending",
    [*((number, "; is the disk full?") for number in (errno.ENOSPC, errno.EDQUOT, None)), (errno.EACCES, "")],
)
def test_a_refused_row_says_why(tmp_path, monkeypatch, number, ending):
    """The disk is suspected only when it says so, or no reason is given."""
    ledger = filled(tmp_path / "rows")

    def refuse(self, data):
        raise OSError(number, "no")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(LedgerError) as error:
        ledger.write(CHUNKS[0], [])
    assert str(error.value) == f"{ledger.path(CHUNKS[0])}: cannot be written (no){ending}"
