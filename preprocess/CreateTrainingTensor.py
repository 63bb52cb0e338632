"""Make a training bin with the options of v2.0.2's older way."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CreateTrainingTensor.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import tensor_options
from shared import cli


def add_arguments(parser):
    tensor_options.add_arguments(parser, tensor_options.LEGACY)


def run(args):
    tensor_options.write_bin(args, tensor_options.LEGACY)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
