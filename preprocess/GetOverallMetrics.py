"""Print precision, recall and F1 from the VCF that hap.py wrote."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/GetOverallMetrics.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules
from clair3.overall_metrics import count, table
from shared import cli
from shared.whole_files import write_lines


def add_arguments(parser):
    parser.add_argument("--happy_vcf_fn", required=True, metavar="VCF", help="written by hap.py")
    submodules.add_texts(parser, "ctgName", "output_fn")
    submodules.add_refused(parser, "log_happy")


def run(args):
    submodules.refuse(args)
    lines = list(table(count(Path(args.happy_vcf_fn), args.ctgName)))
    print(*lines, sep="\n")
    if args.output_fn:
        write_lines(Path(args.output_fn), lines)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
