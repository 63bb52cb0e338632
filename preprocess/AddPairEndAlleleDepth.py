"""Add to each variant the number of read pairs that support it (PEAD)."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/AddPairEndAlleleDepth.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import pair_end_depth, read_columns, submodules
from shared import cli


def add_arguments(parser):
    read_columns.add_arguments(parser)
    parser.add_argument("--filter_tag", default="PASS", metavar="LIST", help="FILTER of rows to keep (default: PASS)")
    submodules.add_texts(parser, "ctg_name")
    submodules.add_accepted(parser, "threads", "samtools")


def run(args):
    with read_columns.ReadColumns(Path(args.bam_fn), args.min_mq, args.min_bq) as reads:
        files = Path(args.clair3_vcf_input), Path(args.vcf_output)
        pair_end_depth.add_depths(*files, reads, args.filter_tag.split(","), args.ctg_name)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
