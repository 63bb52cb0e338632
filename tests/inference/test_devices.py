"""Devices, precision and threads: what is asked for is used or refused, and results of different kinds never mix."""

import argparse
import gzip
import logging
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import program
import pytest
import torch

from clair3.calling import pipeline
from clair3.calling.banner import iter_banner
from clair3.cli.arguments import add_compute, make_compute
from clair3.config import Compute, parse_device
from clair3.errors import ConfigError, DeviceError
from clair3.inference import devices
from clair3.inference.devices import DeviceNetwork, lower_precision, make_inference, resolve, take_gpus
from clair3.inference.executors import DeferredPrediction
from clair3.inference.predictor import Predictor
from clair3.model import random_model

torch.set_num_threads(1)

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")


def chosen(*words, threads=4):
    """The choice that some options make."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--use_gpu", action="store_true")
    add_compute(parser)
    return make_compute(parser.parse_args(words), threads)


# Options


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], Compute()),
        (["--device=EMPTY"], Compute()),
        (["--device=cpu"], Compute()),
        (["--device=auto"], Compute("auto")),
        (["--device=mps"], Compute("mps")),
        (["--use_gpu"], Compute("cuda")),
        (["--use_gpu", "--device=auto"], Compute("cuda")),
        (["--use_gpu", "--device=cuda:0,2"], Compute("cuda", (0, 2))),
        (["--device=cuda"], Compute("cuda")),
        (["--device=cuda:1", "--precision=fp16"], Compute("cuda", (1,), "fp16")),
        (["--use_gpu", "--amp"], Compute("cuda", None, "amp")),
        (["--amp"], Compute(precision="bf16")),
        (["--amp", "--precision=bf16"], Compute(precision="bf16")),
        (["--torch_num_threads=3"], Compute(torch_threads=3)),
        (["--tensorflow_threads=4"], Compute(torch_threads=4)),
    ],
)
def test_choices(words, expected):
    assert chosen(*words) == expected


@pytest.mark.parametrize(
    "words, message",
    [
        (["--device=gpu"], "Please specify the device as '--device=cuda:0' or '--device=cuda:0,1'"),
        (["--device=cuda:"], "found --device=cuda:"),
        (["--device=cuda:0,cuda:1"], "found --device=cuda:0,cuda:1"),
        (["--device=cuda:0,0"], "found --device=cuda:0,0"),
        (["--device=cuda:-1"], "found --device=cuda:-1"),
        (["--use_gpu", "--device=cpu"], "contradict"),
        (["--amp", "--precision=fp32"], "contradict"),
        (["--precision=fp16"], "--precision=fp16 is for GPUs"),
        (["--torch_num_threads=0"], "--torch_num_threads=0; expected a whole number from 1"),
    ],
)
def test_choices_that_are_refused(words, message):
    with pytest.raises(ConfigError) as refusal:
        chosen(*words)
    assert message in str(refusal.value)


def test_more_torch_threads_than_threads(caplog):
    assert chosen("--torch_num_threads=9", threads=2).torch_threads == 2
    assert "--torch_num_threads=9 is more than the threads of this run, using 2" in caplog.text


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda:3,1", "mps", "auto"])
def test_a_choice_is_written_as_it_is_given(text):
    device, numbers = parse_device(text)
    assert str(Compute(device, numbers)) == text


@pytest.mark.parametrize(
    "choice, expected",
    [
        (Compute(), []),
        (Compute("cuda", (0, 1)), ["USE GPU: True", "GPU DEVICE: cuda:0,1"]),
        (Compute("cuda", None, "amp"), ["USE GPU: True", "GPU DEVICE: cuda", "PRECISION: amp"]),
    ],
)
def test_the_banner_tells_the_choice(run_config, choice, expected):
    lines = list(iter_banner(replace(run_config, compute=choice)))
    assert [line for line in lines if "GPU" in line or "PRECISION" in line] == expected


def test_workers_share_the_threads(run_config):
    for threads, torch_threads, workers in ((4, 1, 4), (4, 2, 2), (5, 3, 1), (2, 2, 1)):
        assert replace(run_config, threads=threads, compute=Compute(torch_threads=torch_threads)).workers == workers


# What is there


class FakeCuda:
    """Two GPUs in the place of torch's, with v2.0.2's least memory."""

    names = ("Tesla T4", "NVIDIA H200")
    capabilities = ((7, 5), (9, 0))
    free = 5_000_000_000

    def __init__(self):
        self.taken = []

    def memory(self, number):
        self.taken.append(number)
        return self.free, 16_000_000_000

    def install(self, patch):
        patch.setattr(torch.backends.cuda, "is_built", lambda: True)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: len(self.names))
        patch.setattr(torch.cuda, "get_device_name", lambda number: self.names[number])
        patch.setattr(torch.cuda, "get_device_capability", lambda number: self.capabilities[number])
        patch.setattr(torch.cuda, "mem_get_info", self.memory)


@pytest.fixture
def two_gpus(monkeypatch):
    gpus = FakeCuda()
    gpus.install(monkeypatch)
    return gpus


@pytest.mark.parametrize(
    "asked, numbers, names, precision",
    [
        (Compute("cuda"), (0, 1), ("NVIDIA H200", "Tesla T4"), "fp32"),
        (Compute("auto"), (0, 1), ("NVIDIA H200", "Tesla T4"), "fp32"),
        (Compute("cuda", (1,), "bf16"), (1,), ("NVIDIA H200",), "bf16"),
        (Compute("cuda", (0,), "amp"), (0,), ("Tesla T4",), "fp16"),
    ],
)
def test_gpus_that_are_there(two_gpus, asked, numbers, names, precision, caplog):
    caplog.set_level(logging.INFO)
    found = resolve(asked)
    assert found == Compute("cuda", numbers, precision, 1, names) and not two_gpus.taken
    take_gpus(found)
    assert tuple(two_gpus.taken) == numbers
    assert f"Networks run on cuda:{numbers[-1]} ({FakeCuda.names[numbers[-1]]}), 5.0 of 16.0 GB free" in caplog.text
    assert ("GPUs of different models" in caplog.text) == (len(names) > 1)


@pytest.mark.parametrize(
    "asked, message",
    [
        (
            Compute("cuda", (0, 2)),
            r"--device=cuda:0,2: there is no cuda:2; found: cpu, cuda:0 \(Tesla T4\), cuda:1",
        ),
        (Compute("cuda", None, "bf16"), r"--precision=bf16: cuda:0 \(Tesla T4\) has no bf16 arithmetic; use fp16 or"),
        (Compute("mps"), r"--device=mps: there is no Metal device for this PyTorch; found: cpu, cuda:0"),
    ],
)
def test_gpus_that_are_not_there(two_gpus, asked, message, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        resolve(asked)


def test_a_gpu_that_is_another_s_alone(two_gpus, monkeypatch):
    def busy(number):
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "mem_get_info", busy)
    with pytest.raises(DeviceError, match=r"^cuda:0 \(Tesla T4\) failed: CUDA error: CUDA-cap.* unavailable; look at"):
        take_gpus(resolve(Compute("cuda")))


def test_a_gpu_without_room_for_the_network(monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(devices, "compute_exactly", lambda: None)
    monkeypatch.setattr(devices.DeviceNetwork, "__init__", full)
    with pytest.raises(DeviceError, match="^cuda:1 failed: CUDA out of memory. Tried to allocate 20.00 MiB; look at"):
        make_inference(Compute("cuda", (1,)), random_model("pileup", 1))


def test_hidden_gpus_are_told(two_gpus, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    resolve(Compute("cuda"))
    assert "ENV 'CUDA_VISIBLE_DEVICES' is set to 4,6, using these GPUs only." in caplog.text


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_no_device_in_this_pytorch(monkeypatch, device):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"--device={device}.*found: cpu$"):
        resolve(Compute(device))
    assert resolve(Compute("auto")) == Compute()
    assert resolve(Compute("auto", precision="amp")) == Compute(precision="bf16")
    with pytest.raises(ConfigError, match="fp16 is for GPUs"):
        resolve(Compute("auto", precision="fp16"))


@no_gpu
@pytest.mark.parametrize("option", ["--device=cuda:0,1", "--use_gpu"])
def test_a_missing_gpu_ends_the_run_before_any_work(run_config, option):
    run_config.output.mkdir()
    earlier = run_config.output / "merge_output.vcf.gz"
    earlier.write_text("an earlier result")
    run = program.start(run_config, "--threads=1", option, stderr=program.subprocess.PIPE)
    errors = run.communicate(timeout=100)[1].splitlines()
    assert run.returncode == 1 and [line for line in errors if "[ERROR]" in line] == errors[-1:]
    assert errors[-1].startswith("[ERROR] --device=cuda") and "; found: cpu" in errors[-1]
    assert earlier.read_text() == "an earlier result" and not (run_config.output / "tmp").exists()


@no_gpu
def test_the_gpu_sub_command_runs_on_the_cpu_when_told(sample, tmp_path, capsys):
    from clair3.cli.main import main as clair3

    inputs = (f"--bam_fn={sample / 'reads.bam'}", f"--ref_fn={sample / 'ref.fa'}", "--ctgName=chr21", "--pileup")
    model = f"--chkpnt_fn={sample / 'model' / 'pileup'}"
    for name, more in (("CallVariantsFromCffi", ()), ("CallVariantsFromCffiGPU", ("--device=cpu",))):
        clair3([name, *inputs, model, f"--call_fn={tmp_path / name}", *more])
    one, other = ((tmp_path / name).read_text() for name in ("CallVariantsFromCffi", "CallVariantsFromCffiGPU"))
    assert one == other and one.count("\n") > 20
    for more in ((), ("--gpu_id=1",)):
        with pytest.raises(SystemExit) as stop:
            clair3(["CallVariantsFromCffiGPU", *inputs, model, f"--call_fn={tmp_path / 'none'}", *more])
        assert stop.value.code == 1 and "--device=cuda" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("free, kind, pieces", [(140e9, "pileup", 8), (1.3e9, "pileup", 7), (1.24e9, "pileup", 1),
                                                (1.1e9, "full_alignment", 2), (0.0, "full_alignment", 1)])  # fmt: skip
def test_batches_fit_the_free_memory(monkeypatch, free, kind, pieces):
    network = DeviceNetwork(random_model(kind, 1), torch.device("cpu"))
    network.device = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free), int(free)))
    assert network.fitting_pieces(kind) == pieces


class FakeEvent:
    """Events of a GPU 20 ms apart."""

    def __init__(self, enable_timing, blocking):
        assert enable_timing and blocking  # a waiting thread must not take a processor from the workers
        self.recorded = False

    def record(self):
        self.recorded = True

    def synchronize(self):
        assert self.recorded

    def elapsed_time(self, later):
        assert self.recorded and later.recorded
        return 20.0


def test_the_steps_on_a_gpu(monkeypatch):
    """The lines that a machine without a GPU never reaches, with its events and pinned memory pretended."""
    network, x = DeviceNetwork(random_model("pileup", 1), torch.device("cpu"), piece=32), candidates("pileup", 64)
    expected, empty = Predictor(random_model("pileup", 1))(x), torch.empty
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory: empty(*shape))
    future = network.start_cuda(torch.from_numpy(x))
    np.testing.assert_allclose(future.result(), expected, rtol=0, atol=1e-6)
    assert network.busy == 0.02


# Precision


def candidates(kind, n):
    rng = np.random.default_rng(n)
    if kind == "pileup":
        return rng.integers(-60, 61, (n, 33, 18), np.int32)
    return rng.integers(-100, 101, (n, 89, 33, 8), np.int8)


@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_bf16_is_near_and_does_not_depend_on_the_batch(kind):
    exact, near = (Predictor(lower_precision(random_model(kind, 1), name)) for name in ("fp32", "bf16"))
    x = candidates(kind, 40)
    x[7] = 0
    expected, found = exact(x), near(x)
    assert found.dtype == np.float32 and 1e-5 < abs(found - expected).max() < 0.15
    np.testing.assert_allclose(found[:, :21].sum(axis=1), 1, atol=1e-6)  # the softmax is not in 16 bits
    np.testing.assert_array_equal(np.concatenate([near(x[:3]), near(x[3:])]), found)


def test_fp32_leaves_a_network_as_it_is():
    model = random_model("pileup", 2)
    assert lower_precision(model, "fp32") is model
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_networks_of_lower_precision_on_a_device(kind, precision):
    """The device path with 16 bits; few rows, as processors are slow at them."""
    model = lower_precision(random_model(kind, 3), precision)
    network = DeviceNetwork(model, torch.device("cpu"), piece=4)
    x = candidates(kind, 4)
    expected = Predictor(random_model(kind, 3))(x)
    assert 0 < abs(network.start([x]).result() - expected).max() < 0.15


def records(config):
    path = pipeline.call_variants(config)
    return [line for line in gzip.decompress(path.read_bytes()).splitlines() if not line.startswith(b"#")]


def test_resume_does_not_mix_precisions(run_config, caplog):
    caplog.set_level(logging.INFO)
    run_config.output.mkdir()
    exact = records(replace(run_config, pileup_only=True))
    near = replace(run_config, pileup_only=True, compute=Compute(precision="bf16"), resume=True)
    first = records(near)
    assert first != exact and "0 of 2 parts are taken up" in caplog.text
    assert records(near) == first and "2 of 2 parts are taken up" in caplog.text
    assert "PRECISION: bf16" in caplog.text


def test_what_results_depend_on():
    one = Compute("cuda", (0,), "fp32", 1, ("A",))
    assert one.identity == replace(one, numbers=(1, 2), torch_threads=4).identity
    others = [Compute(), Compute(precision="bf16"), Compute(torch_threads=2), replace(one, precision="fp16")]
    others += [replace(one, names=("B",)), one]
    assert len({str(other.identity) for other in others}) == len(others)


def test_answers_that_are_no_numbers(run_config, monkeypatch):
    from clair3.calling import stages

    class NaNExecutor:
        prefetch, min_batch = 0, 512

        def submit(self, tensors, cancel):
            return DeferredPrediction(lambda: np.full((len(tensors), 24), np.nan, np.float32))

        def close(self):
            pass

    monkeypatch.setattr(stages, "make_inference", lambda compute, model: NaNExecutor())
    run_config.output.mkdir()
    with pytest.raises(stages.InputError, match=r"chr20:1-\d+: the network's answers are no numbers"):
        pipeline.call_variants(run_config)


def test_the_threads_of_torch(monkeypatch):
    set_to = []
    monkeypatch.setattr(devices.torch, "set_num_threads", set_to.append)
    make_inference(Compute(torch_threads=3), random_model("pileup", 1)).close()
    assert set_to == [3]
