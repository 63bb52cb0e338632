"""The program as a user starts it, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from clair3.config import CallingConfig

ROOT = Path(__file__).resolve().parents[2]


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that has ended and that nobody waited for does not count."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state) and state[0] != "Z"


def start(config: CallingConfig, *more: str, **streams) -> subprocess.Popen:
    """`clair3 run` on the inputs of a configuration, with further options; without the tests' own thread limits."""
    options = [
        f"--bam_fn={config.bam}",
        f"--ref_fn={config.reference}",
        f"--model_path={config.model_dir}",
        f"--output={config.output}",
        f"--platform={config.platform}",
        *more,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-m", "clair3", "run", *options]
    return subprocess.Popen(command, text=True, cwd=ROOT, env=environment, **streams)


def clair3(*arguments, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """`clair3` with these words, to its end."""
    command = [sys.executable, "-m", "clair3", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True)
