"""Runs a program that must not outlive the process that wants it: started as a script, in a process group of its own.

    python supervisor.py WATCHED REPORT PROGRAM [ARGUMENT ...]

WATCHED is a pipe whose other end closes when the process that wants the program ends, however it ends; the whole group
is killed then. REPORT is a pipe for the error number when the program cannot be started. The exit status is that of the
program, also when a signal ended it. Nothing but the standard library is imported, so it starts in milliseconds.
"""

import os
import resource
import signal
import subprocess
import sys
import threading


def kill_group_with(watched: int) -> None:
    """Kill the processes of this group, this one too, once the other end of a pipe is closed."""
    os.read(watched, 1)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run the program and end as it does."""
    watched, report, *command = sys.argv[1:]
    threading.Thread(target=kill_group_with, args=(int(watched),), daemon=True).start()
    try:
        code = subprocess.Popen(command).wait()
    except OSError as error:
        os.write(int(report), str(error.errno).encode())
        code = 127
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program's own dump is enough
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
