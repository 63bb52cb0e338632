"""Realign the short reads of a contig to the haplotypes assembled around their differences from the reference."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/RealignReads.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("RealignReads")
