"""Write the truth variants of a contig the way the alignments show them."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/UnifyRepresentation.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules
from clair3.unified_vcf import write_unified
from shared import cli
from shared.errors import UsageError


def add_arguments(parser):
    submodules.add_platform(parser)
    for name, what in (("var_fn", "GetTruth's file"), ("ref_fn", "FASTA"), ("output_vcf_fn", "result")):
        parser.add_argument(f"--{name}", required=True, type=cli.required_text, metavar="FILE", help=what)
    parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
    submodules.add_texts(parser, "bam_fn", "candidate_details_fn", "bed_fn", "vcf_fn")
    parser.add_argument("--sampleName", default="SAMPLE", metavar="NAME", help="default: %(default)s")
    for name in ("ctgStart", "ctgEnd", "chunk_id", "chunk_num", "max_candidates_distance", "partition_size"):
        parser.add_argument(f"--{name}", type=int, metavar="N")
    parser.add_argument("--max_calculate_count", type=int, default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--minimum_allele_gap", type=float, default=0.15, metavar="AF", help="default: %(default)s")
    submodules.add_accepted(parser, "subsample_ratio", "min_af", "pypy", "test_pos", "extend_bed")


def run(args):
    if args.vcf_fn:
        raise UsageError("--vcf_fn is not in this version; give the places that count as --bed_fn")
    write_unified(args)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
