"""Executors run the network for the worker threads: in the calling thread on a CPU, or in a thread for each device.

All are used alike: `future = executor.submit(tensors, cancel)`, later `probabilities = future.result()`. On a CPU
result() computes; a device computes in the background, so a worker prepares its next batches meanwhile (prefetch).

A batch on a device is several pieces of one fixed size, and a piece holds candidates of one request only. So neither
the size of the batches nor the other requests of a batch change a bit of the results.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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

POLL_SECONDS = 0.1
"""Time between two looks of a waiting thread at whether the run goes on."""

QUEUED_REQUESTS = 8
"""Largest number of requests in the queue, per device: with those in flight, as many tensors as stay in memory."""

IN_FLIGHT_BATCHES = 2
"""Batches on a device at a time: while one is computed, the next is copied and queued behind it."""

OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "unable to find an engine")
"""Parts of the errors by which CUDA, cuDNN, cuBLAS and MPS report that memory is short; the last is torch's message
when no algorithm of cuDNN gets memory for its workspace."""

Batch = TypeVar("Batch")


class PredictionFuture(Protocol):
    """Probabilities of some candidates that may not be computed yet."""

    def result(self) -> np.ndarray:
        """Return the probabilities, (n, classes) float32, once they are computed.

        Raises core.CancelledError when the run was cancelled, or what failed on the device.
        """


@dataclass(frozen=True)
class DeferredPrediction:
    """A future whose result is computed, or fetched from a device, in the thread that asks for it."""

    compute: Callable[[], np.ndarray]

    def result(self) -> np.ndarray:
        return self.compute()


class Network(Protocol):
    """A network on one device (clair3.inference.devices.DeviceNetwork).

    name     name of the device, for messages
    classes  number of classes of all heads together
    piece    rows that are computed together
    pieces   largest number of pieces in a batch; lowered when the memory does not suffice
    busy     seconds in which the device has computed
    """

    name: str
    classes: int
    piece: int
    pieces: int
    busy: float

    def start(self, rows: Sequence[np.ndarray]) -> PredictionFuture:
        """Start a batch of up to `pieces` pieces, each of up to `piece` rows.

        The result is (len(rows) * piece, classes) float32. Raises RuntimeError, here or with the result.
        """

    def free(self) -> None:
        """Return cached memory to the device."""


class LocalExecutor:
    """Runs the network in the thread that asks for the result.

    A worker may submit candidates of several tasks together, until they are min_batch: a row's probabilities are the
    same bits whatever the other rows are (clair3.inference.predictor). It prefetches no batches.
    """

    prefetch = 0

    def __init__(self, predict: Predictor, min_batch: int):
        self.predict, self.min_batch = predict, min_batch

    def submit(self, tensors: np.ndarray, cancel: core.CancelFlag) -> PredictionFuture:
        """Defer the prediction of candidates, tensors (n, ...), n may be 0; a cancelled run ends it between pieces."""

        def raise_if_cancelled() -> None:
            if cancel.is_set():
                raise core.CancelledError("cancelled")

        return DeferredPrediction(partial(self.predict, tensors, raise_if_cancelled))

    def close(self) -> None:
        """Do nothing: there are no threads to end."""


@dataclass
class PredictionRequest:
    """Candidates of one worker, (n, ...), and their probabilities, (n, classes), of which `missing` rows lack."""

    tensors: np.ndarray
    probabilities: np.ndarray
    missing: int = field(init=False)
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self.missing = len(self.tensors)
        if not self.missing:
            self.done.set()

    def iter_pieces(self, size: int) -> Iterator[tuple["PredictionRequest", slice]]:
        """Yield this request with each slice of at most `size` rows that is computed as one piece."""
        for start in range(0, len(self.tensors), size):
            yield self, slice(start, min(start + size, len(self.tensors)))

    def store(self, rows: slice, predicted: np.ndarray) -> None:
        """Store the probabilities of one piece; what follows its rows in predicted is padding."""
        count = rows.stop - rows.start
        self.probabilities[rows] = predicted[:count]
        self.missing -= count
        if not self.missing:
            self.done.set()


class DeviceExecutor:
    """Runs the network on devices: a thread for each takes requests from one bounded queue, in large batches.

    Each batch of a task is submitted alone (min_batch), and two are prefetched.
    """

    prefetch = 2
    min_batch = 1

    def __init__(self, networks: Sequence[Network]):
        """Start the threads; close ends them."""
        self.networks = networks
        self.requests: queue.Queue[PredictionRequest] = queue.Queue(QUEUED_REQUESTS * len(networks))
        self.closed = threading.Event()
        self.failure: BaseException | None = None
        self.began = time.monotonic()
        self.threads = [
            threading.Thread(target=self.worker_loop, args=(network,), name=network.name, daemon=True)
            for network in networks
        ]
        for thread in self.threads:
            thread.start()

    def submit(self, tensors: np.ndarray, cancel: core.CancelFlag) -> PredictionFuture:
        """Queue candidates, tensors (n, ...), n may be 0; wait while the queue is full. Raises as result() does."""
        request = PredictionRequest(tensors, np.empty((len(tensors), self.networks[0].classes), np.float32))
        while not request.done.is_set():
            self.raise_if_ended(cancel)
            try:
                self.requests.put(request, timeout=POLL_SECONDS)
                break
            except queue.Full:
                continue
        return DeferredPrediction(partial(self.wait_for, request, cancel))

    def wait_for(self, request: PredictionRequest, cancel: core.CancelFlag) -> np.ndarray:
        """Return the probabilities of a request when the devices have computed all of them."""
        while not request.done.wait(POLL_SECONDS):
            self.raise_if_ended(cancel)
        return request.probabilities

    def raise_if_ended(self, cancel: core.CancelFlag) -> None:
        """Raise what ended the threads of the devices, or core.CancelledError when the run was cancelled."""
        if self.failure is not None:
            raise self.failure
        if cancel.is_set() or self.closed.is_set():
            raise core.CancelledError("cancelled")

    def close(self) -> None:
        """End the threads after the batches in flight, and log how busy the devices were."""
        self.closed.set()
        for thread in self.threads:
            thread.join()
        seconds = time.monotonic() - self.began
        for network in self.networks:
            logger.info("%s was busy %.0f %% of %.2f s", network.name, 100 * network.busy / seconds, seconds)

    def worker_loop(self, network: Network) -> None:
        """Serve one device until close; a failure here ends the run in the workers that wait."""
        try:
            with device_errors(network.name):
                DeviceWorker(network, self.requests).run(self.closed.is_set)
        except BaseException as error:
            self.failure = error


@contextmanager
def device_errors(name: str) -> Iterator[None]:
    """Turn the RuntimeError that torch raises when a device fails into a DeviceError that names the device."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise DeviceError(
            f"{name} failed: {reason}; look at the device, and go on with --resume or with --device=cpu"
        ) from error


class DeviceWorker:
    """Batches the requests of the queue for one device, keeps it busy, and stores the results in the requests.

    pending    pieces that no batch has yet
    in_flight  batches on the device, oldest first, with their futures
    """

    def __init__(self, network: Network, requests: "queue.Queue[PredictionRequest]"):
        self.network, self.requests = network, requests
        self.pending: deque[tuple[PredictionRequest, slice]] = deque()
        self.in_flight: deque[tuple[list[tuple[PredictionRequest, slice]], PredictionFuture]] = deque()

    def run(self, is_closed: Callable[[], bool]) -> None:
        """Run batches until is_closed(). Raises DeviceError when not even one piece fits the memory."""
        while not is_closed():
            self.take_requests()
            if self.pending:
                self.start_batch()
            if self.in_flight and (len(self.in_flight) == IN_FLIGHT_BATCHES or not self.pending):
                self.finish_oldest_batch()

    def take_requests(self) -> None:
        """Take requests for one batch, as far as there are any; wait for one only when the device is idle."""
        try:
            while len(self.pending) < self.network.pieces:
                idle = not self.pending and not self.in_flight
                request = self.requests.get(timeout=POLL_SECONDS) if idle else self.requests.get_nowait()
                self.pending.extend(request.iter_pieces(self.network.piece))
        except queue.Empty:
            pass

    def start_batch(self) -> None:
        """Start a batch; where the memory does not suffice, a smaller one."""
        while True:
            batch = list(islice(self.pending, self.network.pieces))
            try:
                future = self.network.start([request.tensors[rows] for request, rows in batch])
                break
            except RuntimeError as error:
                if not any(words in str(error) for words in OUT_OF_MEMORY):
                    raise
                reason = str(error).partition("\n")[0]
            self.halve_batches(len(batch), reason)
        for _ in batch:
            self.pending.popleft()
        self.in_flight.append((batch, future))

    def halve_batches(self, pieces: int, reason: str) -> None:
        """Finish what is in flight, free memory, and halve the size of the batches, which was `pieces`.

        Raises DeviceError when one piece does not fit an otherwise idle device.
        """
        network, was_idle = self.network, not self.in_flight
        while self.in_flight:
            self.finish_oldest_batch()
        network.free()
        if pieces == 1 and was_idle:
            raise DeviceError(
                f"{network.name}: out of memory with one piece of {network.piece} candidates ({reason}); end what else "
                "uses it, or use --device=cpu"
            )
        network.pieces = max(1, pieces // 2)
        logger.warning("%s: out of memory, going on with batches of %d", network.name, network.pieces * network.piece)

    def finish_oldest_batch(self) -> None:
        """Wait for the oldest batch and store its probabilities in the requests."""
        batch, future = self.in_flight.popleft()
        probabilities = future.result()
        for i, (request, rows) in enumerate(batch):
            request.store(rows, probabilities[i * self.network.piece : (i + 1) * self.network.piece])


def iter_prefetched(
    submitted: Iterable[tuple[Batch, PredictionFuture]], prefetch: int
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yield each batch with the result of its future, in order; `prefetch` later batches are submitted before."""
    in_flight: deque[tuple[Batch, PredictionFuture]] = deque()
    for pair in submitted:
        in_flight.append(pair)
        if len(in_flight) > prefetch:
            batch, future = in_flight.popleft()
            yield batch, future.result()
    for batch, future in in_flight:
        yield batch, future.result()
