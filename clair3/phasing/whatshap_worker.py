"""WhatsHap's solver through its Python API, fed with alleles that the C core has read: a worker process without torch.

It gives the records of the command `whatshap phase --distrust-genotypes --ignore-read-groups --reference FASTA`
(spec/calling.md 7.2) for files of heterozygous SNPs. A line on stdin is a task, {"contig", "vcf", "output", "bam",
"reference"} as JSON, and a line on stdout its answer: DONE, or why the command has to do it. A task that fails ends the
process, with the reason on stderr.
"""

if __package__ in (None, ""):  # started as a worker; nothing but the project's own folder is added to the path
    import os
    import sys

    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import json
import os
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from clair3.core import Source
from clair3.core.parent_watchdog import exit_with_parent
from clair3.core.phasing import phase_alleles
from clair3.errors import ClairError
from clair3.io.text import read_rows

DONE = "done"

CHECKED = ("2.6", "2.7", "2.8")
"""Versions of WhatsHap whose command and solver were compared; others are run as the command."""


class UnsupportedVcfError(Exception):
    """A file that only the command can phase."""


def installed_version() -> str | None:
    """The version of the WhatsHap that this Python has; None when it has none."""
    try:
        return version("whatshap")
    except PackageNotFoundError:
        return None


def is_checked() -> bool:
    """Is the installed WhatsHap one whose solver gives the records of its command?"""
    return installed_version() in CHECKED


def read_snps(path: Path, contig: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n,) int64, 0-based, and ALT letters (n,) uint8 of the SNPs to phase.

    Raises UnsupportedVcfError unless all are heterozygous SNPs of the contig, in order, one per position, without
    likelihoods.
    """
    pos, alts = [], []
    for number, line in read_rows(path):
        if line.startswith("#"):
            continue
        name, at, _, ref, alt, *_, keys, sample = line.split("\t")
        is_snp = len(ref) == len(alt) == 1 and ref != alt and alt in "ACGT"
        is_plain = sample.split(":")[0] in ("0/1", "1/0") and not {"PL", "GL"} & {*keys.split(":")}
        if name != contig or not is_snp or not is_plain:
            raise UnsupportedVcfError(f"line {number} is not a plain heterozygous SNP of {contig}")
        pos.append(int(at) - 1)
        alts.append(ord(alt))
    pos = np.array(pos, np.int64)
    if (np.diff(pos) <= 0).any():
        raise UnsupportedVcfError("positions are not ascending")
    return pos, np.array(alts, np.uint8)


def phase(contig: str, vcf: str, output: str, bam: str, reference: str) -> str:
    """Phase the SNPs of one contig; DONE, or why this is for the command.

    Raises CoreError when reads or reference cannot be read.
    """
    from whatshap.vcf import PhasedVcfWriter  # the run imports this module, and may have no WhatsHap

    from clair3.phasing.whatshap_reads import solve

    try:
        pos, alts = read_snps(Path(vcf), contig)
    except UnsupportedVcfError as reason:
        return str(reason)
    with Source(bam, reference) as source:
        alleles = phase_alleles(source, contig, pos, alts)
    haplotypes, sets = solve(alleles, pos)
    with PhasedVcfWriter(in_path=vcf, command_line=None, out_file=output) as writer:
        sample = writer.samples[0]
        writer.write(contig, {sample: haplotypes}, {sample: sets})
    return DONE


def serve(pipe: int) -> None:
    """Answer tasks until stdin ends; the process ends with the run that holds the other end of the pipe."""
    exit_with_parent(pipe)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # batch systems signal every process; the run ends its workers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        try:
            answers.write(f"{phase(**json.loads(line))}\n")
        except ClairError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
