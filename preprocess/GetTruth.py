"""Simplify a truth VCF for training."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/GetTruth.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from preprocess.truth import simplified, write_truth
from shared import cli


def add_arguments(parser):
    parser.add_argument("--vcf_fn", required=True, type=cli.required_text, metavar="VCF", help="truth with genotypes")
    parser.add_argument("--var_fn", default="PIPE", metavar="FILE", help="result, compressed; default: stdout")
    parser.add_argument("--ctgName", type=cli.optional_text, metavar="NAME", help="one contig; default: all")
    parser.add_argument("--ctgStart", type=int, metavar="N", help="first position")
    parser.add_argument("--ctgEnd", type=int, metavar="N", help="last position")
    parser.add_argument(
        "--truth_vcf_fn",
        type=cli.optional_text,
        metavar="VCF",
        help="all true variants: those not in --vcf_fn are unknown",
    )


def run(args):
    complete = Path(args.truth_vcf_fn) if args.truth_vcf_fn else None
    lines = simplified(Path(args.vcf_fn), args.ctgName, args.ctgStart, args.ctgEnd, complete)
    if args.var_fn == "PIPE":
        sys.stdout.writelines(f"{line}\n" for line in lines)
    else:
        write_truth(Path(args.var_fn), lines)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
