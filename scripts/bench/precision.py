"""What a lower precision changes: `python scripts/bench/precision.py --precision bf16 -- OPTIONS OF run_clair3.sh`.

Calls the input in float32 and in 16 bits on the CPU, and counts the records of merge_output.vcf.gz that differ. fp16,
which the program leaves to GPUs, is computed here too, slowly: the rounding is what counts, not the time.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is imported

import argparse
import shlex
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pysam

from clair3.calling import pipeline, stages
from clair3.cli import run as run_command
from clair3.cli.arguments import make_parser
from clair3.inference.devices import DTYPES, MIN_BATCH, lower_precision
from clair3.inference.executors import LocalExecutor
from clair3.inference.predictor import Predictor


def call(config, precision: str, folder: Path) -> tuple[dict, float]:
    """The records of a run by contig and POS, and its CPU seconds."""
    output = folder / precision
    output.mkdir()
    stages.make_inference = lambda _, model: LocalExecutor(Predictor(lower_precision(model, precision)), MIN_BATCH)
    began = time.process_time()
    path = pipeline.call_variants(replace(config, output=output))
    seconds = time.process_time() - began
    with pysam.BGZFile(str(path)) as lines:
        rows = [line.decode().split("\t") for line in lines if not line.startswith(b"#")]
    return {(row[0], row[1]): row for row in rows}, seconds


def call_of(row: list[str] | None) -> tuple | None:
    """What a user reads first: REF, ALT, FILTER, GT."""
    return row and (row[3], row[4], row[6], row[9].partition(":")[0])


def passes(row: list[str] | None) -> bool:
    return row is not None and row[6] == "PASS"


def main() -> None:
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=list(DTYPES), action="append", required=True)
    args = parser.parse_args(words[:split])
    with tempfile.TemporaryDirectory() as folder:
        run = [*words[split + 1 :], f"--output={folder}/out"]
        config = run_command.config_from(parsed(run))
        exact, seconds = call(config, "fp32", Path(folder))
        print(f"{shlex.join(words[split + 1 :])}\nfp32\t{len(exact)} records\t{seconds:.1f} CPU s", flush=True)
        for precision in args.precision:
            near, seconds = call(config, precision, Path(folder))
            keys = exact.keys() | near.keys()
            changed = sum(exact.get(key) != near.get(key) for key in keys)
            calls = sum(call_of(exact.get(key)) != call_of(near.get(key)) for key in keys)
            passing = sum(passes(exact.get(key)) != passes(near.get(key)) for key in keys)
            print(
                f"{precision}\t{len(near)} records\t{seconds:.1f} CPU s\tREF, ALT, FILTER or GT changed: {calls}\t"
                f"PASS gained or lost: {passing}\tany column changed: {changed}",
                flush=True,
            )


def parsed(words: list[str]) -> argparse.Namespace:
    args = make_parser(run_command, "", "run_clair3.sh").parse_args(words)
    args.command_line = None
    return args


if __name__ == "__main__":
    main()
