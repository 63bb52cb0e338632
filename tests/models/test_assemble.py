"""`clair3 assemble_model --small`: checkpoints for git and wheels; and the figures in their cards."""

import json
import zipfile

import numpy as np
import pytest
import torch
from golden_runs import PARITY
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clair3.cli.main import main as clair3
from clair3.errors import InputError
from clair3.inference.checkpoint import load_model, read_checkpoint, save_model
from clair3.model import random_model
from clair3.models.assemble import assemble, read_figures, rounded, small_checkpoint
from clair3.models.fetch import check_model
from clair3.models.registry import NETWORK_FILES, SIMULATED, ModelCard, check_digest, read_card, write_card


@given(arrays(np.float32, 20, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_rounding(values):
    """Half a unit of eight binary digits at most, the nearest such number, and that once."""
    values = torch.from_numpy(values)
    found = rounded(values)
    assert found.dtype == torch.float32
    normal = values.abs() >= torch.finfo(torch.float32).tiny
    assert ((found - values).abs() <= values.abs() * 2**-8)[normal].all()
    assert not (found.numpy().view(np.uint32) & 0xFFFF).any()
    assert torch.equal(rounded(found), found)


@pytest.fixture(scope="module")
def small(sample):
    """The small files of the small sample's model by kind; packing takes a second."""
    return {kind: small_checkpoint(sample / "model" / f"{kind}.pt") for kind in ("pileup", "full_alignment")}


@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_a_small_file_is_the_same_network(sample, small, tmp_path, kind):
    source, content = sample / "model" / f"{kind}.pt", small[kind]
    assert len(content) < 0.6 * source.stat().st_size
    (tmp_path / "small.pt").write_bytes(content)
    before, after = torch.load(source, weights_only=True), torch.load(tmp_path / "small.pt", weights_only=True)
    assert list(before) == list(after) and not set(map(type, after.values())) - {torch.Tensor}
    for key, value in before.items():
        assert after[key].dtype == value.dtype
        expected = value.bfloat16().float() if value.is_floating_point() else value
        assert torch.equal(after[key], expected)
    assert small_checkpoint(tmp_path / "small.pt") == content  # also the second time
    assert {entry.compress_type for entry in zipfile.ZipFile(tmp_path / "small.pt").infolist()} == {
        zipfile.ZIP_DEFLATED
    }
    load_model(tmp_path / "small.pt", kind, heads=4 if kind == "full_alignment" else 2)


def test_the_mean_with_another_model(sample, tmp_path, capsys):
    for kind in ("pileup", "full_alignment"):
        save_model(random_model(kind, 3), tmp_path / f"{kind}.pt")
    model, output = sample / "model", tmp_path / "mean"
    files = (f"--pileup_fn={model / 'pileup.pt'}", f"--fa_fn={model / 'full_alignment.pt'}", f"--output_dir={output}")
    clair3(["assemble_model", *files, "--platform=ont", "--small", f"--mean_with={tmp_path}"])
    for name in NETWORK_FILES:
        one, other, mean = (read_checkpoint(folder / name)[0] for folder in (model, tmp_path, output))
        for key, value in mean.items():
            both = (one[key] + other[key]) / 2 if value.is_floating_point() else one[key]
            assert torch.equal(value, rounded(both))
    wrong = (f"--pileup_fn={model / 'pileup.pt'}", f"--fa_fn={model / 'full_alignment.pt'}", "--platform=ont")
    save_model(random_model("pileup", 3), tmp_path / "full_alignment.pt")
    for words, said in (("--small", "weights of other names or shapes"), ("--small=no", "add --small")):
        with pytest.raises(SystemExit):
            clair3(["assemble_model", *wrong, f"--output_dir={tmp_path / 'no'}", words, f"--mean_with={tmp_path}"])
        assert said in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_what_a_file_says_of_itself_stays(tmp_path):
    save_model(random_model("pileup", 1), tmp_path / "x.pt", {"source": "somewhere"})
    (tmp_path / "y.pt").write_bytes(small_checkpoint(tmp_path / "x.pt"))
    assert read_checkpoint(tmp_path / "y.pt")[1] == {"source": "somewhere"}


def test_damage_is_found(small, tmp_path):
    """torch.load itself does not look at checksums."""
    content = bytearray(small["pileup"])
    content[len(content) // 2] ^= 1
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pt: damaged"):
        read_checkpoint(tmp_path / "x.pt")


def test_golden_models_are_stored_so(tmp_path):
    """These were rounded and packed by others: nothing is left to round, and the size is about the same."""
    source = PARITY / "models" / "ont" / "pileup.pt"
    content = small_checkpoint(source)
    (tmp_path / "x.pt").write_bytes(content)
    before, after = read_checkpoint(source)[0], read_checkpoint(tmp_path / "x.pt")[0]
    assert all(torch.equal(value, after[key]) for key, value in before.items()) and list(before) == list(after)
    assert len(content) < 1.1 * source.stat().st_size


# The command


@pytest.fixture
def trained(sample, tmp_path):
    """Two networks and the card of both, as training and assemble_model leave them."""
    folder = tmp_path / "trained"
    folder.mkdir()
    for name in NETWORK_FILES:
        (folder / name).write_bytes((sample / "model" / name).read_bytes())
    options = {"prefix": "/somebody/s/folder/best", "learning_rate": 0.001, "bins": "bins"}
    parts = {kind: {"epoch": number, "options": options} for number, kind in enumerate(("pileup", "full_alignment"))}
    metrics = {kind: {"loss": 0.5} for kind in parts} | {"an older test": {"f1": 1}}
    write_card(folder, ModelCard("x", "ont", licence="MIT", origin="here", training=parts, metrics=metrics))
    return folder


@pytest.fixture
def evaluation(tmp_path, sample):
    """What `clair3 evaluate --json` writes: the truth of the small sample against itself."""
    files = [str(sample / name) for name in ("truth.vcf.gz", "truth.vcf.gz", "confident.bed", "ref.fa")]
    clair3(["evaluate", *files, f"--json={tmp_path / 'figures.json'}"])
    return tmp_path / "figures.json"


def test_a_model_to_ship(trained, evaluation, small, tmp_path):
    words = [f"--pileup_fn={trained / 'pileup.pt'}", f"--fa_fn={trained / 'full_alignment.pt'}", "--small"]
    words += [f"--output_dir={tmp_path / 'ont'}", "--origin=simulated", "--training_data=reads of nobody"]
    words += [f"--evaluation=real, 30x={evaluation}", f"--evaluation=other={evaluation}"]
    clair3(["assemble_model", *words])
    card = read_card(tmp_path / "ont")
    assert (card.name, card.platform, card.origin, card.training_data) == ("ont", "ont", SIMULATED, "reads of nobody")
    assert card.licence == "MIT"  # kept
    assert set(card.metrics) == {"pileup", "full_alignment", "real, 30x", "other"}
    assert card.metrics["pileup"] == {"loss": 0.5}
    figures = card.metrics["real, 30x"]
    assert set(figures) == {"SNP", "indel"} and figures == read_figures(evaluation)
    truth = json.loads(evaluation.read_text())["strata"]["type"]["SNP"]["tp_truth"]
    assert figures["SNP"]["tp_truth"] == truth > 0 and figures["SNP"]["f1"] == 1 and figures["SNP"]["fn"] == 0
    assert {kind: one["epoch"] for kind, one in card.training.items()} == {"pileup": 0, "full_alignment": 1}
    assert card.training["pileup"]["options"] == {"prefix": "best", "learning_rate": 0.001, "bins": "bins"}
    check_digest(tmp_path / "ont", card)
    check_model(tmp_path / "ont", card)
    assert {name: (tmp_path / "ont" / name).read_bytes() for name in NETWORK_FILES} == {
        f"{kind}.pt": content for kind, content in small.items()
    }


@pytest.mark.parametrize("content", ["[]", "{}", '{"strata": {"type": {"SNP": 1}}}', '{"strata": 3}', "{"])
def test_files_that_are_no_evaluation(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r'x\.json: not .*; write it again with "clair3 evaluate --json"$'):
        read_figures(tmp_path / "x.json")


@pytest.mark.parametrize("word", ["name", "=file", "name="])
def test_evaluations_need_a_name_and_a_file(trained, tmp_path, capsys, word):
    files = [f"--pileup_fn={trained / 'pileup.pt'}", f"--fa_fn={trained / 'full_alignment.pt'}"]
    with pytest.raises(SystemExit) as stop:
        clair3(["assemble_model", *files, f"--output_dir={tmp_path / 'm'}", f"--evaluation={word}"])
    assert stop.value.code == 2 and "expected NAME=FILE" in capsys.readouterr().err


def test_nothing_is_written_over_when_a_network_is_damaged(trained, tmp_path):
    assemble(trained / "pileup.pt", trained / "full_alignment.pt", tmp_path / "m", None, {})
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    (trained / "full_alignment.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError):
        assemble(trained / "pileup.pt", trained / "full_alignment.pt", tmp_path / "m", None, {}, small=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
