"""Precision, recall and F1 of a call set from the VCF that hap.py wrote (spec/calling.md 12.3)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from clair3.errors import InputError
from clair3.io.atomic import write_lines
from clair3.io.vcf import iter_numbered_records
from clair3.legacy import options

KEYS = ("BD", "BI", "BVT")
"""hap.py's decision, kind of change, and type of variant."""

GROUPS = ("Overall", "SNP", "INDEL", "INS", "DEL")
SCORES = ("Precision", "Recall", "F1-score")
WIDTH = 20
Counts = dict[str, Counter]
"""For each group: T and Q (truth, query) with the decision, e.g. "T.TP"."""


def count_decisions(path: Path, contig: str | None = None) -> Counts:
    """Count the decisions of each group, of one contig or of all.

    Raises InputError when the file is missing, damaged, or lacks what hap.py writes.
    """
    counts: Counts = {name: Counter() for name in GROUPS}
    for number, record in iter_numbered_records(path):
        if len(record.samples) != 2 or not set(KEYS) <= set(record.format.split(":")):
            raise InputError(f"{path}: row {number} has no TRUTH and QUERY with {', '.join(KEYS)}; give hap.py's VCF")
        if contig not in (None, record.contig):
            continue
        for column, side in enumerate("TQ"):
            values = record.sample_values(column)
            for group in variant_groups(values.get("BVT", ""), values.get("BI", "")):
                counts[group][f"{side}.{values['BD']}"] += 1
    return counts


def variant_groups(kind: str, change: str) -> Iterator[str]:
    """Yield the groups in which a variant of this BVT and BI counts."""
    if kind in ("SNP", "INDEL"):
        yield "Overall"
        yield kind
    if kind == "INDEL" and change[:1] in ("i", "d"):
        yield "INS" if change[0] == "i" else "DEL"


def scores(counts: Counter) -> tuple[float, float, float]:
    """Precision, recall and F1, each rounded to six decimals; 0.0 where nothing is there to count."""
    precision = share(counts["Q.TP"], counts["Q.FP"])
    recall = share(counts["T.TP"], counts["T.FN"])
    both = precision + recall
    return round(precision, 6), round(recall, 6), round(2 * precision * recall / both if both else 0.0, 6)


def share(right: int, wrong: int) -> float:
    return right / (right + wrong) if right else 0.0


def format_table(decisions: Counts) -> Iterator[str]:
    """Yield lines: a table of the groups, then all scores, then FP, FN and TP (of the truth) of all groups."""
    yield columns(["VariantType", "QUERY.FP", "TRUTH.FN", "TRUTH.TP", "QUERY.TP", *SCORES])
    for name, counts in decisions.items():
        yield columns([name, *(counts[key] for key in ("Q.FP", "T.FN", "T.TP", "Q.TP")), *scores(counts)])
    yield " ".join(str(value) for counts in decisions.values() for value in scores(counts))
    yield " ".join(str(counts[key]) for counts in decisions.values() for key in ("Q.FP", "T.FN", "T.TP"))


def columns(values: Iterable[object]) -> str:
    return "".join(f"{value!s:<{WIDTH}}" for value in values).rstrip()


class GetOverallMetrics:
    """Print precision, recall and F1 from the VCF that hap.py wrote."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--happy_vcf_fn", required=True, metavar="VCF", help="written by hap.py")
        options.add_texts(parser, "ctgName", "output_fn")
        options.add_refused(parser, "log_happy")

    @staticmethod
    def run(args):
        options.refuse(args)
        lines = list(format_table(count_decisions(Path(args.happy_vcf_fn), args.ctgName)))
        print(*lines, sep="\n")
        if args.output_fn:
            write_lines(Path(args.output_fn), lines)
