"""Haplotypes of short reads, contig by contig, while blocks of the contig are called."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from clair3 import core
from clair3.core.phasing import Haplotypes, haplotypes
from clair3.selection import Block
from preprocess.phasing import PhasedSnps


class ContigHaplotypes:
    """The haplotypes of a contig's reads: found when the first of its blocks asks, and let go after the last.

    A genome has too many reads to hold them all. Threads may share it.
    """

    def __init__(self, snps: dict[str, PhasedSnps], blocks: Sequence[Block]):
        """snps of each phased contig; blocks are all that will ask."""
        self.snps = snps
        self.left = Counter(block.contig for block in blocks)
        self.locks = {contig: threading.Lock() for contig in self.left}
        self.found: dict[str, Haplotypes] = {}

    @contextmanager
    def of(self, source: core.Source, contig: str, cancel: core.CancelFlag) -> Iterator[Haplotypes | None]:
        """Those of a contig for one of its blocks; None for a contig without phase. Raises CoreError and Cancelled."""
        with self.locks[contig]:
            if contig in self.snps and contig not in self.found:
                self.found[contig] = haplotypes(source, contig, self.snps[contig], cancel)
        try:
            yield self.found.get(contig)
        finally:
            with self.locks[contig]:
                self.left[contig] -= 1
                if not self.left[contig]:
                    self.found.pop(contig, None)
