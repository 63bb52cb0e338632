"""Make a training bin from the reads and the truth of a contig, or of a part of it."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CreateTrainingTensorDirect.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("CreateTrainingTensorDirect")
