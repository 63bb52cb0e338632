"""Call one chunk of a contig with the pileup network, or one candidate file with the full-alignment network."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/CallVariantsFromCffi.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import chunk_options
from shared import cli


def add_arguments(parser):
    chunk_options.add_cffi_arguments(parser, use_gpu=False)


def run(args):
    chunk_options.call(args, args.showRef)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
