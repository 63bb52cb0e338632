"""Calling one chunk or one candidate file on its own, as the sub-commands of v2.0.2 do it (spec/cli.md 5.2, 8).

The work is the run's own stage (clair3.stages) with a ledger in a temporary folder; what comes out is one VCF.
"""

import importlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pysam

from clair3.config import CallingConfig
from clair3.genotyping import DecodeRule
from clair3.gvcf import Blocks, Cell
from clair3.ledger import Ledger
from clair3.rows import StageRows
from clair3.selection import Block
from clair3.task.main import FULL_ALIGNMENT, PILEUP
from clair3.vcf import header_of, write_calls
from preprocess.environment import Environment, check_moves, examine
from preprocess.full_alignment import bins_of
from preprocess.phasing import read_phased
from shared.compressed import is_number, read_rows
from shared.errors import ConfigError, InputError
from shared.platforms import PLATFORMS
from shared.records import Task
from shared.reference import Contig
from shared.regions import clip, pad, plan_chunks
from shared.whole_files import require_folder, write_lines

logger = logging.getLogger(__name__)

ROW_REACH = 17
"""A row of a candidate file holds the bases this far around the candidate (spec/calling.md 7.3)."""


@dataclass(frozen=True)
class Part:
    """Chunk number `index` of `count` of a contig, from 0."""

    index: int = 0
    count: int = 1

    def __post_init__(self):
        if not 0 <= self.index < self.count:
            raise ConfigError(f"--chunk_id={self.index + 1}: expected a number from 1 to --chunk_num={self.count}")


@dataclass(frozen=True)
class ChunkCall:
    """One call of the sub-command.

    config    the inputs and rules, of one contig
    decoding  what is written of the calls
    model     the file of the network
    output    the VCF to write, not compressed; None: stdout
    """

    config: CallingConfig
    decoding: DecodeRule
    model: Path
    output: Path | None

    def call_pileup(self, part: Part, blocks_folder: Path) -> None:
        """Call a chunk with the pileup network; with config.gvcf its blocks are left in blocks_folder.

        Raises ClairError; no file is left under a final name then.
        """
        environment = self.examine()
        for contig in environment.contigs:
            cell, owned = bounds(contig, environment.targets, part, sites=self.config.sites is not None)
            allowed = np.array([owned]) if environment.allowed is None else environment.allowed[contig.name]
            gvcf = self.config.writes_gvcf and cell.start < cell.end
            span = (min(cell.start, owned[0]), min(max(cell.end + 1, owned[1]), contig.length))
            tasks = plan_chunks(
                [contig],
                {contig.name: clip(allowed, *owned)},
                self.config.chunk_size,
                {contig.name: span} if gvcf else None,
            )
            self.call(PILEUP, environment, tasks, blocks=(contig, cell, blocks_folder) if gvcf else None)

    def call_full_alignment(self, candidates: Path, phased: Path | None) -> None:
        """Call the candidates of a file with the full-alignment network; phased is the contig's phased VCF.

        Raises ClairError; no file is left under a final name then.
        """
        environment = self.examine()
        for contig in environment.contigs:
            short_reads = PLATFORMS[self.config.platform].short_reads
            pos = read_candidates(candidates, contig.name, short_reads)
            snps = {contig.name: read_phased(phased, contig.name, heterozygous=short_reads)} if phased else {}
            blocks = [Block(contig.name, 0, 1, pos, short_reads)] if len(pos) else []
            self.call(FULL_ALIGNMENT, environment, blocks, snps)

    def examine(self) -> Environment:
        """The checked inputs; the result of an earlier call goes first."""
        config = self.config
        if self.output:
            require_folder(self.output)
            self.output.unlink(missing_ok=True)
        found = examine(config.bam, config.reference, bed=config.bed, sites=config.sites, names=config.ctg_names)
        if config.dwell:
            check_moves(found.alignments, found.reference)
        return found

    def call(self, kind: str, environment: Environment, tasks: Sequence[Task], *snps, blocks=None) -> None:
        """Run a stage over the tasks and write its rows; blocks: contig, cell and folder of a gVCF."""
        with tempfile.TemporaryDirectory(prefix=".clair3_", dir=self.output and self.output.parent) as folder:
            stages = importlib.import_module("clair3.stages")  # torch takes a second to load
            ledger = Ledger(Path(folder), kind, "")
            make = stages.pileup_caller if kind == PILEUP else partial(stages.full_alignment_caller, blocks=tasks)
            caller = make(self.config, environment, self.model, ledger, *snps)
            stages.call_tasks(replace(caller, decoding=self.decoding), tasks, self.config.workers)
            if blocks:
                self.write_blocks(environment, tasks, ledger, *blocks)
            self.write(environment, StageRows(ledger, tasks))

    def write(self, environment: Environment, rows: StageRows) -> None:
        config = self.config
        header = header_of(environment.reference, config.sample_name, config.command_line).splitlines()
        write_calls(self.output, header, (row for _, row in rows.all()))

    def write_blocks(
        self, environment: Environment, tasks: Sequence[Task], ledger: Ledger, contig: Contig, cell: Cell, folder: Path
    ) -> None:
        """Write the block lines of a chunk under v2.0.2's name (spec/calling.md 6.4)."""
        config = self.config
        header = header_of(environment.reference, config.sample_name, config.command_line, gvcf=True).splitlines()
        name = f"{config.sample_name}.{contig.name}.{cell.start + 1}.{cell.end + 1}.tmp.gvcf"

        def lines() -> Iterator[str]:
            blocks = Blocks(contig.name, contig.length, [cell], config.blocks)
            with pysam.FastaFile(str(environment.reference.path)) as fasta:
                for task in tasks:
                    skipped = max(0, cell.start - task.start)
                    if task.start + skipped < task.end:
                        letters = fasta.fetch(contig.name, task.start + skipped, task.end).encode()
                        evidence = ledger.read_evidence(task)[:, skipped:]
                        yield from blocks.feed(task.start + skipped, letters, *evidence).decode().splitlines()
            yield from blocks.finish().decode().splitlines()

        write_lines(folder / name, (line for part in (header, lines()) for line in part))


def bounds(contig: Contig, targets: dict | None, part: Part, sites: bool) -> tuple[Cell, tuple[int, int]]:
    """The cell of a chunk's gVCF blocks, and the positions [start, end) whose candidates it owns, 0-based.

    Cells are the chunks of spec/cli.md 5.2. The chunks of a contig own all its positions, each once, so that together
    they give what the run gives: the first also owns what lies before its cell, the last what lies behind.
    targets are BED intervals or, with sites, known positions of each contig; None for the whole contig.
    """
    index, last = part.index, part.index == part.count - 1
    if targets is not None and sites:
        known = targets[contig.name]
        size = max(1, -(-len(known) // part.count))
        run = known[size * index : size * (index + 1)]
        if not len(run):
            return Cell(0, 0), (0, 0)
        return Cell(int(run[0]), min(int(run[-1]), contig.length)), (int(run[0]), min(int(run[-1]) + 1, contig.length))
    if targets is not None:
        padded = pad(targets[contig.name])
        first, behind = int(padded[:, 0].min()), int(padded[:, 1].max())
        size = -(-(behind - first) // part.count)
        start, end = first + size * index, first + size * (index + 1)
    else:  # counted from 0 in 1-based positions, so one base to the left
        size = -(-contig.length // part.count)
        start, end = max(size * index - 1, 0), size * (index + 1) - 1
    start, end = min(start, contig.length), min(end, contig.length)
    return Cell(start, end), (0 if index == 0 else start, contig.length if last else end)


def read_candidates(path: Path, contig: str, short_reads: bool = False, training: bool = False) -> np.ndarray:
    """The candidates of a contig in a file that SelectCandidates wrote: (n,) int64, 0-based, ascending, distinct; for
    those of short reads the middle of their bins. training: or SelectHetSnp, whose rows are alike for all platforms.

    Raises InputError when the file is missing, a row is none, or not of such a bin.
    """
    rows = read_block_rows(path, contig)
    starts, ends = rows.T
    if short_reads and not (training and (ends - starts <= 2 * ROW_REACH).all()):
        pos = np.unique(rows.sum(axis=1) // 2)
        if not np.array_equal(bins_of(pos), np.unique(rows, axis=0)):
            raise InputError(f"{path}: not made by SelectCandidates --platform=ilmn, whose rows are bins of 1 kb")
        return pos
    middle = np.where(starts > 0, starts + (ends - starts) // 2, ends - ROW_REACH)
    return np.unique(middle) - 1


def read_block_rows(path: Path, contig: str) -> np.ndarray:
    """The rows of a contig in such a file as they are written, (n, 2) int64, see Block.rows.

    Raises InputError when the file is missing or a row is none.
    """
    found = []
    for number, line in read_rows(path):
        fields = line.split()
        if not fields:  # all there is in a part without candidates
            continue
        if len(fields) < 3 or not is_number(fields[1]) or not is_number(fields[2]):
            raise InputError(f"{path}: row {number} is {line[:80]!r}, not contig, start and end")
        if fields[0] == contig and len(fields) == 3:  # rows of four columns are no candidates (spec/features.md A.10)
            found.append((int(fields[1]), int(fields[2])))
    return np.array(found, np.int64).reshape(-1, 2)
