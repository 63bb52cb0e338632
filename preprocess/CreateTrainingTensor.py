"""Make a training bin with the options of v2.0.2's older way."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CreateTrainingTensor.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("CreateTrainingTensor")
