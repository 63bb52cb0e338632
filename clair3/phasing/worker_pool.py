"""Helper processes that answer line by line: started once, asked many times, gone with the run."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import wait

from clair3.util.process import POLL_SECONDS


class WorkerDiedError(Exception):
    """A helper ended instead of answering. code: its exit code (-n: by signal n), words: what it wrote to stderr."""

    def __init__(self, code: int, words: str):
        super().__init__(code, words)
        self.code, self.words = code, words


class WorkerProcess:
    """One helper. It gets one more argument than argv: the number of a pipe whose other end closes with this process.

    It is out of reach of a terminal's Ctrl-C: this process ends it. Raises OSError when it cannot be started.
    """

    def __init__(self, argv: Sequence[str]):
        pipe, self.watchdog_pipe = os.pipe()
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the helper
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

    def ask(self, question: str, cancelled: Callable[[], bool]) -> str:
        """The line that answers a line. The helper is killed when cancelled() says so. Raises WorkerDiedError."""
        with suppress(BrokenPipeError):  # it has ended, which the missing answer tells
            self.process.stdin.write(f"{question}\n".encode())
        while not wait([self.process.stdout], POLL_SECONDS):
            if cancelled():
                self.process.kill()
        if answer := self.process.stdout.readline():
            return answer.decode().rstrip("\n")
        code = self.process.wait()
        self.stderr.seek(0)
        raise WorkerDiedError(code, self.stderr.read().decode(errors="backslashreplace"))

    def close(self) -> None:
        """End the helper, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.stderr):
            pipe.close()
        os.close(self.watchdog_pipe)


class WorkerPool:
    """As many helpers of one kind as threads ask at the same time; close it when none of them asks any more."""

    def __init__(self, argv: Sequence[str]):
        self.argv = argv
        self.idle: list[WorkerProcess] = []

    def ask(self, question: str, cancelled: Callable[[], bool] = lambda: False) -> str:
        """As WorkerProcess.ask, by a helper that has nothing else to do; one that ended is replaced for the next."""
        try:
            helper = self.idle.pop()
        except IndexError:
            helper = WorkerProcess(self.argv)
        try:
            answer = helper.ask(question, cancelled)
        except BaseException:
            helper.close()
            raise
        self.idle.append(helper)
        return answer

    def close(self) -> None:
        while self.idle:
            self.idle.pop().close()
