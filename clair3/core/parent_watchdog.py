"""The end of a worker process with that of the run which started it."""

from clair3.core import _check, lib


def exit_with_parent(pipe: int) -> None:
    """End this process as soon as the other end of a pipe closes, whatever the process does then."""
    _check(lib.c3_exit_with_parent(pipe), "waiting for the end of the run")
