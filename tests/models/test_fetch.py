"""`clair3 models`: fetched from a server on this machine, from folders and archives, whole or absent."""

import fcntl
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile

import pytest
from program import ROOT
from web_server import serving

from clair3.cli import models as models_command
from clair3.cli.arguments import make_parser
from clair3.cli.main import main as clair3
from clair3.errors import ConfigError, InputError
from clair3.io.atomic import sha256_of
from clair3.models import fetch, registry
from clair3.models.fetch import fetch_model
from clair3.models.registry import (
    AT_DOWNLOAD,
    NETWORK_FILES,
    PATH_VARIABLE,
    PUBLISHED,
    ModelCard,
    parse_card,
    read_card,
    write_card,
)

NAME = "r1041+lab"
BASECALLER = "dna_r10.4.1_e8.2_400bps_sup@v5.0.0"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of this test, no other folders, and no waiting."""
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "RETRY_SECONDS", 0)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def content(sample):
    """The files of a model by name."""
    return {name: (sample / "model" / name).read_bytes() for name in NETWORK_FILES}


@pytest.fixture(scope="module")
def digest(sample):
    return {name: sha256_of(sample / "model" / name) for name in NETWORK_FILES}


@pytest.fixture(scope="module")
def archives(content):
    """The model packed without and with a folder around it; packing takes a second."""
    return {"/top.tar.gz": packed(content, ""), "/in.tgz": packed(content, "model/")}


@pytest.fixture
def server(content, archives):
    """The model as a folder, /m/, and as archives."""
    with serving() as server:
        server.files = {f"/m/{name}": data for name, data in content.items()} | archives
        yield server


def packed(files, folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=0) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def card(server, path="/m/", **more):
    return ModelCard(NAME, "ont", basecall_models=(BASECALLER,), address=server.address + path, source="a page", **more)


def holds_only(cache, *names):
    return sorted(path.name for path in cache.iterdir()) == sorted(names)


# Fetching


@pytest.mark.parametrize("path", ["/m/", "/top.tar.gz", "/in.tgz"])
def test_known_digests(server, cache, content, digest, path):
    given = card(server, path, digest=digest)
    folder = fetch_model(given)
    assert folder == cache / NAME and holds_only(cache, NAME)
    assert holds_only(folder, "model.json", *NETWORK_FILES)
    assert {name: (folder / name).read_bytes() for name in NETWORK_FILES} == content
    found = read_card(folder)
    assert (found.digest, found.digest_origin) == (digest, PUBLISHED)
    assert (found.address, found.basecall_models) == (server.address + path, (BASECALLER,))
    asked = len(server.asked)
    assert fetch_model(given) == folder and len(server.asked) == asked  # it is there


def test_digest_of_the_archive(server, tmp_path):
    (tmp_path / "x").write_bytes(server.files["/in.tgz"])
    folder = fetch_model(card(server, "/in.tgz", digest={"in.tgz": sha256_of(tmp_path / "x")}))
    assert read_card(folder).digest_origin == PUBLISHED


@pytest.mark.parametrize("known", [(), NETWORK_FILES[:1], ("other.tar.gz",)])
def test_unknown_digest(server, cache, digest, known):
    """It has to be asked for by name; what arrived is written down, so that later changes are seen."""
    given = card(server, digest={name: digest.get(name, "0" * 64) for name in known})
    with pytest.raises(ConfigError, match=r"no digest of r1041\+lab is known, .*add --allow-unverified"):
        fetch_model(given)
    assert not cache.exists() and not server.asked
    folder = fetch_model(given, allow_unverified=True)
    found = read_card(folder)
    assert (found.digest, found.digest_origin) == (digest, AT_DOWNLOAD)
    (folder / "pileup.pt").write_bytes(b"changed")
    with pytest.raises(InputError, match=r"pileup\.pt: not the file of model"):
        fetch_model(given, allow_unverified=True)


@pytest.mark.parametrize("path", ["/m/", "/top.tar.gz"])
@pytest.mark.parametrize("wrong", NETWORK_FILES)
def test_wrong_digest(server, cache, digest, path, wrong):
    given = card(server, path, digest=digest | {wrong: "0" * 64})
    with pytest.raises(InputError, match="not the file"):
        fetch_model(given, allow_unverified=True)
    assert not (cache / NAME).exists()
    assert fetch_model(card(server, path, digest=digest)) == cache / NAME and holds_only(cache, NAME)


@pytest.mark.parametrize("path", ["/m/full_alignment.pt", "/in.tgz"])
def test_resumed_by_a_second_command(server, cache, digest, path, monkeypatch):
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    server.failures[path] = [("cut", 1_000_000)]
    given = card(server, path if path == "/in.tgz" else "/m/", digest=digest)
    with pytest.raises(InputError, match="ended after 1000000 of .* the same command goes on from there"):
        fetch_model(given)
    assert holds_only(cache, f".{NAME}.part")
    assert fetch_model(given) == cache / NAME and holds_only(cache, NAME)
    assert server.asked[-1] == (path, "bytes=1000000-")


def test_what_is_whole_is_not_fetched_twice(server, digest, monkeypatch):
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    server.failures["/m/full_alignment.pt"] = ["hang up"]
    with pytest.raises(InputError):
        fetch_model(card(server, digest=digest))
    fetch_model(card(server, digest=digest))
    assert [path for path, _ in server.asked].count("/m/pileup.pt") == 1


@pytest.mark.parametrize(
    "spoil, message",
    [
        ("page", "not a PyTorch checkpoint|damaged"),
        ("cut", "damaged"),
        ("swapped", "holds a full-alignment network where the pileup network is needed"),
    ],
)
def test_what_is_no_model_is_not_kept(server, cache, content, spoil, message):
    """Without a digest the networks themselves must tell: a page that says 404, a cut file, the wrong network."""
    data = content["pileup.pt"]
    server.files["/m/pileup.pt"] = {
        "page": b"<html>moved</html>", "cut": data[:-1000], "swapped": content["full_alignment.pt"],
    }[spoil]  # fmt: skip
    with pytest.raises(InputError, match=message):
        fetch_model(card(server), allow_unverified=True)
    assert not (cache / NAME).exists()


def test_dwell_time_is_what_the_card_says(server, cache):
    with pytest.raises(InputError, match=r"full_alignment\.pt: trained without dwell time; its card says otherwise"):
        fetch_model(card(server, dwell=True), allow_unverified=True)
    assert not (cache / NAME).exists()


@pytest.mark.parametrize(
    "files, message",
    [
        (["pileup.pt"], "expected one folder with pileup.pt and full_alignment.pt, found 0"),
        (["a/pileup.pt", "a/full_alignment.pt", "b/pileup.pt", "b/full_alignment.pt"], "found 2"),
        (["../pileup.pt"], "would lie outside"),
    ],
)
def test_archives_that_hold_something_else(server, cache, content, files, message):
    server.files["/x.tar.gz"] = packed(dict.fromkeys(files, b"weights"), "")
    with pytest.raises(InputError, match=message):
        fetch_model(card(server, "/x.tar.gz"), allow_unverified=True)
    assert holds_only(cache, f".{NAME}.part")


def test_a_card_inside_the_archive(server, content, tmp_path, digest):
    """What the registry does not know comes from there; what it knows, it knows better."""
    write_card(tmp_path, ModelCard("other", "hifi", training_data="HG002", licence="MIT", digest=digest))
    server.files["/x.tgz"] = packed(content | {"model.json": (tmp_path / "model.json").read_bytes()}, "m/")
    found = read_card(fetch_model(card(server, "/x.tgz"), allow_unverified=True))
    assert (found.name, found.platform, found.training_data, found.licence) == (NAME, "ont", "HG002", "MIT")
    assert found.digest_origin == AT_DOWNLOAD


def test_another_process_is_fetching(server, cache, digest):
    (cache / f".{NAME}.part").mkdir(parents=True)
    with open(cache / f".{NAME}.part" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is fetching it"):
            fetch_model(card(server, digest=digest))
    assert fetch_model(card(server, digest=digest)) == cache / NAME


def test_a_cache_that_cannot_be_written(server, tmp_path, digest, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot be written"):
        fetch_model(card(server, digest=digest))


def test_something_else_under_its_name(server, cache, digest):
    (cache / NAME).mkdir(parents=True)
    with pytest.raises(InputError, match="is there, but without pileup.pt and full_alignment.pt; remove it"):
        fetch_model(card(server, digest=digest))


# Without a network


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_from_a_disk(sample, tmp_path, cache, content, digest, form):
    """The model is carried here on a disk; the registry's digests hold for it too."""
    place = tmp_path / "disk x"
    if form == "folder":
        shutil.copytree(sample / "model", place)
    else:
        place = tmp_path / "disk.tar.gz"
        place.write_bytes(packed(content, "m/"))
    given = ModelCard(NAME, "ont", address="https://nowhere.invalid/m/", digest=digest)
    assert fetch_model(given, address=str(place)) == cache / NAME
    assert read_card(cache / NAME).address == place.as_uri() + ("/" if form == "folder" else "")
    assert holds_only(cache / NAME, "model.json", *NETWORK_FILES)


def test_places_that_are_none(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"")
    for address, message in (
        (None, "no address of it is known; give one with --from"),
        (str(tmp_path / "gone"), "gone: no such folder or archive"),
        (str(tmp_path / "x.zip"), "expected the address of a folder .* or of a .tar.gz archive"),
        ("https://host/x", "expected the address of a folder"),
        ("sftp://host/x/", "expected an address that starts with https://"),
        ("http://[::1/x/", "not an address"),
        ("http://host:port/x/", "not an address"),
        ("http://a b/x/", "not an address"),
    ):
        with pytest.raises(InputError, match=message):
            fetch_model(ModelCard(NAME, "ont"), address, allow_unverified=True)


# The command


@pytest.fixture
def models(capfd):
    """`clair3 models`; its exit code, stdout and [ERROR] line."""

    def run(*words):
        try:
            clair3(["models", *words])
            code = 0
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        errors = [line for line in err.splitlines() if line.startswith("[ERROR] ")]
        assert len(errors) == (code == 1) and "Traceback" not in err
        return code, out, "".join(errors)

    return run


@pytest.fixture
def registered(server, digest, tmp_path, monkeypatch):
    """A registry of two models on the server: one with digests, one without. No model comes with the package."""
    rows = [card(server, digest=digest).as_dict(), card(server).as_dict() | {"name": "bare", "purpose": "bacteria"}]
    (tmp_path / "models.json").write_text(json.dumps(rows))
    monkeypatch.setattr(registry.read_registry, "__defaults__", (tmp_path / "models.json",))
    monkeypatch.setattr(registry, "BUNDLED", tmp_path / "bundled")


def test_list_info_verify_fetch(models, registered, server, cache, digest):
    code, out, _ = models("list")
    rows = [re.split("  +", line) for line in out.splitlines()]
    assert code == 0 and rows[0][0] == "NAME" and [row[0] for row in rows[1:]] == [NAME, "bare"]
    assert [row[-2:] for row in rows[1:]] == [["known", "-"], ["unknown", "-"]]
    assert models("info", NAME)[1].startswith("folder: not on this machine")
    assert models("verify", NAME) == (
        1,
        "",
        f'[ERROR] {NAME}: not on this machine; run "clair3 models fetch {NAME}" first',
    )
    assert models("fetch", NAME) == (0, f"{cache / NAME}\n", "")
    assert str(cache / NAME) in models("list")[1]
    told = models("info", NAME)[1].splitlines()
    assert told[0] == f"folder: {cache / NAME}" and "licence: not known, see its source" in told
    assert f"sha256 pileup.pt: {digest['pileup.pt']}" in told and f"basecall_models: {BASECALLER}" in told
    _, out, _ = models("verify", NAME)
    assert out == f"{cache / NAME}: both networks load; the files have the digests of the model's card\n"
    (cache / NAME / "pileup.pt").write_bytes(server.files["/m/full_alignment.pt"])
    code, out, error = models("verify", NAME)
    assert (code, out) == (1, "") and "pileup.pt: not the file of model" in error


def test_without_a_digest(models, registered, cache):
    code, _, error = models("fetch", "bare")
    assert code == 1 and "add --allow-unverified" in error and not cache.exists()
    assert models("fetch", "bare", "--allow-unverified")[0] == 0
    assert "no published digest is known" in models("verify", "bare")[1]


def test_a_digest_that_was_published_later(models, registered, server, cache, digest, tmp_path):
    """It overrules the one that was written down at the download."""
    models("fetch", "bare", "--allow-unverified")
    rows = json.loads((tmp_path / "models.json").read_text())
    rows[1]["digest"] = digest
    (tmp_path / "models.json").write_text(json.dumps(rows))
    assert "the digests of the model's card" in models("verify", "bare")[1]
    rows[1]["digest"] = digest | {"pileup.pt": "0" * 64}
    (tmp_path / "models.json").write_text(json.dumps(rows))
    code, _, error = models("verify", "bare")
    assert code == 1 and "pileup.pt: not the file of model bare" in error


def test_folders_without_a_card(models, sample):
    folder = sample / "model"
    assert models("verify", str(folder)) == (0, f"{folder}: both networks load; no digest is known\n", "")
    assert "model.json: not there" in models("info", str(folder))[1]


def test_folders_of_tensorflow(models, shared_data, tmp_path):
    for file in (shared_data / "golden" / "tf" / "ont").glob("*.*[!z]"):
        shutil.copy(file, tmp_path)
    assert models("verify", str(tmp_path))[:2] == (0, f"{tmp_path}: both networks load; no digest is known\n")
    (tmp_path / "pileup.index").unlink()
    code, _, error = models("verify", str(tmp_path))
    assert code == 1 and f"No pileup model found in provided model path and model prefix {tmp_path}/pileup" in error


def test_a_mirror(models, registered, server, cache):
    server.files |= {path.replace("/m/", "/mirror/"): data for path, data in server.files.items() if "/m/" in path}
    assert models("fetch", NAME, "--from", f"{server.address}/mirror/")[0] == 0
    assert all(path.startswith("/mirror/") for path, _ in server.asked)


@pytest.mark.parametrize("words", [["fetch", "nothing"], ["info", "nothing"], ["verify", "../x"]])
def test_names_that_nobody_knows(models, registered, words):
    code, _, error = models(*words)
    assert code == 1 and f'{words[1]}: no model of this name is known; "clair3 models list" names them' in error


@pytest.mark.parametrize("words", [[], ["fetch"], ["nothing"], ["list", "more"]])
def test_usage_errors(models, words):
    assert models(*words)[0] == 2


@pytest.mark.parametrize(
    "text, message", [("{}", "expected a list of models"), ('[{"name": "x"}]', "model 1: platform")]
)
def test_broken_registry(models, registered, tmp_path, text, message):
    (tmp_path / "models.json").write_text(text)
    code, _, error = models("list")
    assert code == 1 and message in error


def test_model_registered_twice(models, registered, tmp_path):
    rows = json.loads((tmp_path / "models.json").read_text())
    (tmp_path / "models.json").write_text(json.dumps([rows[0], rows[0]]))
    assert "a model is registered twice" in models("list")[2]


def test_the_page_about_models():
    """Its commands are understood, its models registered, and its model.json is one."""
    page = (ROOT / "docs" / "models.md").read_text()
    parser = make_parser(models_command, "")
    commands = [shlex.split(line, comments=True)[2:] for line in page.splitlines() if line.startswith("clair3 models")]
    asked = [parser.parse_args(words) for words in commands]
    assert {args.action for args in asked} == {"list", "info", "fetch", "verify"}
    assert {args.model for args in asked if args.action != "list"} <= set(registry.read_registry())
    assert parse_card(json.loads(page.partition("```json")[2].partition("```")[0]), "docs").platform == "ont"


def test_the_real_registry_in_a_process_of_its_own(tmp_path):
    """Listing loads neither torch nor the C core: it answers on any machine."""
    command = [sys.executable, "-X", "importtime", "-m", "clair3", "models", "list"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "r1041_e82_400bps_sup_v520" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "clair3.models.registry" in loaded and not {"torch", "clair3.core"} & loaded
