"""Write the truth variants of a contig the way the alignments show them."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/UnifyRepresentation.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("UnifyRepresentation")
