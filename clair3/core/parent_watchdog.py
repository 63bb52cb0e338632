"""A watchdog that ends a worker process when the run that started it ends."""

from clair3.core import _check, lib


def exit_with_parent(pipe: int) -> None:
    """Start a thread that ends this process when the other end of a pipe closes, even while a library holds the GIL.

    Raises CoreError when the thread cannot be started.
    """
    _check(lib.c3_exit_with_parent(pipe), "waiting for the end of the run")
