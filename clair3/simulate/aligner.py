"""Simulated reads aligned by minimap2, instead of where they came from (spec/training.md E.3).

What an aligner does to reads comes with them: its MAPQ, clips, secondary and supplementary alignments, reads in the
wrong place.
"""

import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pysam

from clair3.errors import ConfigError, InputError
from clair3.io.atomic import unfinished
from clair3.platforms import PLATFORMS
from clair3.simulate.profile import Profile
from clair3.simulate.profile_choice import RUNS_PER_BASE

logger = logging.getLogger(__name__)

ACCURATE_SINCE, ACCURATE_ERROR = (2, 27), 0.02
"""First version with Platform.accurate_preset, and the reads it is for: those that err less than this."""

KEPT = ("mv", "HP", "PS", "RG")
"""Tags that go along with a read."""


def find_aligner(name: str) -> Path:
    """The program of a name or place. Raises ConfigError when there is none."""
    program = shutil.which(name)
    if program is None:
        raise ConfigError(
            f"--aligner {name}: no such program; install minimap2, or leave the option out: reads then lie where they "
            "came from"
        )
    return Path(program)


def read_minimap2_version(program: Path) -> tuple[str, tuple[int, int]]:
    """The version, as the program writes it and as two numbers. Raises ConfigError when it is no minimap2."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"--aligner {program}: cannot be run ({error})") from None
    text = done.stdout.strip()
    numbers = re.match(r"(\d+)\.(\d+)\S*$", text)
    if done.returncode or not numbers:
        raise ConfigError(f"--aligner {program}: is no minimap2; its --version says {text[:60]!r}")
    return text, (int(numbers[1]), int(numbers[2]))


def choose_preset(platform: str, version: tuple[int, int], error: float) -> str:
    """minimap2's preset for reads of a platform with this share of errors."""
    known = PLATFORMS[platform]
    if known.accurate_preset and version >= ACCURATE_SINCE and error < ACCURATE_ERROR:
        return known.accurate_preset
    return known.minimap2_preset


def align(program: Path, reads: Path, fasta: Path, output: Path, profile: Profile, threads: int) -> None:
    """Align simulated reads, a BAM file in a folder for unfinished files, and write them sorted, with an index.

    The bytes do not depend on the threads; both files are complete or absent. Raises ConfigError when program is no
    minimap2, InputError with its last words when it fails.
    """
    text, version = read_minimap2_version(program)
    chosen = choose_preset(profile.platform, version, estimate_error_rate(profile))
    unsorted, fastq = reads.with_name("unsorted.bam"), reads.with_name("reads.fq")
    with open(fastq, "w") as file:
        file.writelines(iter_fastq(reads))
    argv = [str(program), "-a", "-y", "-Y", "-x", chosen, "-t", str(threads), str(fasta), str(fastq)]
    with open(reads.with_name("log"), "w+") as log:
        run_aligner(argv, make_unsorted_header(reads, f"minimap2 {text}, preset {chosen}"), unsorted, log)
    with unfinished(output) as partial, unfinished(output.with_name(f"{output.name}.bai")) as index:
        try:
            words = ("--no-PG", "-@", str(threads - 1), "-T", str(reads.with_name("sort")), "-o", str(partial))
            pysam.sort(*words, str(unsorted))
            pysam.index(str(partial), str(index))
        except pysam.SamtoolsError as error:
            raise InputError(f"{output}: cannot be sorted ({' '.join(str(error).split())[-200:]})") from None
    logger.info("%s: aligned with minimap2 %s, preset %s", output, text, chosen)


def estimate_error_rate(profile: Profile) -> float:
    """Errors per base of reads, in sequence without many long runs."""
    runs = np.mean([np.sum(profile.run[kind], axis=1)[1:] @ RUNS_PER_BASE for kind in profile.run])
    return profile.mismatch + float(runs)


def make_unsorted_header(reads: Path, what: str) -> dict:
    """The head of a BAM file, for alignments that are not sorted yet; what: made them."""
    with pysam.AlignmentFile(str(reads), check_sq=False) as source:
        head = source.header.to_dict()
    head["HD"]["SO"] = "unsorted"
    head["PG"][-1]["DS"] += f"; {what}"
    return head


def run_aligner(argv: list[str], head: dict, unsorted: Path, log: IO[str]) -> None:
    """Run minimap2 and write its alignments with this head. Raises InputError when it fails."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL) as process:
        try:
            copy_alignments(process, unsorted, head)
        except (OSError, ValueError) as error:  # it broke off; its last lines explain more
            process.kill()
            process.wait()
            raise InputError(f"{argv[0]} failed: {read_last_lines(log) or error}") from None
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        raise InputError(f"{argv[0]} failed with exit code {process.returncode}: {read_last_lines(log)}")


def copy_alignments(process: subprocess.Popen, unsorted: Path, head: dict) -> None:
    """Write the alignments that a program prints as SAM under another head; its contigs are in the same order."""
    with pysam.AlignmentFile(process.stdout, "r", check_sq=False) as aligned:
        header = pysam.AlignmentHeader.from_dict(head)
        if aligned.references != header.references:
            raise InputError(f"{process.args[0]}: its contigs are not those of the reference")
        with pysam.AlignmentFile(str(unsorted), "wb0", header=header) as target:
            for read in aligned:
                target.write(read)
    process.wait()


def read_last_lines(log: IO[str]) -> str:
    log.seek(0)
    return " ".join(log.read().split("\n")[-4:])[-300:].strip()


def iter_fastq(reads: Path) -> Iterator[str]:
    """The reads of a BAM file as FASTQ, whole and as sequenced, mates one after the other, tags as comments."""
    waiting: dict[str, str] = {}
    with pysam.AlignmentFile(str(reads), check_sq=False) as file:
        for read in file:
            if read.is_supplementary or read.is_secondary:
                continue
            text = format_fastq(read)
            if not read.is_paired:
                yield text
            elif (mate := waiting.pop(read.query_name, None)) is None:
                waiting[read.query_name] = text
            else:
                yield from (text, mate) if read.is_read1 else (mate, text)


def format_fastq(read: pysam.AlignedSegment) -> str:
    """A read as a FASTQ record; an aligner copies the tags (-y)."""
    tags = "\t".join(format_tag(name, read.get_tag(name)) for name in KEPT if read.has_tag(name))
    qualities = pysam.qualities_to_qualitystring(read.get_forward_qualities())
    return f"@{read.query_name}\t{tags}\n{read.get_forward_sequence()}\n+\n{qualities}\n"


def format_tag(name: str, value) -> str:
    """A tag as in SAM."""
    if isinstance(value, str):
        return f"{name}:Z:{value}"
    if isinstance(value, int):
        return f"{name}:i:{value}"
    return f"{name}:B:c," + ",".join(map(str, value))
