"""Identity of input files: every change that a run must notice is noticed, and nothing else is."""

import os
import random
from pathlib import Path

import pytest

from clair3.io.input_files import PIECE_SIZE, PIECES, InputChangedError, InputSnapshot, digest_pieces, file_identity


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "reads.bam"
    path.write_bytes(random.Random(1).randbytes(3 * PIECES * PIECE_SIZE + 17))
    return path


def rewrite(path: Path, at: int) -> None:
    """Another byte at a place of the file, whose inode, size and time stay."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns and path.stat().st_size == status.st_size


def swap(path: Path) -> None:
    """A copy of the same content and time takes the file's place."""
    status, copy = path.stat(), path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.replace(path)


CHANGES = {
    "head": lambda path: rewrite(path, 0),
    "tail": lambda path: rewrite(path, -1),
    "middle": lambda path: rewrite(path, -(-(path.stat().st_size - PIECE_SIZE) // (PIECES - 1)) * 7 + 5),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "touched": lambda path: os.utime(path, (1, 1)),
    "another inode": swap,
    "removed": Path.unlink,
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_noticed(path, what):
    snapshot = InputSnapshot([path, None])
    snapshot.check()
    CHANGES[what](path)
    how = "removed" if what == "removed" else "changed or replaced"
    with pytest.raises(InputChangedError, match=rf"^{path}: was {how} while it was in use; the calls may be wrong"):
        snapshot.check()


@pytest.mark.parametrize("what", [what for what in CHANGES if what not in ("another inode", "removed")])
def test_identity_of_another_file(path, what):
    before = file_identity(path)
    CHANGES[what](path)
    assert file_identity(path) != before


def test_identity_of_a_copy_that_was_put_back(path):
    before = file_identity(path)
    swap(path)
    assert file_identity(path) == before


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE - 1, PIECE_SIZE + 1, PIECES * PIECE_SIZE - 1, PIECES * PIECE_SIZE])
def test_small_files_are_read_as_a_whole(tmp_path, size):
    path = tmp_path / "ref.fa.fai"
    path.write_bytes(random.Random(size).randbytes(size))
    seen = {digest_pieces(path)}
    for at in random.Random(2).sample(range(size), min(size, 60)):
        rewrite(path, at)
        seen.add(digest_pieces(path))
    assert len(seen) == 1 + min(size, 60)


def test_pipes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "regions.bed")
    snapshot = InputSnapshot([tmp_path / "regions.bed", tmp_path / "absent"])
    snapshot.check()
