"""The depths at which a sample is used, as fractions of its reads (spec/training.md A.1)."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pysam

from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.inference.checkpoint import load_model
from clair3.io.alignments import open_alignments
from clair3.io.bed import read_bed
from clair3.io.fasta import Contig, other_spelling, read_reference
from clair3.io.first_reads import check_moves
from clair3.io.inputs import RunInputs, check_inputs
from clair3.models.assemble import CARD_OPTIONS
from clair3.models.registry import NAME
from clair3.platforms import DEFAULT_PLATFORM, PLATFORMS
from clair3.training.data.truth import iter_records
from clair3.training.trainer.config import TrainingConfig
from clair3.training.workflow.networks import NetworkOptions, OptionChecks, read_network
from clair3.training.workflow.sections import (
    Section,
    numbers_up_to,
    parse_file,
    parse_flag,
    parse_list,
    parse_mapping,
    parse_text,
    parse_texts,
    read_mapping,
    whole_from,
)

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


CHUNK_SIZE = 20_000_000

KINDS = (PILEUP, FULL_ALIGNMENT)


@dataclass(frozen=True)
class Sample:
    """One sample. bed None: the truth is complete everywhere. Contigs in the order of the reference.

    phased: the truth says which haplotype each allele is on, along whole contigs; else the reads tell.
    networks: those that the sample is for.
    """

    name: str
    platform: str
    bam: Path
    truth: Path
    bed: Path | None
    phased: bool
    reference: Path
    contigs: tuple[Contig, ...]
    validation_contigs: tuple[Contig, ...]
    depths: tuple[Depth, ...]
    networks: tuple[str, ...]


@dataclass(frozen=True)
class WorkflowConfig:
    """The configuration of a training workflow.

    chunk_size        bases of a contig that one step makes tensors of
    exclude_contigs   held out: rows of them train no network
    unify             rewrite the truth the way the alignments show it
    candidate_model   pileup network that chooses the candidates for full alignment; None: the one trained here
    lowest            shares of the reference calls and variants of lowest quality that become candidates
    card              options of assemble_model: what model.json says
    """

    output: Path
    threads: int
    seed: int
    chunk_size: int
    exclude_contigs: tuple[str, ...]
    unify: bool
    dwell: bool
    samples: tuple[Sample, ...]
    networks: dict[str, NetworkOptions]
    candidate_model: Path | None
    lowest: tuple[float, float]
    card: tuple[str, ...]

    @property
    def platform(self) -> str:
        return self.samples[0].platform

    @property
    def validates(self) -> bool:
        """Whether contigs are held back for validation, of each network; else it is a tenth of each bin."""
        held_back = [sample.networks for sample in self.samples if sample.validation_contigs]
        return all(any(kind in networks for networks in held_back) for kind in KINDS)


def read_config(path: Path, checks: OptionChecks) -> WorkflowConfig:
    """Read and check a configuration file. Paths in it are relative to the current folder.

    checks: those of the commands that the workflow will start. Raises ConfigError or InputError with a line that says
    what is wrong and where.
    """
    top = Section(read_mapping(path), str(path))
    excluded = top.take("exclude_contigs", parse_texts_or_none, TrainingConfig.exclude_contigs)
    dwell = top.take("dwell", parse_flag, False)
    samples = read_samples(top, excluded, dwell)
    platform = samples[0].platform
    pileup, full = (Section(top.take(kind, parse_mapping, {}), f"{path}, {kind}") for kind in KINDS)
    networks = {
        PILEUP: read_network(pileup, PILEUP, platform, False, checks),
        FULL_ALIGNMENT: read_network(full, FULL_ALIGNMENT, platform, dwell, checks),
    }
    candidate_model, lowest = full.take("candidate_model", parse_file, None), read_lowest(full)
    pileup.finish()
    full.finish()
    if candidate_model is not None:
        load_model(candidate_model, PILEUP)
    config = WorkflowConfig(
        output=Path(os.path.abspath(top.take("output", parse_text))),
        threads=top.take("threads", whole_from(1), 1),
        seed=top.take("seed", whole_from(0), 1),
        chunk_size=top.take("chunk_size", whole_from(1), CHUNK_SIZE),
        exclude_contigs=excluded,
        unify=top.take("unify", parse_flag, False),
        dwell=dwell,
        samples=samples,
        networks=networks,
        candidate_model=candidate_model,
        lowest=lowest,
        card=read_card(Section(top.take("model", parse_mapping, {}), f"{path}, model")),
    )
    top.finish()
    return config


def parse_texts_or_none(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, none for `none` or an empty list. Raises ValueError."""
    return () if value == [] or value == "none" else parse_texts(value)


# Samples


def read_samples(top: Section, excluded: Sequence[str], dwell: bool) -> tuple[Sample, ...]:
    """Read the samples; a name that a sample lacks is taken from the top of the file.

    Raises ConfigError or InputError; also when no contig is left to train on, or the samples are of two platforms.
    """
    samples = []
    for number, values in enumerate(top.take("samples", parse_list), 1):
        section = Section(values, f"{top.where}, samples, number {number}", top)
        samples.append(read_sample(section, excluded, dwell))
        section.finish()
    names = [sample.name for sample in samples]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{top.where}: two samples are called {twice}; give each a name of its own")
    if len(platforms := {sample.platform for sample in samples}) > 1:
        raise ConfigError(f"{top.where}: samples of {' and '.join(sorted(platforms))}; a model is for one platform")
    for kind in KINDS:
        if not any(sample.contigs and kind in sample.networks for sample in samples):
            raise ConfigError(f"{top.where}: no sample has contigs to train {kind} on")
    return tuple(samples)


def read_sample(section: Section, excluded: Sequence[str], dwell: bool) -> Sample:
    """Read one sample and check that its files fit together. Raises ConfigError or InputError."""
    name = section.take("name", parse_text)
    if not NAME.fullmatch(name):
        raise ConfigError(f"{section.where}: name is {name!r}; expected letters, digits and . _ + - only")
    platform = read_platform(section, dwell)
    bam, truth, reference = (section.take(key, parse_file) for key in ("bam", "truth", "reference"))
    bed, phased = section.take("bed", parse_file, None), section.take("phased", parse_flag, False)
    train, validate = read_contig_names(section, name, excluded)
    wanted = (*train, *validate)
    known = {contig.name: contig for contig in read_reference(reference).contigs}
    check_contigs(wanted, known, reference)
    inputs = check_inputs(bam, reference, names=wanted)
    check_contigs(wanted, [contig.name for contig in inputs.contigs], bam)
    if dwell:
        check_moves(inputs.alignments, inputs.reference)
    check_contigs(wanted, read_vcf_contigs(truth), truth)
    if bed is not None:
        check_contigs(wanted, read_bed(bed), bed)
    contigs, validation = (tuple(known[one] for one in known if one in chosen) for chosen in (train, validate))
    depths, networks = read_depths(section, inputs, (*contigs, *validation)), read_networks(section)
    return Sample(name, platform, bam, truth, bed, phased, reference, contigs, validation, depths, networks)


def read_platform(section: Section, dwell: bool) -> str:
    """Read the platform of a sample. Raises ConfigError for an unknown one, or one without dwell time."""
    platform = section.take("platform", parse_text, DEFAULT_PLATFORM)
    if platform not in PLATFORMS:
        raise ConfigError(f"{section.where}: platform is {platform!r}; expected one of {', '.join(PLATFORMS)}")
    if dwell and not PLATFORMS[platform].move_tables:
        raise ConfigError(f"{section.where}: dwell is for platform ont, this sample is {platform}")
    return platform


def read_contig_names(section: Section, sample: str, excluded: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Read the contigs to train on and to validate on. Raises ConfigError when there are none, or when one is in both
    or held out."""
    train, validate = (section.take(key, parse_texts_or_none, ()) for key in ("contigs", "validation_contigs"))
    if not train and not validate:
        raise ConfigError(f"{section.where}: contigs is missing: which contigs of {sample} are trained on?")
    if both := set(train) & set(validate):
        raise ConfigError(f"{section.where}: {min(both)} is in contigs and in validation_contigs; keep it in one")
    if held_out := set(train) & set(excluded):
        raise ConfigError(
            f"{section.where}: {min(held_out)} is in contigs, but held out for tests by exclude_contigs "
            f"({', '.join(excluded)}); leave it out, or write exclude_contigs: none"
        )
    return train, validate


def read_depths(section: Section, inputs: RunInputs, contigs: Sequence[Contig]) -> tuple[Depth, ...]:
    """Read the depths of a sample, given as shares of its reads or as coverages. Raises ConfigError or InputError."""
    fractions = section.take("fractions", numbers_up_to(1), None)
    coverages = section.take("coverages", numbers_up_to(math.inf), None)
    if len(own := {"fractions", "coverages"} & section.values.keys()) == 1:  # overrules either of them at the top
        fractions, coverages = (fractions, None) if own == {"fractions"} else (None, coverages)
    return select_depths(inputs, contigs, fractions, coverages, section.where)


def read_networks(section: Section) -> tuple[str, ...]:
    """Read the kinds of networks that a sample or run is for; without the name, all. Raises ConfigError for other
    words."""
    networks = section.take("networks", parse_texts, KINDS)
    if unknown := set(networks) - set(KINDS):
        raise ConfigError(f"{section.where}: networks has {min(unknown)}; known are {', '.join(KINDS)}")
    return networks


def check_contigs(wanted: Iterable[str], known: Iterable[str], path: Path) -> None:
    """Raises InputError when a file has nothing on one of the contigs, naming the other spelling if it has that."""
    known = set(known)
    for name in wanted:
        if name not in known:
            other = other_spelling(name)
            hint = f"it calls it {other}; use files of one assembly" if other in known else "take it out of the contigs"
            raise InputError(f"{path}: nothing on contig {name}; {hint}")


def read_vcf_contigs(path: Path) -> set[str]:
    """Return the contigs of the records of a VCF. Raises InputError when it is no VCF, or has no genotypes."""
    first = next(iter_records(path), None)  # looks for genotypes, too
    if first is None:
        raise InputError(f"{path}: no variants in it")
    if any(Path(f"{path}{suffix}").is_file() for suffix in (".tbi", ".csi")):
        try:
            with pysam.TabixFile(str(path)) as file:
                return set(file.contigs)
        except (OSError, ValueError):
            pass  # an index that does not fit: look at the rows
    return {record[0] for record in iter_records(path)}


# Options of other commands


def read_lowest(section: Section) -> tuple[float, float]:
    """Read the shares of the reference calls and variants of lowest quality that become candidates
    (spec/training.md A.6). Raises ConfigError."""
    candidates = Section(section.take("candidates", parse_mapping, {}), f"{section.where}, candidates")
    shares = {"ref_pct_full": (0.15,), "var_pct_full": (1.0,)}
    reference, variants = (candidates.take(name, numbers_up_to(1), default)[0] for name, default in shares.items())
    candidates.finish()
    return reference, variants


def read_card(section: Section) -> tuple[str, ...]:
    """Read the fields of model.json, as options of assemble_model. Raises ConfigError."""
    fields = {name: section.take(name, parse_texts, None) for name in CARD_OPTIONS}
    section.finish()
    return tuple(f"--{name}={','.join(value)}" for name, value in fields.items() if value)
