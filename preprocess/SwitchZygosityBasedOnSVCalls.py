"""Make homozygous SNPs inside a heterozygous deletion heterozygous."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SwitchZygosityBasedOnSVCalls.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import read_columns, submodules
from clair3.zygosity_switch import SwitchRule, read_bed_deletions, read_deletions, switch
from shared import cli
from shared.errors import UsageError

NUMBERS = {
    "max_af_for_zygosity_switching": SwitchRule.max_af,
    "min_del_proportion_for_long_sv": SwitchRule.min_deleted,
    "flanking_window_size": SwitchRule.flank,
}


def add_arguments(parser):
    read_columns.add_arguments(parser)
    for name, default in NUMBERS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help="default: %(default)s")
    parser.add_argument("--sv_filter_tag", default="PASS", help="FILTER of SVs that count (default: PASS)")
    parser.add_argument("--sv_alt_tag", default="<DEL>", help="ALT of SVs that count (default: <DEL>)")
    cli.add_switch(parser, "--use_sv_qual", default=True, help="QUAL of the SV replaces that of the call")
    submodules.add_texts(parser, "sv_vcf_input", "sv_bed_input", "ctg_name")
    submodules.add_accepted(parser, "threads", "samtools")
    submodules.add_refused(parser, "filter_tag")


def run(args):
    submodules.refuse(args)
    if (args.sv_vcf_input is None) == (args.sv_bed_input is None):
        raise UsageError("one of --sv_vcf_input and --sv_bed_input is needed")
    quality = args.use_sv_qual and args.sv_bed_input is None
    tags = args.sv_filter_tag.split(","), (args.sv_alt_tag,)
    rule = SwitchRule(*(getattr(args, name) for name in NUMBERS), quality, *tags)
    svs = read_deletions(Path(args.sv_vcf_input), rule) if args.sv_vcf_input else None
    svs = svs if svs is not None else read_bed_deletions(Path(args.sv_bed_input))
    with read_columns.ReadColumns(Path(args.bam_fn), args.min_mq, args.min_bq) as reads:
        switch(Path(args.clair3_vcf_input), Path(args.vcf_output), reads, svs, rule, args.ctg_name)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
