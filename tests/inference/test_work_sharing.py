"""Work sharing: workers without a task compute for the others, and never more threads than workers compute."""

import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from clair3 import core
from clair3.calling.stages import Caller
from clair3.errors import InputError
from clair3.genotype.classes import PILEUP
from clair3.inference.executors import LocalExecutor, iter_prefetched
from clair3.inference.work_sharing import WorkSharingExecutor
from clair3.records import TensorBatch
from clair3.util.parallel import ordered_map


class CountingNetwork:
    """A network that doubles its input, and counts which threads compute and how many at a time."""

    def __init__(self, seconds: float = 0.0):
        self.seconds, self.lock = seconds, threading.Lock()
        self.computing = self.most = 0
        self.threads: set[str] = set()

    def __call__(self, tensors, check):
        check()
        with self.lock:
            self.computing += 1
            self.most = max(self.most, self.computing)
            self.threads.add(threading.current_thread().name.partition("_")[0])
        time.sleep(self.seconds)
        with self.lock:
            self.computing -= 1
        if (tensors == 13).any():
            raise InputError("a damaged candidate")
        return 2 * tensors


def call(shared, task):
    """Predict five batches of numbers."""
    batches = [np.array([[task], [i]]) for i in range(5)]
    submitted = ((batch, shared.submit(batch, CANCEL)) for batch in batches)
    return [result.tolist() for _, result in iter_prefetched(submitted, shared.prefetch)]


CANCEL = core.CancelFlag()


def run(network, tasks, workers):
    shared = WorkSharingExecutor(LocalExecutor(network, 10), workers)
    try:
        return list(
            ordered_map(lambda task: shared.run(lambda t: call(shared, t), task), tasks, workers, stop=lambda: None)
        )
    finally:
        shared.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("tasks", [1, 2, 3, 20])
def test_results_and_threads(workers, tasks):
    network = CountingNetwork()
    numbers = [20 + i for i in range(tasks)]
    assert run(network, numbers, workers) == [[[[2 * task], [2 * i]] for i in range(5)] for task in numbers]
    assert network.most <= workers
    assert not [thread for thread in threading.enumerate() if thread.name == "helper"]


def test_one_task_is_shared_out():
    network = CountingNetwork(seconds=0.05)
    run(network, [20], workers=3)
    assert network.threads == {"worker", "helper"} and network.most > 1


@pytest.mark.parametrize("workers", [1, 3])
def test_failures_reach_the_task(workers):
    with pytest.raises(InputError, match="damaged"):
        run(CountingNetwork(), [20, 13, 21], workers)


def test_a_cancelled_run_ends():
    cancel = core.CancelFlag()
    shared = WorkSharingExecutor(LocalExecutor(CountingNetwork(0.02), 10), 3)
    futures = [shared.submit(np.zeros((1, 1)), cancel) for _ in range(6)]
    cancel.set()
    with pytest.raises(core.CancelledError):
        [future.result() for future in futures]
    shared.close()


def test_memory_does_not_grow_with_the_batches_of_a_task():
    """Each worker may have `workers` batches in flight; with their tensors, memory would be that number squared."""
    workers, batches, living, most = 8, 30, set(), []

    def tensors(source, task, cancel):
        for i in range(batches):
            array = np.full((1, 24), 100 * (1 + task) + i, np.float32)
            living.add((task, i))
            weakref.finalize(array, living.discard, (task, i))
            most.append(len(living))
            yield TensorBatch("chr1", np.array([i]), None, array, None)

    shared = WorkSharingExecutor(LocalExecutor(CountingNetwork(0.002), 1), workers)
    caller = Caller(PILEUP, tensors, SimpleNamespace(mine=lambda: None), shared, None, None)

    def call_one(task):
        return [probabilities[0, 0] for _, _, probabilities in caller.iter_predicted([task])]

    found = ordered_map(call_one, range(workers), workers, stop=CANCEL.set)
    assert list(found) == [[2 * (100 * (1 + task) + i) for i in range(batches)] for task in range(workers)]
    shared.close()
    assert max(most) <= 5 * workers
