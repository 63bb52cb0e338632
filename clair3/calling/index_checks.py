"""The index of the reads held against the file before the pileup stage, and against the reads that came in it."""

from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise

import pysam

from clair3 import core
from clair3.calling.stages import Sources
from clair3.calling.tasks import Ledger
from clair3.features.chunks import Chunk
from clair3.io.bam_index import BinnedIndex, is_cram, misfit
from clair3.io.cram_index import check_cram_index
from clair3.io.index_checker import IndexChecker
from clair3.io.inputs import RunInputs
from clair3.util.parallel import ordered_map


def check_index(inputs: RunInputs, chunks: Sequence[Chunk], workers: int) -> dict[str, int | None]:
    """Hold the index of the reads against the file on the contigs of these chunks.

    Return how many reads it promises on each contig, None where it does not say. Raises InputError when it does not
    fit.
    """
    by_contig = group_by_contig(chunks)
    alignments = inputs.alignments
    if is_cram(alignments.path):
        return check_cram_index(alignments.path, alignments.index, list(alignments.lengths), list(by_contig))
    checker, cancel, sources = IndexChecker(alignments), core.CancelFlag(), Sources(inputs)

    def check(contig: str) -> int | None:
        intervals = [part[:2] for chunk in by_contig[contig] for part in chunk.parts()]
        return checker.check_contig(sources.mine(), contig, intervals, cancel)

    with closing(sources), closing(ordered_map(check, by_contig, workers, cancel.set)) as promised:
        return dict(zip(by_contig, promised, strict=True))


def check_read_counts(
    inputs: RunInputs, chunks: Sequence[Chunk], ledger: Ledger, promised: dict[str, int | None]
) -> None:
    """Hold the reads that came for the chunks of the pileup stage against each other and against the index.

    Reads over the border of two chunks come for both; the reads that begin in the chunks of a contig are, if the chunks
    cover it, as many as the index promises. Raises InputError.
    """
    alignments = inputs.alignments
    for contig, parts in group_by_contig(chunks).items():
        tallies = [ledger.tallies.get(chunk.name) for chunk in parts]
        for (before, tally), (after, next_tally) in pairwise(zip(parts, tallies, strict=True)):
            if tally and next_tally and before.end == after.start and tally.leaving != next_tally.entering:
                came = f"{next_tally.entering} come for {after.region}"
                what = f"{tally.leaving} reads reach beyond {before.region}, but {came}"
                raise misfit(alignments.path, alignments.index, what)
        if promised[contig] is None or not covers(parts, inputs, contig) or None in tallies:
            continue
        came = sum(tally.starting for tally in tallies)
        if came != promised[contig] and came != promised[contig] - count_without_position(inputs, contig):
            what = f"on {contig} {promised[contig]} reads are in the index, but {came} come"
            raise misfit(alignments.path, alignments.index, what)


def group_by_contig(chunks: Sequence[Chunk]) -> dict[str, list[Chunk]]:
    groups = {}
    for chunk in chunks:
        groups.setdefault(chunk.contig, []).append(chunk)
    return groups


def covers(parts: Sequence[Chunk], inputs: RunInputs, contig: str) -> bool:
    """Whether the chunks of a contig are read from its first base to its last."""
    edges = [0, *(edge for part in parts for edge in (part.start, part.end)), inputs.alignments.lengths[contig]]
    return edges[::2] == edges[1::2]


def count_without_position(inputs: RunInputs, contig: str) -> int:
    """Reads that name a contig but no position on it: an index counts them, no region has them. They come first."""
    alignments = inputs.alignments
    if is_cram(alignments.path):
        return 0
    start = BinnedIndex(alignments.index).read_contig(list(alignments.lengths).index(contig)).chunks["start"].min()
    count = 0
    with pysam.AlignmentFile(str(alignments.path), check_sq=False) as file:
        file.seek(int(start))
        for read in file:
            if read.reference_start >= 0 or read.reference_name != contig:
                break
            count += 1
    return count
