"""Add to each variant the number of read pairs that support it (PEAD)."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/AddPairEndAlleleDepth.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("AddPairEndAlleleDepth")
