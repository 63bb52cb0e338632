"""Workers without a task of their own compute for those that have one.

A block of candidates, or the last chunks of a stage, would otherwise keep one processor busy and leave the others
idle. What is shared out are batches of one task: a row's probabilities are the same bits whoever computes them.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import numpy as np

from clair3 import core
from clair3.device_queue import InWorker, Wait

Group = TypeVar("Group", bound=Sequence)
Result = TypeVar("Result")

POLL_SECONDS = 0.1
"""Time between two looks of a helper at whether the stage has ended."""


class IdleHelp:
    """Inference on the CPU by `workers` threads: those that have a task, and helpers in the place of those that do not.

    At no time more than `workers` of them compute: a task, and a helper at work, hold one of as many slots.
    """

    def __init__(self, inference: InWorker, workers: int):
        """Starts the helpers; close ends them, and the inference."""
        self.inference, self.workers = inference, workers
        self.together, self.ahead = inference.together, workers
        self.slots = threading.Semaphore(workers)
        self.jobs: deque[tuple[Future, Wait]] = deque()
        self.some = threading.Condition()
        self.ended = False
        self.helpers = [threading.Thread(target=self.serve, name="helper", daemon=True) for _ in range(workers - 1)]
        for helper in self.helpers:
            helper.start()

    def run(self, work: Callable[[Group], Result], task: Group) -> Result:
        """work(task) in the calling thread, which counts as a worker for that time."""
        with self.slots:
            return work(task)

    def submit(self, tensors: np.ndarray, cancel: core.CancelFlag) -> Wait:
        """See InWorker. Of the batches that nobody has begun with, at most `workers` are kept in memory."""
        answer: Future = Future()
        with self.some:
            self.jobs.append((answer, self.inference.submit(tensors, cancel)))
            self.some.notify()
        while len(self.jobs) > self.workers:
            self.help()
        return partial(self.wait, answer)

    def wait(self, answer: Future) -> np.ndarray:
        """The probabilities; until they are there, work on whatever waits. Raises what computing them raised."""
        while not answer.done() and self.help():
            pass
        return answer.result()

    def help(self) -> bool:
        """Do the job that has waited longest; False when there is none."""
        try:
            answer, work = self.jobs.popleft()
        except IndexError:
            return False
        try:
            answer.set_result(work())
        except BaseException as error:  # for the thread whose task it is
            answer.set_exception(error)
        return True

    def serve(self) -> None:
        """A helper: works while there are jobs and fewer than `workers` threads are at work."""
        while True:
            with self.some:
                self.some.wait_for(lambda: self.jobs or self.ended)
                if self.ended:
                    return
            if self.slots.acquire(timeout=POLL_SECONDS):
                try:
                    self.help()
                finally:
                    self.slots.release()

    def close(self) -> None:
        """End the helpers, after what they are at."""
        with self.some:
            self.ended = True
            self.some.notify_all()
        for helper in self.helpers:
            helper.join()
        self.inference.close()
