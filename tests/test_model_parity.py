"""One network, one answer: golden checkpoints of PyTorch and TensorFlow, in PyTorch, TorchScript and ONNX Runtime.

The answers are those of Clair3 v2.0.2 and of TensorFlow, in both precisions (golden/torch, golden/tf). ONNX is single
precision only: ONNX Runtime has no SELU in double precision.
"""

import copy
import lzma

import numpy as np
import pytest
import torch

from clair3.export.formats import ExportedNetwork, run_onnx, run_torchscript, to_onnx, to_torchscript
from clair3.inference.checkpoint import load_model

torch.set_num_threads(1)

SINGLE, DOUBLE = 5e-5, 1e-10
"""Tolerances of spec/models.md 13, of probabilities."""

CASES = {
    "torch pileup": ("torch/pileup.pt.xz", "torch/pileup_ont_io.npz"),
    "torch ont": ("torch/full_alignment.pt.xz", "torch/full_alignment_ont_io.npz"),
    "torch hifi": ("torch/full_alignment.pt.xz", "torch/full_alignment_hifi_io.npz"),
    "torch dwell": ("torch/full_alignment_dwell.pt.xz", "torch/full_alignment_dwell_ont_io.npz"),
    "tf pileup": ("tf/ont/pileup.index", "tf/ont/pileup_io.npz"),
    "tf ont": ("tf/ont/full_alignment.index", "tf/ont/full_alignment_io.npz"),
    "tf hifi": ("tf/hifi/full_alignment.index", "tf/hifi/full_alignment_io.npz"),
}
BATCHES = (slice(0, 1), slice(1, 4), slice(0, 16), [*range(16)] * 2)
"""Candidates of the 16: one, three, all, and all twice: traces are made with another number."""


@pytest.fixture(scope="module", params=CASES.values(), ids=list(CASES))
def case(request, shared_data, tmp_path_factory):
    """A network as a run loads it, and the arrays it is to agree with: x, prob_f32, prob_f64."""
    checkpoint, arrays = (shared_data / "golden" / name for name in request.param)
    if checkpoint.suffix == ".xz":
        unpacked = tmp_path_factory.mktemp("checkpoint") / checkpoint.stem
        unpacked.write_bytes(lzma.decompress(checkpoint.read_bytes()))
        checkpoint = unpacked
    kind = "pileup" if checkpoint.name.startswith("pileup") else "full_alignment"
    return load_model(checkpoint, kind), np.load(arrays)


def check_batches(predict, golden, tolerance, dtype):
    """A network in any runtime against golden probabilities, in batches of other sizes than it was traced with."""
    for batch in BATCHES:
        found = predict(golden["x"][batch])
        assert found.dtype == dtype
        np.testing.assert_allclose(found, golden["prob_f64"][batch], rtol=0, atol=tolerance)
        if dtype == np.float32:
            np.testing.assert_allclose(found, golden["prob_f32"][batch], rtol=0, atol=tolerance)


def eager(network):
    def predict(tensors):
        with torch.inference_mode():
            return network.predict(torch.from_numpy(tensors)).numpy()

    return predict


def test_pytorch(case):
    network, golden = case
    check_batches(eager(network), golden, SINGLE, np.float32)


def test_pytorch_in_double_precision(case):
    network, golden = case
    check_batches(eager(copy.deepcopy(network).double()), golden, DOUBLE, np.float64)


def test_torchscript(case):
    network, golden = case
    script = run_torchscript(to_torchscript(ExportedNetwork(network), torch.from_numpy(golden["x"][:5])))
    check_batches(script, golden, SINGLE, np.float32)
    np.testing.assert_array_equal(script(golden["x"]), eager(network)(golden["x"]))  # the same bits


def test_torchscript_in_double_precision(case):
    network, golden = case
    exported = ExportedNetwork(network).double()
    script = run_torchscript(to_torchscript(exported, torch.from_numpy(golden["x"][:5])))
    check_batches(script, golden, DOUBLE, np.float64)


def test_onnx(case):
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    network, golden = case
    onnx = run_onnx(to_onnx(ExportedNetwork(network), torch.from_numpy(golden["x"][:5])))
    check_batches(onnx, golden, SINGLE, np.float32)
