"""The run's ledger: one result file per planned task, so that nothing is lost in silence.

A row is the file `<folder>/<stage>_<task>.vcf`: one header line that says what it is, then VCF records
without further header. It is written under a temporary name and renamed, so it is complete or absent; reading it
checks digest, number of records and checksum.
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from shared.errors import ClairError, InputError
from shared.records import Task
from shared.whole_files import make_folder, write_whole

MARK = "##clair3_ledger="

LONGEST_NAME, READABLE = 200, 100
"""File systems take 255 bytes, and prefixes and suffixes are added; a longer name keeps its first 100."""


class LedgerError(ClairError):
    """A row is missing or is not what was planned."""


@dataclass(frozen=True)
class Row:
    """What the first line of a result file says. region is 1-based text, inputs what else the task depends on, checksum
    that of the record lines."""

    stage: str
    region: str
    inputs: str
    digest: str
    records: int
    checksum: str


def digest_of(values: dict) -> str:
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

    digest is what all rows depend on: inputs, model, options, version (digest_of). A row of another digest is stale.
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

    def write(self, task: Task, records: Iterable[str]) -> Row:
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

    def _row(self, task: Task, records: int, body: bytes) -> Row:
        checksum = hashlib.sha256(body).hexdigest()
        return Row(self.stage, str(task.region), task.inputs, self.digest, records, checksum)

    def _put(self, path: Path, content: bytes) -> None:
        """Write a file that is complete or absent."""
        try:
            write_whole({path: content})
        except InputError as error:
            raise LedgerError(str(error)) from None
