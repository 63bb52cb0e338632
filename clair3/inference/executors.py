"""Who computes a worker's probabilities: the worker itself on a CPU, or a thread for each device that all workers feed.

Both are asked the same way: `wait = inference.submit(tensors, cancel)`, later `probabilities = wait()`. On a CPU the
work is done in wait(); with devices it has been on its way meanwhile, so a worker prepares its next batches.

A batch on a device is several pieces of one fixed size, and a piece holds candidates of one request only. So neither
the size of the batches nor the company that requests meet on the way changes a bit of the results.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np

from clair3 import core
from clair3.errors import DeviceError
from clair3.inference.predictor import Predictor

logger = logging.getLogger(__name__)

Batch = TypeVar("Batch")
Wait = Callable[[], np.ndarray]
"""Waits for probabilities, (n, classes) float32. Raises core.CancelledError, or what went wrong on the device."""

POLL_SECONDS = 0.1
"""Time between two looks of a waiting thread at whether the run goes on."""

QUEUED = 8
"""Requests that wait for a device at most: with those on the way, as many tensors as stay in memory."""

IN_FLIGHT = 2
"""Batches on a device: while one is computed, the next is laid out and queued behind it."""

OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "unable to find an engine")
"""What errors of CUDA, cuDNN, cuBLAS and MPS say when memory is the reason; the last is torch's word for it when no
algorithm of cuDNN finds room for its workspace."""


class Network(Protocol):
    """A network on one device (clair3.inference.devices.DeviceNetwork).

    name     of the device, for messages
    classes  of the heads together
    piece    rows that are computed together
    pieces   pieces of a batch at most; lowered when the memory does not suffice
    busy     seconds in which the device has computed
    """

    name: str
    classes: int
    piece: int
    pieces: int
    busy: float

    def start(self, rows: Sequence[np.ndarray]) -> Wait:
        """Begin a batch of up to `pieces` pieces, each of up to `piece` rows; raises RuntimeError, also in wait().

        wait() returns (len(rows) * piece, classes) float32.
        """

    def free(self) -> None:
        """Give memory back that is not in use."""


class LocalExecutor:
    """Inference in the thread that asks; a cancelled run ends it before the next piece.

    Candidates of several tasks may travel together up to `rows`, for a row's probabilities are the same bits in
    any company (clair3.inference.predictor).
    """

    ahead = 0

    def __init__(self, predict: Predictor, rows: int):
        self.predict, self.together = predict, rows

    def submit(self, tensors: np.ndarray, cancel: core.CancelFlag) -> Wait:
        """tensors (n, ...) of candidates, n may be 0."""

        def check() -> None:
            if cancel.is_set():
                raise core.CancelledError("cancelled")

        return partial(self.predict, tensors, check)

    def close(self) -> None:
        """Nothing to end."""


@dataclass
class Request:
    """Candidates of one worker, and their probabilities as they come back, `left` of them still missing."""

    tensors: np.ndarray
    answer: np.ndarray
    left: int = field(init=False)
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self.left = len(self.tensors)
        if not self.left:
            self.done.set()

    def pieces(self, size: int) -> Iterator[tuple["Request", slice]]:
        """The slices of at most `size` rows in which it is computed."""
        for start in range(0, len(self.tensors), size):
            yield self, slice(start, min(start + size, len(self.tensors)))

    def put(self, rows: slice, found: np.ndarray) -> None:
        """Take in the probabilities of one piece; what is behind its rows is padding."""
        count = rows.stop - rows.start
        self.answer[rows] = found[:count]
        self.left -= count
        if not self.left:
            self.done.set()


class DeviceExecutor:
    """Inference on devices: each has a thread that takes what waits in one bounded queue, in large batches."""

    ahead = 2
    together = 1  # each batch of a task goes alone, see above

    def __init__(self, networks: Sequence[Network]):
        """Starts the threads; close ends them."""
        self.networks = networks
        self.requests: queue.Queue[Request] = queue.Queue(QUEUED * len(networks))
        self.ended = threading.Event()
        self.failure: BaseException | None = None
        self.began = time.monotonic()
        self.threads = [
            threading.Thread(target=self.serve, args=(network,), name=network.name, daemon=True) for network in networks
        ]
        for thread in self.threads:
            thread.start()

    def submit(self, tensors: np.ndarray, cancel: core.CancelFlag) -> Wait:
        """tensors (n, ...) of candidates, n may be 0; waits while the queue is full. Raises as Wait does."""
        request = Request(tensors, np.empty((len(tensors), self.networks[0].classes), np.float32))
        while not request.done.is_set():
            self.check(cancel)
            try:
                self.requests.put(request, timeout=POLL_SECONDS)
                break
            except queue.Full:
                continue

        def wait() -> np.ndarray:
            while not request.done.wait(POLL_SECONDS):
                self.check(cancel)
            return request.answer

        return wait

    def check(self, cancel: core.CancelFlag) -> None:
        """Raises what ended the threads of the devices, or core.CancelledError when the run was told to stop."""
        if self.failure is not None:
            raise self.failure
        if cancel.is_set() or self.ended.is_set():
            raise core.CancelledError("cancelled")

    def close(self) -> None:
        """End the threads after the batches that are on the devices, and tell how busy the devices were."""
        self.ended.set()
        for thread in self.threads:
            thread.join()
        seconds = time.monotonic() - self.began
        for network in self.networks:
            logger.info("%s was busy %.0f %% of %.2f s", network.name, 100 * network.busy / seconds, seconds)

    def serve(self, network: Network) -> None:
        """The thread of one device: what fails here ends the run in the workers that wait."""
        try:
            with blaming(network.name):
                Server(network, self.requests).run(self.ended.is_set)
        except BaseException as error:
            self.failure = error


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Turn what torch raises when a device fails into a DeviceError that names the device."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise DeviceError(
            f"{name} failed: {reason}; look at the device, and go on with --resume or with --device=cpu"
        ) from error


class Server:
    """What the thread of one device does: fill batches from the queue, keep the device busy, hand answers back."""

    def __init__(self, network: Network, requests: "queue.Queue[Request]"):
        self.network, self.requests = network, requests
        self.pieces: deque[tuple[Request, slice]] = deque()
        self.flying: deque[tuple[list[tuple[Request, slice]], Wait]] = deque()

    def run(self, ended: Callable[[], bool]) -> None:
        """Serve until told to end. Raises DeviceError when not even one piece fits the memory."""
        while not ended():
            self.take()
            if self.pieces:
                self.launch()
            if self.flying and (len(self.flying) == IN_FLIGHT or not self.pieces):
                self.finish()

    def take(self) -> None:
        """Requests for one batch, as far as there are any; waits a moment only when there is nothing else to do."""
        try:
            while len(self.pieces) < self.network.pieces:
                idle = not self.pieces and not self.flying
                request = self.requests.get(timeout=POLL_SECONDS) if idle else self.requests.get_nowait()
                self.pieces.extend(request.pieces(self.network.piece))
        except queue.Empty:
            pass

    def launch(self) -> None:
        """Start a batch; where the memory does not suffice, in ever smaller ones."""
        while True:
            batch = list(islice(self.pieces, self.network.pieces))
            try:
                wait = self.network.start([request.tensors[rows] for request, rows in batch])
                break
            except RuntimeError as error:
                if not any(words in str(error) for words in OUT_OF_MEMORY):
                    raise
                reason = str(error).partition("\n")[0]
            self.make_room(len(batch), reason)
        for _ in batch:
            self.pieces.popleft()
        self.flying.append((batch, wait))

    def make_room(self, pieces: int, reason: str) -> None:
        """Wait for what is on the device, and halve the batches. Raises DeviceError when that does not help."""
        network, waited = self.network, bool(self.flying)
        while self.flying:
            self.finish()
        network.free()
        if pieces == 1 and not waited:
            raise DeviceError(
                f"{network.name}: out of memory with one piece of {network.piece} candidates ({reason}); end what else "
                "uses it, or use --device=cpu"
            )
        network.pieces = max(1, pieces // 2)
        logger.warning("%s: out of memory, going on with batches of %d", network.name, network.pieces * network.piece)

    def finish(self) -> None:
        """Hand the answers of the oldest batch to those who wait."""
        batch, wait = self.flying.popleft()
        found = wait()
        for i, (request, rows) in enumerate(batch):
            request.put(rows, found[i * self.network.piece : (i + 1) * self.network.piece])


def iter_prefetched(started: Iterable[tuple[Batch, Wait]], ahead: int) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch with what its wait() gives, in order; `ahead` more batches are started before one is awaited."""
    waiting: deque[tuple[Batch, Wait]] = deque()
    for pair in started:
        waiting.append(pair)
        if len(waiting) > ahead:
            first, wait = waiting.popleft()
            yield first, wait()
    for last, wait in waiting:
        yield last, wait()


Group = TypeVar("Group", bound=Sequence)
Result = TypeVar("Result")

HELP_POLL_SECONDS = 0.1
"""Time between two looks of a helper at whether the stage has ended."""


class WorkSharing:
    """Inference on the CPU by `workers` threads: those that have a task, and helpers in the place of those that do not.

    At no time more than `workers` of them compute: a task, and a helper at work, hold one of as many slots.
    """

    def __init__(self, inference: LocalExecutor, workers: int):
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
        """See LocalExecutor. Of the batches that nobody has begun with, at most `workers` are kept in memory."""
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
            if self.slots.acquire(timeout=HELP_POLL_SECONDS):
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
