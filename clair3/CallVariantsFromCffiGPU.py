"""Call one chunk of a contig, or one candidate file, on GPUs; the engine is that of CallVariantsFromCffi."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/CallVariantsFromCffiGPU.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import chunk_options, submodules
from shared import cli


def add_arguments(parser):
    chunk_options.add_cffi_arguments(parser, use_gpu=True)
    submodules.add_accepted(parser, "parallel", "pypy", "python", "gpu_threads", "internal_threads")
    submodules.add_refused(parser, "output_dir", "full_aln_files")


def run(args):
    chunk_options.call(args, args.showRef)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
