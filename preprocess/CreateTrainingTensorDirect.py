"""Make a training bin from the reads and the truth of a contig, or of a part of it."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CreateTrainingTensorDirect.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import tensor_options
from shared import cli


def add_arguments(parser):
    tensor_options.add_arguments(parser, tensor_options.DIRECT)


def run(args):
    tensor_options.write_bin(args, tensor_options.DIRECT)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
