"""Executors, with networks on pretended devices: the bytes of the CPU path, and every way in which a run can end."""

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from program import ROOT

from clair3 import core
from clair3.calling import pipeline, stages
from clair3.errors import DeviceError, InputError
from clair3.inference import executors
from clair3.inference.devices import DeviceNetwork
from clair3.inference.executors import DeferredPrediction, DeviceExecutor, LocalExecutor, iter_prefetched
from clair3.model import random_model

PIECES = {"pileup": 64, "full_alignment": 32}
"""Sizes of the CPU path, so that nothing but the executor differs."""


class FakeNetwork:
    """A network that predicts the first number of each row; `capacity` pieces fit its memory."""

    classes = 2
    message = "CUDA out of memory. Tried to allocate 2.00 GiB.\nmore words"

    def __init__(self, piece=4, pieces=8, capacity=8, seconds=0.0, name="cuda:0"):
        self.name, self.piece, self.pieces, self.capacity, self.seconds = name, piece, pieces, capacity, seconds
        self.busy, self.freed, self.on_device, self.batches = 0.0, 0, 0, []

    def start(self, rows):
        self.on_device += len(rows)
        if self.on_device > self.capacity:
            self.on_device -= len(rows)
            raise RuntimeError(self.message)
        assert all(0 < len(piece) <= self.piece for piece in rows) and len(rows) <= self.pieces
        self.batches.append(len(rows))
        predicted = np.full((len(rows) * self.piece, self.classes), -1, np.float32)
        for i, piece in enumerate(rows):
            predicted[i * self.piece : i * self.piece + len(piece)] = piece[:, :1]

        def fetch():
            time.sleep(self.seconds)
            self.on_device -= len(rows)
            return predicted

        return DeferredPrediction(fetch)

    def free(self):
        self.freed += 1


class BrokenNetwork(FakeNetwork):
    """Raises an error in the third batch: when it is started, or when it is waited for."""

    def __init__(self, error, late, **options):
        super().__init__(**options)
        self.error, self.late, self.started = error, late, 0

    def start(self, rows):
        self.started += 1
        if self.started < 3:
            return super().start(rows)
        if not self.late:
            raise self.error
        return DeferredPrediction(partial(fail, self.error))


def fail(error):
    raise error


def numbers(start, n):
    return np.arange(start, start + n, dtype=np.int32)[:, None] * np.ones((1, 3), np.int32)


def submit_from_threads(executor, sizes, workers=3, cancel=None):
    """Requests of some sizes from several threads; each must get its own rows back, in order."""
    cancel = cancel or core.CancelFlag()

    def request(i):
        found = executor.submit(numbers(1000 * i, sizes[i]), cancel).result()
        np.testing.assert_array_equal(found, numbers(1000 * i, sizes[i])[:, :2])

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(request, range(len(sizes))))


# Results


@settings(max_examples=30)
@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 5), st.integers(1, 9), st.integers(1, 3))
def test_each_request_gets_its_own_rows(sizes, piece, capacity, devices):
    """At any size of the requests and pieces, any memory, any number of devices."""
    networks = [FakeNetwork(piece=piece, capacity=capacity) for _ in range(devices)]
    with closing(DeviceExecutor(networks)) as executor:
        submit_from_threads(executor, sizes)
    assert sum(sum(network.batches) for network in networks) == sum(-(-size // piece) for size in sizes)


def test_small_requests_share_a_batch():
    network = FakeNetwork(seconds=0.05)
    with closing(DeviceExecutor([network])) as executor:
        submit_from_threads(executor, [3] * 40, workers=20)
    assert len(network.batches) < 20 and max(network.batches) > 2


@pytest.mark.parametrize(
    "message",
    [
        FakeNetwork.message,
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_a_device_without_memory_gets_smaller_batches(caplog, message):
    network = FakeNetwork(pieces=8, capacity=3)
    network.message = message
    with closing(DeviceExecutor([network])) as executor:
        submit_from_threads(executor, [100, 1, 7])
    assert max(network.batches) <= 3 and network.freed
    assert "cuda:0: out of memory, going on with batches of" in caplog.text


@pytest.mark.parametrize("batches, prefetch", [(0, 0), (5, 0), (5, 2), (2, 9)])
def test_prefetched_batches(batches, prefetch):
    started = []

    def start(batch):
        started.append(batch)
        return DeferredPrediction(lambda: (batch, len(started)))

    found = list(iter_prefetched(((i, start(i)) for i in range(batches)), prefetch))
    assert found == [(i, (i, min(batches, i + 1 + prefetch))) for i in range(batches)]


def test_a_cancelled_run_ends_in_the_worker():
    cancel = core.CancelFlag()
    checked = []

    def predict(rows, check):
        for _ in rows:
            check()
            checked.append(len(rows))
            cancel.set()

    with pytest.raises(core.CancelledError):
        LocalExecutor(predict, 10).submit(numbers(0, 25), cancel).result()
    assert checked == [25]


# Ends


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "error, expected, words",
    [
        (RuntimeError("CUDA error: device lost\nhints"), DeviceError, r"^cuda:0 failed: CUDA error: device lost; look"),
        (InputError("tensors of 30 rows"), InputError, "30 rows"),
        (ZeroDivisionError("a defect"), ZeroDivisionError, "a defect"),
    ],
)
def test_an_error_on_a_device_reaches_all_who_wait(error, expected, words, late):
    executor, cancel = DeviceExecutor([BrokenNetwork(error, late, pieces=1)]), core.CancelFlag()
    with closing(executor), ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(lambda: executor.submit(numbers(0, 60), cancel).result()) for _ in range(3)]
        for future in futures:
            with pytest.raises(expected, match=words):
                future.result(20)
        with pytest.raises(expected, match=words):
            executor.submit(numbers(0, 1), cancel).result()


def test_not_even_one_piece_fits():
    executor = DeviceExecutor([FakeNetwork(capacity=0)])
    with closing(executor), pytest.raises(DeviceError, match=r"with one piece of 4 candidates \(CUDA out of memory"):
        executor.submit(numbers(0, 9), core.CancelFlag()).result()


@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_nobody_waits_for_ever(how):
    """Workers that wait for a slow device, and those that wait for a place in the queue, end."""
    executor, cancel = DeviceExecutor([FakeNetwork(pieces=1, seconds=0.3)]), core.CancelFlag()
    ended = []

    def work():
        with pytest.raises(core.CancelledError):
            for future in [executor.submit(numbers(0, 40), cancel) for _ in range(5)]:
                future.result()
        ended.append(True)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    while executor.requests.qsize() < executors.QUEUED_REQUESTS:
        time.sleep(0.01)
    cancel.set() if how == "cancelled" else executor.close()
    for worker in workers:
        worker.join(20)
    executor.close()
    assert len(ended) == 4 and not any(thread.is_alive() for thread in executor.threads)


# Networks


@pytest.mark.parametrize("kind, shape", [("pileup", (33, 18)), ("full_alignment", (89, 33, 8))])
def test_other_requests_of_a_batch_change_no_bit(kind, shape):
    """A row's probabilities are the same in batches of one or many pieces, alone or among the requests of others."""
    model, rng = random_model(kind, 1), np.random.default_rng(1)
    requests = [rng.integers(-50, 51, (n, *shape)).astype(np.int32 if kind == "pileup" else np.int8) for n in (70, 9)]
    results = []
    for pieces in (1, 8):
        network = DeviceNetwork(model, torch.device("cpu"), piece=32)
        network.pieces = pieces
        with closing(DeviceExecutor([network])) as executor:
            futures = [executor.submit(request, core.CancelFlag()) for request in requests * 2]
            results.append([future.result() for future in futures])
        assert network.busy > 0
    for one, many in zip(*results, strict=True):
        np.testing.assert_array_equal(one, many)
    np.testing.assert_array_equal(results[0][0], results[0][2])


# Whole runs


@pytest.fixture
def on_devices(monkeypatch):
    """Let the stages compute on so many "devices", all of them this processor."""

    def patch(devices=1, make=DeviceNetwork):
        def make_inference(compute, model):
            cpu = torch.device("cpu")
            return DeviceExecutor([make(model, cpu, piece=PIECES[model.kind]) for _ in range(devices)])

        monkeypatch.setattr(stages, "make_inference", make_inference)

    return patch


def call(config, **changes):
    """The files of a run."""
    config = replace(config, **changes)
    config.output.mkdir(exist_ok=True, parents=True)
    pipeline.call_variants(config)
    return {name: (config.output / name).read_bytes() for name in ("pileup.vcf.gz", "merge_output.vcf.gz")}


@pytest.mark.parametrize("platform", ["ont", "ilmn"])
def test_a_run_on_devices_has_the_bytes_of_the_cpu(run_config, on_devices):
    plain = call(run_config)
    assert all(len(content) > 1000 for content in plain.values())
    on_devices(2)
    assert call(run_config, threads=3, chunk_size=7_001) == plain


class FailingNetwork(DeviceNetwork):
    """A device that is lost in the second batch."""

    def start(self, rows):
        if self.busy:
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with ...")
        return super().start(rows)


class TightNetwork(DeviceNetwork):
    """A device with memory for one piece."""

    def start(self, rows):
        if len(rows) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return super().start(rows)


def test_a_lost_device_fails_the_run(run_config, on_devices):
    on_devices(make=FailingNetwork)
    with pytest.raises(DeviceError, match="cpu failed: CUDA error: an illegal memory access was encountered; look at"):
        call(run_config)
    assert not list(run_config.output.glob("*.vcf.gz"))
    assert not [thread for thread in threading.enumerate() if thread.name == "cpu"]


@pytest.mark.slow
def test_a_run_with_little_memory_goes_on(run_config, on_devices, caplog):
    plain = call(run_config)
    on_devices(make=TightNetwork)
    assert call(run_config) == plain
    assert "out of memory, going on with batches of 64" in caplog.text


SLOW_RUN = """
import sys, time
import torch
from clair3.calling import stages
from clair3.cli.main import main
from clair3.inference.executors import DeviceExecutor
from clair3.inference.devices import DeviceNetwork

class Slow(DeviceNetwork):
    def start(self, rows):
        print("started", file=sys.stderr, flush=True)
        time.sleep(0.5)
        return super().start(rows)

stages.make_inference = lambda compute, model: DeviceExecutor([Slow(model, torch.device("cpu"), piece=32)])
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, word, code", [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)]
)
def test_interrupted_on_a_device(run_config, number, word, code):
    options = [f"--bam_fn={run_config.bam}", f"--ref_fn={run_config.reference}", f"--model_path={run_config.model_dir}"]
    command = [sys.executable, "-c", SLOW_RUN, "run", *options, f"--output={run_config.output}"]
    command += ["--platform=ont", "--threads=2", "--chunk_size=5000"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
        for line in run.stderr:
            if line == "started\n":
                break
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == code and errors.splitlines()[-1] == f"[ERROR] {word}"
    assert not list(run_config.output.glob("*.vcf.gz"))
