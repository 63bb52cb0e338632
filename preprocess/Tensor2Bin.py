"""Label tensors that come as text, and write them as a training bin."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/Tensor2Bin.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules, tensor_options
from shared import cli


def add_arguments(parser):
    submodules.add_platform(parser)
    tensor_options.add_output(parser)
    parser.add_argument("--var_fn", required=True, type=cli.required_text, metavar="FILE", help="GetTruth's file")
    parser.add_argument("--tensor_fn", default="PIPE", metavar="FILE", help="or the beginning of names; default: stdin")
    submodules.add_texts(parser, "bed_fn")
    for name in ("chunk_id", "chunk_num"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="part of the files")
    parser.add_argument("--pileup", action="store_true", help="pileup tensors, else full alignment")
    parser.add_argument("--enable_dwell_time", action="store_true", help="tensors have nine channels")
    submodules.add_accepted(parser, "candidate_details_fn_prefix")


def run(args):
    tensor_options.text_to_bin(args, sys.stdin)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
