"""Worker threads: in order, not too far ahead, ended by the first error."""

import threading
import time
from contextlib import closing

import pytest

from clair3.util.parallel import ordered_map


def test_results_come_in_order_and_not_too_far_ahead():
    started, most_ahead = [], 0

    def work(i):
        started.append(i)
        time.sleep(0.001 * (i % 3))
        return i

    with closing(ordered_map(work, range(60), 3, stop=lambda: None)) as results:
        for expected, found in enumerate(results):
            assert found == expected
            most_ahead = max(most_ahead, len(started) - expected)
    assert len(started) == 60 and most_ahead <= 2 * 3 + 1


@pytest.mark.parametrize("leave", ["error", "caller"])
def test_an_end_before_the_end(leave):
    """No new task starts, running ones are told, and the first error in order is raised."""
    stopped, started = threading.Event(), []

    def work(i):
        started.append(i)
        if i == 2 and leave == "error":
            raise ValueError("second")
        if i > 2:
            assert stopped.wait(5)
        return i

    with closing(ordered_map(work, range(100), 2, stop=stopped.set)) as results:
        if leave == "error":
            with pytest.raises(ValueError, match="second"):
                list(results)
        else:
            assert next(results) == 0
    assert stopped.is_set() and len(started) < 10


def test_an_end_while_the_first_tasks_are_handed_out():
    """Ctrl-C there, or no more threads: what has begun is told to end, what waits does not begin."""
    stopped, started = threading.Event(), []

    def tasks():
        yield from range(5)
        raise KeyboardInterrupt

    def work(i):
        started.append(i)
        stopped.wait(1)

    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(work, tasks(), 3, stop=stopped.set))
    assert stopped.is_set() and len(started) <= 3
