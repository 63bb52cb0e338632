"""The worker process of phasing: WhatsHap's solver through its Python API, on alleles that the C core has read.

It imports no torch, and gives the records of the command
`whatshap phase --distrust-genotypes --ignore-read-groups --reference FASTA`
(spec/calling.md 7.2) for files of heterozygous SNPs. A line on stdin is a request, {"contig", "vcf", "output", "bam",
"reference"} as JSON; a line on stdout is the answer: DONE, or the reason why the command is needed. An error ends the
process, with its message on stderr.
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
from clair3.io.vcf import iter_numbered_records

DONE = "done"
"""Answer when the output file is written."""

CHECKED = ("2.6", "2.7", "2.8")
"""Versions of WhatsHap whose command and solver were compared; others are run as the command."""


class UnsupportedVcfError(Exception):
    """A VCF that only the command can phase."""


def installed_version() -> str | None:
    """Return the version of WhatsHap that is installed in this Python; None when there is none."""
    try:
        return version("whatshap")
    except PackageNotFoundError:
        return None


def is_solver_checked() -> bool:
    """Return whether the solver of the installed WhatsHap is known to give the records of its command."""
    return installed_version() in CHECKED


def read_snps(path: Path, contig: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the SNPs to phase: positions, (n,) int64, 0-based, and ALT letters, (n,) uint8.

    Raises UnsupportedVcfError unless all records are heterozygous SNPs of the contig, in order, one per position,
    without likelihoods.
    """
    pos, alts = [], []
    for number, record in iter_numbered_records(path, columns=10):
        ref, alt = record.ref, record.alt_text
        is_snp = len(ref) == len(alt) == 1 and ref != alt and alt in "ACGT"
        is_plain = record.genotype in ("0/1", "1/0") and not {"PL", "GL"} & {*record.format.split(":")}
        if record.contig != contig or not is_snp or not is_plain:
            raise UnsupportedVcfError(f"line {number} is not a plain heterozygous SNP of {contig}")
        pos.append(record.pos)
        alts.append(ord(alt))
    pos = np.array(pos, np.int64)
    if (np.diff(pos) <= 0).any():
        raise UnsupportedVcfError("positions are not ascending")
    return pos, np.array(alts, np.uint8)


def phase(contig: str, vcf: str, output: str, bam: str, reference: str) -> str:
    """Phase the SNPs of one contig and return the answer: DONE, or the reason why the command is needed.

    Raises CoreError when reads or reference cannot be read.
    """
    from whatshap.vcf import PhasedVcfWriter  # the run imports this module, and may have no WhatsHap

    from clair3.phasing.whatshap_reads import phase_reads

    try:
        pos, alts = read_snps(Path(vcf), contig)
    except UnsupportedVcfError as reason:
        return str(reason)
    with Source(bam, reference) as source:
        alleles = phase_alleles(source, contig, pos, alts)
    haplotypes, phase_sets = phase_reads(alleles, pos)
    with PhasedVcfWriter(in_path=vcf, command_line=None, out_file=output) as writer:
        sample = writer.samples[0]
        writer.write(contig, {sample: haplotypes}, {sample: phase_sets})
    return DONE


def worker_loop(pipe: int) -> None:
    """Answer requests until stdin ends; the process ends with the run, which holds the other end of the pipe."""
    exit_with_parent(pipe)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # batch systems signal all processes; the run ends its workers
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # prints of a library go to stderr: they are no answers
    for line in sys.stdin:
        try:
            answers.write(f"{phase(**json.loads(line))}\n")
        except ClairError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    worker_loop(int(sys.argv[1]))
