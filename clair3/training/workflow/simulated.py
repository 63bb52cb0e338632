"""`train_simulated`: simulate genomes and reads by a recipe, then run the training workflow with them, and with real
reads where there are some (spec/training.md E.6). The default models are made so."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clair3.calling.output_folder import alone_in
from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT
from clair3.io.atomic import make_folder, write_whole
from clair3.platforms import PLATFORMS
from clair3.simulate.genome_files import REFERENCE, REGIONS, TRUTH
from clair3.training.workflow.config import KINDS, read_config, read_lowest, read_networks, read_sample
from clair3.training.workflow.networks import CommandOptions, OptionChecks, prefix_errors, read_network
from clair3.training.workflow.plan import LOG_FILE, train_multisample
from clair3.training.workflow.sections import (
    Section,
    parse_file,
    parse_flag,
    parse_list,
    parse_mapping,
    parse_text,
    parse_texts,
    read_mapping,
    whole_from,
)
from clair3.training.workflow.steps import Step, Workflow
from clair3.util import log
from clair3.util.process import usable_threads

logger = logging.getLogger(__name__)

GENOMES, READS = "genomes", "reads"

RUN_SEED, GENOME_SEED = 1000, 100
"""Distances between the seeds of runs, and of the genomes of one seed on several references."""

OWN_OPTIONS = ("ref_fn", "truth", "output", "platform", "depth", "seed")
"""Options of `clair3 simulate reads` that follow from the rest of the recipe."""

CONFIG_FILE, MODEL_FOLDER = "workflow.yaml", "workflow"
"""Configuration of the training workflow and its output folder, by the names that earlier versions gave them; the
configuration is written as JSON, which is YAML, too, and keeps numbers as they are."""


@dataclass(frozen=True)
class Reference:
    """A contig to simulate on. fasta None: a made-up contig of so many bases. variants: a VCF of real variants to start
    from."""

    contig: str
    fasta: Path | None
    bases: int
    variants: Path | None


@dataclass(frozen=True)
class Genome:
    """A genome with random variants; density: lowest and highest number per base; real: on top of the real variants."""

    seed: int
    density: tuple[float, float]
    real: bool


@dataclass(frozen=True)
class Run:
    """Reads of one genome at one depth, on every reference, to train these networks with.

    options: further ones of `clair3 simulate reads`.
    """

    number: int
    genome: Genome
    depth: int
    options: tuple[str, ...]
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """What is simulated, to train and to validate on, and the rest of the training workflow's configuration, with its
    samples of real reads."""

    output: Path
    platform: str
    threads: int
    seed: int
    references: tuple[Reference, ...]
    validation_references: tuple[Reference, ...]
    runs: tuple[Run, ...]
    validation_runs: tuple[Run, ...]
    samples: tuple[dict[str, Any], ...]
    others: dict[str, Any]


def make_simulation(recipe: Recipe) -> Workflow:
    """Make the workflow that simulates the genomes and reads of a recipe. Raises InputError for a file of the user."""
    return Workflow(list(iter_steps(recipe)), recipe.output / "simulation")


def train_simulated(recipe: Recipe, checks: OptionChecks, until: str | None = None) -> None:
    """Simulate the genomes and reads that are missing, then run the training workflow with them, up to a stage.

    checks: those of the commands that the training workflow will start. Raises ClairError; finished steps are not run
    again.
    """
    simulation, config = make_simulation(recipe), recipe.output / CONFIG_FILE
    make_folder(recipe.output)
    with alone_in(recipe.output):
        log.append_to(recipe.output / LOG_FILE)
        simulation.run(usable_threads(recipe.threads))
        write_whole({config: f"{json.dumps(make_workflow_file(recipe), indent=1)}\n".encode()})
    train_multisample(read_config(config, checks), until)


# The recipe


def read_recipe(path: Path, checks: OptionChecks) -> Recipe:
    """Read and check a recipe. Paths in it are relative to the current folder. Raises ConfigError or InputError."""
    top = Section(read_mapping(path), str(path))
    genomes = {genome.seed: genome for genome in read_genomes(top)}
    output, platform = Path(top.take("output", parse_text)).absolute(), top.take("platform", parse_text)
    if platform not in PLATFORMS:
        raise ConfigError(f"{path}: platform is {platform}; expected one of {', '.join(PLATFORMS)}")
    recipe = Recipe(
        output=output,
        platform=platform,
        threads=top.take("threads", whole_from(1), 1),
        seed=top.take("seed", whole_from(0), 1),
        references=tuple(read_references(top, "references")),
        validation_references=tuple(read_references(top, "validation_references")),
        runs=tuple(read_runs(top, "runs", genomes, platform, checks.reads)),
        validation_runs=tuple(read_runs(top, "validation_runs", genomes, platform, checks.reads)),
        samples=tuple(read_real_samples(top, platform)),
        others={name: value for name in (*KINDS, "model") if (value := top.take(name, parse_mapping, {}))},
    )
    top.finish()
    check_networks(recipe.others, platform, str(path), checks)
    return recipe


def check_networks(options: dict[str, Any], platform: str, where: str, checks: OptionChecks) -> None:
    """Raises ConfigError for options of the networks that the training workflow would refuse, hours later. Checkpoints
    to start from may not be there yet."""
    for kind in KINDS:
        values = {name: value for name, value in options.get(kind, {}).items() if name != "candidate_model"}
        section = Section(values, f"{where}, {kind}")
        train = section.take("train", parse_mapping, {})
        section.values["train"] = {name: value for name, value in train.items() if name != "chkpnt_fn"}
        read_network(section, kind, platform, False, checks)
        if kind == FULL_ALIGNMENT:
            read_lowest(section)
        section.finish()


def read_references(top: Section, name: str) -> Iterator[Reference]:
    """Read the references of a list. Raises ConfigError when two have one contig, because contigs name folders."""
    seen = set()
    for number, values in enumerate(top.take(name, parse_list), 1):
        section = Section(values, f"{top.where}, {name}, number {number}")
        contig, fasta = section.take("contig", parse_text), section.take("fasta", parse_file, None)
        bases, variants = section.take("bases", whole_from(1000), 0), section.take("variants", parse_file, None)
        section.finish()
        if (fasta is None) == (bases == 0):
            raise ConfigError(f"{section.where}: give fasta, or bases for a made-up reference")
        if contig in seen:
            raise ConfigError(f"{section.where}: contig {contig} is there twice; take one of them out")
        seen.add(contig)
        yield Reference(contig, fasta, bases, variants)


def read_genomes(top: Section) -> Iterator[Genome]:
    """Read the genomes. Raises ConfigError when two have one seed, because runs name genomes by their seeds."""
    seen = set()
    for number, values in enumerate(top.take("genomes", parse_list), 1):
        section = Section(values, f"{top.where}, genomes, number {number}")
        seed, density = section.take("seed", whole_from(1)), section.take("density", parse_density)
        real = section.take("real", parse_flag, False)
        section.finish()
        if seed in seen:
            raise ConfigError(f"{section.where}: seed {seed} is there twice; give each genome its own")
        seen.add(seed)
        yield Genome(seed, density, real)


def read_real_samples(top: Section, platform: str) -> Iterator[dict[str, Any]]:
    """Read the samples of real reads as the training workflow takes them, checked before hours of simulation."""
    outer = Section({"platform": platform}, top.where)
    for number, values in enumerate(top.take("samples", parse_list, ()), 1):
        section = Section(values, f"{top.where}, samples, number {number}", outer)
        read_sample(section, (), False)
        section.finish()
        yield values


def parse_density(value: Any) -> tuple[float, float]:
    """Return two numbers of variants per base, the smaller first. Raises ValueError."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(one, int | float) for one in value):
        raise ValueError("two numbers")
    if not 0 <= value[0] <= value[1] <= 0.1:
        raise ValueError("two numbers from 0 to 0.1, the smaller first")
    return float(value[0]), float(value[1])


def read_runs(
    top: Section, name: str, genomes: dict[int, Genome], platform: str, command: CommandOptions
) -> Iterator[Run]:
    """Read the runs of a list; command: `clair3 simulate reads`. Raises ConfigError or InputError."""
    for number, values in enumerate(top.take(name, parse_list), 1):
        section = Section(values, f"{top.where}, {name}, number {number}")
        genome, depth = section.take("genome", whole_from(1)), section.take("depth", whole_from(1))
        options, networks = section.take("reads", parse_texts, ()), read_networks(section)
        section.finish()
        if genome not in genomes:
            raise ConfigError(f"{section.where}: no genome has the seed {genome}")
        check_reads(f"{section.where}, reads", options, depth, platform, command)
        yield Run(number, genomes[genome], depth, tuple(f"--{option}" for option in options), networks)


def check_reads(where: str, options: tuple[str, ...], depth: int, platform: str, command: CommandOptions) -> None:
    """Raises ConfigError, or InputError for a file, for words that `clair3 simulate reads` would refuse, which it would
    do only after the genomes are made."""
    known = command.names.difference(OWN_OPTIONS)
    for option in options:
        word = option.partition("=")[0]
        if word in OWN_OPTIONS:
            raise ConfigError(f"{where}: {option}: {word} follows from the rest of the recipe; leave it out")
        if word not in known:
            raise ConfigError(f"{where}: unknown word {option}; known are {', '.join(sorted(known))}")
    files = [f"--{name}=x" for name in ("ref_fn", "truth", "output")]
    try:
        with prefix_errors(where):
            command.check([*files, f"--platform={platform}", f"--depth={depth}", *(f"--{one}" for one in options)])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


# Steps


@dataclass(frozen=True)
class GenomeFiles:
    """The files of the genome of a seed on one reference."""

    folder: Path
    reference: Reference
    genome: Genome
    seed: int

    @property
    def fasta(self) -> Path:
        return self.reference.fasta or self.folder / REFERENCE

    @property
    def truth(self) -> Path:
        return self.folder / TRUTH

    @property
    def bed(self) -> Path:
        return self.folder / REGIONS


@dataclass(frozen=True)
class SimulatedReads:
    """The reads of a run on one reference; validation: to validate on, not to train."""

    run: Run
    genome: GenomeFiles
    bam: Path
    validation: bool


def iter_reads(recipe: Recipe) -> Iterator[SimulatedReads]:
    """Yield the reads of every run on each of its references."""
    for what, runs, references in (
        ("train", recipe.runs, recipe.references),
        ("validate", recipe.validation_runs, recipe.validation_references),
    ):
        for run in runs:
            for i, reference in enumerate(references):
                folder = recipe.output / GENOMES / f"{what}_{run.genome.seed}_{reference.contig}"
                genome = GenomeFiles(folder, reference, run.genome, run.genome.seed + GENOME_SEED * i)
                bam = recipe.output / READS / f"{what}_{run.number}_{reference.contig}.bam"
                yield SimulatedReads(run, genome, bam, what == "validate")


def iter_steps(recipe: Recipe) -> Iterator[Step]:
    """Yield the steps that simulate the genomes, then those for the reads of every run."""
    yield from map(make_genome_step, dict.fromkeys(reads.genome for reads in iter_reads(recipe)))
    for reads in iter_reads(recipe):
        run, genome, bam = reads.run, reads.genome, reads.bam
        options = (
            *(f"--ref_fn={genome.fasta}", f"--truth={genome.truth}", f"--platform={recipe.platform}"),
            *(f"--depth={run.depth}", *run.options, f"--output={bam}"),
            f"--seed={recipe.seed - 1 + RUN_SEED * run.number + run.genome.seed}",
        )
        command = ("simulate", "reads", *options)
        yield Step(READS, f"{READS}_{bam.stem}", (command,), (genome.fasta, genome.truth), (bam, Path(f"{bam}.bai")))


def make_genome_step(files: GenomeFiles) -> Step:
    """Make the step that simulates one genome on one reference."""
    reference, genome = files.reference, files.genome
    source = f"--ref_fn={reference.fasta}" if reference.fasta else f"--contigs={reference.contig}={reference.bases}"
    real = reference.variants if genome.real else None
    options = (
        *(source, *([f"--variants={real}"] if real else [])),
        *("--density", *map(str, genome.density), f"--output={files.folder}", f"--seed={files.seed}"),
    )
    outputs = (files.truth, files.bed) if reference.fasta else (files.truth, files.bed, files.fasta)
    inputs = tuple(path for path in (reference.fasta, real) if path)
    return Step(GENOMES, f"{GENOMES}_{files.folder.name}", (("simulate", "genome", *options),), inputs, outputs)


def make_workflow_file(recipe: Recipe) -> dict[str, Any]:
    """Make the configuration of the training workflow: a sample for each BAM. No contig is held out by its name, for
    what is held out was not simulated."""
    samples = []
    for reads in iter_reads(recipe):
        genome = reads.genome
        files = {"bam": reads.bam, "reference": genome.fasta, "truth": genome.truth, "bed": genome.bed}
        contigs = {"validation_contigs" if reads.validation else "contigs": [genome.reference.contig]}
        sample = {"name": reads.bam.stem, "phased": True, "networks": list(reads.run.networks), **contigs}
        samples.append(sample | {name: str(path) for name, path in files.items()})
    top = {"platform": recipe.platform, "threads": recipe.threads, "seed": recipe.seed, "exclude_contigs": "none"}
    return {"output": str(recipe.output / MODEL_FOLDER), **top, "samples": [*samples, *recipe.samples], **recipe.others}
