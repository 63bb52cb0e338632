"""Choose the candidates of one contig for full alignment from the pileup VCF."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SelectCandidates.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules
from clair3.selection import BLOCK_SIZE, SelectionRule
from clair3.selection_files import QUAL, select_candidates
from shared import cli
from shared.errors import UsageError
from shared.platforms import PLATFORMS
from shared.whole_files import make_folder


def add_arguments(parser):
    parser.add_argument("--pileup_vcf_fn", required=True, metavar="VCF", help="the pileup VCF")
    parser.add_argument("--split_folder", required=True, metavar="DIR", help="where <contig>.<i>_<n> are written")
    parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
    parser.add_argument("--var_pct_full", type=float, default=0.3, help="without a cut-off file")
    parser.add_argument("--ref_pct_full", type=float, default=0.3, help="without a cut-off file")
    parser.add_argument("--qual_fn", default=QUAL, metavar="NAME", help="the cut-off file in --split_folder")
    parser.add_argument("--split_bed_size", type=int, default=BLOCK_SIZE, help="candidates of a file")
    parser.add_argument("--phasing_info_in_bam", action="store_true", help="no effect")
    submodules.add_platform(parser)
    submodules.add_accepted(parser, "ref_fn", "samtools", "phased_vcf_fn", "chr_prefix", "seq_entropy_pro")
    submodules.add_refused(parser, "all_alt_fn", flags=("call_low_seq_entropy",))


def run(args):
    submodules.refuse(args)
    if args.split_bed_size != BLOCK_SIZE:
        raise UsageError(f"--split_bed_size is {BLOCK_SIZE} in this version: the calls depend on it")
    folder, rule = make_folder(args.split_folder), SelectionRule(args.var_pct_full, args.ref_pct_full, None)
    short_reads = PLATFORMS[args.platform].short_reads
    select_candidates(Path(args.pileup_vcf_fn), args.ctgName, folder, folder / args.qual_fn, rule, short_reads)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
