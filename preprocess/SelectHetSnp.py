"""Choose the heterozygous SNPs of one contig for phasing from the pileup VCF."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SelectHetSnp.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules
from clair3.selection_files import PHASE_QUAL, select_snps
from shared import cli
from shared.errors import UsageError


def add_arguments(parser):
    parser.add_argument("--vcf_fn", required=True, metavar="VCF", help="the pileup VCF")
    parser.add_argument("--split_folder", required=True, metavar="DIR", help="where <contig>.vcf is written")
    parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
    parser.add_argument("--var_pct_full", type=float, default=0.3, help="share left out without a cut-off file")
    parser.add_argument("--qual_fn", default=PHASE_QUAL, metavar="NAME", help="the cut-off file in --split_folder")
    parser.add_argument("--phase", action="store_false", help="training mode: not in this version")
    submodules.add_accepted(parser, "sampleName", "chr_prefix", "ref_pct_full", "split_bed_size", "depth")
    submodules.add_accepted(parser, "split_region_size", "calling")
    submodules.add_refused(parser, "alt_fn", "all_alt_fn", "realign_window_size", "chunk_id", "chunk_num")
    submodules.add_refused(parser, flags=("phasing_info_in_bam",))


def run(args):
    if not args.phase:
        raise UsageError("--phase asks for the training mode, which is not in this version; leave it out for calling")
    submodules.refuse(args)
    cli.check_range("var_pct_full", args.var_pct_full, 0, 1)
    folder = submodules.make_folder(args.split_folder)
    select_snps(Path(args.vcf_fn), args.ctgName, folder, folder / args.qual_fn, args.var_pct_full)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
