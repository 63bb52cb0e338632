"""Precision, recall and F1 of a call set from the VCF that hap.py wrote (spec/calling.md 12.3)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.compressed import read_rows
from shared.errors import InputError

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
            for group in groups_of(values.get("BVT", ""), values.get("BI", "")):
                found[group][f"{side}.{values['BD']}"] += 1
    return found


def groups_of(kind: str, change: str) -> Iterator[str]:
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
