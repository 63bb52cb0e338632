"""Cost of whole runs: CPU seconds (user + system, all processes), wall clock and peak memory, median (min - max).

    python scripts/bench/whole.py --repeat 3 -- --bam_fn=B --ref_fn=R --model_path=M --platform=ont --threads=2

What stands after `--` goes to `clair3 run`; the output folder is a temporary one. Several runs, each after its own
`--`, are alternated, so that a busy moment of the machine does not fall on one of them alone.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import groupby

MEASURED = ("CPU s", "wall s", "peak MB")


def measure(options: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak resident MB of one run."""
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "stderr"), "w+") as errors:
        command = [sys.executable, "-m", "clair3", "run", *options, f"--output={folder}/out"]
        began = time.monotonic()
        process = subprocess.Popen(command, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        if status:
            errors.seek(0)
            raise SystemExit(errors.read())
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB on Linux
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * unit / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    words = sys.argv[1:]
    first = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:first])
    runs = [list(group) for is_mark, group in groupby(words[first:], lambda word: word == "--") if not is_mark]
    results = [[] for _ in runs]
    for _ in range(args.repeat):
        for options, found in zip(runs, results, strict=True):
            found.append(measure(options))
    for options, found in zip(runs, results, strict=True):
        print(" ".join(options))
        for name, values in zip(MEASURED, zip(*found, strict=True), strict=True):
            print(f"    {name:8} {statistics.median(values):8.2f} ({min(values):.2f} - {max(values):.2f})")


if __name__ == "__main__":
    main()
