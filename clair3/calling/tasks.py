"""The run's ledger: one result file per planned task, so that nothing is lost in silence.

A row is the file `<folder>/<stage>_<task>.vcf`: one header line that says what it is, then VCF records
without further header. It is written under a temporary name and renamed, so it is complete or absent; reading it
checks digest, number of records and checksum.
"""

import hashlib
import json
import shutil
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from clair3.config import OutputFilter
from clair3.errors import ClairError, InputError
from clair3.io.atomic import make_folder, write_whole
from clair3.io.vcf import filter_row, record_pos
from clair3.records import Task

MARK = "##clair3_ledger="

LONGEST_NAME, READABLE = 200, 100
"""File systems take 255 bytes, and prefixes and suffixes are added; a longer name keeps its first 100."""


class LedgerError(ClairError):
    """A row is missing or is not what was planned."""


@dataclass(frozen=True)
class TaskResult:
    """What the first line of a result file says. region is 1-based text, inputs what else the task depends on, checksum
    that of the record lines."""

    stage: str
    region: str
    inputs: str
    digest: str
    records: int
    checksum: str


def digest_values(values: dict) -> str:
    """A short fingerprint of what a result depends on: anything JSON can hold, in any order of keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def file_identity(path: Path) -> list:
    """Name, size and time of change (ns) of an input file: cheap, and different once the file was replaced."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def file_name(name: str) -> str:
    """A contig or task name as part of a file name: ordinary names stay readable, `/` and the like are escaped.

    What would be too long is cut, and a digest tells it from others; no escape looks like its mark.
    """
    quoted = quote(name, safe="*:|=+,")
    if len(quoted) <= LONGEST_NAME:
        return quoted
    return f"{quoted[:READABLE]}%~{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"


class Ledger:
    """The rows of one stage in one folder.

    digest is what all rows depend on: inputs, model, options, version (digest_values). A row with another one is stale.
    evidence says that tasks leave gVCF evidence too.
    """

    def __init__(self, folder: Path, stage: str, digest: str, evidence: bool = False):
        self.folder, self.stage, self.digest, self.evidence = folder, stage, digest, evidence

    def start(self, tasks: Sequence[Task], resume: bool) -> list[Task]:
        """Make the folder ready and return the tasks that are left to do.

        Without resume it is emptied: rows of an earlier run must not be taken up. With it, rows that are complete and
        not stale count as done. Raises InputError when the folder cannot be made.
        """
        if not resume:
            shutil.rmtree(self.folder, ignore_errors=True)
        make_folder(self.folder)
        return [task for task in tasks if not (resume and self.has(task))]

    def has(self, task: Task) -> bool:
        """Is the row of a task there, complete and not stale?"""
        try:
            self.read(task)
            if self.evidence:
                self.read_evidence(task)
        except LedgerError:
            return False
        return True

    def path(self, task: Task) -> Path:
        """Where the row of a task lies."""
        return self.folder / f"{self.stage}_{file_name(task.name)}.vcf"

    def write(self, task: Task, records: Iterable[str]) -> TaskResult:
        """Write the records (VCF lines without line ends) of a task; LedgerError when the disk does not take them."""
        lines = list(records)
        body = "".join(f"{line}\n" for line in lines).encode()
        row = self._row(task, len(lines), body)
        self._put(self.path(task), f"{MARK}{json.dumps(asdict(row))}\n".encode() + body)
        return row

    def read(self, task: Task) -> list[str]:
        """The records of a task, without line ends. Raises LedgerError when the row is absent, stale or damaged."""
        path = self.path(task)
        try:
            head, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise LedgerError(f"{path}: the result of {task.region} is missing; run again") from None
        records = body.decode(errors="replace").splitlines()
        if head.decode(errors="replace") != MARK + json.dumps(asdict(self._row(task, len(records), body))):
            raise LedgerError(f"{path}: not the complete result of {task.region} of this run; run again")
        return records

    def write_evidence(self, task: Task, evidence: np.ndarray) -> None:
        """Keep the gVCF evidence of a task, (2, n) int32, beside its row. Raises LedgerError as write does."""
        kind = np.uint16 if evidence.max(initial=0) < 2**16 else np.uint32
        data = zlib.compress(evidence.astype(kind).tobytes(), level=1)
        head = json.dumps([self.digest, str(task.region), np.dtype(kind).name, evidence.shape[1], zlib.crc32(data)])
        self._put(self.path(task).with_suffix(".evidence"), head.encode() + b"\n" + data)

    def read_evidence(self, task: Task) -> np.ndarray:
        """The gVCF evidence of a task, (2, n) int32. Raises LedgerError when it is absent, stale or damaged."""
        path = self.path(task).with_suffix(".evidence")
        try:
            head, _, data = path.read_bytes().partition(b"\n")
            digest, region, kind, n, checksum = json.loads(head)
        except (OSError, ValueError, TypeError):
            raise LedgerError(f"{path}: the evidence of {task.region} is missing; run again") from None
        if (digest, region, checksum) != (self.digest, str(task.region), zlib.crc32(data)):
            raise LedgerError(f"{path}: not the complete evidence of {task.region} of this run; run again")
        return np.frombuffer(zlib.decompress(data), kind).reshape(2, n).astype(np.int32)

    def _row(self, task: Task, records: int, body: bytes) -> TaskResult:
        checksum = hashlib.sha256(body).hexdigest()
        return TaskResult(self.stage, str(task.region), task.inputs, self.digest, records, checksum)

    def _put(self, path: Path, content: bytes) -> None:
        """Write a file that is complete or absent."""
        try:
            write_whole({path: content})
        except InputError as error:
            raise LedgerError(str(error)) from None


class Records:
    """VCF lines by contig, in output order."""

    contigs: Sequence[str]

    def of(self, contig: str) -> Iterator[str]:
        """Lines of one contig, ascending; none for a contig without."""
        raise NotImplementedError

    def all(self) -> Iterator[tuple[str, str]]:
        """Contig and line of every row."""
        return ((contig, row) for contig in self.contigs for row in self.of(contig))


class StageRecords(Records):
    """What a stage left in its ledger, in the order of the plan; each row is checked when it is read.

    ledger may be None when there are no tasks. Raises LedgerError when a row is not what was planned.
    """

    def __init__(self, ledger: Ledger | None, tasks: Sequence[Task]):
        self.ledger = ledger
        self.tasks: dict[str, list[Task]] = {}
        for task in tasks:
            self.tasks.setdefault(task.contig, []).append(task)
        self.contigs = list(self.tasks)

    def of(self, contig: str) -> Iterator[str]:
        for task in self.tasks.get(contig, ()):
            yield from self.ledger.read(task)


class MergedRecords(Records):
    """Pileup rows, full-alignment rows in their place where there are any, through the final filters.

    With short reads, within says per contig where full-alignment rows take their place, see merge_rows.
    """

    def __init__(
        self,
        pileup: StageRecords,
        rule: OutputFilter,
        full_alignment: StageRecords | None = None,
        within: dict[str, np.ndarray] | None = None,
    ):
        self.pileup, self.rule, self.within = pileup, rule, within
        self.full_alignment = full_alignment or StageRecords(None, ())
        self.contigs = pileup.contigs

    def of(self, contig: str) -> Iterator[str]:
        within = None if self.within is None else self.within.get(contig, NOWHERE)
        merged = merge_rows(self.pileup.of(contig), self.full_alignment.of(contig), within)
        return (kept for row in merged if (kept := filter_row(row, self.rule)) is not None)


class PhasedRecords(Records):
    """The VCF files that a phasing program wrote, one per contig; that of an unphased contig is what it was given."""

    def __init__(self, files: dict[str, Path]):
        self.files = files
        self.contigs = list(files)

    def of(self, contig: str) -> Iterator[str]:
        with open(self.files[contig]) as lines:
            yield from (line.rstrip("\n") for line in lines if not line.startswith("#"))

    def header(self) -> str:
        """Header lines of all files, each once; without the programs' command lines (9). Empty without files."""
        seen: dict[str, None] = {}
        for path in self.files.values():
            with open(path) as lines:
                for line in lines:
                    if not line.startswith("##"):
                        columns = line
                        break
                    if not line.startswith("##commandline="):
                        seen[line] = None
        return "".join([*seen, columns]) if seen else ""


NOWHERE = np.empty((0, 2), np.int64)


def merge_rows(pileup: Iterable[str], full_alignment: Iterable[str], within: np.ndarray | None = None) -> Iterator[str]:
    """Records of both stages in order of position, where full alignment wins.

    Both come as VCF lines of one contig, ascending, one per position. A position with a full-alignment row loses its
    pileup row, also when the full-alignment row is a reference call or is filtered later; a position that was sent to
    full alignment but came back without a row keeps the pileup row.
    within  (k, 2) int64, sorted and disjoint [start, end): of short reads, only full-alignment rows count there, and
            only pileup rows elsewhere (spec/calling.md 8.2)
    """
    if within is not None:
        pileup = rows_at(pileup, within, wanted=False)
        full_alignment = rows_at(full_alignment, within, wanted=True)
    full_alignment = iter(full_alignment)
    waiting = next(full_alignment, None)
    for row in pileup:
        pos = record_pos(row)
        while waiting is not None and record_pos(waiting) < pos:
            yield waiting
            waiting = next(full_alignment, None)
        if waiting is None or record_pos(waiting) > pos:
            yield row
    if waiting is not None:
        yield waiting
        yield from full_alignment


def rows_at(rows: Iterable[str], intervals: np.ndarray, wanted: bool) -> Iterator[str]:
    """The rows inside, or if not wanted outside, of sorted and disjoint intervals (k, 2), in order."""
    edges = intervals.ravel().tolist()
    return (row for row in rows if (bisect_right(edges, record_pos(row)) % 2 == 1) == wanted)
