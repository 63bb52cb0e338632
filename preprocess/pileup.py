"""Pileup tensors of a planned chunk: the region around it, counted by the C core."""

from collections.abc import Iterator

from clair3 import core
from preprocess.candidates import CandidateRule
from shared.records import Region, TensorBatch
from shared.regions import Chunk

REACH = 35
"""Columns needed on both sides of a candidate: window, right-hand rule and the run counter (spec/features.md B.5, B.9).
v2.0.2 reads 34 to 35 (A.4), so a candidate's features never depend on where its chunk ends."""


BATCH = 2000
"""Candidates per batch: 5 MB of tensors, so memory stays flat where every column is a candidate."""


def iter_pileup(
    source: core.Source, chunk: Chunk, rule: CandidateRule, cancel: core.CancelFlag | None = None
) -> Iterator[TensorBatch]:
    """Candidates owned by a chunk, ascending, in batches with (n, 33, 18) int32 tensors and read support.

    Raises CoreError for unreadable alignments or reference, core.Cancelled when the flag was set.
    """
    waiting, count = [], 0
    for allowed in chunk.parts():
        region = Region(chunk.contig, max(0, int(allowed[0, 0]) - REACH), int(allowed[-1, 1]) + REACH)
        pileup = core.pileup(source, region, rule, allowed, cancel=cancel)
        for start in range(0, len(pileup), BATCH):
            waiting.append(pileup.batch(start, start + BATCH))
            count += len(waiting[-1])
            if count >= BATCH:
                yield TensorBatch.concatenate(waiting)
                waiting, count = [], 0
    if waiting:
        yield TensorBatch.concatenate(waiting)
