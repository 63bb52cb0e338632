"""Sort a VCF on stdin, or the rows of all VCF files of a folder, into one file."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SortVcf.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("SortVcf")
