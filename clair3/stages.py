"""The networks' stages of a calling run: each takes tasks of the plan and leaves rows in the ledger.

A worker is a plain function from a task to a count; it touches nothing shared but the ledger.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from clair3 import core, vcf
from clair3.checkpoint import load_model
from clair3.config import CallingConfig
from clair3.genotyping import DecodeRule, decode
from clair3.inference import Predictor, rescale_deep
from clair3.ledger import Ledger
from clair3.selection import Block
from clair3.task.main import FULL_ALIGNMENT, PILEUP, WIDTH
from preprocess.candidates import CandidateRule
from preprocess.environment import Environment
from preprocess.full_alignment import RowRule, iter_full_alignment
from preprocess.phasing import PhasedSnps
from preprocess.pileup import iter_pileup
from shared.param_f import CHANNEL_COUNT
from shared.platforms import PLATFORMS
from shared.progress import progress_bar
from shared.records import Task, TensorBatch
from shared.regions import Chunk
from shared.workers import in_order

logger = logging.getLogger(__name__)

PREDICT_ROWS = {PILEUP: 512, FULL_ALIGNMENT: 64}
"""Candidates between two looks at the cancel flag: about a tenth of a second, so Ctrl-C is answered at once."""

INFO = {PILEUP: vcf.PILEUP_INFO, FULL_ALIGNMENT: vcf.FULL_ALIGNMENT_INFO}


class Sources:
    """Alignments and reference, opened once per worker thread; close after the last worker has ended."""

    def __init__(self, environment: Environment):
        self.alignments, self.reference = environment.alignments, environment.reference
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
    """Calls one task with a network: features, probabilities, calls, a row of the ledger."""

    kind: str
    tensors: Tensors
    sources: Sources
    predict: Predictor
    decoding: DecodeRule
    ledger: Ledger
    cancel: core.CancelFlag = field(default_factory=core.CancelFlag)

    def __call__(self, task: Task) -> int:
        """Write the row of a task and return how many candidates it has."""
        count, lines = 0, []
        for batch in self.tensors(self.sources.mine(), task, self.cancel):
            probabilities = self.probabilities(batch.tensors)
            calls = decode(probabilities, batch.ref, batch.pos, batch.support, self.decoding, self.kind)
            lines += [vcf.row(task.contig, call, INFO[self.kind]) for call in calls]
            count += len(batch)
        self.ledger.write(task, lines)
        return count

    def probabilities(self, tensors: np.ndarray) -> np.ndarray:
        """(n, WIDTH[kind]) float32; a network with more heads than the decoder reads is cut.

        Raises core.Cancelled when the run was told to stop.
        """
        width, rows = WIDTH[self.kind], PREDICT_ROWS[self.kind]
        parts = [np.empty((0, width), np.float32)]
        for start in range(0, len(tensors), rows):
            if self.cancel.is_set():
                raise core.Cancelled("cancelled")
            parts.append(self.predict(tensors[start : start + rows])[:, :width])
        return np.concatenate(parts)


def pileup_tensors(
    source: core.Source, chunk: Chunk, cancel: core.CancelFlag, rule: CandidateRule, ledger: Ledger | None
):
    """Batches of a chunk as the pileup network wants them: deep candidates scaled down.

    ledger keeps the gVCF evidence, if any is wanted.
    """
    keep_evidence = partial(ledger.write_evidence, chunk) if ledger else None
    for batch in iter_pileup(source, chunk, rule, cancel, keep_evidence):
        yield replace(batch, tensors=rescale_deep(batch.tensors, batch.support.depth))


def pileup_caller(config: CallingConfig, environment: Environment, model: Path, ledger: Ledger) -> Caller:
    """The pileup stage of a run. Raises InputError when the model file is none, see clair3.checkpoint."""
    tensors = partial(pileup_tensors, rule=config.candidates, ledger=ledger if config.writes_gvcf else None)
    predict = Predictor(load_model(model, PILEUP))
    return Caller(PILEUP, tensors, Sources(environment), predict, config.decoding, ledger)


def full_alignment_tensors(
    source: core.Source, block: Block, cancel: core.CancelFlag, rule: RowRule, snps: dict[str, PhasedSnps]
):
    """Batches of a block; snps of each phased contig."""
    return iter_full_alignment(source, block.contig, block.pos, rule, snps.get(block.contig), cancel)


def full_alignment_caller(
    config: CallingConfig, environment: Environment, model: Path, ledger: Ledger, snps: dict[str, PhasedSnps]
) -> Caller:
    """The full-alignment stage of a run; snps of each phased contig. Raises InputError as pileup_caller does."""
    candidates = config.candidates
    rows = PLATFORMS[config.platform].rows
    rule = RowRule(rows, candidates.min_mapq, candidates.max_indel_length, config.dwell)
    tensors = partial(full_alignment_tensors, rule=rule, snps=snps)
    predict = Predictor(load_full_alignment_network(config, model))
    return Caller(FULL_ALIGNMENT, tensors, Sources(environment), predict, config.decoding, ledger)


def load_full_alignment_network(config: CallingConfig, model: Path) -> torch.nn.Module:
    """The full-alignment network that a run needs. Raises InputError, see clair3.checkpoint."""
    rows = PLATFORMS[config.platform].rows
    return load_model(model, FULL_ALIGNMENT, heads=4, channels=CHANNEL_COUNT + config.dwell, depth=rows)


def call_tasks(call: Caller, tasks: Sequence[Task], workers: int, resume: bool = False) -> int:
    """Run a stage over its tasks, with resume over those that an earlier run left; the number of candidates.

    Raises what the first failing task raised; no other task is started then.
    """
    began, per_contig = time.monotonic(), Counter()
    left = call.ledger.start(tasks, resume)
    if resume:
        logger.info("%d of %d parts are taken up from an earlier run", len(tasks) - len(left), len(tasks))
    megabases = {task.name: (task.region.end - task.region.start) / 1e6 for task in left}
    bar = progress_bar(f"{call.kind} calling", sum(megabases.values()), "Mb")
    with bar, closing(call.sources), closing(in_order(call, left, workers, stop=call.cancel.set)) as counts:
        for task, count in zip(left, counts, strict=True):
            bar.update(megabases[task.name])
            logger.debug("%s: %d candidates", task.region, count)
            per_contig[task.contig] += count
    for contig, count in per_contig.items():
        logger.info("Total processed positions in %s : %d", contig, count)
    logger.info("Total time elapsed: %.2f s", time.monotonic() - began)
    return per_contig.total()
