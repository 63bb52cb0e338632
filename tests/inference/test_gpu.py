"""On a CUDA GPU: the probabilities of the CPU within 1e-4, the same bytes for any batches and workers, little memory.

`python -m pytest -m gpu tests/inference/test_gpu.py`; skips where there is no GPU.
"""

import gzip
import re
import subprocess
from contextlib import closing
from dataclasses import replace

import numpy as np
import program
import pytest
import torch

from clair3 import core
from clair3.calling import pipeline, stages
from clair3.config import Compute
from clair3.inference.checkpoint import load_model
from clair3.inference.devices import DeviceNetwork, compute_exactly, lower_precision, make_inference, resolve
from clair3.inference.executors import DeviceExecutor
from clair3.inference.predictor import Predictor
from clair3.model import random_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")]

GPU = torch.device("cuda", 0)
PARITY = 1e-4
"""Greatest difference of a probability from the CPU's."""

CASES = [("pileup", (33, 18)), ("full_alignment", (89, 33, 8)), ("full_alignment", (55, 33, 8))]


def candidates(kind, shape, n):
    """Tensors like those of reads: small numbers, the outer rows empty."""
    rng = np.random.default_rng(n)
    x = rng.integers(-60, 61, (n, *shape)).astype(np.int32 if kind == "pileup" else np.int8)
    if kind == "full_alignment":
        x[:, : shape[0] // 3] = x[:, -(shape[0] // 3) :] = 0
    return x


def on_gpu(model, tensors, pieces=None, piece=None):
    """Probabilities through the queue, as a run gets them."""
    compute_exactly()
    network = DeviceNetwork(model, GPU, piece=piece)
    network.pieces = pieces or network.pieces
    with closing(DeviceExecutor([network])) as queue:
        return queue.submit(tensors, core.CancelFlag()).result()


@pytest.mark.parametrize("kind, shape", CASES)
def test_probabilities_of_the_cpu(kind, shape):
    x = candidates(kind, shape, 700)
    expected = Predictor(random_model(kind, 1))(x)
    found = on_gpu(random_model(kind, 1), x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=PARITY)
    assert abs(expected - expected[0]).max() > 0.1  # not one answer for all


@pytest.mark.parametrize("name, kind", [("ont_pileup", "pileup"), ("hifi_full_alignment_all", "full_alignment"),
                                        ("deep_ont_chrX_pileup", "pileup"), ("ont_full_alignment", "full_alignment"),
                                        ("dwell_hac5_full_alignment", "full_alignment")])  # fmt: skip
def test_golden_outputs(shared_data, name, kind):
    golden = np.load(shared_data / "golden" / "tensors" / f"{name}.npz")
    model = load_model(shared_data / "models" / str(golden["model"]) / f"{kind}.pt", kind)
    np.testing.assert_allclose(on_gpu(model, golden["tensor"]), golden["net_output"], rtol=0, atol=PARITY)


@pytest.mark.parametrize("kind, shape", CASES)
def test_any_batch_gives_the_same_bits(kind, shape):
    """Also when everything is computed again."""
    x = candidates(kind, shape, 3000)
    found = [on_gpu(random_model(kind, 1), x, pieces) for pieces in (1, 3, 8, 8)]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("kind, shape", CASES)
def test_a_row_gets_the_same_bits_at_every_place(kind, shape):
    """Among other neighbours: so records do not depend on the chunk size either."""
    x = candidates(kind, shape, 1000)
    expected = on_gpu(random_model(kind, 1), x)
    for shift in (1, 31, 128, 255, 500):
        found = on_gpu(random_model(kind, 1), np.roll(x, shift, axis=0))
        np.testing.assert_array_equal(found, np.roll(expected, shift, axis=0))


@pytest.mark.parametrize("precision, tolerance", [("fp16", 0.05), ("bf16", 0.2)])
@pytest.mark.parametrize("kind, shape", CASES)
def test_lower_precision_is_near(kind, shape, precision, tolerance):
    x = candidates(kind, shape, 300)
    x[5] = 0
    expected = Predictor(random_model(kind, 1))(x)
    found = on_gpu(lower_precision(random_model(kind, 1), resolve(Compute("cuda", (0,), precision)).precision), x)
    assert np.isfinite(found).all() and 0 < abs(found - expected).max() < tolerance


def test_out_of_memory_halves_the_batch(caplog):
    """32,768 candidates need 770 MB for their tensors alone, and 400 MB are allowed."""
    x = np.zeros((32_768, 89, 33, 8), np.int8)
    x[:, 40:50] = candidates("full_alignment", (10, 33, 8), 1)
    network = DeviceNetwork(random_model("full_alignment", 1), GPU, piece=32)
    network.pieces = 1024
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info(GPU)
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(GPU) + 400e6) / total, GPU)
    try:
        with closing(DeviceExecutor([network])) as queue:
            found = queue.submit(x, core.CancelFlag()).result()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    assert 1 <= network.pieces < 1024 and "out of memory, going on with batches of" in caplog.text
    np.testing.assert_allclose(found[[0, -1]], Predictor(random_model("full_alignment", 1))(x[:2]), rtol=0, atol=PARITY)


def call(config, **changes):
    """The text of the merged VCF of a run."""
    config = replace(config, **changes)
    config.output.mkdir(exist_ok=True)
    return gzip.decompress(pipeline.call_variants(config).read_bytes()).decode()


def call_fields(text):
    """CHROM, POS, REF, ALT, FILTER and GT of each record."""
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return {(*row[:2], *row[3:5], row[6], row[9].partition(":")[0]) for row in rows}


def test_a_run_calls_what_the_cpu_calls(run_config):
    cpu, gpu = call_fields(call(run_config)), call_fields(call(run_config, compute=Compute("cuda", (0,))))
    assert len(cpu) > 100
    assert len(cpu ^ gpu) <= 0.01 * len(cpu)  # of an untrained network, which is never sure


def test_same_bytes_for_any_batches_and_workers(run_config, monkeypatch):
    gpu = replace(run_config, compute=Compute("cuda", (0,)))
    whole = call(gpu)

    def one_piece(compute, model):
        inference = make_inference(compute, model)
        for network in inference.networks:
            network.pieces = 1
        return inference

    for threads, chunk_size in ((1, 5_000_000), (5, 5_000_000), (2, 7_001)):
        assert call(gpu, threads=threads, chunk_size=chunk_size) == whole
    monkeypatch.setattr(stages, "make_inference", one_piece)
    assert call(gpu) == whole


@pytest.mark.parametrize("option", ["--use_gpu", "--device=cuda:0", "--device=auto"])
def test_the_command_line(run_config, option):
    run = program.start(run_config, "--threads=2", option, stderr=subprocess.PIPE)
    errors = run.communicate(timeout=300)[1]
    assert run.returncode == 0, errors
    assert "Networks run on cuda:0" in errors and re.search(r"cuda:0 was busy \d+ % of", errors)
    assert (run_config.output / "merge_output.vcf.gz").is_file()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA GPU")
def test_several_gpus(run_config):
    """Of one model: the same bytes as with one of them."""
    assert call(run_config, compute=Compute("cuda")) == call(run_config, compute=Compute("cuda", (0,)))
