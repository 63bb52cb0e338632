"""Put known sites that were not called back into the VCF of a genotyping run."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/AddBackMissingVariantsInGenotyping.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.genotyping_files import add_back
from shared import cli


def add_arguments(parser):
    parser.add_argument("--vcf_fn", required=True, metavar="VCF", help="the known sites")
    parser.add_argument("--clair3_input_vcf_fn", required=True, metavar="VCF", help="the merged calls")
    parser.add_argument("--output_fn", required=True, metavar="VCF", help="bgzipped; .gz is added")
    cli.add_switch(parser, "--switch_genotype", default=True, help="./. where nothing was called")


def run(args):
    add_back(Path(args.vcf_fn), Path(args.clair3_input_vcf_fn), Path(args.output_fn), args.switch_genotype)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
