"""Write the intervals of a contig in a BED file, widened and joined where they meet."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SplitExtendBed.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from preprocess.confident_regions import extend_bed
from shared import cli
from shared.regions import PADDING
from shared.whole_files import write_lines


def add_arguments(parser):
    parser.add_argument("--bed_fn", required=True, type=cli.required_text, metavar="BED", help="intervals")
    parser.add_argument("--output_fn", required=True, type=cli.required_text, metavar="FILE", help="result")
    parser.add_argument("--expand_region_size", type=int, default=PADDING, metavar="N", help="default: %(default)s")
    parser.add_argument("--ctgName", type=cli.optional_text, metavar="NAME", help="one contig; default: all")
    parser.add_argument("--ctgStart", type=int, metavar="N", help="only intervals that reach this position")
    parser.add_argument("--ctgEnd", type=int, metavar="N", help="or begin before this one")


def run(args):
    cli.check_range("expand_region_size", args.expand_region_size, 0)
    found = extend_bed(Path(args.bed_fn), args.expand_region_size, args.ctgName, args.ctgStart, args.ctgEnd)
    write_lines(Path(args.output_fn), found)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
