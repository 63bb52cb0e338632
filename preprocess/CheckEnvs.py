"""Check the inputs of a run and write its plan: contigs, chunks and padded intervals."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/CheckEnvs.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import submodules, workspace
from shared import cli


def add_arguments(parser):
    for name in ("bam_fn", "ref_fn", "output_fn_prefix"):
        parser.add_argument(f"--{name}", required=True, metavar="PATH")
    submodules.add_texts(parser, "ctg_name", "bed_fn", "vcf_fn", "whatshap", "cmd_fn")
    parser.add_argument("--sampleName", default="SAMPLE", metavar="NAME")
    for name, default in (("chunk_size", 5_000_000), ("chunk_num", 0), ("min_contig_size", 0), ("qual", 2)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help="default: %(default)s")
    for name, default in (("var_pct_full", 0.3), ("ref_pct_full", 0.3), ("snp_min_af", 0.08), ("indel_min_af", 0.08)):
        parser.add_argument(f"--{name}", type=float, default=default, metavar="F", help="only checked")
    cli.add_switch(parser, "--include_all_ctgs", help="call every contig of the reference")
    cli.add_switch(parser, "--no_phasing_for_fa", help=submodules.HIDDEN)
    submodules.add_accepted(parser, "threads", "samtools", "pypy", "python", "parallel")


def run(args):
    for name in ("var_pct_full", "ref_pct_full", "snp_min_af", "indel_min_af"):
        cli.check_range(name, getattr(args, name), 0, 1)
    cli.check_range("qual", args.qual, 0)
    cli.check_range("chunk_size", args.chunk_size, 1)
    workspace.prepare(args)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
