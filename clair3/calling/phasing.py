"""Phasing as a stage of the run: contigs in parallel, between the networks and of the output (spec/calling.md 7.2, 11).

A contig that cannot be phased fails the run, or with --allow_unphased_contigs goes into `unphased`, with the reason.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from clair3.calling.record_sources import FileRecords, RecordSource
from clair3.calling.tasks import digest_values, file_name
from clair3.config import LONGPHASE, WHATSHAP, CallingConfig
from clair3.errors import ConfigError, InputError
from clair3.io.atomic import sha256_of, sync, write_whole
from clair3.io.input_files import file_identity
from clair3.io.vcf import iter_records, write_records
from clair3.phasing import whatshap_worker
from clair3.phasing.phasers import (
    LongPhase,
    PhasingError,
    WhatsHap,
    WhatsHapSolver,
    find_longphase,
    open_whatshap,
    read_phased,
    uses_solver,
)
from clair3.platforms import PLATFORMS
from clair3.records import PhasedSnps
from clair3.util.parallel import ordered_map
from clair3.util.progress import progress_bar
from clair3.version import VERSION

logger = logging.getLogger(__name__)


Result = TypeVar("Result")
Phaser = WhatsHap | WhatsHapSolver | LongPhase


@contextmanager
def open_phaser(config: CallingConfig, program: str, jobs: int, cancelled: Callable[[], bool]) -> Iterator[Phaser]:
    """Yield the phaser of a program; programs that run threads of their own share those of the run."""
    if program == LONGPHASE:
        command, threads = (find_longphase(config.longphase),), max(1, config.threads // jobs)
        yield LongPhase(command, config.bam, config.reference, config.platform, threads, cancelled)
        return
    with open_whatshap(config.whatshap, config.bam, config.reference, cancelled) as whatshap:
        yield whatshap


def check_paths(config: CallingConfig) -> None:
    """Raises ConfigError for a path that is no UTF-8 where another program is to phase: WhatsHap writes its command
    line into the VCF, which holds UTF-8 only."""
    program = config.final_phaser or (WHATSHAP if config.haplotag else None)
    if not config.pileup_only and (config.phaser == LONGPHASE or not uses_solver(config.whatshap)):
        program = config.phaser
    for path in (config.bam, config.reference, config.output) if program else ():
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"{path}: {program} cannot take a path that is not UTF-8; give the file or folder another name, or a "
                "link to it"
            ) from None


def phase_contigs(
    config: CallingConfig,
    program: str,
    contigs: Sequence[str],
    step: Callable[[Phaser, str], Result],
    unphased: dict[str, str],
) -> dict[str, Result]:
    """Run step(phaser, contig) for each contig, in parallel, and return the results of the contigs that were phased.

    With --allow_unphased_contigs the others go into unphased, with the reason; otherwise PhasingError is raised.
    """
    stop, began = threading.Event(), time.monotonic()
    jobs = min(config.threads, max(1, min(4, config.threads // 2))) if program == LONGPHASE else config.threads

    def attempt(phaser: Phaser, contig: str) -> Result | PhasingError:
        try:
            return step(phaser, contig)
        except PhasingError as error:
            if stop.is_set():
                raise
            if config.allow_unphased_contigs:
                return error
            raise PhasingError(f"{error}; --allow_unphased_contigs calls such contigs unphased") from None

    with (
        open_phaser(config, program, jobs, stop.is_set) as phaser,
        closing(ordered_map(partial(attempt, phaser), contigs, jobs, stop.set)) as results,
        progress_bar("phasing", len(contigs), "contigs") as bar,
    ):
        phased = {}
        for contig, result in zip(contigs, results, strict=True):
            if isinstance(result, PhasingError):
                unphased[contig] = str(result)
            else:
                phased[contig] = result
            bar.update(1)
    logger.info("Total time elapsed: %.2f s", time.monotonic() - began)
    return phased


def phase_snps(
    config: CallingConfig, folder: Path, header: str, snps: dict[str, list[str]], unphased: dict[str, str]
) -> dict[str, PhasedSnps]:
    """Phase the SNPs of each contig, given as VCF lines; what an earlier run left in the folder is taken up.

    A mark beside a contig's files has the digest of what they were made from, and the reason if they could not be made:
    with --allow_unphased_contigs a resumed run goes on as the one before did. Raises PhasingError.
    """
    inputs = [file_identity(config.bam), file_identity(config.reference), config.phaser]
    inputs += [VERSION, whatshap_worker.installed_version()]
    digests = {contig: digest_values({"inputs": inputs, "snps": lines}) for contig, lines in snps.items()}
    marks = {contig: folder / f"{file_name(contig)}.digest" for contig in snps}

    def phase_one(phaser: Phaser, contig: str) -> PhasedSnps:
        name, mark = f"{file_name(contig)}.vcf", marks[contig]
        given, phased = folder / name, folder / f"phased_{name}.gz"
        failure = read_mark(mark, digests[contig], phased)
        if failure and config.allow_unphased_contigs:
            raise PhasingError(failure)
        if failure != "":
            mark.unlink(missing_ok=True)
            write_whole({given: "".join([header, *(f"{line}\n" for line in snps[contig])]).encode()})
            phaser.phase(contig, given, phased)
            check_records(contig, given, phased)
            sync(phased)
            write_mark(mark, digests[contig], sha256_of(phased))  # last: what it vouches for is complete
        # WhatsHap tags short reads by heterozygous SNPs; v2.0.2 tags other reads by all (spec/features.md A.11): kept
        return read_phased(phased, contig, heterozygous=PLATFORMS[config.platform].short_reads)

    phased_snps = phase_contigs(config, config.phaser, list(snps), phase_one, unphased)
    for contig in snps.keys() - phased_snps.keys():
        reason = unphased[contig]
        write_mark(marks[contig], digests[contig], digest_text(reason), reason)
    return phased_snps


def check_records(contig: str, given: Path, phased: Path) -> None:
    """Raises PhasingError unless a phased VCF has the records of the one that was given, in their order: a program may
    end in the middle and say that all went well."""
    one, other = ([record[:5] for record in iter_records(path)] for path in (given, phased))
    if one != other:
        missing = next((record for record in one if record not in set(other)), None)
        what = f"{len(other)} of {len(one)} records came back"
        place = f", {missing[0]}:{missing[1]} did not" if missing else ", not those that were given"
        raise PhasingError(f"phasing of {contig} failed: {what}{place}; see the program's messages in the log")


def write_mark(mark: Path, digest: str, checksum: str, failure: str = "") -> None:
    """Write the mark of a contig; the checksum is that of its phased file, or of the reason why there is none."""
    write_whole({mark: f"{digest}\n{checksum}\n{failure}".encode("utf-8", "backslashreplace")})


def digest_text(text: str) -> str:
    """Return the SHA-256 of a text as write_mark writes it."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def read_mark(mark: Path, digest: str, phased: Path) -> str | None:
    """Why a contig could not be phased, "" when its phased file is as it was written; None when it is to be phased."""
    try:
        marked, checksum, failure = mark.read_bytes().decode(errors="replace").split("\n", 2)
        found = digest_text(failure) if failure else sha256_of(phased)
    except (OSError, ValueError, InputError):
        return None
    return failure if (marked, checksum) == (digest, found) else None


def phase_records(
    config: CallingConfig, folder: Path, header: str, called: RecordSource, unphased: dict[str, str]
) -> FileRecords:
    """Phase what was called and return the phased records; those of a contig that goes into unphased stay as they are.

    Raises PhasingError.
    """

    def path(prefix: str, contig: str) -> Path:
        return folder / f"{prefix}_{file_name(contig)}.vcf"

    def phase_one(phaser: Phaser, contig: str) -> Path:
        given, phased = path("merge", contig), path("phased_merge", contig)
        write_records(given, header, called.iter_contig(contig))
        phaser.phase(contig, given, phased, trust_genotypes=True)
        check_records(contig, given, phased)
        return phased

    contigs = [contig for contig in called.contigs if next(called.iter_contig(contig), None)]
    files = phase_contigs(config, config.final_phaser, contigs, phase_one, unphased)
    return FileRecords({contig: files.get(contig, path("merge", contig)) for contig in contigs})
