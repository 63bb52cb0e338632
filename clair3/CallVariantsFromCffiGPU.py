"""Call one chunk of a contig, or one candidate file, on GPUs; the engine is that of CallVariantsFromCffi."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/CallVariantsFromCffiGPU.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("CallVariantsFromCffiGPU")
