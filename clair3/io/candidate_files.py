"""Files of candidates that SelectCandidates writes, and the numbered parts of a contig (spec/calling.md 7.3)."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clair3.errors import ConfigError, InputError, UsageError
from clair3.io.bed import realignment_bins
from clair3.io.text import is_number, read_rows

ROW_REACH = 17
"""A row of a candidate file holds the bases this far around the candidate (spec/calling.md 7.3)."""


@dataclass(frozen=True)
class Part:
    """Chunk number `index` of `count` of a contig, from 0."""

    index: int = 0
    count: int = 1

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise ConfigError(f"--chunk_id={self.index + 1}: expected a number from 1 to --chunk_num={self.count}")


def read_candidates(path: Path, contig: str, short_reads: bool = False, training: bool = False) -> np.ndarray:
    """The candidates of a contig in a file that SelectCandidates wrote: (n,) int64, 0-based, ascending, distinct; for
    those of short reads the middle of their bins. training: or SelectHetSnp, whose rows are alike for all platforms.

    Raises InputError when the file is missing, a row is none, or not of such a bin.
    """
    rows = read_block_rows(path, contig)
    starts, ends = rows.T
    if short_reads and not (training and (ends - starts <= 2 * ROW_REACH).all()):
        pos = np.unique(rows.sum(axis=1) // 2)
        if not np.array_equal(realignment_bins(pos), np.unique(rows, axis=0)):
            raise InputError(f"{path}: not made by SelectCandidates --platform=ilmn, whose rows are bins of 1 kb")
        return pos
    middle = np.where(starts > 0, starts + (ends - starts) // 2, ends - ROW_REACH)
    return np.unique(middle) - 1


def read_block_rows(path: Path, contig: str) -> np.ndarray:
    """The rows of a contig in such a file as they are written, (n, 2) int64, see Block.rows.

    Raises InputError when the file is missing or a row is none.
    """
    rows = []
    for number, line in read_rows(path):
        fields = line.split()
        if not fields:  # all there is in a part without candidates
            continue
        if len(fields) < 3 or not is_number(fields[1]) or not is_number(fields[2]):
            raise InputError(f"{path}: row {number} is {line[:80]!r}, not contig, start and end")
        if fields[0] == contig and len(fields) == 3:  # rows of four columns are no candidates (spec/features.md A.10)
            rows.append((int(fields[1]), int(fields[2])))
    return np.array(rows, np.int64).reshape(-1, 2)


def parse_part(args: argparse.Namespace) -> Part:
    """The part that --chunk_id and --chunk_num name, the whole contig without; UsageError when one of them lacks."""
    if (args.chunk_id is None) != (args.chunk_num is None):
        raise UsageError("--chunk_id and --chunk_num go together")
    return Part() if args.chunk_id is None else Part(args.chunk_id - 1, args.chunk_num)
