"""Write the pileup tensors of a contig, or of a part of it, as text, as CreateTensorPileup does."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CreateTensorPileupFromCffi.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import tensor_options
from clair3.task.main import PILEUP
from shared import cli


def add_arguments(parser):
    tensor_options.add_arguments(parser, tensor_options.TEXT, PILEUP)


def run(args):
    tensor_options.write_text(args, PILEUP)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
