"""The depths at which a sample is used, as fractions of its reads (spec/training.md A.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import pysam

from clair3.errors import ConfigError, InputError
from clair3.io.fasta import Contig
from clair3.io.inputs import RunInputs, open_alignments

POSITIONS, SAMPLED_READS = 20, 500
"""Positions of each contig at which alignments are measured for their mean length, and alignments at each."""

ENOUGH = 0.95
"""Share of a wanted coverage that the estimated depth of a file must reach."""

FULL = 1000
"""Label of all reads: fractions are named in thousandths."""


@dataclass(frozen=True)
class Depth:
    """A fraction of the reads and what it is called in file names: its thousandths, or the coverage with an x."""

    label: str
    fraction: float


def select_depths(
    inputs: RunInputs,
    contigs: Sequence[Contig],
    fractions: Sequence[float] | None,
    coverages: Sequence[float] | None,
    where: str,
) -> tuple[Depth, ...]:
    """Return the depths that fractions or coverages ask for; all reads without either.

    Raises ConfigError when both are given, a fraction is too small for a name, or the file is not as deep as that.
    """
    if fractions and coverages:
        raise ConfigError(f"{where}: fractions and coverages exclude each other; give one of them")
    if coverages is None:
        labels = [f"{FULL * fraction:g}" for fraction in fractions or (1.0,)]
        return tuple(Depth(label, fraction) for label, fraction in zip(labels, fractions or (1.0,), strict=True))
    depth = mean_depth(inputs, contigs)
    if max(coverages) * ENOUGH > depth:
        path = inputs.alignments.path
        raise ConfigError(f"{where}: coverage {max(coverages):g} is wanted, {path} has about {depth:.1f}")
    return tuple(Depth(f"{one:g}x", min(1.0, float(f"{one / depth:.3g}"))) for one in coverages)


def mean_depth(inputs: RunInputs, contigs: Sequence[Contig]) -> float:
    """Estimate the mean depth of the contigs from the counts of the index and the lengths of some alignments.

    Raises InputError when the index has no counts.
    """
    alignments = inputs.alignments
    with open_alignments(alignments.path, alignments.index, inputs.reference) as file:
        try:
            counts = {row.contig: row.mapped for row in file.get_index_statistics()}
        except (AttributeError, ValueError):
            counts = {}
        if not any(counts.get(contig.name) for contig in contigs):
            raise InputError(f"{alignments.index}: does not count the reads; give fractions in place of coverages")
        bases = sum(counts[contig.name] * mean_length(file, contig) for contig in contigs)
    return bases / sum(contig.length for contig in contigs)


def mean_length(file: pysam.AlignmentFile, contig: Contig) -> float:
    """Estimate the mean number of reference bases under an alignment; secondary and supplementary alignments count as 0
    bases."""
    lengths = []
    for start in range(0, contig.length, -(-contig.length // POSITIONS)):
        # those that begin here: long ones would be met more often otherwise
        begun = (read for read in file.fetch(contig.name, start) if read.reference_start >= start)
        for read in islice(begun, SAMPLED_READS):
            lengths.append(0 if read.is_secondary or read.is_supplementary else read.reference_length or 0)
    return sum(lengths) / max(1, len(lengths))
