"""Merging pileup and full alignment of one contig, file by file (spec/calling.md 6.5, 8)."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysam

from clair3 import gvcf_merge
from clair3.rows import merge_rows
from clair3.selection import within
from clair3.vcf import FinalRule, filter_row
from clair3.vcf_files import iter_rows, read_header
from shared.whole_files import write_lines

logger = logging.getLogger(__name__)

BLOCK_ROWS = 10_000
"""Block lines that are looked at in one piece."""


def merge_contig(
    pileup: Path,
    full_alignment: Path,
    contig: str,
    rule: FinalRule,
    output: Path,
    bins: np.ndarray | None = None,
) -> list[str]:
    """Write the merged rows of a contig as a plain VCF, with the full-alignment header; the rows.

    bins are the rows of the files of short reads' candidates, (n, 2) int64, see Block.rows; with them the header is
    that of the pileup. The inputs are sorted, one row per position. Raises InputError when one is missing or damaged.
    """
    stages = {"Pileup": list(iter_rows(pileup, contig)), "Full-alignment": list(iter_rows(full_alignment, contig))}
    for name, rows in stages.items():
        logger.info("%s variants processed in %s: %d", name, contig, len(rows))
    places = None if bins is None else within(bins)
    kept = [kept for row in merge_rows(*stages.values(), places) if (kept := filter_row(row, rule)) is not None]
    write_lines(output, [*read_header(full_alignment if bins is None else pileup), *kept])
    return kept


def merge_gvcf(rows: list[str], blocks: Path, contig: str, reference: Path, haploid: bool, output: Path) -> None:
    """Write a contig's gVCF as plain text: its merged rows among the blocks of a sorted file, which has the header.

    Raises InputError when the blocks are missing or damaged.
    """
    with pysam.FastaFile(str(reference)) as fasta:
        letter = gvcf_merge.letter_reader(fasta, contig)
        merged = gvcf_merge.merge(rows, pieces(iter_rows(blocks, contig)), letter, haploid)
        lines = (line for piece in merged for line in piece.decode().splitlines())
        write_lines(output, [*read_header(blocks), *lines])


def pieces(rows: Iterator[str]) -> Iterator[bytes]:
    """Rows in pieces of many, each whole lines with line ends."""
    piece = []
    for row in rows:
        piece.append(f"{row}\n")
        if len(piece) == BLOCK_ROWS:
            yield "".join(piece).encode()
            piece = []
    yield "".join(piece).encode()
