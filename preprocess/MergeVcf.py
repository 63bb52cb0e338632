"""Merge the pileup and full-alignment calls of one contig, and with --gvcf also its blocks."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/MergeVcf.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules
from clair3.chunk_calling import read_block_rows
from clair3.ledger import file_name
from clair3.merging import merge_contig, merge_gvcf
from clair3.options import haploid_mode
from clair3.vcf import FinalRule
from shared import cli
from shared.platforms import PLATFORMS


def add_arguments(parser):
    submodules.add_platform(parser)
    for name in ("pileup_vcf_fn", "full_alignment_vcf_fn", "output_fn", "ctgName"):
        parser.add_argument(f"--{name}", required=True, metavar="TEXT")
    submodules.add_final_filters(parser)
    cli.add_switch(parser, "--gvcf", help="also write --gvcf_fn from the blocks in --non_var_gvcf_fn")
    submodules.add_texts(parser, "non_var_gvcf_fn", "gvcf_fn", "ref_fn")
    parser.add_argument("--bed_fn_prefix", metavar="PREFIX", help="ilmn: the rows of candidates are in PREFIX_<contig>")
    submodules.add_accepted(parser, "sampleName", "samtools")
    submodules.add_refused(parser, "ctgStart", "ctgEnd")


def run(args):
    submodules.refuse(args)
    rule = FinalRule(args.qual, args.print_ref_calls, haploid_mode(args))
    if args.gvcf:
        submodules.require(args, "non_var_gvcf_fn", "gvcf_fn", "ref_fn")
    bins = None
    if PLATFORMS[args.platform].short_reads:
        submodules.require(args, "bed_fn_prefix")
        bins = read_block_rows(Path(f"{args.bed_fn_prefix}_{file_name(args.ctgName)}"), args.ctgName)
    inputs = Path(args.pileup_vcf_fn), Path(args.full_alignment_vcf_fn)
    rows = merge_contig(*inputs, args.ctgName, rule, Path(args.output_fn), bins)
    if args.gvcf:
        blocks, haploid = Path(args.non_var_gvcf_fn), rule.haploid is not None
        merge_gvcf(rows, blocks, args.ctgName, Path(args.ref_fn), haploid, Path(args.gvcf_fn))


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
