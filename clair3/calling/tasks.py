"""The run's ledger: one result file per planned task, so that nothing is lost in silence.

The result of a task is the file `<folder>/<stage>_<task>.vcf`: one header line that says what it is, then VCF records
without further header. It is written under a temporary name, synced and renamed, so it is complete or absent; reading
it checks digest, number of records, and the checksum of all the rest.
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from clair3.errors import ClairError, InputError
from clair3.io.atomic import make_folder, write_whole
from clair3.io.vcf import VcfRecord, format_record, parse_record
from clair3.records import ReadTally, Task

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
    reads     ReadTally of the reads that came, if they were counted
    checksum  SHA-256 of the other fields and of the record lines
    """

    stage: str
    region: str
    inputs: str
    digest: str
    records: int
    reads: list[int] | None
    checksum: str = ""

    def head(self, body: bytes) -> bytes:
        """The line, with the checksum of itself and of the record lines."""
        fields = asdict(replace(self, checksum=""))
        checksum = hashlib.sha256(json.dumps(fields).encode() + b"\n" + body).hexdigest()
        return MARK.encode() + json.dumps(fields | {"checksum": checksum}).encode()


def digest_values(values: dict) -> str:
    """A short fingerprint of what a result depends on: anything JSON can hold, in any order of keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


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
    tallies      of each task that was done or taken up, by its name, the reads that came; filled on the way
    """

    def __init__(self, folder: Path, stage: str, digest: str, site_counts: bool = False):
        self.folder, self.stage, self.digest, self.site_counts = folder, stage, digest, site_counts
        self.tallies: dict[str, ReadTally] = {}

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
        """Write the result of a task, with its tally if there is one. Raises LedgerError when the disk does not take
        it."""
        lines = [f"{format_record(record)}\n" for record in records]
        body = "".join(lines).encode()
        tally = self.tallies.get(task.name)
        result = self._make_result(task, len(lines), tally and list(tally))
        self._write_file(self.path(task), result.head(body) + b"\n" + body)
        return result

    def keep_tally(self, task: Task, tally: ReadTally) -> None:
        """Keep the tally of a task for its result, which is written later."""
        self.tallies[task.name] = tally

    def read(self, task: Task) -> Iterator[VcfRecord]:
        """The records of a task. Raises LedgerError when its result is absent, stale or damaged."""
        return map(parse_record, self._read_lines(task))

    def write_site_counts(self, task: Task, counts: np.ndarray) -> None:
        """Write the site counts of a task, (2, n) int32: of each position, reads that show the reference, all reads.

        Raises LedgerError as write does.
        """
        kind = np.uint16 if counts.max(initial=0) < 2**16 else np.uint32
        data = zlib.compress(counts.astype(kind).tobytes(), level=1)
        content = self._site_counts_head(task, np.dtype(kind).name, counts.shape[1]) + b"\n" + data
        self._write_file(self.path(task).with_suffix(SITE_COUNTS), b"%08x\n" % zlib.crc32(content) + content)

    def _site_counts_head(self, task: Task, kind: str, n: int) -> bytes:
        return json.dumps([self.digest, str(task.region), task.inputs, kind, n]).encode()

    def read_site_counts(self, task: Task) -> np.ndarray:
        """The site counts of a task, (2, n) int32. Raises LedgerError when they are absent, stale or damaged."""
        path = self.path(task).with_suffix(SITE_COUNTS)
        checksum, _, content = self._read_file(path, task).partition(b"\n")
        head, _, data = content.partition(b"\n")
        if checksum == b"%08x" % zlib.crc32(content):  # what the head says is ours then
            *_, kind, n = json.loads(head)
            if head == self._site_counts_head(task, kind, n):
                return np.frombuffer(zlib.decompress(data), kind).reshape(2, n).astype(np.int32)
        raise LedgerError(f"{path}: not the complete site counts of {task.region} of this run; run again")

    def _read_lines(self, task: Task) -> list[str]:
        """The record lines of a task, checked, without line ends. Raises LedgerError as read does."""
        path = self.path(task)
        head, _, body = self._read_file(path, task).partition(b"\n")
        lines = body.decode(errors="replace").splitlines()
        try:
            tally = json.loads(head.removeprefix(MARK.encode()))["reads"]
        except (ValueError, TypeError, LookupError, RecursionError):
            tally = None
        if head != self._make_result(task, len(lines), tally).head(body):
            raise LedgerError(f"{path}: not the complete result of {task.region} of this run; run again")
        if tally is not None:
            self.tallies[task.name] = ReadTally(*tally)
        return lines

    def _read_file(self, path: Path, task: Task) -> bytes:
        """The content of a file of a task. Raises LedgerError when it cannot be read."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise LedgerError(f"{path}: the result of {task.region} is missing; run again") from None
        except OSError as error:
            raise LedgerError(
                f"{path}: the result of {task.region} cannot be read ({error.strerror}); run again"
            ) from None

    def _make_result(self, task: Task, records: int, tally: list[int] | None) -> TaskResult:
        return TaskResult(self.stage, str(task.region), task.inputs, self.digest, records, tally)

    def _write_file(self, path: Path, content: bytes) -> None:
        """Write a file that is complete or absent."""
        try:
            write_whole({path: content})
        except InputError as error:
            raise LedgerError(str(error)) from None
