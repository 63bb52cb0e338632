"""Without --model_path: the default model of the platform; and the default models that are in the package."""

import shutil

import pytest
import torch
from test_choose import BAM, SUP, with_header

from clair3.cli import models
from clair3.cli.main import main as clair3
from clair3.errors import UsageError
from clair3.inference.checkpoint import read_checkpoint
from clair3.io.atomic import sha256_of
from clair3.models import choose, registry
from clair3.models.choose import resolve_model
from clair3.models.fetch import check_model
from clair3.models.registry import (
    NETWORK_FILES,
    PATH_VARIABLE,
    SIMULATED,
    ModelCard,
    find_default,
    known_models,
    read_card,
    read_registry,
    write_card,
)
from clair3.platforms import PLATFORMS

SHIPPED = registry.BUNDLED
MAX_BYTES = 11 << 20
"""Of a pair of networks: they lie in git and in every wheel."""


@pytest.fixture
def bundled(tmp_path, monkeypatch, sample):
    """A package with a default model for ont, and nothing else on the machine."""
    folder = tmp_path / "package"
    shutil.copytree(sample / "model", folder / "ont")
    digest = {name: sha256_of(folder / "ont" / name) for name in NETWORK_FILES}
    write_card(folder / "ont", ModelCard("ont", "ont", chemistry="R10.4.1", origin=SIMULATED, digest=digest))
    for module in (registry, choose):
        monkeypatch.setattr(module, "BUNDLED", folder)
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    return folder


@pytest.fixture
def run(sample, tmp_path, capfd):
    """`clair3 run` on the small sample without --model_path; exit code and what it printed to stderr."""

    def start(*more, bam=sample / "reads.bam", platform="ont"):
        words = [f"--bam_fn={bam}", f"--ref_fn={sample / 'ref.fa'}", "--threads=1", f"--output={tmp_path / 'out'}"]
        try:
            clair3(["run", *words, f"--platform={platform}", "--ctg_name=chr21", "--pileup_only", *more])
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, capfd.readouterr().err.splitlines()

    return start


def test_one_line_says_which(run, bundled, tmp_path):
    code, lines = run()
    assert code == 0
    (warning,) = [line for line in lines if line.startswith("[WARNING]")]
    assert warning == (
        "[WARNING] No --model_path: calling with the default model ont of this package, trained on simulated reads; "
        'for production use a published model for the basecaller or instrument of the reads ("clair3 models list")'
    )
    log = (tmp_path / "out" / "run_clair3.log").read_text()
    assert warning in log and f"MODEL PATH: {bundled / 'ont'}\n" in log
    assert (tmp_path / "out" / "pileup.vcf.gz").exists()


def test_it_names_the_published_model(run, bundled, sample, tmp_path):
    group = {"ID": "a", "PL": "ONT", "DS": f"basecall_model={SUP}"}
    with_header(sample / "reads.bam", tmp_path / "x.bam", group)
    name = "r1041_e82_400bps_sup_v520"
    told = f'for production use the published model {name} ("clair3 models fetch {name}", then --model_path={name})'
    assert told in run(bam=tmp_path / "x.bam")[1][0]
    shutil.copytree(sample / "model", tmp_path / "cache" / name)
    told = f"for production use the published model {name} (--model_path={name})"
    code, lines = run(bam=tmp_path / "x.bam")
    assert code == 0 and lines[0].endswith(told)  # it is there, but was not asked for
    assert f"[INFO] MODEL PATH: {bundled / 'ont'}" in lines


def test_no_default(run, bundled):
    with pytest.raises(UsageError) as error:
        resolve_model(None, BAM, "hifi", False)
    assert str(error.value) == (
        "--model_path is missing, and no default model for --platform=hifi is in this package; give a folder, or a "
        'name of "clair3 models list"'
    )
    (bundled / "ont" / "pileup.pt").unlink()
    code, lines = run()
    assert code == 2 and "no default model for --platform=ont" in lines[-1] and lines[-1].startswith("[ERROR]")


def test_what_does_not_fit_is_refused(run, bundled):
    code, lines = run("--enable_dwell_time")
    assert code == 1 and lines[-1].startswith("[ERROR]") and "dwell" in lines[-1].lower()
    with open(bundled / "ont" / "pileup.pt", "ab") as file:
        file.write(b"x")
    code, lines = run()
    assert code == 1 and "pileup.pt: not the file of model ont" in lines[-1]


def test_by_name_and_in_the_list(bundled, sample, tmp_path, capsys):
    assert resolve_model("ont", BAM, "ont", False) == bundled / "ont"
    clair3(["models", "list"])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ont ")]
    assert row.split() == f"ont ont - R10.4.1, trained on simulated reads known {bundled / 'ont'}".split()
    shutil.copytree(sample / "model", tmp_path / "cache" / "ont")  # a folder of the user's comes first ...
    assert resolve_model("ont", BAM, "ont", False) == tmp_path / "cache" / "ont"
    assert "ont" not in known_models()  # ... and the package's card does not speak for it
    assert find_default("ont") == bundled / "ont"


def test_info_shows_nested_figures(bundled):
    card = ModelCard("x", "ont", metrics={"real": {"SNP": {"f1": 0.987654321, "f1_interval": [0.5, 1.0]}}})
    shown = models.describe(bundled / "ont", card)
    assert "metrics, real: SNP (f1 0.98765, f1_interval (0.5, 1))" in shown.splitlines()


def test_info_shows_evaluations_in_a_line_each(bundled):
    found = {"tp_calls": 60, "fp": 2, "tp_truth": 61, "fn": 1, "precision": 0.97, "recall": 0.98}
    none = {"tp_calls": 0, "fp": 3, "tp_truth": 0, "fn": 0, "f1": None, "f1_interval": None}
    evaluation = {"SNP": found | {"f1": 0.976, "f1_interval": [0.931, 0.992]}, "indel": none}
    shown = models.describe(bundled / "ont", ModelCard("x", "ont", metrics={"real reads": evaluation}))
    line = "metrics, real reads: SNP (61 of 62 found, 2 false, F1 0.976 (0.931-0.992)), indel (0 of 0 found, 3 false)"
    assert line in shown.splitlines()


def test_names_of_defaults_are_of_no_published_model():
    """`fetch` and `auto` would take one for the other."""
    assert not {platform.default_model for platform in PLATFORMS.values()} & set(read_registry())


@pytest.mark.parametrize("platform", PLATFORMS)
def test_shipped_model(platform):
    """Small, sound, honest about what it is, and free of places on somebody's machine."""
    folder = SHIPPED / PLATFORMS[platform].default_model
    if not folder.exists():
        pytest.skip(f"no default model for {platform} in this package yet")
    card = read_card(folder)
    assert (card.name, card.platform, card.origin) == (folder.name, platform, SIMULATED)
    assert set(card.digest) == set(NETWORK_FILES) and card.training_data and card.training and card.metrics
    assert sorted(path.name for path in folder.iterdir()) == sorted([*NETWORK_FILES, "model.json"])
    assert sum((folder / name).stat().st_size for name in NETWORK_FILES) <= MAX_BYTES
    assert not any(place in (folder / "model.json").read_text() for place in ('"/', "/work/", "/tmp/", "/home/"))
    check_model(folder, card)
    for name in NETWORK_FILES:
        weights, _ = read_checkpoint(folder / name)
        assert all(torch.equal(one, one.bfloat16().float()) for one in weights.values() if one.is_floating_point())
