"""Full-alignment tensors of a block of candidates: the reads around each of them, row by row."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clair3 import core
from preprocess.phasing import PhasedSnps
from shared.records import TensorBatch

BATCH = 512
"""Candidates per batch: 12 MB of tensors with 89 rows."""


@dataclass(frozen=True)
class RowRule:
    """How reads become rows (spec/features.md A.2, C). max_indel_length as in CandidateRule.

    haplotype_tags  reads belong to the haplotypes that their HP tags say, not to those that phased SNPs give them
    """

    rows: int
    min_mapq: int = 5
    max_indel_length: int = 50
    dwell: bool = False
    haplotype_tags: bool = False


def iter_full_alignment(
    source: core.Source,
    contig: str,
    pos: np.ndarray,
    rule: RowRule,
    snps: PhasedSnps | None,
    cancel: core.CancelFlag | None = None,
) -> Iterator[TensorBatch]:
    """Candidates of one block in batches with (n, rows, 33, 8 or 9) int8 tensors and read support.

    pos   (n,) int64, 0-based, ascending, distinct; a block shares one random generator (C.6), so it is part of the
          result
    snps  the phased SNPs of the contig; None leaves all reads untagged

    Raises CoreError for unreadable alignments or reference, core.Cancelled when the flag was set.
    """
    found = core.full_alignment(source, contig, pos, rule, snps, cancel)
    for start in range(0, len(found), BATCH):
        yield found.batch(start, start + BATCH)
