"""TensorFlow checkpoints as networks of ours: the golden ones, the mapping, and runs that use them as they are."""

import numpy as np
import pytest
import tf_writer
import torch

from clair3.errors import InputError
from clair3.inference.checkpoint import find_checkpoint, find_tf_index, load_model, read_checkpoint, read_digest
from clair3.inference.tf_networks import read_network
from clair3.model import random_model

torch.set_num_threads(1)

GOLDEN = [("ont", "pileup"), ("ont", "full_alignment"), ("hifi", "full_alignment")]


def probabilities(model, x):
    with torch.inference_mode():
        return model.predict(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("folder, kind", GOLDEN)
def test_golden_probabilities(shared_data, folder, kind):
    """TensorFlow's own answers (spec/models.md 13); the entries are those of v2's files, in their order."""
    place = shared_data / "golden" / "tf" / folder
    model = load_model(find_checkpoint(place, kind, kind), kind)
    golden = np.load(place / f"{kind}_io.npz")
    np.testing.assert_allclose(probabilities(model, golden["x"]), golden["prob_f64"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(probabilities(model.double(), golden["x"]), golden["prob_f64"], rtol=0, atol=1e-10)


def test_golden_symmetric_padding(shared_data):
    """What v2.0.2 makes of the HiFi network: --conv_padding=symmetric gives it, and it is far from TensorFlow's."""
    place = shared_data / "golden" / "tf" / "hifi"
    path, golden = find_checkpoint(place, "full_alignment", "full_alignment"), np.load(place / "full_alignment_io.npz")
    model = load_model(path, "full_alignment", conv_padding="symmetric")
    found = probabilities(model, golden["x"])
    np.testing.assert_allclose(found, golden["prob_symmetric_f64"], rtol=0, atol=5e-5)
    assert abs(found - golden["prob_f64"]).max() > 0.9


@pytest.mark.parametrize("folder, kind", GOLDEN)
def test_golden_state_dicts(shared_data, folder, kind):
    """The entries of v2's files in their order; turned back, each is, bit by bit, a piece of the shards."""
    state, meta = read_checkpoint(shared_data / "golden" / "tf" / folder / f"{kind}.index")
    expected = random_model(kind, 1, heads=2 if kind == "pileup" else 4).state_dict()
    assert list(state) == list(expected)
    for key, value in state.items():
        assert (value.shape, value.dtype) == (expected[key].shape, expected[key].dtype)
        assert value.is_contiguous()
        if key.endswith("num_batches_tracked") or "bias_hh" in key:
            assert not value.any()
    shards = b"".join(path.read_bytes() for path in (shared_data / "golden" / "tf" / folder).glob(f"{kind}.data-*"))
    model = load_model(shared_data / "golden" / "tf" / folder / f"{kind}.index", kind)
    for path, array in tf_writer.keras_variables(model).items():
        assert array.tobytes() in shards, path
    assert meta["source"] == "tensorflow"
    assert meta.get("conv_padding") == (None if kind == "pileup" else "tf_same")


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize(
    "kind, options",
    [
        ("pileup", {"heads": 2}),
        ("pileup", {"heads": 4}),
        ("full_alignment", {"heads": 4, "channels": 8}),
        ("full_alignment", {"heads": 2, "channels": 9}),
    ],
)
def test_the_tensors_tell_the_network(tmp_path, kind, options, numbered):
    model = random_model(kind, 5, **options, **({} if kind == "pileup" else {"conv_padding": "tf_same"}))
    index = tf_writer.write_checkpoint(tmp_path / "m", tf_writer.keras_variables(model), numbered=numbered, shards=2)
    loaded = load_model(index, kind)
    assert {name: getattr(loaded, name) for name in options} == options
    for key, value in model.state_dict().items():
        ours = loaded.state_dict()[key]
        if "bias_ih" in key:
            value = value + model.state_dict()[key.replace("bias_ih", "bias_hh")]
        elif "bias_hh" in key or key.endswith("num_batches_tracked"):
            value = torch.zeros_like(value)
        assert torch.equal(ours, value), key


@pytest.fixture(scope="module")
def variables():
    return tf_writer.keras_variables(random_model("full_alignment", 6))


def without(*path):
    return lambda found: {key: value for key, value in found.items() if key[: len(path)] != path}


@pytest.mark.parametrize(
    "change, words",
    [
        (without("L5_3"), "it has no L5_3/kernel; it is no complete model of Clair3 v1"),
        (without("res_block2", "layer_with_weights-0", "bn1", "gamma"), "it has no res_block2/.*bn1/gamma"),
        (without("conv1"), "not a Clair3 network: its layers begin neither with LSTM1 nor with conv1"),
        (lambda v: v | {("LSTM1", "bias"): np.zeros(3, np.float32)}, "not a Clair3 network"),
        (
            lambda v: v | {("L4", "kernel"): v["L4", "kernel"][:, :64]},
            r"L4/kernel has shape \(3584, 64\), not \(3584, 256\)",
        ),
        (
            lambda v: v | {("conv1", "conv", "kernel"): v["conv1", "conv", "kernel"][:, :, :7]},
            r"conv1/conv/kernel has shape \(3, 3, 7, 64\), not \(3, 3, 8 or 9, 64\)",
        ),
        (lambda v: v | {("conv1", "conv", "kernel"): np.zeros(3, np.float32)}, r"has shape \(3,\)"),
    ],
)
def test_other_networks(tmp_path, variables, change, words):
    index = tf_writer.write_checkpoint(tmp_path / "m", change(variables))
    with pytest.raises(InputError, match=f"m.index: .*{words}"):
        read_network(index)


# finding checkpoints, and what results depend on


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    "files, given, found",
    [
        (["p.index"], "p", "p.index"),
        (["p.index"], "p.index", "p.index"),
        (["p/variables/variables.index"], "p", "p/variables/variables.index"),
        (["p.index", "p/variables/variables.index"], "p", "p.index"),
        (["p.pt"], "p", None),
        (["p.07.index"], "p.07", "p.07.index"),
        (["p.07.index"], "p", None),
    ],
)
def test_finding_an_index(tmp_path, files, given, found):
    touch(tmp_path, *files)
    assert find_tf_index(tmp_path / given) == (found and tmp_path / found)


def test_the_latest_of_a_folder(tmp_path):
    touch(tmp_path, "best-3.index")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "best-3"\nall_model_checkpoint_paths: "best-1"\n')
    assert find_tf_index(tmp_path) == tmp_path / "best-3.index"
    (tmp_path / "best-3.index").unlink()
    with pytest.raises(InputError, match=r"checkpoint: names best-3, but .*best-3.index is missing"):
        find_tf_index(tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"\xff\x00 nothing")
    with pytest.raises(InputError, match="names no checkpoint"):
        find_tf_index(tmp_path)


def test_pt_files_come_first(tmp_path):
    touch(tmp_path, "pileup.pt", "pileup.index", "pileup/variables/variables.index")
    assert find_checkpoint(tmp_path, "pileup", "pileup").name == "pileup.pt"


def test_a_used_checkpoint_is_named_once(tmp_path, caplog):
    touch(tmp_path, "pileup.index")
    with caplog.at_level("INFO"):
        find_checkpoint(tmp_path, "pileup", "pileup")
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}/pileup.index: a TensorFlow checkpoint of Clair3 v1, converted in memory"
    ]


def test_the_digest_depends_on_every_file(tmp_path):
    index = tf_writer.write_checkpoint(tmp_path / "m", {("a",): np.ones(3, np.float32)}, shards=2)
    digests = {read_digest(index)}
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:] if content else b"x")
        digests.add(read_digest(index))
    assert len(digests) == 4
