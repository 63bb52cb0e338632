import sys
from pathlib import Path

from clair3 import errors
from clair3.cli import arguments
from clair3.errors import UsageError
from clair3.io.atomic import write_lines
from clair3.io.bed import PADDING, extend_bed
from clair3.io.candidate_files import parse_part
from clair3.legacy import options
from clair3.training.data.truth import iter_simplified, write_truth
from clair3.training.data.unify.variants import UnifyOptions
from clair3.training.data.unify_vcf import UnifyJob, make_unify_options, write_unified


class GetTruth:
    """Simplify a truth VCF for training."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument(
            "--vcf_fn", required=True, type=arguments.required_text, metavar="VCF", help="truth with genotypes"
        )
        parser.add_argument("--var_fn", default="PIPE", metavar="FILE", help="result, compressed; default: stdout")
        parser.add_argument("--ctgName", type=arguments.optional_text, metavar="NAME", help="one contig; default: all")
        parser.add_argument("--ctgStart", type=int, metavar="N", help="first position")
        parser.add_argument("--ctgEnd", type=int, metavar="N", help="last position")
        parser.add_argument(
            "--truth_vcf_fn",
            type=arguments.optional_text,
            metavar="VCF",
            help="all true variants: those not in --vcf_fn are unknown",
        )

    @staticmethod
    def run(args):
        complete = Path(args.truth_vcf_fn) if args.truth_vcf_fn else None
        lines = iter_simplified(Path(args.vcf_fn), args.ctgName, args.ctgStart, args.ctgEnd, complete)
        if args.var_fn == "PIPE":
            sys.stdout.writelines(f"{line}\n" for line in lines)
        else:
            write_truth(Path(args.var_fn), lines)


class SplitExtendBed:
    """Write the intervals of a contig in a BED file, widened and joined where they meet."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--bed_fn", required=True, type=arguments.required_text, metavar="BED", help="intervals")
        parser.add_argument("--output_fn", required=True, type=arguments.required_text, metavar="FILE", help="result")
        parser.add_argument("--expand_region_size", type=int, default=PADDING, metavar="N", help="default: %(default)s")
        parser.add_argument("--ctgName", type=arguments.optional_text, metavar="NAME", help="one contig; default: all")
        parser.add_argument("--ctgStart", type=int, metavar="N", help="only intervals that reach this position")
        parser.add_argument("--ctgEnd", type=int, metavar="N", help="or begin before this one")

    @staticmethod
    def run(args):
        errors.check_range("expand_region_size", args.expand_region_size, 0)
        found = extend_bed(Path(args.bed_fn), args.expand_region_size, args.ctgName, args.ctgStart, args.ctgEnd)
        write_lines(Path(args.output_fn), found)


class UnifyRepresentation:
    """Write the truth variants of a contig the way the alignments show them."""

    @staticmethod
    def add_arguments(parser):
        options.add_platform(parser)
        for name, what in (("var_fn", "GetTruth's file"), ("ref_fn", "FASTA"), ("output_vcf_fn", "result")):
            parser.add_argument(f"--{name}", required=True, type=arguments.required_text, metavar="FILE", help=what)
        parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
        options.add_texts(parser, "bam_fn", "candidate_details_fn", "bed_fn", "vcf_fn")
        options.add_sample(parser)
        for name in ("ctgStart", "ctgEnd", "chunk_id", "chunk_num", "max_candidates_distance", "partition_size"):
            parser.add_argument(f"--{name}", type=int, metavar="N")
        options.add_number(parser, "max_calculate_count", UnifyOptions.max_count)
        options.add_number(parser, "minimum_allele_gap", UnifyOptions.gap)
        options.add_accepted(parser, "subsample_ratio", "min_af", "pypy", "test_pos", "extend_bed")

    @staticmethod
    def run(args):
        if args.vcf_fn:
            raise UsageError("--vcf_fn is not in this version; give the places that count as --bed_fn")
        grouping = (args.max_candidates_distance, args.partition_size)
        rule = make_unify_options(args.platform, *grouping, args.max_calculate_count, args.minimum_allele_gap)
        part = parse_part(args)
        files = ("bam_fn", "candidate_details_fn", "bed_fn")
        reads, details, bed = (Path(name) if (name := getattr(args, option)) else None for option in files)
        job = UnifyJob(
            Path(args.var_fn), Path(args.ref_fn), args.ctgName, Path(args.output_vcf_fn), rule, reads, details, bed,
            None if args.ctgStart is None else args.ctgStart - 1, args.ctgEnd, part, args.sampleName, args.command_line,
        )  # fmt: skip
        write_unified(job)
