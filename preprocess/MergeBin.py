"""Write the rows of training bins one after the other into one."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/MergeBin.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import tensor_options
from clair3.bins import CHUNK_ROWS
from shared import cli
from shared.platforms import PLATFORMS


def add_arguments(parser):
    parser.add_argument("bins", nargs="+", metavar="BIN")
    parser.add_argument("--out_fn", required=True, type=cli.required_text, metavar="FILE", help="the bin to write")
    parser.add_argument("--platform", choices=list(PLATFORMS), help="default: that of the first bin")
    parser.add_argument("--pileup", action="store_true", help="bins of pileup tensors, else of full alignment")
    parser.add_argument("--enable_dwell_time", action="store_true", help="tensors have nine channels")
    parser.add_argument(
        "--chunk_rows",
        type=int,
        default=CHUNK_ROWS,
        metavar="N",
        help="rows unpacked together; fewer make random access faster and files larger (default: %(default)s)",
    )


def run(args):
    cli.check_range("chunk_rows", args.chunk_rows, 1, 10_000)
    tensor_options.merge(args)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
