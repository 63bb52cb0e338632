"""Realign the short reads of a contig to the haplotypes assembled around their differences from the reference."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/RealignReads.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules
from preprocess.realignment import realign_reads
from shared import cli

PIPE = "PIPE"


def add_arguments(parser):
    parser.add_argument("--bam_fn", required=True, type=Path, metavar="BAM", help="sorted and indexed BAM or CRAM")
    parser.add_argument("--ref_fn", default="ref.fa", type=Path, metavar="FASTA", help="default: %(default)s")
    parser.add_argument("--read_fn", default=PIPE, metavar="BAM", help="result; default: SAM text on stdout")
    parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
    for name in ("ctgStart", "ctgEnd"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="of the part to realign, 1-based, inclusive")
    parser.add_argument("--full_aln_regions", type=Path, metavar="BED", help="candidates: only reads at them")
    submodules.add_accepted(parser, "platform", "samtools", "sampleName")


def run(args):
    output = None if args.read_fn == PIPE else Path(args.read_fn)
    start = None if args.ctgStart is None else args.ctgStart - 1
    place = args.ctgName, output, start, args.ctgEnd, args.full_aln_regions
    realign_reads(args.bam_fn, args.ref_fn, *place)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
