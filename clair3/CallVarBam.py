"""Call one chunk or one candidate file from the alignments in one go; the engine is that of CallVariantsFromCffi."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/CallVarBam.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import chunk_options, submodules
from shared import cli


def add_arguments(parser):
    chunk_options.add_arguments(parser, indel_min_af=0.08)
    parser.add_argument("--showRef", action="store_false", help="leave reference calls out")
    submodules.add_accepted(parser, "torch_threads", "delay", "pypy", "python", "use_gpu", flags=("need_realignment",))
    parser.add_argument("--phasing_info_in_bam", action="store_true", help="haplotypes are those of the HP tags")
    submodules.add_refused(parser, "min_af", flags=("need_phasing",))


def run(args):
    chunk_options.call(args, args.showRef)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
