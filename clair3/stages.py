"""The stages of a calling run: each takes chunks of the plan and leaves rows in the ledger.

A worker is a plain function from a chunk to a count; it touches nothing shared but the ledger.
"""

import logging
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clair3 import core, vcf
from clair3.checkpoint import load_model
from clair3.config import CallingConfig
from clair3.genotyping import DecodeRule, decode
from clair3.inference import Predictor, rescale_deep
from clair3.ledger import Ledger
from clair3.task.main import PILEUP, WIDTH
from preprocess.candidates import CandidateRule
from preprocess.environment import Environment
from preprocess.pileup import iter_pileup
from shared.regions import Chunk
from shared.workers import in_order

logger = logging.getLogger(__name__)

PREDICT_ROWS = 512
"""Candidates between two looks at the cancel flag: about a tenth of a second, so Ctrl-C is answered at once."""


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


@dataclass(frozen=True)
class PileupCaller:
    """Calls one chunk with the pileup network: features, probabilities, calls, a row of the ledger."""

    sources: Sources
    candidates: CandidateRule
    predict: Predictor
    decoding: DecodeRule
    ledger: Ledger
    cancel: core.CancelFlag

    def __call__(self, chunk: Chunk) -> int:
        """Write the row of a chunk and return how many candidates it has."""
        count, lines = 0, []
        for batch in iter_pileup(self.sources.mine(), chunk, self.candidates, self.cancel):
            probabilities = self.probabilities(rescale_deep(batch.tensors, batch.support.depth))
            calls = decode(probabilities, batch.ref, batch.pos, batch.support, self.decoding)
            lines += [vcf.row(chunk.contig, call, vcf.PILEUP_INFO) for call in calls]
            count += len(batch)
        self.ledger.write(chunk, lines)
        return count

    def probabilities(self, tensors: np.ndarray) -> np.ndarray:
        """(n, 24) float32 for (n, 33, 18) int32, also from a network of four heads.

        Raises core.Cancelled when the run was told to stop.
        """
        parts = [np.empty((0, WIDTH[PILEUP]), np.float32)]
        for start in range(0, len(tensors), PREDICT_ROWS):
            if self.cancel.is_set():
                raise core.Cancelled("cancelled")
            parts.append(self.predict(tensors[start : start + PREDICT_ROWS])[:, : WIDTH[PILEUP]])
        return np.concatenate(parts)


def pileup_caller(config: CallingConfig, environment: Environment, model: Path, ledger: Ledger) -> PileupCaller:
    """The pileup stage of a run. Raises InputError when the model file is none, see clair3.checkpoint."""
    return PileupCaller(
        sources=Sources(environment),
        candidates=config.candidates,
        predict=Predictor(load_model(model, PILEUP)),
        decoding=config.decoding,
        ledger=ledger,
        cancel=core.CancelFlag(),
    )


def call_chunks(call: PileupCaller, chunks: list[Chunk], workers: int) -> int:
    """Run the pileup stage over all chunks and return the number of candidates.

    Raises what the first failing chunk raised; no other chunk is started then.
    """
    began, per_contig = time.monotonic(), Counter()
    call.ledger.start()
    with closing(call.sources), closing(in_order(call, chunks, workers, stop=call.cancel.set)) as counts:
        for chunk, count in zip(chunks, counts, strict=True):
            logger.debug("%s: %d candidates", chunk.region, count)
            per_contig[chunk.contig] += count
    for contig, count in per_contig.items():
        logger.info("Total processed positions in %s : %d", contig, count)
    logger.info("Total time elapsed: %.2f s", time.monotonic() - began)
    return per_contig.total()


def write_rows(writer: vcf.VcfWriter, ledger: Ledger, chunks: list[Chunk], rule: vcf.FinalRule | None) -> int:
    """Write the rows of a stage in the order of the plan, after the final filters if a rule is given.

    Every row of the ledger is checked; LedgerError when one is not what was planned. Returns the records written.
    """
    written = 0
    with writer:
        for chunk in chunks:
            for line in ledger.read(chunk):
                if rule is not None:
                    line = vcf.filter_row(line, rule)
                if line is not None:
                    writer.write(chunk.contig, vcf.pos_of(line), line)
                    written += 1
    return written
