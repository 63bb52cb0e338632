"""Rows on their way to the final files: those of a stage, merged ones (spec/calling.md 8.1), phased ones.

All are VCF lines without line ends, read when they are asked for, contig by contig, so memory stays flat.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from clair3.ledger import Ledger
from clair3.vcf import FinalRule, filter_row, pos_of
from shared.records import Task


class Rows:
    """VCF lines by contig, in output order."""

    contigs: Sequence[str]

    def of(self, contig: str) -> Iterator[str]:
        """Lines of one contig, ascending; none for a contig without."""
        raise NotImplementedError

    def all(self) -> Iterator[tuple[str, str]]:
        """Contig and line of every row."""
        return ((contig, row) for contig in self.contigs for row in self.of(contig))


class StageRows(Rows):
    """What a stage left in its ledger, in the order of the plan; each row is checked when it is read.

    ledger may be None when there are no tasks. Raises LedgerError when a row is not what was planned.
    """

    def __init__(self, ledger: Ledger | None, tasks: Sequence[Task]):
        self.ledger = ledger
        self.tasks: dict[str, list[Task]] = {}
        for task in tasks:
            self.tasks.setdefault(task.contig, []).append(task)
        self.contigs = list(self.tasks)

    def of(self, contig: str) -> Iterator[str]:
        for task in self.tasks.get(contig, ()):
            yield from self.ledger.read(task)


class MergedRows(Rows):
    """Pileup rows, full-alignment rows in their place where there are any, through the final filters.

    With short reads, within says per contig where full-alignment rows take their place, see merge_rows.
    """

    def __init__(
        self,
        pileup: StageRows,
        rule: FinalRule,
        full_alignment: StageRows | None = None,
        within: dict[str, np.ndarray] | None = None,
    ):
        self.pileup, self.rule, self.within = pileup, rule, within
        self.full_alignment = full_alignment or StageRows(None, ())
        self.contigs = pileup.contigs

    def of(self, contig: str) -> Iterator[str]:
        within = None if self.within is None else self.within.get(contig, NOWHERE)
        merged = merge_rows(self.pileup.of(contig), self.full_alignment.of(contig), within)
        return (kept for row in merged if (kept := filter_row(row, self.rule)) is not None)


class PhasedRows(Rows):
    """The VCF files that a phasing program wrote, one per contig; that of an unphased contig is what it was given."""

    def __init__(self, files: dict[str, Path]):
        self.files = files
        self.contigs = list(files)

    def of(self, contig: str) -> Iterator[str]:
        with open(self.files[contig]) as lines:
            yield from (line.rstrip("\n") for line in lines if not line.startswith("#"))

    def header(self) -> str:
        """Header lines of all files, each once; without the programs' command lines (9). Empty without files."""
        seen: dict[str, None] = {}
        for path in self.files.values():
            with open(path) as lines:
                for line in lines:
                    if not line.startswith("##"):
                        columns = line
                        break
                    if not line.startswith("##commandline="):
                        seen[line] = None
        return "".join([*seen, columns]) if seen else ""


NOWHERE = np.empty((0, 2), np.int64)


def merge_rows(pileup: Iterable[str], full_alignment: Iterable[str], within: np.ndarray | None = None) -> Iterator[str]:
    """Rows of both stages in order of position, where full alignment wins.

    Both come as VCF lines of one contig, ascending, one per position. A position with a full-alignment row loses its
    pileup row, also when the full-alignment row is a reference call or is filtered later; a position that was sent to
    full alignment but came back without a row keeps the pileup row.
    within  (k, 2) int64, sorted and disjoint [start, end): of short reads, only full-alignment rows count there, and
            only pileup rows elsewhere (spec/calling.md 8.2)
    """
    if within is not None:
        pileup = rows_at(pileup, within, wanted=False)
        full_alignment = rows_at(full_alignment, within, wanted=True)
    full_alignment = iter(full_alignment)
    waiting = next(full_alignment, None)
    for row in pileup:
        pos = pos_of(row)
        while waiting is not None and pos_of(waiting) < pos:
            yield waiting
            waiting = next(full_alignment, None)
        if waiting is None or pos_of(waiting) > pos:
            yield row
    if waiting is not None:
        yield waiting
        yield from full_alignment


def rows_at(rows: Iterable[str], intervals: np.ndarray, wanted: bool) -> Iterator[str]:
    """The rows inside, or if not wanted outside, of sorted and disjoint intervals (k, 2), in order."""
    edges = intervals.ravel().tolist()
    return (row for row in rows if (bisect_right(edges, pos_of(row)) % 2 == 1) == wanted)
