"""Label tensors that come as text, and write them as a training bin."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/Tensor2Bin.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("Tensor2Bin")
