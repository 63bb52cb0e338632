"""Merge the pileup and full-alignment calls of one contig, and with --gvcf also its blocks."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/MergeVcf.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("MergeVcf")
