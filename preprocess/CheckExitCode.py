"""Fail when a job in a log of GNU parallel failed."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CheckExitCode.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from shared import cli
from shared.joblog import check_jobs


def add_arguments(parser):
    parser.add_argument("--parallel_log_fn", required=True, metavar="FILE", help="written by parallel --joblog")


def run(args):
    check_jobs(Path(args.parallel_log_fn))


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
