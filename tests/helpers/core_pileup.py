"""The C core with the interface of the slow reference, so that one test can ask both."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pileup_reference import Read, ReferencePileup
from random_reads import Case, write_case

from clair3 import core
from clair3.config import CandidateOptions
from clair3.io.bed import target_intervals
from clair3.records import Region

EVERYWHERE = np.array([[0, 2**40]])
ANYTHING = {
    "min_mapq": 5,
    "min_coverage": 2,
    "snp_min_af": 0.0,
    "indel_min_af": 0.0,
    "snp_only": False,
    "head_and_tail": False,
    "max_indel_length": 50,
}
"""Options with which each column with two reads is a candidate, where its flanks allow it."""


def with_defaults(engine: Callable[..., ReferencePileup]) -> Callable[..., ReferencePileup]:
    """The engine with options that may be left out, as ANYTHING has them, and so the end, that of the contig."""

    def run(ref: str, reads: list[Read], start0: int = 0, end0: int | None = None, **options) -> ReferencePileup:
        return engine(ref, reads, start0, len(ref) if end0 is None else end0, **(ANYTHING | options))

    return run


def core_pileup(
    folder: Path,
    ref: str,
    reads: list[Read],
    start0: int,
    end0: int,
    *,
    allowed: list[tuple[int, int]] | None = None,
    targets: list[tuple[int, int]] | None = None,
    **rule,
) -> ReferencePileup:
    """What `pileup_reference.reference_pileup` gives, by way of a BAM and a FASTA in a folder.

    With short_read_rules=True what `short_read_reference.scripted_pileup` gives.
    """
    bam, fasta = write_case(folder, Case(ref, tuple(reads), start0, end0))
    intervals = EVERYWHERE if allowed is None else np.array(allowed, np.int64).reshape(-1, 2)
    wanted = None if targets is None else target_intervals(np.array(targets, np.int64).reshape(-1, 2))
    region = Region("chr1", start0, end0)
    with core.Source(bam, fasta) as source:
        pileup = core.pileup(source, region, CandidateOptions(**rule), intervals, gvcf=True, targets=wanted)
    batch, columns = pileup.batch(), pileup.columns()
    n_ref, n_total = pileup.site_counts()
    return ReferencePileup(
        columns=columns,
        has_column=columns.any(axis=1),  # the core does not tell of columns with skips only
        n_ref=n_ref,
        n_total=n_total,
        candidates=pileup.pos.tolist(),
        tensors=batch.tensors,
        alt_info=[batch.support.text(i, chr(letter)) for i, letter in enumerate(batch.ref)],
    )
