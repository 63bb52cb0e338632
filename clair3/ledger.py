"""The run's ledger: one result file per planned chunk, so that nothing is lost in silence.

A row is the file `<folder>/<stage>_<contig>_<chunk>.vcf`: one header line that says what it is, then VCF records
without further header. It is written under a temporary name and renamed, so it is complete or absent; reading it
checks digest, number of records and checksum (design.md 7).
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from shared.errors import ClairError, InputError
from shared.regions import Chunk

MARK = "##clair3_ledger="


class LedgerError(ClairError):
    """A row is missing or is not what was planned."""


@dataclass(frozen=True)
class Row:
    """What the first line of a result file says. region is 1-based text, checksum that of the record lines."""

    stage: str
    region: str
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


class Ledger:
    """The rows of one stage in one folder.

    digest is what all rows depend on: inputs, model, options, version (digest_of). A row of another digest is stale.
    """

    def __init__(self, folder: Path, stage: str, digest: str):
        self.folder, self.stage, self.digest = folder, stage, digest

    def start(self) -> None:
        """An empty folder: rows of an earlier run with other chunks must not be taken up."""
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be created ({error.strerror})") from None

    def path(self, chunk: Chunk) -> Path:
        """Where the row of a chunk lies; ordinary contig names stay readable, `/` and the like are escaped."""
        return self.folder / f"{self.stage}_{quote(chunk.contig, safe='*:|=+,')}_{chunk.index + 1}.vcf"

    def write(self, chunk: Chunk, records: Iterable[str]) -> Row:
        """Write the records (VCF lines without line ends) of a chunk; LedgerError when the disk does not take them."""
        lines = list(records)
        body = "".join(f"{line}\n" for line in lines).encode()
        row = Row(self.stage, str(chunk.region), self.digest, len(lines), hashlib.sha256(body).hexdigest())
        path = self.path(chunk)
        partial = path.with_suffix(".partial")
        try:
            partial.write_bytes(f"{MARK}{json.dumps(asdict(row))}\n".encode() + body)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise LedgerError(f"{path}: cannot be written ({error.strerror}); is the disk full?") from None
        return row

    def read(self, chunk: Chunk) -> list[str]:
        """The records of a chunk, without line ends. Raises LedgerError when the row is absent, stale or damaged."""
        path = self.path(chunk)
        try:
            head, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise LedgerError(f"{path}: the result of {chunk.region} is missing; run again") from None
        records = body.decode().splitlines()
        found = Row(self.stage, str(chunk.region), self.digest, len(records), hashlib.sha256(body).hexdigest())
        if head.decode(errors="replace") != MARK + json.dumps(asdict(found)):
            raise LedgerError(f"{path}: not the complete result of {chunk.region} of this run; run again")
        return records
