"""Call one chunk of a contig with the pileup network, or one candidate file with the full-alignment network."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/CallVariantsFromCffi.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import chunk_options, submodules
from shared import cli

REFUSED = ("output_tensor_can_fn_list",)
REFUSED_FLAGS = ("use_triton_gpu", "input_probabilities", "output_probabilities", "is_from_tables")


def add_arguments(parser):
    chunk_options.add_arguments(parser, indel_min_af=0.15)
    chunk_options.add_device_arguments(parser, use_gpu=False)
    cli.add_switch(parser, "--showRef", default=True, help="write reference calls too")
    parser.add_argument("--max_depth", type=int, choices=[144], default=144, help="only 144 is in this version")
    submodules.add_accepted(parser, flags=("debug",))
    submodules.add_refused(parser, *REFUSED, flags=(*REFUSED_FLAGS, "output_for_ensemble"))


def run(args):
    chunk_options.call(args, args.showRef)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
