"""Homozygous SNPs inside a heterozygous deletion become heterozygous (spec/calling.md 12.1)."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clair3.read_columns import ReadColumns, alleles, rewrite, sample_values
from shared.cli import check_range
from shared.compressed import is_number, read_rows
from shared.errors import InputError
from shared.regions import read_bed

logger = logging.getLogger(__name__)

HEADER_LINES = (
    '##INFO=<ID=SVBASEDHET,Number=0,Type=Flag,Description="Heterozygous because of a structural variant">',
    '##INFO=<ID=ORG_CLAIR3_SCORE,Number=1,Type=Float,Description="QUAL before that of the structural variant">',
)
END = re.compile(r"(?:^|;)END=(\d+)(?:;|$)")

Deletions = dict[str, list[tuple[int, int, float | None]]]
"""Per contig: 0-based start, end, and QUAL (None: not known) of each."""


@dataclass(frozen=True)
class SwitchRule:
    """Which calls are switched. Fractions of reads; flank in bases on each side."""

    max_af: float = 0.7
    min_deleted: float = 0.3
    flank: int = 16
    use_quality: bool = True
    sv_filters: Sequence[str] = ("PASS",)
    sv_alts: Sequence[str] = ("<DEL>",)

    def __post_init__(self):
        check_range("max_af_for_zygosity_switching", self.max_af, 0, 1)
        check_range("min_del_proportion_for_long_sv", self.min_deleted, 0, 1)
        check_range("flanking_window_size", self.flank, 0)


def read_deletions(path: Path, rule: SwitchRule) -> Deletions:
    """Intervals [POS, END), in VCF's numbers, of the deletions of an SV VCF. Raises InputError naming a bad row."""
    found: Deletions = {}
    for number, line in read_rows(path):
        fields = line.split("\t")
        if not line or line.startswith("#"):
            continue
        if len(fields) < 8 or not is_number(fields[1]):
            raise InputError(f"Invalid vcf input in {number}-th row {line[:80]!r} of {path}")
        if fields[6] not in rule.sv_filters or fields[4] not in rule.sv_alts:
            continue
        end = END.search(fields[7])
        if end is None:
            raise InputError(f"{path}: row {number} has no END in its INFO")
        try:
            quality = None if fields[5] == "." else float(fields[5])
        except ValueError:
            raise InputError(f"{path}: row {number} has QUAL {fields[5]!r}; expected a number or .") from None
        found.setdefault(fields[0], []).append((int(fields[1]) - 1, int(end[1]) - 1, quality))
    return found


def read_bed_deletions(path: Path) -> Deletions:
    """Intervals of a BED file, which have no quality. Raises InputError as read_bed does."""
    return {
        name: [(start, end, None) for start, end in intervals.tolist()] for name, intervals in read_bed(path).items()
    }


def switch(
    calls: Path, output: Path, reads: ReadColumns, deletions: Deletions, rule: SwitchRule, contig: str | None = None
) -> None:
    """Write all calls, those that qualify switched. Raises InputError as rewrite does."""
    switched = 0

    def change(fields: list[str]) -> list[str] | None:
        nonlocal switched
        pos = int(fields[1]) - 1
        if not qualifies(fields, rule):
            return fields
        over = [quality for start, end, quality in deletions.get(fields[0], ()) if start <= pos < end]
        if not over or not is_deleted(reads, fields[0], pos, rule):
            return fields
        changed = switched_row(fields, over, rule)
        switched += changed is not None
        return changed

    total, _ = rewrite(calls, output, contig, reads, HEADER_LINES, change)
    logger.info("%d of %d rows switched", switched, total)


def qualifies(fields: list[str], rule: SwitchRule) -> bool:
    """Whether a row is a PASS SNP with genotype sum 2 and no more than max_af of the reads."""
    sample = sample_values(fields)
    short = len(fields[3]) == 1 and len(fields[4].split(",")[0]) == 1
    if fields[6] != "PASS" or not short or sum(alleles(sample.get("GT", ""))) != 2:
        return False
    try:
        return float(sample.get("AF", "").split(",")[0]) <= rule.max_af
    except ValueError:  # no AF: not a call of ours
        return False


def is_deleted(reads: ReadColumns, contig: str, pos: int, rule: SwitchRule) -> bool:
    """Whether at every covered position around pos enough reads are deleted; not where no read is (no evidence)."""
    covered = False
    for column in reads.of(contig, pos - rule.flank, pos + rule.flank + 1):
        covered = True
        deleted = sum(token[0] in "*#" for token in column.tokens)
        if deleted / len(column.tokens) < rule.min_deleted:
            return False
    return covered


def switched_row(fields: list[str], qualities: list[float | None], rule: SwitchRule) -> list[str] | None:
    """The row as 0/1 with the top quality of the deletions over it; None, with a warning, when none has any."""
    changed = [*fields[:9], fields[9].replace("1/1", "0/1")]
    if not rule.use_quality:
        return changed
    known = [quality for quality in qualities if quality is not None]
    if not known:
        logger.warning("%s:%s is left out: no QUAL in the structural variants over it", *fields[:2])
        return None
    info = "" if fields[7] == "." else f"{fields[7]};"
    changed[7] = f"{info}SVBASEDHET;ORG_CLAIR3_SCORE={fields[5]}"
    changed[5] = f"{max(known):.2f}"
    return changed
