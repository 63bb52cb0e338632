"""Check the inputs of a run and write its plan: contigs, chunks and padded intervals."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CheckEnvs.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("CheckEnvs")
