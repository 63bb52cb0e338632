"""Write the quality cut-offs of a pileup VCF on stdin, for phasing (--phase) or for full alignment."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SelectQual.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("SelectQual")
