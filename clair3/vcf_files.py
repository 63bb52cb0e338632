"""The VCF files that submodules hand to each other, read with every row checked."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.compressed import is_number, read_rows
from shared.errors import InputError

COLUMNS = 10
"""A VCF of one sample."""

CONTIG_LINE = re.compile(r"##contig=<ID=([^,>]+),length=(\d+)")


def check_row(line: str, source: str | Path) -> str:
    """The line, if it is a VCF row of one sample. Raises InputError naming the source otherwise."""
    fields = line.split("\t")
    if len(fields) != COLUMNS or not is_number(fields[1]):
        raise InputError(f"{source}: {line[:80]!r} is not a VCF row of {COLUMNS} columns; make the file again")
    return line


def iter_rows(path: Path, contig: str | None = None) -> Iterator[str]:
    """Rows of a VCF, plain or compressed, without line ends, in file order; of one contig, or of all with None.

    Raises InputError when the file is missing, cut or damaged, or when a row is none.
    """
    start = None if contig is None else f"{contig}\t"
    for _, line in read_rows(path):
        if line and not line.startswith("#") and (start is None or line.startswith(start)):
            yield check_row(line, path)


def iter_stdin() -> Iterator[str]:
    """Lines of a VCF on stdin without line ends, rows checked as in iter_rows; header lines come too."""
    for line in sys.stdin:
        line = line.rstrip("\n")
        if line:
            yield line if line.startswith("#") else check_row(line, "stdin")


def read_header(path: Path) -> list[str]:
    """Header lines of a VCF without line ends. Raises InputError as iter_rows does."""
    lines = []
    for _, line in read_rows(path):
        if not line.startswith("#"):
            break
        lines.append(line)
    return lines


def contigs_of(header: Iterable[str]) -> dict[str, int]:
    """Names and lengths (bases) of the contigs that header lines declare, in their order."""
    return {found[1]: int(found[2]) for line in header if (found := CONTIG_LINE.match(line))}
