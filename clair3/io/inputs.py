"""The checks before a run: do the alignments, the reference and the regions fit together, and what is there to call?

Everything that can be known without decoding the reads is looked at here, so that a run that cannot succeed ends at
once with one sentence.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clair3.errors import InputError
from clair3.io.alignments import Alignments, check_common, check_lengths, check_readable, read_alignments
from clair3.io.bed import allowed_at_sites, allowed_in_bed, read_bed
from clair3.io.fasta import (
    MAJOR_CONTIGS,
    NAMES_SHOWN,
    Contig,
    Reference,
    first_few,
    in_output_order,
    read_reference,
    suggest_contig,
)
from clair3.io.known_sites import KnownSites, read_sites, site_positions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunInputs:
    """What a run works on. contigs are those to call, in output order; none left is an ordinary outcome.

    targets  BED intervals (k, 2) or known sites (k,) of each contig as they were given, 0-based; None without
    known    what stands in the output for known sites that are not called; None without
    allowed  None, or per contig the positions where a candidate may lie: (k, 2) int64, sorted and disjoint
    """

    reference: Reference
    alignments: Alignments
    contigs: tuple[Contig, ...]
    allowed: dict[str, np.ndarray] | None
    targets: dict[str, np.ndarray] | None = None
    known: KnownSites | None = None


def check_inputs(
    bam: Path,
    fasta: Path,
    *,
    bed: Path | None = None,
    sites: Path | None = None,
    names: Iterable[str] | None = None,
    include_all: bool = False,
    min_contig_size: int = 0,
) -> RunInputs:
    """Check the inputs of a run and choose its contigs (spec/cli.md 4). Not both of bed and sites are given.

    Raises InputError naming the file, what is wrong with it and what to do; logs what is left out as warnings.
    """
    logger.info("Check environment variables")
    reference = read_reference(fasta)
    known = read_sites(sites, reference) if sites else None
    targets = read_bed(bed) if bed else None if known is None else site_positions(known)
    alignments = read_alignments(bam, reference)
    if names is not None:
        names = list(names)
        check_asked(reference, names, f"{reference.path}")
    if bed and targets:
        check_asked(reference, list(targets), f"{bed}, {reference.path}")
    explicit = explicit_contigs(names, targets, "--bed_fn" if bed else "--vcf_fn")
    if explicit is None:
        state = "enabled" if include_all else "not enabled, use chr{1..22,X,Y} and {1..22,X,Y} by default"
        logger.info("--include_all_ctgs %s", state)
    contigs = select_contigs(reference, alignments, explicit, include_all, min_contig_size)
    check_names(reference, contigs)
    check_lengths(alignments, reference, contigs)
    check_readable(alignments, reference, contigs)
    allowed = None
    if targets is not None:
        if not targets:
            logger.warning("%s: no rows, nothing will be called", bed or sites)
        if bed:
            warn_beyond_end(bed, targets, contigs)
        allowed_in = allowed_in_bed if bed else allowed_at_sites
        allowed = {contig.name: allowed_in(targets[contig.name], contig.length) for contig in contigs}
    return RunInputs(reference, alignments, tuple(contigs), allowed, targets, known)


def explicit_contigs(names: Iterable[str] | None, targets: dict | None, option: str) -> set[str] | None:
    """Contigs that the user names, by --ctg_name and by the BED or VCF file; None when neither is given."""
    if names is not None and targets is not None:
        logger.warning("both --ctg_name and %s provided, will only proceed contigs in intersection", option)
        return set(names) & set(targets)
    if names is not None:
        return set(names)
    return None if targets is None else set(targets)


def check_asked(reference: Reference, names: Sequence[str], where: str) -> None:
    """Raises InputError, with the nearest name, when none of these contigs is in the reference; where begins it."""
    known = {contig.name for contig in reference.contigs}
    if known & set(names):
        return
    what = f"no contig {names[0]}" if len(names) == 1 else f"none of the contigs {first_few(names)}"
    raise InputError(f"{where}: {what}; {suggest_contig(names[0], reference.lengths)}")


def select_contigs(
    reference: Reference, alignments: Alignments, explicit: set[str] | None, include_all: bool, min_size: int
) -> list[Contig]:
    """Contigs to call, in output order (spec/cli.md 4.1): those named explicitly, else all or the major ones.

    Warns about each contig left out, and when none is left. Raises InputError when reads and reference have no contig
    in common.
    """
    known = {contig.name for contig in reference.contigs}
    check_common(alignments, known)
    if unknown := sorted((explicit or set()) - known):
        warn_of_each(
            unknown,
            "Contig %s given but not found in reference fai file",
            "%d contigs given but not found in reference fai file: %s",
        )
    default = known | alignments.with_reads if include_all else set(MAJOR_CONTIGS)
    wanted = default if explicit is None else explicit
    if lost := sorted(wanted & alignments.with_reads - known):
        logger.warning(
            "%d contigs with mapped reads are not in the reference and not called: %s", len(lost), first_few(lost)
        )

    called, small, without_reads = [], [], []
    for contig in in_output_order(contig for contig in reference.contigs if contig.name in wanted):
        if contig.length < min_size:
            small.append(f"{contig.name} contig length {contig.length}")
        elif contig.name in alignments.with_reads:
            called.append(contig)
        else:
            without_reads.append(contig.name)
    limit = f"smaller than minimum contig size {min_size}"
    warn_of_each(small, f"%s is {limit}, will skip it!", f"%d contigs are {limit}, will skip them: %s")
    warn_of_each(
        without_reads,
        "Contig name %s provided but no mapped reads in BAM, skip!",
        "%d contigs provided but no mapped reads in BAM, skip: %s",
    )
    if not called:
        warn_of_none(without_reads, explicit is not None)
    return called


def warn_of_none(without_reads: Sequence[str], is_explicit: bool) -> None:
    """Say why no contig is called."""
    if without_reads:
        logger.warning("No mapped reads support in BAM for provided contigs set %s", first_few(without_reads))
    elif is_explicit:
        logger.warning("No contig of --bed_fn|--vcf_fn|--ctg_name is in the reference")
    else:
        logger.warning("No contig of the reference is called by default; use --ctg_name or --include_all_ctgs")


def warn_of_each(names: Sequence[str], one: str, many: str) -> None:
    """A warning for each name, in v2.0.2's words; when they are many, one with their number and the first of them."""
    if len(names) > NAMES_SHOWN:
        logger.warning(many, len(names), first_few(names))
        return
    for name in names:
        logger.warning(one, name)


PLAIN = re.compile("[!-~]+")
NOT_FIRST = "#*="
"""What names of contigs may not begin with in a VCF; a line that begins with # is no record."""

NOT_IN_VCF = frozenset(",<>\"'`\\()[]{}")
"""What they may not hold: readers of VCF refuse the header or lose records (VCF 4.3, 1.4.7)."""


def find_fault(name: str) -> str | None:
    """What is wrong with the name of a contig for a VCF; None for a name that it can hold."""
    if held := sorted(NOT_IN_VCF & set(name)):
        return "has a comma" if held == [","] else f"has {' '.join(held)}"
    if name[0] in NOT_FIRST:
        return f"begins with {name[0]}"
    return None if PLAIN.fullmatch(name) else "is no plain ASCII text"


def check_names(reference: Reference, contigs: list[Contig]) -> None:
    """Raises InputError for a contig whose name no VCF can hold."""
    for contig in contigs:
        if fault := find_fault(contig.name):
            raise InputError(
                f"{reference.path}: a VCF cannot hold the contig name {contig.name!r}, which {fault}; rename it in "
                "the FASTA and the reads, or choose others with --ctg_name"
            )


def warn_beyond_end(path: Path, intervals: dict[str, np.ndarray], contigs: list[Contig]) -> None:
    """Warn about BED intervals that reach beyond the end of their contig; they are cut there."""
    for contig in contigs:
        rows = intervals[contig.name]
        beyond = rows[rows[:, 1] > contig.length]
        if len(beyond):
            logger.warning(
                "%s: %d rows of %s reach beyond its end at %d and are cut there, the first is %d-%d",
                path, len(beyond), contig.name, contig.length, *beyond[0].tolist(),
            )  # fmt: skip
