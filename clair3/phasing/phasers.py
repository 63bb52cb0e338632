"""Phasing of a contig by WhatsHap or LongPhase, haplotagging by WhatsHap, and reading of phased VCF files.

WhatsHap's command is the reference of this step (spec/calling.md 7.2, 11). For the versions whose solver was checked
to give the same records, the solver is called through its Python API (clair3.phasing.whatshap_worker).
"""

import gzip
import importlib.util
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

from clair3.config import LONGPHASE, WHATSHAP
from clair3.errors import ClairError, ConfigError
from clair3.io.atomic import unfinished_in_folder
from clair3.io.bam_index import BinnedIndex, find_alignment_index, is_cram
from clair3.io.text import is_number
from clair3.io.vcf import iter_numbered_records
from clair3.phasing import whatshap_worker
from clair3.phasing.worker_pool import WorkerDiedError, WorkerPool
from clair3.platforms import PLATFORMS
from clair3.records import PhasedSnps
from clair3.util.process import run_program

logger = logging.getLogger(__name__)

LAST_LINES = 3
"""Last lines of stderr of a failing program that go into the error: its message, or the end of a traceback."""

LONGEST_BAI = 2**29
"""Longest contig, in bases, that a .bai index can hold; a longer one needs a .csi index."""


class PhasingError(ClairError):
    """A contig could not be phased, or a BAM file not be haplotagged or indexed."""


def find_whatshap(given: str | None = None) -> tuple[str, ...]:
    """Return the command line that starts WhatsHap: --whatshap if given, else the module of our Python, else PATH's.

    given is the value of --whatshap, None when it was left out; its published default, the bare name, means the same.
    Raises ConfigError when there is no WhatsHap.
    """
    if given not in (None, WHATSHAP):
        return (_find_executable(given, "--whatshap"),)
    if importlib.util.find_spec(WHATSHAP):
        # -P (Python 3.11): a folder of that name where the user happens to be is not the program
        safe = ("-P",) if sys.version_info >= (3, 11) else ()
        return (sys.executable, *safe, "-m", WHATSHAP)
    path = _find_beside_python(WHATSHAP) or shutil.which(WHATSHAP)
    if path is None:
        raise ConfigError('WhatsHap was not found; run "pip install whatshap" or give --whatshap=PATH')
    return (path,)


def find_longphase(given: str | None = None) -> str:
    """Return the path of LongPhase: --longphase if given, else beside our Python, else on the PATH.

    Raises ConfigError, in v2.0.2's words, when there is none (spec/cli.md 3.4).
    """
    if given is not None:
        return _find_executable(given, "--longphase")
    path = _find_beside_python(LONGPHASE) or shutil.which(LONGPHASE)
    if path is None:
        raise ConfigError(f"Cannot find LongPhase path in {Path(sys.executable).parent}, exit! Give --longphase=PATH")
    return path


def _find_executable(given: str, option: str) -> str:
    """Return the absolute path of a program that an option names. Raises ConfigError when it is no executable."""
    if (path := shutil.which(given)) is None:
        raise ConfigError(f"{option}={given}: expected the name or path of an executable program")
    return os.path.abspath(path)


def _find_beside_python(name: str) -> str | None:
    """Return the path of a program in the folder of the Python that runs us; None when it is not there."""
    return shutil.which(name, path=Path(sys.executable).parent)


@dataclass(frozen=True)
class WhatsHap:
    """Phasing and haplotagging by WhatsHap.

    command    command line that starts WhatsHap, see find_whatshap
    cancelled  called now and then; True ends a running program, and PhasingError is raised
    """

    command: tuple[str, ...]
    bam: Path
    reference: Path
    cancelled: Callable[[], bool] = lambda: False

    def phase(self, contig: str, vcf: Path, output: Path, trust_genotypes: bool = False) -> None:
        """Phase the variants of one contig; the output (.vcf, or .vcf.gz for bgzip) is complete or absent.

        Genotypes are not trusted between the two networks (7.2), and are in the final phasing (11).
        Raises PhasingError.
        """
        options = [] if trust_genotypes else ["--chromosome", contig, "--distrust-genotypes"]
        with unfinished_in_folder(output) as made:
            self._run("phase", f"phasing of {contig}", options, vcf, made)
            made.replace(output)

    def haplotag(self, vcf: Path, output: Path, threads: int = 1, check: Callable[[], None] = lambda: None) -> None:
        """Write a BAM of all reads with their haplotypes and its index, which is made with that many threads (11).

        vcf is bgzipped and indexed. The BAM is complete, with an index, or absent. check is called when it is written,
        before it gets its name, and may raise. Raises PhasingError.
        """
        with unfinished_in_folder(output) as made:
            self._run("haplotag", "haplotagging", [], vcf, made)
            index = index_bam(made, threads)
            check_reads(self.bam, made, index)
            check()
            index.replace(output.with_name(index.name))
            made.replace(output)

    def _run(self, command: str, what: str, options: list[str], vcf: Path, made: Path) -> None:
        files = ["--output", made, "--reference", self.reference, *options, "--ignore-read-groups", vcf, self.bam]
        _run_tool(what, [*self.command, command, *files], self.cancelled, [made])


@dataclass(frozen=True)
class WhatsHapSolver:
    """Phasing by WhatsHap's solver in worker processes: the records of the command in a fraction of its time.

    The command is used where the solver is not: to phase with trusted genotypes, and for VCF files of another kind.
    """

    command: WhatsHap
    workers: WorkerPool

    def phase(self, contig: str, vcf: Path, output: Path, trust_genotypes: bool = False) -> None:
        """Phase the variants of one contig, see WhatsHap.phase."""
        if trust_genotypes:
            self.command.phase(contig, vcf, output, trust_genotypes)
            return
        with unfinished_in_folder(output) as made:
            answer = self._request(f"phasing of {contig}", contig=contig, vcf=vcf, output=made)
            if answer == whatshap_worker.DONE:
                made.replace(output)
                return
        logger.debug("phasing of %s: %s; by the command", contig, answer)
        self.command.phase(contig, vcf, output)

    def _request(self, what: str, **task: str | Path) -> str:
        """Send a task to a worker and return its answer. Raises PhasingError when it died or cannot be started."""
        task |= {"bam": self.command.bam, "reference": self.command.reference}
        logger.debug("%s: whatshap's solver, %s", what, task["vcf"])
        try:
            return self.workers.request(json.dumps(task, default=os.fspath), self.command.cancelled)
        except WorkerDiedError as error:
            raise _make_error(what, error.code, error.stderr) from None
        except OSError as error:
            raise PhasingError(f"{what} failed: no process for it ({error.strerror})") from None


def uses_solver(given: str | None) -> bool:
    """Return whether WhatsHap phases in workers, not by its command; given is as in find_whatshap."""
    return given in (None, WHATSHAP) and whatshap_worker.is_solver_checked()


@contextmanager
def open_whatshap(
    given: str | None, bam: Path, reference: Path, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[WhatsHap | WhatsHapSolver]:
    """Open the WhatsHap to phase with: the solver of the installed version if it was checked and no program is given.

    given is as in find_whatshap, the other arguments as in WhatsHap. Raises ConfigError when there is no WhatsHap.
    """
    command = WhatsHap(find_whatshap(given), bam, reference, cancelled)
    if not uses_solver(given):
        logger.debug("phasing by the command %s", " ".join(command.command))
        yield command
        return
    with closing(WorkerPool([sys.executable, whatshap_worker.__file__])) as workers:
        yield WhatsHapSolver(command, workers)


@dataclass(frozen=True)
class LongPhase:
    """Phasing by LongPhase; `threads` is the number of threads of one process, the other fields are as in WhatsHap."""

    command: tuple[str, ...]
    bam: Path
    reference: Path
    platform: str
    threads: int = 1
    cancelled: Callable[[], bool] = lambda: False

    def phase(self, contig: str, vcf: Path, output: Path, trust_genotypes: bool = False) -> None:
        """Phase the variants of one contig, see WhatsHap.phase; LongPhase never trusts or distrusts genotypes."""
        kind = PLATFORMS[self.platform].longphase_option
        with unfinished_in_folder(output) as made:
            prefix = made.with_name(made.name.removesuffix(".gz").removesuffix(".vcf"))
            files = ["-s", vcf, "-b", self.bam, "-r", self.reference, "-t", str(self.threads), "-o", prefix, kind]
            results = [made.with_name(prefix.name + suffix) for suffix in (".vcf", ".vcf.gz")]
            result = _run_tool(f"phasing of {contig}", [*self.command, "phase", *files], self.cancelled, results)
            if result != made and made.suffix == ".gz":
                pysam.tabix_compress(str(result), str(made))
            elif result != made:
                made.write_bytes(gzip.decompress(result.read_bytes()))
            made.replace(output)


def check_reads(bam: Path, tagged: Path, index: Path) -> None:
    """Raises PhasingError when a haplotagged BAM has another number of reads on a contig than the alignments, by what
    their indexes say; a .crai and an index without counts say nothing."""
    if is_cram(bam):
        return
    given, written = BinnedIndex(find_alignment_index(bam)), BinnedIndex(index)
    for number, contig in enumerate(pysam.AlignmentFile(str(tagged)).references):
        before, after = given.read_contig(number).reads, written.read_contig(number).reads
        if before is not None and before != (after or 0):
            raise PhasingError(f"haplotagging failed: {after or 0} of {before} reads of {contig} came back")


def _run_tool(what: str, argv: Sequence[str | Path], cancelled: Callable[[], bool], results: Sequence[Path]) -> Path:
    """Run a program and return the first of its possible result files that exists; its stderr goes to the debug log.

    Raises PhasingError with the program's last lines when it failed or made no result.
    """
    command = [os.fspath(word) for word in argv]
    logger.debug("%s: %s", what, " ".join(command))
    try:
        code, stderr = run_program(command, cancelled)
    except OSError as error:
        raise PhasingError(f"{what} failed: {command[0]} cannot be started ({error.strerror})") from None
    for line in stderr.splitlines():
        logger.debug("%s: %s", what, line)
    made = [result for result in results if result.exists()]
    if code or not made:
        raise _make_error(what, code, stderr)
    return made[0]


def _make_error(what: str, code: int, stderr: str) -> PhasingError:
    """Make the error of a process that ended with an exit code (-n: by signal n), with the last lines of its stderr."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    end = f"ended by signal {-code}" if code < 0 else f"exit code {code}" if code else "it wrote no result"
    return PhasingError(f"{what} failed, {end}: {' | '.join(lines[-LAST_LINES:]) or 'no message'}")


def index_bam(path: Path, threads: int) -> Path:
    """Index a BAM file and return the path of the index: .bai, or .csi when a contig is too long for that.

    Raises PhasingError when samtools fails.
    """
    with pysam.AlignmentFile(str(path), "rb") as bam:
        csi = max(bam.lengths, default=0) > LONGEST_BAI
    try:
        pysam.index(*(["-c"] if csi else []), "-@", str(threads), str(path))
    except pysam.SamtoolsError as error:
        raise PhasingError(f"{path}: cannot be indexed: {error}") from None
    return path.with_name(path.name + (".csi" if csi else ".bai"))


def read_phased(path: Path, contig: str, heterozygous: bool = False) -> PhasedSnps:
    """Read the phased SNPs of one contig in a VCF, plain or compressed; with `heterozygous`, only those.

    Left out are records without phase, with alleles of more than one letter, or whose phase set is not a number; v2.0.2
    fails on the last two (spec/features.md B15).
    Raises InputError when the file is damaged, missing or no VCF with genotypes.
    """
    rows = []
    for _, record in iter_numbered_records(path, columns=10):
        genotype, phase_set = record.genotype, record.samples[0].rpartition(":")[2]
        if record.contig != contig or "|" not in genotype or (heterozygous and genotype not in ("0|1", "1|0")):
            continue
        if len(record.ref) == len(record.alt_text) == 1 and is_number(phase_set):
            haplotype = 1 if genotype == "0|1" else 2
            rows.append((record.pos, ord(record.ref), ord(record.alt_text), haplotype, int(phase_set)))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    types = (np.int64, np.uint8, np.uint8, np.int8, np.int64)
    return PhasedSnps(*(column.astype(kind) for column, kind in zip(columns, types, strict=True)))
