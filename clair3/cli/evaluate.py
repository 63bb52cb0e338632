"""`clair3 evaluate CALLS TRUTH BED REF`: precision, recall and F1 of a call set, see docs/evaluate.md."""

import argparse
import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from clair3.cli.arguments import add_switch, required_text
from clair3.evaluation import report
from clair3.evaluation.classify import compare
from clair3.evaluation.counting import Tally
from clair3.evaluation.variants import VcfVariants
from clair3.io.atomic import write_lines

logger = logging.getLogger(__name__)

RECORD_COLUMNS = "#class\tcontig\tposition\tref\talt\tgenotype\tquality\tremark"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s CALLS TRUTH BED REF [options]"
    files = parser.add_argument_group("files, plain or compressed")
    files.add_argument("calls", type=required_text, metavar="CALLS", help="VCF of the calls")
    files.add_argument("truth", type=required_text, metavar="TRUTH", help="VCF of the true variants")
    files.add_argument("bed", type=required_text, metavar="BED", help="regions where the truth is known")
    files.add_argument("ref", type=required_text, metavar="REF", help="FASTA with its .fai")
    chosen = parser.add_argument_group("what is compared")
    chosen.add_argument("--sample", metavar="NAME", help="sample of the calls (default: the first one)")
    chosen.add_argument("--truth_sample", metavar="NAME", help="sample of the truth (default: the first one)")
    add_switch(chosen, "--all_records", help="also calls and true variants whose FILTER is not PASS")
    add_switch(chosen, "--ignore_genotypes", help="alleles count, not genotypes")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=required_text, metavar="FILE", help="all numbers, and the curves")
    output.add_argument("--plot", type=required_text, metavar="PNG", help="precision against recall along QUAL")
    output.add_argument("--records", type=required_text, metavar="TSV", help="the class of every call and true variant")


def run(args: argparse.Namespace) -> None:
    """Compare, write what was asked for, print the report. Raises UsageError or InputError; then nothing is there."""
    if args.plot:
        report.check_plots()
    calls = VcfVariants(Path(args.calls), args.sample, args.all_records)
    truth = VcfVariants(Path(args.truth), args.truth_sample, args.all_records)
    tally, cut = Tally(), []
    ploidy = 1 if args.ignore_genotypes else 2
    rows = iter_classified_rows(compare(calls, truth, Path(args.bed), Path(args.ref), ploidy), tally, cut)
    if args.records:
        write_lines(Path(args.records), [RECORD_COLUMNS, *rows])
    else:
        for _ in rows:
            pass
    inputs = {name: getattr(args, name) for name in ("calls", "truth", "bed", "ref", "all_records", "ignore_genotypes")}
    skipped = {"calls": dict(calls.skipped), "truth": dict(truth.skipped)}
    result = report.Result(inputs, tally, skipped, cut)
    if args.json:
        write_lines(Path(args.json), json.dumps(report.make_json(result), indent=1).splitlines())
    if args.plot:
        report.plot(result, Path(args.plot))
    print("\n".join(report.format_report(result)))


def iter_classified_rows(compared: Iterable, tally: Tally, cut: list) -> Iterator[str]:
    """Yield the row of each classified variant and count it; cut: clusters not fully searched are added."""
    for contig, classified, clusters in compared:
        tally.add(classified)
        cut += [(contig, start, end) for start, end in clusters]
        yield from (item.row for item in classified)
