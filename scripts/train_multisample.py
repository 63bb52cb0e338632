"""Train a model from the reads and truths of one or more samples, in one command; see docs/training.md."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python scripts/train_multisample.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.arguments import run
from clair3.cli.train_workflow import TrainMultisample

if __name__ == "__main__":
    run(TrainMultisample, __doc__)
