"""Choose a contig's heterozygous SNPs for phasing, or candidates for full-alignment training, from the pileup VCF."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SelectHetSnp.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules
from clair3.selection_files import PHASE_QUAL, select_snps, select_training_candidates, without_prefix
from shared import cli
from shared.errors import UsageError
from shared.whole_files import make_folder


def add_arguments(parser):
    submodules.add_texts(parser, "vcf_fn", "alt_fn")
    parser.add_argument("--split_folder", required=True, metavar="DIR", help="where the result is written")
    parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
    parser.add_argument("--phase", action="store_false", help="choose candidates for training from --alt_fn instead")
    parser.add_argument("--var_pct_full", type=float, default=0.3, help="share left out (no cut-off file), or chosen")
    parser.add_argument("--ref_pct_full", type=float, help="of reference calls, for training (default: --var_pct_full)")
    parser.add_argument("--qual_fn", default=PHASE_QUAL, metavar="NAME", help="the cut-off file in --split_folder")
    parser.add_argument("--chunk_num", type=int, default=1, metavar="N", help="files of candidates for training")
    for name, default in (("sampleName", ""), ("depth", "1000"), ("chr_prefix", "chr")):
        parser.add_argument(f"--{name}", default=default, metavar="TEXT", help="in the names of these files")
    submodules.add_accepted(parser, "split_bed_size", "split_region_size", "calling", flags=("phasing_info_in_bam",))
    submodules.add_refused(parser, "all_alt_fn", "realign_window_size", "chunk_id")


def run(args):
    submodules.refuse(args)
    ref_pct = args.var_pct_full if args.ref_pct_full is None else args.ref_pct_full
    cli.check_range("var_pct_full", args.var_pct_full, 0, 1)
    cli.check_range("ref_pct_full", ref_pct, 0, 1)
    cli.check_range("chunk_num", args.chunk_num, 1)
    submodules.require(args, "vcf_fn" if args.phase else "alt_fn")
    if args.phase and args.alt_fn:
        raise UsageError("--alt_fn is for training; add --phase, or leave it out")
    folder = make_folder(args.split_folder)
    if args.phase:
        select_snps(Path(args.vcf_fn), args.ctgName, folder, folder / args.qual_fn, args.var_pct_full)
        return
    prefix = folder / f"{args.sampleName}_{args.depth}_{without_prefix(args.ctgName, args.chr_prefix)}"
    select_training_candidates(Path(args.alt_fn), args.ctgName, prefix, args.chunk_num, args.var_pct_full, ref_pct)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
