"""The ledger: what a run starts with, and what it takes up."""

import errno
from pathlib import Path

import numpy as np
import pytest

from clair3.calling.tasks import Ledger, LedgerError
from clair3.features.chunks import Chunk
from clair3.io.vcf import make_uncalled_record

CHUNKS = [Chunk("chr1", index, 100 * index, 100 * index + 100) for index in range(3)]


def filled(folder: Path, digest: str = "inputs") -> Ledger:
    """A ledger with the results and the site counts of all chunks."""
    ledger = Ledger(folder, "pileup", digest, site_counts=True)
    assert ledger.start(CHUNKS, resume=False) == CHUNKS
    for chunk in CHUNKS:
        ledger.write(chunk, [make_uncalled_record("chr1", chunk.start, ".", "A")])
        ledger.write_site_counts(chunk, np.ones((2, 100), np.int32))
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
    assert list(ledger.read(CHUNKS[0])) == [make_uncalled_record("chr1", 0, ".", "A")]
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


@pytest.mark.parametrize("suffix", [".vcf", ".evidence"])
def test_damaged_files_are_made_again(tmp_path, suffix):
    """Each byte of head and body changed, cut or replaced: the task is to be done again, and nothing else is raised."""
    ledger = filled(tmp_path / "rows")
    path = ledger.path(CHUNKS[0]).with_suffix(suffix)
    good = path.read_bytes()
    flipped = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(good))]
    for content in [*flipped, b"", good[:-1], good[: len(good) // 2], good + b"x", bytes(100), b"[" * 5000 + b"\n"]:
        path.write_bytes(content)
        assert ledger.start(CHUNKS, resume=True) == [CHUNKS[0]]
    path.write_bytes(good)
    assert ledger.start(CHUNKS, resume=True) == []
