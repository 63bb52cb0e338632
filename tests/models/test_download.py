"""Downloads: whole or absent, whatever the server and the connection do."""

import hashlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_server import serving

from clair3.errors import InputError
from clair3.io.atomic import sha256_of
from clair3.models import fetch as fetch_module
from clair3.models.fetch import download

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = "/models/x/pileup.pt"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fetch_module, "RETRY_SECONDS", 0)
    monkeypatch.setattr(fetch_module, "TIMEOUT_SECONDS", 5)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def running():
    with serving() as server:
        yield server


@pytest.fixture
def server(running):
    """The server with one file and no failures."""
    running.files, running.moved, running.failures, running.asked = {FILE: CONTENT}, {}, {}, []
    running.ranges = running.versions = True
    return running


@pytest.fixture
def fetched(server, tmp_path):
    """Fetch a path with failures on the way; the content, when nothing else was left in the folder."""

    def fetch(*failures, digest=None, path=FILE):
        server.failures[path] = list(failures)
        download(server.address + path, tmp_path / "file", digest)
        assert [found.name for found in tmp_path.iterdir()] == ["file"]
        return (tmp_path / "file").read_bytes()

    return fetch


def test_whole_file(server, fetched):
    assert fetched(digest=DIGEST) == CONTENT
    assert server.asked == [(FILE, None)]


@pytest.mark.parametrize("failure", [("cut", 1000), "hang up", 503, 429, "broken chunks", ("cut", 0)])
@pytest.mark.parametrize("digest", [None, DIGEST])
def test_one_failure_is_no_failure(server, fetched, failure, digest, caplog):
    assert fetched(failure, digest=digest) == CONTENT
    assert len(server.asked) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "trying again" in caplog.text


def test_the_rest_is_asked_for(server, fetched):
    assert fetched(("cut", 1000), ("cut", 500)) == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-", "bytes=1500-"]


def test_server_without_range(server, fetched):
    server.ranges = False
    assert fetched(("cut", 1000)) == CONTENT


@pytest.mark.parametrize("digest, wanted", [(None, None), (DIGEST, "bytes=1000-")])
def test_server_without_versions(server, fetched, digest, wanted):
    """Pieces of what may be two versions are put together only when a digest tells that they fit."""
    server.versions = False
    assert fetched(("cut", 1000), digest=digest) == CONTENT
    assert server.asked[1] == (FILE, wanted)


def test_another_program_run_goes_on(server, tmp_path, fetched, monkeypatch):
    monkeypatch.setattr(fetch_module, "ATTEMPTS", 1)
    with pytest.raises(InputError, match=r"ended after 1000 of 256000 bytes; .*kept, the same command goes on"):
        fetched(("cut", 1000))
    assert not (tmp_path / "file").exists()
    assert fetched() == CONTENT
    assert server.asked[-1] == (FILE, "bytes=1000-")


def test_the_file_changed_meanwhile(server, tmp_path, fetched, monkeypatch):
    monkeypatch.setattr(fetch_module, "ATTEMPTS", 1)
    with pytest.raises(InputError):
        fetched(("cut", 1000))
    server.files[FILE] = CONTENT[::-1]
    assert fetched() == CONTENT[::-1]


def test_a_first_piece_of_another_file(server, tmp_path, fetched):
    server.versions = False
    (tmp_path / "file.part").write_bytes(b"other")
    assert fetched(digest=DIGEST) == CONTENT
    assert [wanted for _, wanted in server.asked] == ["bytes=5-", None]


def test_a_complete_piece_is_fetched_again(server, tmp_path, fetched):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert fetched(digest=DIGEST) == CONTENT
    assert [wanted for _, wanted in server.asked] == [f"bytes={len(CONTENT)}-", None]


def test_a_range_that_was_not_asked_for(server, fetched):
    assert fetched(("cut", 1000), "elsewhere") == CONTENT


def test_redirection(server, fetched):
    server.moved = {"/a": "/b", "/b": f"{server.address}{FILE}"}
    assert fetched(path="/a", digest=DIGEST) == CONTENT


@given(cuts=st.lists(st.one_of(st.tuples(st.just("cut"), st.integers(0, len(CONTENT))), st.just(500)), max_size=4))
def test_any_four_failures_change_nothing(running, tmp_path_factory, cuts):
    running.files, running.failures, running.ranges, running.versions = {FILE: CONTENT}, {FILE: list(cuts)}, True, True
    path = tmp_path_factory.mktemp("download") / "file"
    download(running.address + FILE, path, DIGEST)
    assert sha256_of(path) == DIGEST


def refused(fetched, tmp_path, message, *failures, **options):
    with pytest.raises(InputError, match=message) as error:
        fetched(*failures, **options)
    assert not (tmp_path / "file").exists()
    return error


def test_wrong_digest(server, tmp_path, fetched):
    refused(fetched, tmp_path, f"its SHA-256 is {DIGEST}, expected {'0' * 64}; it is not kept", digest="0" * 64)
    assert list(tmp_path.iterdir()) == [] and len(server.asked) == 1


def test_cut_file_without_length(tmp_path, fetched):
    """Nothing but the digest can tell."""
    refused(fetched, tmp_path, "not the file that was published", "no length", digest=DIGEST)


def test_a_server_that_always_breaks(server, tmp_path, fetched):
    refused(fetched, tmp_path, "ended after 5 of 256000 bytes; gave up after 5 attempts", *[("cut", 1)] * 9)
    assert len(server.asked) == fetch_module.ATTEMPTS


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_another_attempt_cannot_mend(server, tmp_path, fetched, status):
    refused(fetched, tmp_path, f"the server says {status} .*; check the address", status)
    assert len(server.asked) == 1


def test_redirection_to_a_local_file(server, tmp_path, fetched):
    server.moved = {"/a": "file:///etc/hostname"}
    refused(fetched, tmp_path, "/a: the server says 302", path="/a")


def test_redirection_without_end(server, tmp_path, fetched):
    server.moved = {"/a": "/b", "/b": "/a"}
    refused(fetched, tmp_path, "/a: the server says 302 .*check the address", path="/a")


def test_too_large(tmp_path, fetched, monkeypatch):
    monkeypatch.setattr(fetch_module, "MAX_BYTES", 100_000)
    refused(fetched, tmp_path, "larger than 100000 bytes; this is no model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address, message",
    [
        ("ftp://host/pileup.pt", "expected an address that starts with https://"),
        ("pileup.pt", "expected an address that starts with https://"),
        ("http://", "http://: (not an address|not reached)"),
        ("http://[::1/x", "not an address"),
        ("http://host:port/x", "(not an address|no answer|not reached)"),
    ],
)
def test_odd_addresses(tmp_path, address, message):
    with pytest.raises(InputError, match=message):
        download(address, tmp_path / "file")


def test_nobody_there(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        with pytest.raises(InputError, match="not reached .*gave up after 5 attempts"):
            download(f"http://127.0.0.1:{taken.getsockname()[1]}/x", tmp_path / "file")


def test_file_addresses(tmp_path):
    (tmp_path / "here").write_bytes(CONTENT)
    download((tmp_path / "here").as_uri(), tmp_path / "file", DIGEST)
    assert (tmp_path / "file").read_bytes() == CONTENT
    with pytest.raises(InputError, match="gone: not reached .*gave up after 1 attempts"):
        download((tmp_path / "gone").as_uri(), tmp_path / "file")


def test_nowhere_to_write(server, tmp_path):
    with pytest.raises(InputError, match=r"no/such/file.part: cannot be written"):
        download(server.address + FILE, tmp_path / "no" / "such" / "file")
