"""Sort a VCF on stdin, or the rows of all VCF files of a folder, into one file."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python preprocess/SortVcf.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import sorting, submodules
from clair3.options import haploid_mode
from clair3.vcf import FinalRule, filter_row
from clair3.vcf_files import iter_stdin
from clair3.workspace import header_without_files
from shared import cli
from shared.whole_files import write_lines


def add_arguments(parser):
    parser.add_argument("--output_fn", required=True, metavar="FILE", help="plain; with --input_dir .gz is added")
    submodules.add_texts(parser, "input_dir", "vcf_fn_prefix", "ref_fn", "contigs_fn", "cmd_fn")
    parser.add_argument("--vcf_fn_suffix", default=".vcf", metavar="TEXT", help="end of the files' names")
    parser.add_argument("--sampleName", default="SAMPLE", metavar="NAME", help="sample column of an empty file")
    cli.add_switch(parser, "--pileup_only", help="apply the final filters")
    submodules.add_final_filters(parser)
    cli.add_switch(parser, "--output_all_contigs_in_gvcf_header", help="keep uncalled contigs in the gVCF header")
    cli.add_switch(parser, "--check_malformed_records", default=True, help="no effect, such files are refused")
    submodules.add_refused(parser, flags=("use_gpu",))


def run(args):
    submodules.refuse(args)
    output = Path(args.output_fn)
    if args.input_dir is None:
        write_lines(output, sorting.sort_lines(iter_stdin()))
        return
    submodules.require(args, "contigs_fn")
    contigs = sorting.read_contigs(Path(args.contigs_fn))
    files = sorting.find_files(Path(args.input_dir), args.vcf_fn_prefix or "", args.vcf_fn_suffix)
    command = submodules.command_of(args.cmd_fn)
    header = sorting.union_header(files, command) or header_without_files(args.ref_fn, args.sampleName, command)
    if args.vcf_fn_suffix == ".gvcf" and not args.output_all_contigs_in_gvcf_header:
        header = sorting.only_contigs(header, contigs)
    rule = FinalRule(args.qual, args.print_ref_calls, haploid_mode(args))
    sorting.sort_files(files, output, contigs, header, lambda row: filter_row(row, rule) if args.pileup_only else row)


if __name__ == "__main__":
    cli.run(sys.modules[__name__], __doc__)
