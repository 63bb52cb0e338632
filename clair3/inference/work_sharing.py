"""Work sharing on the CPU: threads that have no task compute predictions for those that have one.

At the end of a stage a few long tasks are left. Their workers submit batches ahead of time, and helper threads compute
these in the place of the workers that have nothing left to do.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import numpy as np

from clair3 import core
from clair3.inference.executors import DeferredPrediction, LocalExecutor, PredictionFuture

SLOT_SECONDS = 0.1
"""Time that a helper waits for a free slot before it looks whether the stage has ended."""

Task = TypeVar("Task", bound=Sequence)
Result = TypeVar("Result")


class WorkSharingExecutor:
    """Runs the network on the CPU in `workers` threads: workers that have a task, and helpers for the others.

    At no time do more than `workers` threads compute: a running task and a computing helper hold one slot each.
    """

    def __init__(self, executor: LocalExecutor, workers: int):
        """Start the helpers; close ends them and closes the executor."""
        self.executor, self.workers = executor, workers
        self.min_batch, self.prefetch = executor.min_batch, workers
        self.slots = threading.Semaphore(workers)
        self.pending: deque[tuple[Future, PredictionFuture]] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.helpers = [
            threading.Thread(target=self.worker_loop, name="helper", daemon=True) for _ in range(workers - 1)
        ]
        for helper in self.helpers:
            helper.start()

    def run(self, function: Callable[[Task], Result], task: Task) -> Result:
        """Return function(task), called in this thread, which holds a slot for that time."""
        with self.slots:
            return function(task)

    def submit(self, tensors: np.ndarray, cancel: core.CancelFlag) -> PredictionFuture:
        """Queue candidates, tensors (n, ...), n may be 0.

        At most `workers` batches that nobody computes yet stay in memory: beyond that this thread computes the oldest.
        """
        future: Future = Future()
        with self.changed:
            self.pending.append((future, self.executor.submit(tensors, cancel)))
            self.changed.notify()
        while len(self.pending) > self.workers:
            self.compute_oldest()
        return DeferredPrediction(lambda: self.wait_for(future))

    def wait_for(self, future: Future) -> np.ndarray:
        """Return the result of a future, and compute other pending batches until it is there. Raises as it does."""
        while not future.done() and self.compute_oldest():
            pass
        return future.result()

    def compute_oldest(self) -> bool:
        """Compute the batch that has waited longest; False when none is pending."""
        try:
            future, prediction = self.pending.popleft()
        except IndexError:
            return False
        try:
            future.set_result(prediction.result())
        except BaseException as error:  # for the thread whose task it is
            future.set_exception(error)
        return True

    def worker_loop(self) -> None:
        """Compute pending batches, whenever there are some and a slot is free, until close."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.pending or self.closed)
                if self.closed:
                    return
            if self.slots.acquire(timeout=SLOT_SECONDS):
                try:
                    self.compute_oldest()
                finally:
                    self.slots.release()

    def close(self) -> None:
        """End the helpers after the batches that they compute, and close the executor."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for helper in self.helpers:
            helper.join()
        self.executor.close()
