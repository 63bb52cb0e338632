"""The two stages that call with a network: what computes their tensors, and how workers run them over their tasks."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from clair3 import core
from clair3.calling.selection import Block
from clair3.calling.tasks import Ledger
from clair3.config import CallingConfig, CandidateOptions, DecodeOptions, ReadFeatureOptions
from clair3.core.phasing import Haplotypes, haplotypes
from clair3.errors import InputError
from clair3.features.chunks import Chunk
from clair3.features.full_alignment import iter_full_alignment, iter_realigned
from clair3.features.pileup import iter_pileup
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP, WIDTH
from clair3.genotype.decode import decode
from clair3.inference.checkpoint import load_model
from clair3.inference.devices import make_inference
from clair3.inference.executors import DeviceExecutor, LocalExecutor, PredictionFuture, iter_prefetched
from clair3.inference.predictor import rescale_deep
from clair3.inference.work_sharing import WorkSharingExecutor
from clair3.io import vcf
from clair3.io.bed import target_intervals
from clair3.io.first_reads import warn_of_linked_reads, warn_of_long_reads
from clair3.io.inputs import RunInputs
from clair3.platforms import PLATFORMS
from clair3.records import PhasedSnps, Task, TensorBatch
from clair3.tensor_shapes import FULL_ALIGNMENT_CHANNEL_COUNT
from clair3.util.parallel import ordered_map
from clair3.util.progress import progress_bar

logger = logging.getLogger(__name__)


class ContigHaplotypes:
    """The haplotypes of a contig's short reads: computed when the first of its blocks asks, let go after the last.

    A genome has too many reads to hold them all. Threads may share it.
    """

    def __init__(self, snps: dict[str, PhasedSnps], blocks: Sequence[Block]):
        """snps of each phased contig; blocks are all that will ask."""
        self.snps = snps
        self.left = Counter(block.contig for block in blocks)
        self.locks = {contig: threading.Lock() for contig in self.left}
        self.computed: dict[str, Haplotypes] = {}

    @contextmanager
    def borrow(self, source: core.Source, contig: str, cancel: core.CancelFlag) -> Iterator[Haplotypes | None]:
        """Yield the read haplotypes of contig; None if it is unphased. Raises CoreError and CancelledError."""
        with self.locks[contig]:
            if contig in self.snps and contig not in self.computed:
                self.computed[contig] = haplotypes(source, contig, self.snps[contig], cancel)
        try:
            yield self.computed.get(contig)
        finally:
            with self.locks[contig]:
                self.left[contig] -= 1
                if not self.left[contig]:
                    self.computed.pop(contig, None)


GROUP_BASES, GROUPS_PER_WORKER = 200_000, 8
"""A worker takes small tasks together, up to so many bases, while there are still so many groups for each worker."""

NO_TENSORS = np.empty(0)

INFO = {PILEUP: vcf.PILEUP_INFO, FULL_ALIGNMENT: vcf.FULL_ALIGNMENT_INFO}


class Sources:
    """Alignments and reference, opened once per worker thread; close after the last worker has ended."""

    def __init__(self, inputs: RunInputs):
        self.alignments, self.reference = inputs.alignments, inputs.reference
        self.opened: list[core.Source] = []
        self.local = threading.local()

    def mine(self) -> core.Source:
        """The handle of the calling thread."""
        if not hasattr(self.local, "source"):
            self.local.source = core.Source(
                self.alignments.path,
                self.reference.path,
                index=self.alignments.index,
                fai=self.reference.index,
                block_index=self.reference.block_index,
            )
            self.opened.append(self.local.source)
        return self.local.source

    def close(self) -> None:
        for source in self.opened:
            source.close()


Tensors = Callable[[core.Source, Task, core.CancelFlag], Iterator[TensorBatch]]
"""The candidates of a task, in batches."""


@dataclass(frozen=True)
class Caller:
    """Calls tasks with a network: features, probabilities, calls, a result in the ledger for each.

    The network runs in this thread, or on devices that all workers feed (clair3.inference.executors).
    """

    kind: str
    tensors: Tensors
    sources: Sources
    inference: LocalExecutor | WorkSharingExecutor | DeviceExecutor
    decoding: DecodeOptions
    ledger: Ledger
    cancel: core.CancelFlag = field(default_factory=core.CancelFlag)
    shared_names: list[int] = field(default_factory=list)
    """Of each full-alignment task, how many reads have the name of an earlier one."""

    def __call__(self, tasks: Sequence[Task]) -> list[int]:
        """Write the results of some tasks and return how many candidates each has."""
        counts, records = [0] * len(tasks), [[] for _ in tasks]
        for index, batch, probabilities in self.iter_predicted(tasks):
            calls = decode(probabilities, batch.ref, batch.pos, batch.support, self.decoding, self.kind)
            records[index] += [vcf.make_record(batch.contig, call, INFO[self.kind]) for call in calls]
            counts[index] += len(batch)
        for task, called in zip(tasks, records, strict=True):
            self.ledger.write(task, called)
        return counts

    def iter_predicted(self, tasks: Sequence[Task]) -> Iterator[tuple[int, TensorBatch, np.ndarray]]:
        """Number of the task, candidates and probabilities of each batch, in order."""
        width = WIDTH[self.kind]  # a network may have more heads than the decoder reads
        for group, probabilities in iter_prefetched(self.submitted(tasks), self.inference.prefetch):
            ends = np.cumsum([len(batch) for _, batch in group])
            for (index, batch), part in zip(group, np.split(probabilities[:, :width], ends[:-1]), strict=True):
                check_finite(part, tasks[index])
                yield index, batch, part

    def gathered(self, tasks: Sequence[Task]) -> Iterator[list[tuple[int, TensorBatch]]]:
        """Batches with the number of their task, those of few candidates together where they may share a piece of the
        network: it always computes whole pieces."""
        waiting, rows = [], 0
        for index, task in enumerate(tasks):
            for batch in self.tensors(self.sources.mine(), task, self.cancel):
                waiting.append((index, batch))
                rows += len(batch)
                if rows >= self.inference.min_batch:
                    yield waiting
                    waiting, rows = [], 0
        if waiting:
            yield waiting

    def submitted(self, tasks: Sequence[Task]) -> Iterator[tuple[list[tuple[int, TensorBatch]], PredictionFuture]]:
        """What gathered gives, and the future of its probabilities. Its tensors are let go: a worker may
        have as many batches on their way as there are workers, and only those not yet computed should take memory."""
        for group in self.gathered(tasks):
            tensors = [batch.tensors for _, batch in group]
            future = self.inference.submit(np.concatenate(tensors) if len(tensors) > 1 else tensors[0], self.cancel)
            yield [(index, replace(batch, tensors=NO_TENSORS)) for index, batch in group], future


def check_finite(probabilities: np.ndarray, task: Task) -> None:
    """Raises InputError for NaN, which no decoder may take for an answer."""
    if not np.isfinite(probabilities).all():
        raise InputError(
            f"{task.region}: the network's answers are no numbers; check the model, and use fp32 if it was fp16"
        )


def pileup_tensors(
    source: core.Source,
    chunk: Chunk,
    cancel: core.CancelFlag,
    options: CandidateOptions,
    ledger: Ledger,
    targets: dict[str, np.ndarray] | None,
):
    """Batches of a chunk as the pileup network wants them: deep candidates scaled down.

    ledger keeps the tally of reads, and site counts if it wants them. targets of each contig as in iter_pileup.
    """
    keep_counts = partial(ledger.write_site_counts, chunk) if ledger.site_counts else None
    keep_tally, within = partial(ledger.keep_tally, chunk), targets and targets[chunk.contig]
    for batch in iter_pileup(source, chunk, options, cancel, keep_counts, within, keep_tally):
        yield replace(batch, tensors=rescale_deep(batch.tensors, batch.support.depth))


def pileup_caller(config: CallingConfig, inputs: RunInputs, model: Path, ledger: Ledger) -> Caller:
    """The pileup stage of a run. Raises InputError when the model file is none, see clair3.inference.checkpoint."""
    if config.candidates.short_read_rules:
        warn_of_long_reads(inputs.alignments, inputs.reference)
    targets = inputs.targets if config.candidates.short_read_rules else None
    targets = targets and {contig: target_intervals(rows) for contig, rows in targets.items()}
    tensors = partial(pileup_tensors, options=config.candidates, ledger=ledger, targets=targets)
    inference = make_inference(config.compute, load_model(model, PILEUP))
    return Caller(PILEUP, tensors, Sources(inputs), inference, config.decoding, ledger)


def full_alignment_tensors(
    source: core.Source,
    block: Block,
    cancel: core.CancelFlag,
    options: ReadFeatureOptions,
    snps: dict[str, PhasedSnps],
    note_shared_names: Callable[[int], None],
):
    """Batches of a block; snps of each phased contig."""
    found = snps.get(block.contig)
    return iter_full_alignment(source, block.contig, block.pos, options, found, cancel, note_shared_names)


def realigned_tensors(
    source: core.Source,
    block: Block,
    cancel: core.CancelFlag,
    options: ReadFeatureOptions,
    haplotypes: ContigHaplotypes,
):
    """Batches of what short reads show around the candidates of a block."""
    with haplotypes.borrow(source, block.contig, cancel) as read_haplotypes:
        for batch in iter_realigned(source, block.contig, block.pos, options, read_haplotypes, cancel):
            yield batch if block.owned is None else batch.within(*block.owned)


def full_alignment_caller(
    config: CallingConfig,
    inputs: RunInputs,
    model: Path,
    ledger: Ledger,
    snps: dict[str, PhasedSnps],
    blocks: Sequence[Block],
) -> Caller:
    """The full-alignment stage of a run over these blocks; snps of each phased contig.

    Raises InputError as pileup_caller does.
    """
    shared_names: list[int] = []
    if PLATFORMS[config.platform].short_reads:
        if snps:
            warn_of_linked_reads(inputs.alignments, inputs.reference)
        tensors = partial(realigned_tensors, options=config.rows, haplotypes=ContigHaplotypes(snps, blocks))
    else:
        tensors = partial(full_alignment_tensors, options=config.rows, snps=snps, note_shared_names=shared_names.append)
    inference = make_inference(config.compute, load_full_alignment_network(config, model))
    sources = Sources(inputs)
    return Caller(FULL_ALIGNMENT, tensors, sources, inference, config.decoding, ledger, shared_names=shared_names)


def load_full_alignment_network(config: CallingConfig, model: Path) -> torch.nn.Module:
    """The full-alignment network that a run needs. Raises InputError, see clair3.inference.checkpoint."""
    rows = PLATFORMS[config.platform].rows
    wanted = {"heads": 4, "channels": FULL_ALIGNMENT_CHANNEL_COUNT + config.dwell, "depth": rows}
    return load_model(model, FULL_ALIGNMENT, conv_padding=config.conv_padding, **wanted)


def group_small(tasks: Sequence[Task], workers: int) -> Iterator[list[Task]]:
    """Runs of neighbouring tasks that one worker takes together: an assembly has thousands of small contigs, and
    whatever a task costs beside its candidates would be paid for each. In order; a large task stays alone."""
    most = max(1, len(tasks) // (GROUPS_PER_WORKER * workers))
    group, bases = [], 0
    for task in tasks:
        size = task.region.end - task.region.start
        if group and (len(group) == most or bases + size > GROUP_BASES):
            yield group
            group, bases = [], 0
        group.append(task)
        bases += size
    if group:
        yield group


def call_tasks(call: Caller, tasks: Sequence[Task], workers: int, resume: bool = False) -> int:
    """Run a stage over its tasks, with resume over those that an earlier run left; the number of candidates.

    Raises what the first failing task raised; no other task is started then.
    """
    began, per_contig = time.monotonic(), Counter()
    left = call.ledger.start(tasks, resume)
    if resume:
        logger.info("%d of %d parts are taken up from an earlier run", len(tasks) - len(left), len(tasks))
    if call.kind == PILEUP:
        unit, sizes = "Mb", {task.name: (task.region.end - task.region.start) / 1e6 for task in left}
    else:
        unit, sizes = "candidates", {task.name: len(task.pos) for task in left}
    bar = progress_bar(f"{call.kind} calling", sum(sizes.values()), unit)
    groups, work = group_small(left, workers), call
    if isinstance(call.inference, LocalExecutor) and workers > 1:
        call = replace(call, inference=WorkSharingExecutor(call.inference, workers))
        work = partial(call.inference.run, call)
    with (
        bar,
        closing(call.sources),
        closing(call.inference),
        closing(ordered_map(work, groups, workers, stop=call.cancel.set)) as counts,
    ):
        for task, count in zip(left, chain.from_iterable(counts), strict=True):
            bar.update(sizes[task.name])
            logger.debug("%s: %d candidates", task.region, count)
            per_contig[task.contig] += count
    if repeated := sum(call.shared_names):
        logger.warning(
            "%s: %d reads have the name of another read; each counts as a read of its own in calling, but WhatsHap "
            "takes two reads of one name for one and leaves out more than two: give the reads names of their own",
            call.sources.alignments.path,
            repeated,
        )
    for contig, count in per_contig.items():
        logger.info("Total processed positions in %s : %d", contig, count)
    logger.info("Total time elapsed: %.2f s", time.monotonic() - began)
    return per_contig.total()
