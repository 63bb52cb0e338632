"""Worker processes that answer requests line by line: started once, used many times, ended with the run."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import wait

from clair3.util.process import POLL_SECONDS


class WorkerDiedError(Exception):
    """A worker ended instead of answering: its exit code (-n: by signal n) and what it wrote to stderr."""

    def __init__(self, code: int, stderr: str):
        super().__init__(code, stderr)
        self.code, self.stderr = code, stderr


class WorkerProcess:
    """One worker, started with argv and the number of a pipe whose other end closes when this process ends.

    A terminal's Ctrl-C does not reach it: this process ends it. Raises OSError when it cannot be started.
    """

    def __init__(self, argv: Sequence[str]):
        pipe, self.watchdog_pipe = os.pipe()
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the worker runs
        try:
            self.process = subprocess.Popen(
                [*argv, str(pipe)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.stderr,
                pass_fds=(pipe,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self.watchdog_pipe)
            self.stderr.close()
            raise
        finally:
            os.close(pipe)

    def request(self, line: str, cancelled: Callable[[], bool]) -> str:
        """Send a line and return the line that answers it; both without a line end.

        The worker is killed when cancelled() is true. Raises WorkerDiedError when it ends without an answer.
        """
        with suppress(BrokenPipeError):  # it has ended, and readline below returns nothing
            self.process.stdin.write(f"{line}\n".encode())
        while not wait([self.process.stdout], POLL_SECONDS):
            if cancelled():
                self.process.kill()
        if answer := self.process.stdout.readline():
            return answer.decode().rstrip("\n")
        code = self.process.wait()
        self.stderr.seek(0)
        raise WorkerDiedError(code, self.stderr.read().decode(errors="backslashreplace"))

    def close(self) -> None:
        """Kill the worker, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.stderr):
            pipe.close()
        os.close(self.watchdog_pipe)


class WorkerPool:
    """Workers of one kind, as many as threads make requests at a time; close the pool after the last request."""

    def __init__(self, argv: Sequence[str]):
        self.argv = argv
        self.idle: list[WorkerProcess] = []

    def request(self, line: str, cancelled: Callable[[], bool] = lambda: False) -> str:
        """Send a line to an idle worker, or a new one, and return its answer.

        A worker that died is not used again. Raises WorkerDiedError as WorkerProcess.request does, and OSError when no
        process can be started.
        """
        try:
            worker = self.idle.pop()
        except IndexError:
            worker = WorkerProcess(self.argv)
        try:
            answer = worker.request(line, cancelled)
        except BaseException:
            worker.close()
            raise
        self.idle.append(worker)
        return answer

    def close(self) -> None:
        """End all workers."""
        while self.idle:
            self.idle.pop().close()
