"""Call candidates whose tensors come as text, from a file or stdin."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/CallVariants.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import text_calling
from shared import cli


def add_arguments(parser):
    text_calling.add_arguments(parser)


def run(args):
    text_calling.run(args)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
