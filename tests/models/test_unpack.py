"""Unpacking archives of strangers."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clair3.errors import InputError
from clair3.models import fetch
from clair3.models.fetch import unpack

FILES = {"model/pileup.pt": b"p" * 5000, "model/full_alignment.pt": bytes(range(256)) * 40, "model/LICENCE": b"free"}


def member(name, content=b"", kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, target
    return info, content


def packed(*members) -> bytes:
    """A .tar.gz of members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


WHOLE = packed(*(member(name, content) for name, content in FILES.items()))


@pytest.fixture
def unpacked(tmp_path):
    """Unpack bytes into a folder inside a folder; the content of files by name."""

    def from_bytes(data):
        archive, folder = tmp_path / "model.tar.gz", tmp_path / "outer" / "inner"
        archive.write_bytes(data)
        folder.mkdir(parents=True)
        try:
            unpack(archive, folder)
        finally:
            assert {path.name for path in tmp_path.iterdir()} == {"model.tar.gz", "outer"}
            assert [path.name for path in (tmp_path / "outer").iterdir()] == ["inner"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return from_bytes


def test_round_trip(unpacked):
    assert unpacked(WHOLE) == FILES


def test_folders_and_odd_modes(unpacked, tmp_path):
    secret, content = member("./model/sub/file", b"1")
    secret.mode, secret.uid, secret.mtime = 0o4000, 12345, 2**40
    assert unpacked(packed(member("./model", kind=tarfile.DIRTYPE), (secret, content))) == {"model/sub/file": b"1"}
    assert (tmp_path / "outer/inner/model/sub/file").stat().st_mode & 0o7111 == 0


OUTSIDE, NO_FILE = "would lie outside of the model's folder", "is a link or device"


@pytest.mark.parametrize(
    "hostile, message",
    [
        (member("/tmp/evil", b"x"), OUTSIDE),
        (member("../evil", b"x"), OUTSIDE),
        (member("model/../../evil", b"x"), OUTSIDE),
        (member("..", kind=tarfile.DIRTYPE), OUTSIDE),
        (member("a\\..\\b", b"x"), OUTSIDE),
        (member("link", kind=tarfile.SYMTYPE, target="/etc"), NO_FILE),
        (member("model/link", kind=tarfile.SYMTYPE, target=".."), NO_FILE),
        (member("link", kind=tarfile.LNKTYPE, target="model/pileup.pt"), NO_FILE),
        (member("device", kind=tarfile.CHRTYPE), NO_FILE),
        (member("device", kind=tarfile.BLKTYPE), NO_FILE),
        (member("pipe", kind=tarfile.FIFOTYPE), NO_FILE),
        (member("model/pileup.pt", b"again"), "holds pileup.pt twice"),
        (member("model/pileup.pt/inner", b"x"), "holds .* twice"),
        (member("model", b"a file where a folder is"), "holds model twice"),
    ],
)
def test_hostile_members(unpacked, hostile, message):
    with pytest.raises(InputError, match=message):
        unpacked(packed(member("model/pileup.pt", b"p"), hostile))


def test_sparse_file(unpacked):
    """In a few hundred bytes three gigabytes of zeros, which the bound on what is read would not see."""
    body = b"1\n3221225472\n0\n"
    info, content = member("model/GNUSparseFile.0/pileup.pt", body + bytes(-len(body) % 512))
    sparse = {"major": "1", "minor": "0", "name": "model/pileup.pt", "realsize": "3221225472"}
    info.pax_headers = {f"GNU.sparse.{key}": value for key, value in sparse.items()}
    with pytest.raises(InputError, match="'model/pileup.pt' is a sparse file; it is not unpacked"):
        unpacked(packed((info, content)))


def test_small_archive_of_much(unpacked, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", 1_000_000)
    bomb = packed(member("zeros", bytes(10_000_000)))
    assert len(bomb) < 100_000
    with pytest.raises(InputError, match="unpacks to more than 1000000 bytes"):
        unpacked(bomb)


def test_header_that_asks_for_much(unpacked, monkeypatch):
    """An extended header may claim any length; what is read of it is bounded too."""
    monkeypatch.setattr(fetch, "MAX_BYTES", 1_000_000)
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    with pytest.raises(InputError):
        unpacked(gzip.compress(info.tobuf() + bytes(5_000_000)))


def test_too_many_members(unpacked):
    with pytest.raises(InputError, match="more than 1000 files"):
        unpacked(packed(*(member(f"f{number}") for number in range(fetch.MAX_MEMBERS + 1))))


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>404</html>", gzip.compress(b"no tar" * 200), gzip.compress(b"")[:-4]],
    ids=["empty", "page", "no tar", "cut"],
)
def test_not_an_archive(unpacked, data):
    with pytest.raises(InputError, match="not a whole .tar.gz archive"):
        unpacked(data)


def damaged(tmp_path_factory, data) -> dict | None:
    """The files of damaged bytes, or None when they are refused; any other exception is a failure."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "x.tar.gz").write_bytes(data)
    (folder / "out").mkdir()
    try:
        unpack(folder / "x.tar.gz", folder / "out")
    except InputError:
        return None
    finally:
        assert {path.name for path in folder.iterdir()} == {"x.tar.gz", "out"}
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder / "out")): path.read_bytes() for path in files}


@given(length=st.integers(0, len(WHOLE) - 1))
def test_cut_archives(tmp_path_factory, length):
    assert damaged(tmp_path_factory, WHOLE[:length]) is None


@given(bit=st.integers(0, 8 * len(WHOLE) - 1))
def test_flipped_bits(tmp_path_factory, bit):
    """Refused by gzip's checksum, or of no consequence (the time in its header)."""
    data = bytearray(WHOLE)
    data[bit // 8] ^= 1 << bit % 8
    assert damaged(tmp_path_factory, bytes(data)) in (None, FILES)


@given(bits=st.lists(st.integers(0, 8 * 512 - 1), min_size=1, max_size=8))
def test_odd_headers(tmp_path_factory, bits):
    """Behind a good gzip checksum too, nothing but our own error comes out, and nothing lands elsewhere."""
    data = bytearray(gzip.decompress(WHOLE))
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    damaged(tmp_path_factory, gzip.compress(bytes(data), compresslevel=1))
