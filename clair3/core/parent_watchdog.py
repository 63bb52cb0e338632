"""A watchdog that ends a worker process when the run that started it ends."""

from clair3.core import _check, lib


def exit_with_parent(pipe: int) -> None:
    """End this process as soon as the other end of a pipe closes, whatever the process does then."""
    _check(lib.c3_exit_with_parent(pipe), "waiting for the end of the run")
