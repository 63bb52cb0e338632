"""Programs that a run starts: what they say, and that none of them outlives whoever wanted it."""

import errno
import signal
import subprocess
import sys
import time

import pytest
from program import is_running

from clair3.util.process import run_program


def wait_for_end(pid: int) -> None:
    """Wait for the end of a process; fails when it lives ten seconds more."""
    end = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_cancelling_ends_the_program(program):
    slow, polls = program("slow", "time.sleep(60)"), []

    def cancelled():
        polls.append(time.monotonic())
        return len(polls) > 2

    began = time.monotonic()
    code, _ = run_program([slow], cancelled)
    assert code == -9 and time.monotonic() - began < 10


def test_an_exception_ends_the_program(program, tmp_path):
    slow = program("slow", f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")

    def interrupted():
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run_program([slow], interrupted)
    wait_for_end(int((tmp_path / "pid").read_text()))


def test_what_a_program_started_ends_too(program, tmp_path):
    """A wrapper script leaves nothing running behind it."""
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/pid\nwait\n")
    wrapper.chmod(0o755)
    pid = tmp_path / "pid"
    code, _ = run_program([wrapper], lambda: pid.exists() and pid.read_text().endswith("\n"))
    assert code == -9
    wait_for_end(int(pid.read_text()))


def test_what_a_program_says(program):
    loud = program("loud", "sys.stderr.buffer.write(b'x' * 1_000_000 + bytes([255]))\nprint('y' * 1_000_000)")
    assert run_program([loud]) == (0, "x" * 1_000_000 + "\\xff")
    quiet = program("quiet", "sys.exit(len(sys.stdin.read()) + 7)")
    assert run_program([quiet]) == (7, "")


def test_a_program_that_cannot_be_started(program, tmp_path):
    (tmp_path / "text").write_text("no program")
    for path, number in ((tmp_path / "absent", errno.ENOENT), (tmp_path / "text", errno.EACCES)):
        with pytest.raises(OSError) as error:
            run_program([path])
        assert (error.value.errno, error.value.filename) == (number, str(path))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_program_ends_with_the_process_that_wants_it(program, tmp_path, how):
    """However that ends; what the program started, too."""
    pid = tmp_path / "pid"
    wrapper = program(
        "wrapper",
        f"import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pid)!r}, 'w').write(f'{{child.pid}} {{os.getpid()}}\\n')\ntime.sleep(60)",
    )
    code = f"from clair3.util.process import run_program; run_program([{str(wrapper)!r}])"
    with subprocess.Popen([sys.executable, "-c", code]) as wanting:
        while not (pid.exists() and pid.read_text().endswith("\n")):
            assert wanting.poll() is None
            time.sleep(0.02)
        wanting.send_signal(how)
    for number in pid.read_text().split():
        wait_for_end(int(number))
