"""Checkpoints that real TensorFlow has just written, read without it; `bash tests/tf/run.sh` makes and checks them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from clair3.inference.checkpoint import find_tf_index, load_model
from clair3.inference.tf_checkpoint import TfCheckpoint

torch.set_num_threads(1)

VARIABLE = "CLAIR3_TF_CHECKPOINTS"
CASES = {  # kind, heads, channels, whether it is a SavedModel
    "pileup": ("pileup", 2, None, True),
    "pileup_four_heads": ("pileup", 4, None, False),
    "ont": ("full_alignment", 4, 8, True),
    "hifi": ("full_alignment", 4, 8, False),
    "dwell_two_heads": ("full_alignment", 2, 9, False),
}


@pytest.fixture(scope="module")
def folder():
    """Where TensorFlow left its checkpoints and answers."""
    if VARIABLE not in os.environ:
        pytest.skip(f"needs TensorFlow in an environment of its own: bash tests/tf/run.sh (sets {VARIABLE})")
    return Path(os.environ[VARIABLE])


def assert_variables(index, told):
    """Bit by bit what TensorFlow had in memory."""
    checkpoint = TfCheckpoint(index)
    paths = [path for path in told.files if "/" in path]
    assert len(paths) > 20
    for path in paths:
        np.testing.assert_array_equal(checkpoint.variable(*path.split("/"), shape=told[path].shape), told[path])


def assert_probabilities(model, told):
    """Within the tolerances of spec/models.md 13."""
    x = torch.from_numpy(told["x"])
    with torch.inference_mode():
        np.testing.assert_allclose(model.predict(x).numpy(), told["prob_f64"], rtol=0, atol=5e-5)
        np.testing.assert_allclose(model.predict(x).numpy(), told["prob_f32"], rtol=0, atol=5e-5)
        np.testing.assert_allclose(model.double().predict(x).numpy(), told["prob_f64"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_fresh(folder, name):
    """The answers differ so much between inputs that a wrong place or padding could not hide."""
    if (index := find_tf_index(folder / name)) is None:
        pytest.skip("one's own models are looked at")
    (kind, heads, channels, saved_model), told = CASES[name], np.load(folder / f"{name}_io.npz")
    assert (index.name == "variables.index") == saved_model
    assert_variables(index, told)
    model = load_model(index, kind)
    assert (model.heads, getattr(model, "channels", None)) == (heads, channels)
    assert told["prob_f64"].std(axis=0).mean() > 0.05
    assert_probabilities(model, told)


def test_own(folder):
    """Models named to run.sh."""
    files = sorted(folder.glob("own_*_io.npz"))
    if not files:
        pytest.skip("no model of one's own was named: bash tests/tf/run.sh NETWORK=PREFIX ...")
    for file in files:
        told = np.load(file)
        index = find_tf_index(Path(str(told["prefix"])))
        assert_variables(index, told)
        assert_probabilities(load_model(index, "pileup" if told["x"].ndim == 3 else "full_alignment"), told)
