"""Precision, recall and F1 of a call set from the VCF that hap.py wrote (spec/calling.md 12.3)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from clair3.errors import InputError
from clair3.io.atomic import write_lines
from clair3.io.text import read_rows
from clair3.legacy import options

KEYS = ("BD", "BI", "BVT")
"""hap.py's decision, kind of change, and type of variant."""

GROUPS = ("Overall", "SNP", "INDEL", "INS", "DEL")
SCORES = ("Precision", "Recall", "F1-score")
WIDTH = 20
COLUMNS = 11
"""A hap.py VCF has a TRUTH and a QUERY column."""

Counts = dict[str, Counter]
"""For each group: T and Q (truth, query) with the decision, e.g. "T.TP"."""


def count(path: Path, contig: str | None = None) -> Counts:
    """Decisions of each group, of one contig or of all.

    Raises InputError when the file is missing, damaged, or lacks what hap.py writes.
    """
    found: Counts = {name: Counter() for name in GROUPS}
    for number, line in read_rows(path):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != COLUMNS or not set(KEYS) <= set(fields[8].split(":")):
            raise InputError(f"{path}: row {number} has no TRUTH and QUERY with {', '.join(KEYS)}; give hap.py's VCF")
        if contig not in (None, fields[0]):
            continue
        keys = fields[8].split(":")
        for side, sample in (("T", fields[9]), ("Q", fields[10])):
            values = dict(zip(keys, sample.split(":"), strict=False))
            for group in variant_groups(values.get("BVT", ""), values.get("BI", "")):
                found[group][f"{side}.{values['BD']}"] += 1
    return found


def variant_groups(kind: str, change: str) -> Iterator[str]:
    """The groups that a variant of this BVT and BI counts in."""
    if kind in ("SNP", "INDEL"):
        yield "Overall"
        yield kind
    if kind == "INDEL" and change[:1] in ("i", "d"):
        yield "INS" if change[0] == "i" else "DEL"


def scores(counts: Counter) -> tuple[float, float, float]:
    """Precision, recall and F1, each rounded to six decimals; 0.0 where nothing was found."""
    precision = share(counts["Q.TP"], counts["Q.FP"])
    recall = share(counts["T.TP"], counts["T.FN"])
    both = precision + recall
    return round(precision, 6), round(recall, 6), round(2 * precision * recall / both if both else 0.0, 6)


def share(right: int, wrong: int) -> float:
    return right / (right + wrong) if right else 0.0


def table(found: Counts) -> Iterator[str]:
    """Lines: a table of the groups, then all scores, then FP, FN and TP (of the truth) of all groups."""
    yield columns(["VariantType", "QUERY.FP", "TRUTH.FN", "TRUTH.TP", "QUERY.TP", *SCORES])
    for name, counts in found.items():
        yield columns([name, *(counts[key] for key in ("Q.FP", "T.FN", "T.TP", "Q.TP")), *scores(counts)])
    yield " ".join(str(value) for counts in found.values() for value in scores(counts))
    yield " ".join(str(counts[key]) for counts in found.values() for key in ("Q.FP", "T.FN", "T.TP"))


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
        lines = list(table(count(Path(args.happy_vcf_fn), args.ctgName)))
        print(*lines, sep="\n")
        if args.output_fn:
            write_lines(Path(args.output_fn), lines)
