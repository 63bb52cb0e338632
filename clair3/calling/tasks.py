"""The run's ledger: one result file per planned task, so that nothing is lost in silence.

The result of a task is the file `<folder>/<stage>_<task>.vcf`: one header line that says what it is, then VCF records
without further header. It is written under a temporary name and renamed, so it is complete or absent; reading it
checks digest, number of records and checksum.
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from clair3.errors import ClairError, InputError
from clair3.io.atomic import make_folder, write_whole
from clair3.io.vcf import VcfRecord, format_record, parse_record
from clair3.records import Task

MARK = "##clair3_ledger="

SITE_COUNTS = ".evidence"
"""End of the name of a file with the site counts of a task."""

LONGEST_NAME, READABLE = 200, 100
"""File systems take 255 bytes, and prefixes and suffixes are added; a longer name keeps its first 100."""


class LedgerError(ClairError):
    """The result of a task is missing, or it is not what was planned."""


@dataclass(frozen=True)
class TaskResult:
    """The first line of a result file.

    stage     network of the task
    region    1-based text
    inputs    fingerprint of what else the task depends on
    digest    that of the ledger
    records   number of record lines
    checksum  SHA-256 of the record lines
    """

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
    """The results of one stage in one folder.

    digest       fingerprint of what all results depend on: inputs, model, options, version (digest_values); a result
                 with another one is stale
    site_counts  tasks leave the site counts of a gVCF too
    """

    def __init__(self, folder: Path, stage: str, digest: str, site_counts: bool = False):
        self.folder, self.stage, self.digest, self.site_counts = folder, stage, digest, site_counts

    def start(self, tasks: Sequence[Task], resume: bool) -> list[Task]:
        """Make the folder ready and return the tasks that are left to do.

        Without resume it is emptied: results of an earlier run must not be taken up. With it, tasks whose results are
        complete and not stale are done. Raises InputError when the folder cannot be made.
        """
        if not resume:
            shutil.rmtree(self.folder, ignore_errors=True)
        make_folder(self.folder)
        return [task for task in tasks if not (resume and self.has(task))]

    def has(self, task: Task) -> bool:
        """Whether the result of a task is there, complete and not stale."""
        try:
            self._read_lines(task)
            if self.site_counts:
                self.read_site_counts(task)
        except LedgerError:
            return False
        return True

    def path(self, task: Task) -> Path:
        """The result file of a task."""
        return self.folder / f"{self.stage}_{file_name(task.name)}.vcf"

    def write(self, task: Task, records: Iterable[VcfRecord]) -> TaskResult:
        """Write the result of a task. Raises LedgerError when the disk does not take it."""
        lines = [f"{format_record(record)}\n" for record in records]
        body = "".join(lines).encode()
        result = self._make_result(task, len(lines), body)
        self._write_file(self.path(task), f"{MARK}{json.dumps(asdict(result))}\n".encode() + body)
        return result

    def read(self, task: Task) -> Iterator[VcfRecord]:
        """The records of a task. Raises LedgerError when its result is absent, stale or damaged."""
        return map(parse_record, self._read_lines(task))

    def write_site_counts(self, task: Task, counts: np.ndarray) -> None:
        """Write the site counts of a task, (2, n) int32: of each position, reads that show the reference, all reads.

        Raises LedgerError as write does.
        """
        kind = np.uint16 if counts.max(initial=0) < 2**16 else np.uint32
        data = zlib.compress(counts.astype(kind).tobytes(), level=1)
        head = json.dumps([self.digest, str(task.region), np.dtype(kind).name, counts.shape[1], zlib.crc32(data)])
        self._write_file(self.path(task).with_suffix(SITE_COUNTS), head.encode() + b"\n" + data)

    def read_site_counts(self, task: Task) -> np.ndarray:
        """The site counts of a task, (2, n) int32. Raises LedgerError when they are absent, stale or damaged."""
        path = self.path(task).with_suffix(SITE_COUNTS)
        try:
            head, _, data = path.read_bytes().partition(b"\n")
            digest, region, kind, n, checksum = json.loads(head)
        except (OSError, ValueError, TypeError):
            raise LedgerError(f"{path}: the site counts of {task.region} are missing; run again") from None
        if (digest, region, checksum) != (self.digest, str(task.region), zlib.crc32(data)):
            raise LedgerError(f"{path}: not the complete site counts of {task.region} of this run; run again")
        return np.frombuffer(zlib.decompress(data), kind).reshape(2, n).astype(np.int32)

    def _read_lines(self, task: Task) -> list[str]:
        """The record lines of a task, checked, without line ends. Raises LedgerError as read does."""
        path = self.path(task)
        try:
            head, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise LedgerError(f"{path}: the result of {task.region} is missing; run again") from None
        lines = body.decode(errors="replace").splitlines()
        expected = self._make_result(task, len(lines), body)
        if head.decode(errors="replace") != MARK + json.dumps(asdict(expected)):
            raise LedgerError(f"{path}: not the complete result of {task.region} of this run; run again")
        return lines

    def _make_result(self, task: Task, records: int, body: bytes) -> TaskResult:
        checksum = hashlib.sha256(body).hexdigest()
        return TaskResult(self.stage, str(task.region), task.inputs, self.digest, records, checksum)

    def _write_file(self, path: Path, content: bytes) -> None:
        """Write a file that is complete or absent."""
        try:
            write_whole({path: content})
        except InputError as error:
            raise LedgerError(str(error)) from None
