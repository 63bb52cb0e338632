"""Worker threads that map a function over tasks, in order and with a bounded number of results in flight."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, stop: Callable[[], None]
) -> Iterator[Result]:
    """Yield function(task) for each task, in the order of the tasks, computed by `workers` threads.

    At most 2 * workers results exist at a time, so memory does not grow with the number of tasks. When a task fails,
    or the caller stops early (an exception, Ctrl-C), `stop` is called to end the running tasks soon, no others are
    started, and the exception of the first failed task in order is raised.
    """
    tasks = iter(tasks)
    with ThreadPoolExecutor(workers, thread_name_prefix="worker") as pool:
        in_flight = deque()
        try:
            in_flight.extend(pool.submit(function, task) for task in islice(tasks, 2 * workers))
            while in_flight:
                result = in_flight[0].result()
                in_flight.popleft()
                in_flight.extend(pool.submit(function, task) for task in islice(tasks, 1))
                yield result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
