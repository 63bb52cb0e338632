"""Count the read pairs that support each call: FORMAT field PEAD (spec/calling.md 12.2)."""

import logging
from collections.abc import Iterable
from pathlib import Path

from clair3.read_columns import ReadColumns, alleles, rewrite, sample_values

logger = logging.getLogger(__name__)

HEADER_LINE = (
    '##FORMAT=<ID=PEAD,Number=1,Type=Integer,Description="Number of distinct read names that support the first ALT">'
)


def add_depths(
    calls: Path, output: Path, reads: ReadColumns, filters: Iterable[str] = ("PASS",), contig: str | None = None
) -> None:
    """Write the variants whose FILTER is one of filters, with PEAD. Raises InputError as rewrite does."""

    def with_depth(fields: list[str]) -> list[str] | None:
        if fields[6] not in filters or not any(alleles(sample_values(fields).get("GT", ""))):
            return None
        pos = int(fields[1]) - 1
        names = {
            name
            for column in reads.of(fields[0], pos, pos + 1)
            for name, token in zip(column.names, column.tokens, strict=True)
            if supports(token, fields[3].upper(), fields[4].split(",")[0].upper())
        }
        return [*fields[:8], f"{fields[8]}:PEAD", f"{fields[9]}:{len(names)}"]

    logger.info("%d rows, %d written with PEAD", *rewrite(calls, output, contig, reads, [HEADER_LINE], with_depth))


def supports(token: str, ref: str, alt: str) -> bool:
    """Whether an entry of a column, in mpileup's words, shows ALT: SNP, A+2CC for ACC, or A-3NNN for a deletion."""
    base, indel = token[:1], token[1:]
    if len(alt) == len(ref):
        return token == alt[0]
    if len(alt) > len(ref):
        return indel == f"+{len(alt) - 1}{alt[1:]}" and base == alt[0]
    return indel.startswith(f"-{len(ref) - 1}N") and base == alt[0]
