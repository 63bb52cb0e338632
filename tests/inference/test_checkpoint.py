"""Model files: every layout that v2.0.2 writes, and a sentence for each thing that can be wrong with one."""

import pickle
import re
import zipfile
from collections import OrderedDict

import pytest
import torch

from clair3.errors import InputError
from clair3.inference import checkpoint
from clair3.inference.checkpoint import find_checkpoint, load_model, read_checkpoint, save_model, write_checkpoints
from clair3.model import random_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pileup():
    return random_model("pileup", 1)


@pytest.fixture(scope="module")
def full_alignment():
    return random_model("full_alignment", 1)


def same_weights(model, other):
    ours, theirs = model.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: OrderedDict((f"module.{key}", value) for key, value in state.items()),
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ],
    ids=["bare", "state_dict entry", "module prefix", "both"],
)
def test_layouts(tmp_path, pileup, wrap):
    torch.save(wrap(pileup.state_dict()), tmp_path / "pileup.pt")
    model = load_model(tmp_path / "pileup.pt", "pileup")
    assert same_weights(model, pileup)
    assert not model.training


@pytest.mark.parametrize(
    "kind, options",
    [
        ("pileup", {"heads": 2}),
        ("pileup", {"heads": 4}),
        ("full_alignment", {"heads": 2, "channels": 9}),
        ("full_alignment", {"heads": 4, "channels": 8}),
        ("full_alignment", {"conv_padding": "tf_same"}),
    ],
)
def test_the_tensors_tell_the_network(tmp_path, kind, options):
    model = random_model(kind, 2, **options)
    save_model(model, tmp_path / "any.pt")
    loaded = load_model(tmp_path / "any.pt", kind)
    assert same_weights(loaded, model)
    assert {name: getattr(loaded, name) for name in options} == options
    assert [path.name for path in tmp_path.iterdir()] == ["any.pt"]


@pytest.mark.parametrize("folder", ["ont_sim", "hifi_hot", "ont_dwell"])
@pytest.mark.parametrize("kind, entries", [("pileup", 26), ("full_alignment", 81)])
def test_golden_models(shared_data, folder, kind, entries):
    path = find_checkpoint(shared_data / "models" / folder, kind, kind)
    model = load_model(path, kind, heads=2 if kind == "pileup" else 4)
    state, meta = read_checkpoint(path)
    assert len(state) == entries and meta == {}
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    if kind == "full_alignment":
        assert model.channels == (9 if folder == "ont_dwell" else 8)


def test_saved_file_is_a_bare_state_dict(tmp_path, pileup):
    save_model(pileup, tmp_path / "pileup.pt")
    content = torch.load(tmp_path / "pileup.pt", weights_only=True)
    assert list(content) == list(pileup.state_dict())


def test_metadata_travels(tmp_path, full_alignment):
    save_model(full_alignment, tmp_path / "f.pt", meta={"source": "tensorflow"})
    state, meta = read_checkpoint(tmp_path / "f.pt")
    assert list(state) == list(full_alignment.state_dict())
    assert meta == {"source": "tensorflow"}


@pytest.mark.parametrize("option, used", [("auto", "tf_same"), ("symmetric", "symmetric"), ("tf_same", "tf_same")])
def test_padding_option_overrules_the_file(tmp_path, option, used):
    save_model(random_model("full_alignment", 3, conv_padding="tf_same"), tmp_path / "f.pt")
    assert load_model(tmp_path / "f.pt", "full_alignment", conv_padding=option).conv_padding == used


@pytest.mark.parametrize("counter, depth, warned", [(0, 55, True), (0, 89, False), (5, 55, False), (0, None, False)])
def test_a_converted_looking_model_is_warned_about(tmp_path, caplog, full_alignment, counter, depth, warned):
    """Once: a run loads the network twice."""
    state = full_alignment.state_dict()
    counters = {key: torch.tensor(counter) for key in state if key.endswith("num_batches_tracked")}
    torch.save(OrderedDict(state, **counters), tmp_path / "f.pt")
    for _ in range(2):
        assert load_model(tmp_path / "f.pt", "full_alignment", depth=depth).conv_padding == "symmetric"
    assert [record.levelname for record in caplog.records] == (["WARNING"] if warned else [])


@pytest.mark.parametrize("said", ["conv_padding", "meta"])
def test_no_warning_where_the_padding_is_known(tmp_path, caplog, full_alignment, said):
    state = full_alignment.state_dict()
    state |= {key: torch.tensor(0) for key in state if key.endswith("num_batches_tracked")}
    content = {"state_dict": state, "clair3_meta": {"conv_padding": "tf_same"}} if said == "meta" else state
    torch.save(content, tmp_path / "f.pt")
    padding = "auto" if said == "meta" else "tf_same"
    assert load_model(tmp_path / "f.pt", "full_alignment", depth=55, conv_padding=padding).conv_padding == "tf_same"
    assert not caplog.records


def test_several_files_are_written_or_none(tmp_path, pileup, full_alignment):
    contents = {tmp_path / "a.pt": pileup.state_dict(), tmp_path / "no" / "b.pt": full_alignment.state_dict()}
    with pytest.raises(InputError, match="b.pt: cannot be written"):
        write_checkpoints(contents)
    assert not list(tmp_path.iterdir())


# what is wrong with the file, and the words that tell it


def without(state, key):
    return OrderedDict((k, v) for k, v in state.items() if k != key)


WRONG_CONTENTS = [
    (lambda s: without(s, "L4.bias"), "L4.bias of the pileup network is missing (1 in all)"),
    (lambda s: s | {"L9.bias": torch.zeros(3)}, "L9.bias is no entry of the pileup network"),
    (lambda s: s | {"L4.bias": torch.zeros(64)}, "L4.bias has shape (64,), the pileup network has (128,)"),
    (lambda s: s | {"L4.bias": torch.zeros(128, dtype=torch.int8)}, "L4.bias is torch.int8, expected torch.float32"),
    (lambda s: s | {"L4.bias": torch.full((128,), float("nan"))}, "L4.bias holds infinite numbers or NaN"),
    (lambda s: s | {"L4.weight": s["L4.weight"].to_sparse()}, "L4.weight is a tensor of kind sparse_coo"),
    (lambda s: s | {"L4.weight": s["L4.weight"].to_sparse_csr()}, "L4.weight is a tensor of kind sparse_csr"),
    (lambda s: s | {"L4.weight": s["L4.weight"].to("meta")}, "L4.weight is a tensor of kind meta"),
    (
        lambda s: s | {"L4.weight": s["L4.weight"].to(torch.float8_e4m3fn)},
        "L4.weight is a tensor of kind float8_e4m3fn",
    ),
    (lambda s: s | {"L4.weight": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])}, ""),
    (lambda s: {"encoder.weight": torch.zeros(3)}, "neither LSTM1 nor conv1; its first entry is encoder.weight"),
    (lambda s: {"state_dict": {}}, "holds no network weights"),
    (lambda s: [1, 2], "holds no network weights"),
    (lambda s: {"epoch": 3}, "holds no network weights"),
    (lambda s: {1: torch.zeros(3)}, "holds no network weights"),
    (lambda s: {"state_dict": s, "clair3_meta": 5}, "holds no network weights"),
    (lambda s: {"state_dict": s, "when": zipfile.ZipFile}, "not a PyTorch checkpoint of tensors and plain values"),
]


@pytest.mark.parametrize("change, words", WRONG_CONTENTS)
def test_wrong_contents(tmp_path, pileup, change, words):
    torch.save(change(pileup.state_dict()), tmp_path / "pileup.pt")
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / 'pileup.pt'))}: .*{re.escape(words)}"):
        load_model(tmp_path / "pileup.pt", "pileup")


def test_a_small_file_of_much(tmp_path, pileup, monkeypatch):
    save_model(pileup, tmp_path / "pileup.pt")
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 100_000)
    with pytest.raises(InputError, match="unpacks to more than 100000 bytes"):
        load_model(tmp_path / "pileup.pt", "pileup")


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    """One bit of a weight changes: torch.load would not notice."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage, words",
    [
        (cut, "damaged or not a PyTorch checkpoint"),
        (flip, "wrong checksum"),
        (lambda content: b"", "damaged or not a PyTorch checkpoint"),
        (lambda content: content[:-3], "damaged or not a PyTorch checkpoint"),
        (lambda content: pickle.dumps({"a": 1}, protocol=2), "not a PyTorch checkpoint"),
        (lambda content: b"<html>404 Not Found</html>", "not a PyTorch checkpoint"),
    ],
    ids=["cut", "bit flipped", "empty", "tail lost", "pickle", "web page"],
)
def test_damaged_files(tmp_path, pileup, damage, words):
    path = tmp_path / "pileup.pt"
    save_model(pileup, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=words) as caught:
        load_model(path, "pileup")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind, asked, words",
    [
        ("full_alignment", {"kind": "pileup"}, "holds a full-alignment network where the pileup network is needed"),
        ("pileup", {"kind": "full_alignment"}, "holds a pileup network where the full-alignment network is needed"),
        ("pileup", {"heads": 4}, "a network of 2 heads, but 4 are needed"),
        ("full_alignment", {"channels": 9}, "trained without dwell time (8 channels); leave out --enable_dwell_time"),
    ],
)
def test_another_network_than_asked_for(tmp_path, request, kind, asked, words):
    save_model(request.getfixturevalue(kind), tmp_path / "m.pt")
    with pytest.raises(InputError, match=re.escape(words)):
        load_model(tmp_path / "m.pt", **({"kind": kind} | asked))


def test_dwell_model_without_dwell_time(tmp_path):
    save_model(random_model("full_alignment", 4, channels=9), tmp_path / "m.pt")
    with pytest.raises(InputError, match="add --enable_dwell_time"):
        load_model(tmp_path / "m.pt", "full_alignment", channels=8)


def test_unknown_padding_in_the_file(tmp_path, full_alignment):
    save_model(full_alignment, tmp_path / "m.pt", meta={"conv_padding": "valid"})
    with pytest.raises(InputError, match="conv_padding 'valid' in clair3_meta"):
        load_model(tmp_path / "m.pt", "full_alignment")


def test_missing_file_and_unwritable_folder(tmp_path, pileup):
    with pytest.raises(InputError, match="cannot be read \\(No such file"):
        load_model(tmp_path / "pileup.pt", "pileup")
    with pytest.raises(InputError, match="cannot be written \\(No such file"):
        save_model(pileup, tmp_path / "no" / "pileup.pt")


@pytest.mark.parametrize(
    "files, prefix, found",
    [
        (["pileup.pt"], "pileup", "pileup.pt"),
        (["pileup.pt"], "pileup.pt", "pileup.pt"),
        (["pileup.pt", "pileup"], "pileup", "pileup.pt"),
        (["pileup"], "pileup", "pileup"),
        (["pileup.pt", "pileup.index"], "pileup", "pileup.pt"),
        (["pileup.pt", "pileup.index"], "pileup.index", "pileup.pt"),
        (["best.07.pt", "best.pt"], "best.07", "best.07.pt"),
    ],
)
def test_finding_the_file_of_a_prefix(tmp_path, files, prefix, found):
    for name in files:
        (tmp_path / name).touch()
    assert find_checkpoint(tmp_path, "pileup", prefix) == tmp_path / found


@pytest.mark.parametrize("kind, name", [("pileup", "pileup"), ("full_alignment", "full-alignment")])
def test_no_file_of_that_prefix(tmp_path, kind, name):
    (tmp_path / "best.pt").touch()
    sentence = f"No {name} model found in provided model path and model prefix {tmp_path}/best.07"
    with pytest.raises(InputError) as caught:
        find_checkpoint(tmp_path, kind, "best.07")
    assert str(caught.value) == sentence
