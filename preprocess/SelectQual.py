"""Write the quality cut-offs of a pileup VCF on stdin, for phasing (--phase) or for full alignment."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SelectQual.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import selection_files as files
from clair3 import submodules
from clair3.selection import SelectionRule
from clair3.vcf_files import iter_stdin
from shared import cli
from shared.whole_files import make_folder


def add_arguments(parser):
    parser.add_argument("--output_fn", required=True, metavar="DIR", help="folder of the cut-off file")
    parser.add_argument("--phase", action="store_true", help="cut-off of the SNPs for phasing")
    parser.add_argument("--var_pct_full", type=float, default=0.3, help="share of variants called again")
    parser.add_argument("--ref_pct_full", type=float, default=0.3, help="share of reference calls called again")
    parser.add_argument("--var_pct_phasing", type=float, default=0.7, help="share of SNPs for phasing")
    parser.add_argument("--qual_fn", metavar="NAME", help=submodules.HIDDEN)
    submodules.add_platform(parser)
    submodules.add_texts(parser, "vcf_fn")


def run(args):
    submodules.refuse(args)
    rule = SelectionRule(args.var_pct_full, args.ref_pct_full, None, genotyping=bool(args.vcf_fn))
    if args.phase:
        rule = SelectionRule(1, 1, args.var_pct_phasing)
    name = args.qual_fn or (files.PHASE_QUAL if args.phase else files.QUAL)
    rows = (line for line in iter_stdin() if not line.startswith("#"))
    files.write_cutoffs(rows, rule, make_folder(args.output_fn) / name)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
