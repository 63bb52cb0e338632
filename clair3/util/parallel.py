"""Worker threads: plain functions from a task to a result, handed out in order, never too far ahead."""

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
    """Results of function(task) for each task, in the order of the tasks, computed by `workers` threads.

    At most 2 * workers results exist at a time, so memory does not grow with the number of tasks. When a task fails,
    or the caller stops early (an exception, Ctrl-C), `stop` is called to end the running tasks soon, no new ones
    start, and the exception of the first task in order is raised.
    """
    tasks = iter(tasks)
    with ThreadPoolExecutor(workers, thread_name_prefix="worker") as pool:
        waiting = deque()
        try:
            waiting.extend(pool.submit(function, task) for task in islice(tasks, 2 * workers))
            while waiting:
                result = waiting[0].result()
                waiting.popleft()
                waiting.extend(pool.submit(function, task) for task in islice(tasks, 1))
                yield result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
