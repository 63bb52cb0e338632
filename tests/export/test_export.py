"""`clair3 export`: every network in TorchScript and ONNX, Triton's repository, and what is refused."""

import dataclasses
import io
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clair3.cli import export
from clair3.cli.main import main as clair3
from clair3.errors import install_command
from clair3.export.formats import (
    FORMATS,
    ExportedNetwork,
    largest_difference,
    random_tensors,
    run_torchscript,
    to_torchscript,
)
from clair3.inference.checkpoint import save_model
from clair3.model import random_model
from clair3.models.registry import ModelCard, write_card

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[2]
PLAIN = random_model("pileup", 1), random_model("full_alignment", 1)
FILES = {"torchscript": ("pileup.ts", "full_alignment.ts"), "onnx": ("pileup.onnx", "full_alignment.onnx")}
REPOSITORY = {f"{name}/{file}" for name in ("pileup", "alignment") for file in ("config.pbtxt", "3/model.onnx")}


def needs_onnx():
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    return pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")


@pytest.fixture(params=list(FORMATS))
def form(request):
    """TorchScript, and ONNX where its packages are there."""
    if request.param == "onnx":
        needs_onnx()
    return request.param


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model folder; the paddings of its full-alignment network differ at 55 rows."""
    folder = tmp_path_factory.mktemp("model")
    save_model(random_model("pileup", 1), folder / "pileup.pt")
    save_model(random_model("full_alignment", 2, conv_padding="tf_same"), folder / "full_alignment.pt")
    return folder


def run_export(*options) -> None:
    clair3(["export", *map(str, options)])


def refusal(capsys, *options) -> tuple[int, str]:
    """Exit code and the one line of an export that must not succeed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run_export(*options)
    *before, last = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 or not before
    return stopped.value.code, last


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "kind, options, rows",
    [
        ("pileup", {}, 0),
        ("pileup", {"heads": 4}, 0),
        ("full_alignment", {}, 89),
        ("full_alignment", {"channels": 9}, 89),
        ("full_alignment", {"heads": 2, "conv_padding": "tf_same"}, 55),
        ("full_alignment", {"channels": 9, "heads": 2}, 55),
        ("full_alignment", {"conv_padding": "tf_same"}, 89),
        ("full_alignment", {}, 55),
    ],
)
@pytest.mark.parametrize("logits", [False, True])
def test_every_network_for_any_number_of_candidates(form, kind, options, rows, logits):
    """Traced with 2 candidates, compared with 1, 3 and 32."""
    network = random_model(kind, 3, **options)
    example = torch.from_numpy(random_tensors(network, rows, 2, np.random.default_rng(4)))
    content = FORMATS[form].make(ExportedNetwork(network, logits), example, ("x", "y"))
    assert largest_difference(network, FORMATS[form].run(content), rows, 32, logits) <= export.TOLERANCE


def test_logits_give_the_probabilities():
    network = random_model("pileup", 3)
    x = torch.from_numpy(random_tensors(network, 0, 4, np.random.default_rng(4)))
    with torch.no_grad():
        heads = ExportedNetwork(network, logits=True)(x).split((21, 3), dim=1)
        assert torch.equal(torch.cat([head.softmax(1) for head in heads], dim=1), network.predict(x))
    assert min(head.min() for head in heads) >= -1.7581


@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_torchscript_stays_on_no_device(kind):
    """A trace made on the CPU runs on GPUs when no operation in it was given the CPU by name."""
    network = random_model(kind, 3)
    x = torch.from_numpy(random_tensors(network, 89, 2, np.random.default_rng(4)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        graph = str(torch.jit.load(io.BytesIO(to_torchscript(ExportedNetwork(network), x))).inlined_graph)
    assert "aten::linear" in graph
    assert "Device" not in graph


@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_another_network_is_found_different(kind):
    network, other = random_model(kind, 3), random_model(kind, 4)
    x = torch.from_numpy(random_tensors(network, 55, 2, np.random.default_rng(4)))
    other = run_torchscript(to_torchscript(ExportedNetwork(other), x))
    assert largest_difference(network, other, 55, 4) > 0.1
    assert largest_difference(network, other, 55, 4, logits=True) > 0.1
    assert np.isnan(largest_difference(network, lambda x: np.full_like(other(x), np.nan), 55, 4))
    assert largest_difference(network, lambda x: other(x)[:, :-1], 55, 4) == np.inf


@given(rows=st.integers(17, 100), batch=st.integers(1, 9), seed=st.integers(0, 9))
def test_random_tensors_are_like_real_ones(rows, batch, seed):
    pileup, full_alignment = PLAIN
    counts = random_tensors(pileup, rows, batch, np.random.default_rng(seed))
    assert counts.shape == (batch, 33, 18)
    assert counts.dtype == np.int32
    assert abs(counts).max() <= 216
    negative = (counts < 0)[:, :, [0, 1, 2, 3]] | (counts < 0)[:, :, [9, 10, 11, 12]]
    assert negative.sum(axis=2).max() <= 1  # one letter is that of the reference
    assert (counts[:, :, [4, 5, 6, 7, 8, 13, 14, 15, 16, 17]] >= 0).all()
    cells = random_tensors(full_alignment, rows, batch, np.random.default_rng(seed))
    assert cells.shape == (batch, rows, 33, 8)
    assert cells.dtype == np.int8
    assert abs(cells).max() <= 100
    assert cells[:, rows // 2].any(axis=(1, 2)).all()


@pytest.mark.parametrize("start", [["clair3/model_export.py"], ["-m", "clair3.model_export"]])
def test_the_command(model, tmp_path, start):
    command = [sys.executable, *start, f"--model_path={model}", "--platform=hifi", f"--output={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    assert files(tmp_path / "out") == set(FILES["torchscript"])
    assert [line.split(":")[0].removeprefix("[INFO] ") for line in done.stderr.splitlines()] == [
        str(tmp_path / "out" / name) for name in FILES["torchscript"]
    ]


def test_a_folder(form, model, tmp_path, caplog):
    run_export(f"--model_path={model}", "--output", tmp_path / "out", f"--format={form}", "--platform=hifi", "--verify")
    assert files(tmp_path / "out") == set(FILES[form])
    assert len(re.findall(r"network: at most \d\.\de[-+]\d\d from PyTorch", caplog.text)) == 2
    network = random_model("full_alignment", 2, conv_padding="tf_same")
    exported = FORMATS[form].run((tmp_path / "out" / FILES[form][1]).read_bytes())
    assert largest_difference(network, exported, 55, 4) <= export.TOLERANCE


def test_one_checkpoint(form, model, tmp_path):
    output = tmp_path / "new" / "network"
    run_export(
        "--model_path", model / "full_alignment.pt", "--output", output, f"--format={form}", "-p", "ont", "--logits=yes"
    )
    assert files(tmp_path) == {"new/network"}
    exported = FORMATS[form].run(output.read_bytes())
    assert largest_difference(random_model("full_alignment", 2), exported, 89, 4, logits=True) <= export.TOLERANCE


def test_padding_can_be_overruled(model, tmp_path):
    output = tmp_path / "network.ts"
    run_export(
        "--model_path", model / "full_alignment.pt", "--output", output, "-p", "hifi", "--conv_padding=symmetric"
    )
    exported = run_torchscript(output.read_bytes())
    assert largest_difference(random_model("full_alignment", 2), exported, 55, 4) == 0
    assert largest_difference(random_model("full_alignment", 2, conv_padding="tf_same"), exported, 55, 4) > 0.01


def test_the_platform_is_that_of_the_model(tmp_path):
    save_model(PLAIN[0], tmp_path / "p.pt")
    save_model(PLAIN[1], tmp_path / "fa.pt")
    write_card(tmp_path, ModelCard(name="hifi", platform="hifi"))
    run_export(
        "--model_path",
        tmp_path,
        "--output",
        tmp_path / "out",
        "--pileup_model_prefix=p",
        "--fa_model_prefix=fa",
        "--triton",
    )
    assert "dims: [ 55, 33, 8 ]" in (tmp_path / "out/alignment/config.pbtxt").read_text()


def test_a_folder_of_tensorflow(shared_data, tmp_path):
    run_export("--model_path", shared_data / "golden/tf/ont", "--output", tmp_path, "-p", "ont", "--verify")
    golden = np.load(shared_data / "golden/tf/ont/pileup_io.npz")
    exported = run_torchscript((tmp_path / "pileup.ts").read_bytes())
    np.testing.assert_allclose(exported(golden["x"]), golden["prob_f64"], rtol=0, atol=5e-5)


def parse(text: str) -> dict:
    """A protocol-buffer message in text: fields to values, lists and messages."""
    words = re.findall(r'"[^"]*"|[\w.+-]+|[][{}:,]', text)

    def message() -> dict:
        found = {}
        while words and words[0] not in "}]":
            name = words.pop(0)
            assert name.isidentifier()
            if words[0] == ":":
                words.pop(0)
            found[name] = value()
            if words[:1] == [","]:
                words.pop(0)
        return found

    def value():
        word = words.pop(0)
        if word == "{":
            found = message()
            assert words.pop(0) == "}"
            return found
        if word == "[":
            found = [value()]
            while words[0] == ",":
                words.pop(0)
                found.append(value())
            assert words.pop(0) == "]"
            return found
        return word[1:-1] if word[0] == '"' else int(word) if word.isdigit() else word

    found = message()
    assert not words
    return found


def test_triton_repository_of_onnx(model, tmp_path):
    """What config.pbtxt says is what is in model.onnx, and what the client of v2 sends."""
    onnxruntime = needs_onnx()
    options = ("--model_version=3", "--max_batch=64", "--input_name=reads", "--output_name=heads", "-p", "hifi")
    run_export("--model_path", model, "--output", tmp_path, "--format=onnx", "--triton", "--verify", *options)
    assert files(tmp_path) == REPOSITORY
    types = {"TYPE_INT32": "tensor(int32)", "TYPE_INT8": "tensor(int8)", "TYPE_FP32": "tensor(float)"}
    for name, integers, shape, classes in (
        ("pileup", "TYPE_INT32", [33, 18], 24),
        ("alignment", "TYPE_INT8", [55, 33, 8], 90),
    ):
        config = parse((tmp_path / name / "config.pbtxt").read_text())
        assert config == {
            "name": name,
            "backend": "onnxruntime",
            "max_batch_size": 64,
            "input": [{"name": "reads", "data_type": integers, "dims": shape}],
            "output": [{"name": "heads", "data_type": "TYPE_FP32", "dims": [classes]}],
            "dynamic_batching": {"max_queue_delay_microseconds": 100},
        }
        session = onnxruntime.InferenceSession(tmp_path / name / "3/model.onnx", providers=["CPUExecutionProvider"])
        for (said,), (held,) in ((config["input"], session.get_inputs()), (config["output"], session.get_outputs())):
            assert (said["name"], types[said["data_type"]]) == (held.name, held.type)
            assert ["batch", *said["dims"]] == held.shape


def test_triton_repository_of_torchscript(model, tmp_path):
    for version in (1, 2):
        run_export("--model_path", model, "--output", tmp_path, "--triton", "-p", "ont", f"--model_version={version}")
    assert files(tmp_path) == {
        f"{name}/{file}" for name in ("pileup", "alignment") for file in ("config.pbtxt", "1/model.pt", "2/model.pt")
    }
    config = parse((tmp_path / "alignment" / "config.pbtxt").read_text())
    assert (config["backend"], config["max_batch_size"]) == ("pytorch", 1000)
    assert (config["input"][0]["name"], config["output"][0]["name"]) == ("INPUT__0", "OUTPUT__0")
    assert run_torchscript((tmp_path / "pileup/2/model.pt").read_bytes())(np.ones((2, 33, 18), np.int32)).shape == (
        2,
        24,
    )


def test_onnx_states_its_opset(model, tmp_path):
    needs_onnx()
    import onnx

    run_export("--model_path", model / "pileup.pt", "--output", tmp_path / "a.onnx", "--format=onnx")
    made = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(made, full_check=True)
    assert [(opset.domain, opset.version) for opset in made.opset_import] == [("", 17)]


def spoil(monkeypatch, form: str, kind: str) -> None:
    """Have the export of one kind of network write another network than it should."""

    def make(exported, example, names):
        if exported.network.kind == kind:
            exported = ExportedNetwork(random_model(kind, 99))
        return FORMATS[form].make(exported, example, names)

    monkeypatch.setattr(export, "FORMATS", {form: dataclasses.replace(FORMATS[form], make=make)})


@pytest.mark.parametrize("triton", [False, True])
@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_a_failed_verification_leaves_nothing(form, model, tmp_path, monkeypatch, capsys, kind, triton):
    spoil(monkeypatch, form, kind)
    options = (
        "--model_path",
        model,
        "--output",
        tmp_path / "out",
        f"--format={form}",
        "-p",
        "hifi",
        f"--triton={triton}",
    )
    with pytest.raises(SystemExit) as stopped:
        run_export(*options, "--verify")
    last = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 1
    assert re.search(rf"{kind.replace('_', '-')} network differs as {form} by up to \d\.\de[-+]\d\d from PyTorch", last)
    assert files(tmp_path) == set()
    run_export(*options)  # without --verify
    assert len(files(tmp_path)) == (4 if triton else 2)


def test_an_earlier_export_survives_a_failed_one(model, tmp_path, monkeypatch):
    output = tmp_path / "pileup.ts"
    run_export("--model_path", model / "pileup.pt", "--output", output)
    before = output.read_bytes()
    spoil(monkeypatch, "torchscript", "pileup")
    with pytest.raises(SystemExit):
        run_export("--model_path", model / "pileup.pt", "--output", output, "--verify")
    assert output.read_bytes() == before
    assert files(tmp_path) == {"pileup.ts"}


def test_a_full_disk_leaves_nothing(model, tmp_path, monkeypatch, capsys):
    write = Path.write_bytes

    def fail(path, content):
        if "full_alignment" in path.name:
            write(path, content[:100])
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail)
    code, line = refusal(capsys, "--model_path", model, "--output", tmp_path, "-p", "ont")
    expected = f"{tmp_path / 'full_alignment.ts'}: cannot be written (No space left on device); is the disk full?"
    assert (code, line) == (1, f"[ERROR] {expected}")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_packages_of_onnx(model, tmp_path, monkeypatch, capsys, missing):
    needs_onnx()
    monkeypatch.setitem(sys.modules, missing, None)
    options = ("--model_path", model, "--output", tmp_path, "-p", "ont", "--format=onnx")
    code, line = refusal(capsys, *options, "--verify")
    assert code == 1
    assert f"run {install_command('export')}" in line
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    "options, code, words",
    [
        ([], 1, "rows for other reads; add --platform=ont|hifi|ilmn"),
        (["--platform=pacbio"], 2, "invalid choice: 'pacbio'"),
        (["--format=tensorrt"], 2, "invalid choice: 'tensorrt'"),
        (["--batch=0"], 1, "parameter --batch=0 (minimum:1) out of range"),
        (["--batch=many"], 2, "invalid int value: 'many'"),
        (["--model_path="], 2, "the value is empty"),
        (["--model_path={tmp}/nowhere"], 1, "nowhere: no such model folder or checkpoint; check --model_path"),
        (["--model_path={tmp}"], 1, "No pileup model found in provided model path"),
        (["--model_path={tmp}/text"], 1, "text: not a PyTorch checkpoint"),
        (["--model_path={tmp}/other.pt"], 1, "other.pt: not a Clair3 network: it has neither LSTM1 nor conv1"),
        (["--fa_model_prefix=pileup", "-p", "ont"], 1, "holds a pileup network where the full-alignment network"),
        (["--output={tmp}/text"], 1, "text is a file; a folder is needed"),
        (["--output={tmp}/text", "--triton"], 1, "text is a file; a folder is needed"),
        (["--output={tmp}", "--model_path={model}/pileup.pt"], 1, "is a folder; give a file name"),
        (["--output={model}/pileup.pt", "--model_path={model}/pileup.pt"], 1, "is the model itself"),
        (["--triton", "--max_batch=0"], 1, "parameter --max_batch=0 (minimum:1) out of range"),
        (["--triton", "--model_version=0"], 1, "parameter --model_version=0 (minimum:1) out of range"),
        (["--triton", "--input_name=reads"], 1, "with TorchScript Triton wants them to end in __0"),
        (["--input_name=reads"], 1, "TorchScript has no such names"),
        (["--max_batch=8"], 1, "--max_batch is for Triton only; add --triton or leave it out"),
        (['--input_name=a"b'], 1, "expected letters, digits and underscores"),
        (["--input_name=a__0", "--output_name=a__0"], 1, "are both a__0"),
    ],
)
def test_what_is_refused(model, tmp_path, capsys, options, code, words):
    (tmp_path / "text").write_text("no network")
    torch.save({"dense.weight": torch.ones(2, 2)}, tmp_path / "other.pt")
    given = [option.format(tmp=tmp_path, model=model) for option in options]
    found, line = refusal(capsys, f"--model_path={model}", f"--output={tmp_path / 'out'}", *given)
    assert words in line
    assert found == code
    assert files(tmp_path) == {"text", "other.pt"}
    assert files(model) == {"pileup.pt", "full_alignment.pt"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)


def test_the_commands_of_the_page(model, tmp_path, monkeypatch):
    needs_onnx()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(model)
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        program, *options = command.split()
        assert program == "clair3"
        clair3(options)
    monkeypatch.syspath_prepend(ROOT)
    for number, example in enumerate(blocks("python")):
        (tmp_path / f"example{number}.py").write_text(example)
        assert runpy.run_path(f"example{number}.py")["probabilities"].shape == (5, 24)
