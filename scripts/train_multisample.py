"""Train a model from the reads and truths of one or more samples, in one command; see docs/training.md."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python scripts/train_multisample.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)


from clair3.cli import arguments
from clair3.training import workflow

if __name__ == "__main__":
    arguments.run(workflow, __doc__)
