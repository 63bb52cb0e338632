"""Write the full-alignment tensors of a contig's candidates as text, as CreateTensorFullAlignment does."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CreateTensorFullAlignmentFromCffi.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import tensor_options
from clair3.task.main import FULL_ALIGNMENT
from shared import cli


def add_arguments(parser):
    tensor_options.add_arguments(parser, tensor_options.TEXT, FULL_ALIGNMENT)


def run(args):
    tensor_options.write_text(args, FULL_ALIGNMENT)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
