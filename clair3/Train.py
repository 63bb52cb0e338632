"""Train a Clair3 network from HDF5 bins."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/Train.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.training.session import add_arguments, run
from shared import cli

__all__ = ["add_arguments", "run"]

if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
