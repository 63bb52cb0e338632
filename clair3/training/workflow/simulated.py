"""A model from reference sequence: genomes and reads are simulated, then the whole road is walked with them, and with
real reads where there are some (spec/training.md E.6). The default models are made so."""

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clair3.calling.output_folder import alone_in
from clair3.cli import simulate
from clair3.cli.arguments import add_switch, required_text
from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT
from clair3.io.atomic import make_folder, write_whole
from clair3.platforms import PLATFORMS
from clair3.simulate.aligner import find_aligner
from clair3.simulate.spike_in import REGIONS, TRUTH
from clair3.training import workflow
from clair3.training.trainer.options import read_options
from clair3.training.workflow.config import KINDS, read_lowest, read_networks, read_sample
from clair3.training.workflow.networks import (
    Parser,
    Section,
    existing,
    flag,
    listing,
    mapping,
    named,
    read_network,
    text,
    texts,
    whole,
)
from clair3.training.workflow.plan import STAGES
from clair3.training.workflow.steps import Road, Step
from clair3.util import log
from clair3.util.process import usable_threads

logger = logging.getLogger(__name__)

GENOMES, READS = "genomes", "reads"

RUN_SEED, GENOME_SEED = 1000, 100
"""Distances between the seeds of runs, and of the genomes of one seed on several references."""

OWN_OPTIONS = ("ref_fn", "truth", "output", "platform", "depth", "seed")
"""Options of `clair3 simulate reads` that follow from the rest of the recipe."""

ROAD_FILE = "road.yaml"
"""JSON is YAML, too, and keeps numbers as they are."""


@dataclass(frozen=True)
class Reference:
    """One contig to simulate on. fasta None: a made-up one of so many bases. variants: real ones to start from."""

    contig: str
    fasta: Path | None
    bases: int
    variants: Path | None


@dataclass(frozen=True)
class Genome:
    """Random variants per base between low and high; real: on top of the real ones."""

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
    """What is simulated, to train and to validate on, and the rest of the road's file, with samples of real reads."""

    output: Path
    platform: str
    threads: int
    seed: int
    references: tuple[Reference, ...]
    validation_references: tuple[Reference, ...]
    runs: tuple[Run, ...]
    validation_runs: tuple[Run, ...]
    samples: tuple[dict[str, Any], ...]
    road: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s RECIPE.yaml [options]"
    parser.add_argument("recipe", type=required_text, metavar="RECIPE.yaml", help="see docs/training.md")
    add_switch(parser, "--dry_run", help="print the steps of the simulation and their state; do nothing")
    parser.add_argument("--until", metavar="STAGE", choices=STAGES, help="as in train_multisample")


def run(args: argparse.Namespace) -> None:
    """Simulate what is missing, then walk the road. Raises ClairError; what was done stays and is not done again."""
    recipe = read_recipe(Path(args.recipe))
    simulation = Road(list(steps(recipe)), recipe.output / "simulation")
    if args.dry_run:
        print("\n".join(workflow.overview(simulation)))
        return
    make_folder(recipe.output)
    road = recipe.output / ROAD_FILE
    with alone_in(recipe.output):
        log.append_to(recipe.output / workflow.LOG_FILE)
        simulation.run(usable_threads(recipe.threads))
        write_whole({road: f"{json.dumps(workflow_file(recipe), indent=1)}\n".encode()})
    workflow.run(argparse.Namespace(config=str(road), dry_run=False, until=args.until))


# The recipe


def read_recipe(path: Path) -> Recipe:
    """The checked content of a file. Paths in it are relative to the current folder. Raises ConfigError, InputError."""
    top = Section(read_options(path), str(path))
    genomes = {genome.seed: genome for genome in read_genomes(top)}
    output, platform = Path(top.take("output", text)).absolute(), top.take("platform", text)
    if platform not in PLATFORMS:
        raise ConfigError(f"{path}: platform is {platform}; expected one of {', '.join(PLATFORMS)}")
    recipe = Recipe(
        output=output,
        platform=platform,
        threads=top.take("threads", whole(1), 1),
        seed=top.take("seed", whole(0), 1),
        references=tuple(read_references(top, "references")),
        validation_references=tuple(read_references(top, "validation_references")),
        runs=tuple(read_runs(top, "runs", genomes, platform)),
        validation_runs=tuple(read_runs(top, "validation_runs", genomes, platform)),
        samples=tuple(read_real_samples(top, platform)),
        road={name: value for name in ("pileup", "full_alignment", "model") if (value := top.take(name, mapping, {}))},
    )
    top.finish()
    check_networks(recipe.road, platform, str(path))
    return recipe


def check_networks(road: dict[str, Any], platform: str, where: str) -> None:
    """Raises ConfigError for options of the networks that the road would refuse, hours later. Checkpoints to begin with
    may not be there yet."""
    for kind in KINDS:
        values = {name: value for name, value in road.get(kind, {}).items() if name != "candidate_model"}
        section = Section(values, f"{where}, {kind}")
        train = section.take("train", mapping, {})
        section.values["train"] = {name: value for name, value in train.items() if name != "chkpnt_fn"}
        read_network(section, kind, platform, False)
        if kind == FULL_ALIGNMENT:
            read_lowest(section)
        section.finish()


def read_references(top: Section, name: str) -> Iterator[Reference]:
    """The references of a list; their contigs name folders, so that each is there once."""
    seen = set()
    for number, values in enumerate(top.take(name, listing), 1):
        section = Section(values, f"{top.where}, {name}, number {number}")
        contig, fasta = section.take("contig", text), section.take("fasta", existing, None)
        bases, variants = section.take("bases", whole(1000), 0), section.take("variants", existing, None)
        section.finish()
        if (fasta is None) == (bases == 0):
            raise ConfigError(f"{section.where}: give fasta, or bases for a made-up reference")
        if contig in seen:
            raise ConfigError(f"{section.where}: contig {contig} is there twice; take one of them out")
        seen.add(contig)
        yield Reference(contig, fasta, bases, variants)


def read_genomes(top: Section) -> Iterator[Genome]:
    """The genomes; runs name them by their seeds, so that each is there once."""
    seen = set()
    for number, values in enumerate(top.take("genomes", listing), 1):
        section = Section(values, f"{top.where}, genomes, number {number}")
        seed, density = section.take("seed", whole(1)), section.take("density", span)
        real = section.take("real", flag, False)
        section.finish()
        if seed in seen:
            raise ConfigError(f"{section.where}: seed {seed} is there twice; give each genome its own")
        seen.add(seed)
        yield Genome(seed, density, real)


def read_real_samples(top: Section, platform: str) -> Iterator[dict[str, Any]]:
    """The samples of real reads as the road takes them, looked at before hours of simulation."""
    outer = Section({"platform": platform}, top.where)
    for number, values in enumerate(top.take("samples", listing, ()), 1):
        section = Section(values, f"{top.where}, samples, number {number}", outer)
        read_sample(section, (), False)
        section.finish()
        yield values


def span(value: Any) -> tuple[float, float]:
    """Two numbers, the smaller first."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(one, int | float) for one in value):
        raise ValueError("two numbers")
    if not 0 <= value[0] <= value[1] <= 0.1:
        raise ValueError("two numbers from 0 to 0.1, the smaller first")
    return float(value[0]), float(value[1])


def read_runs(top: Section, name: str, genomes: dict[int, Genome], platform: str) -> Iterator[Run]:
    for number, values in enumerate(top.take(name, listing), 1):
        section = Section(values, f"{top.where}, {name}, number {number}")
        genome, depth = section.take("genome", whole(1)), section.take("depth", whole(1))
        options, networks = section.take("reads", texts, ()), read_networks(section)
        section.finish()
        if genome not in genomes:
            raise ConfigError(f"{section.where}: no genome has the seed {genome}")
        check_reads(f"{section.where}, reads", options, depth, platform)
        yield Run(number, genomes[genome], depth, tuple(f"--{option}" for option in options), networks)


def check_reads(where: str, options: tuple[str, ...], depth: int, platform: str) -> None:
    """Raises ConfigError, or InputError for a file, for words that `clair3 simulate reads` would refuse, which it would
    do only after the genomes are made."""
    parser = Parser()
    simulate.add_reads_arguments(parser)
    known = {action.dest for action in parser._actions if action.dest not in ("help", *OWN_OPTIONS)}
    for option in options:
        word = option.partition("=")[0]
        if word in OWN_OPTIONS:
            raise ConfigError(f"{where}: {option}: {word} follows from the rest of the recipe; leave it out")
        if word not in known:
            raise ConfigError(f"{where}: unknown word {option}; known are {', '.join(sorted(known))}")
    files = [f"--{name}=x" for name in ("ref_fn", "truth", "output")]
    try:
        with named(where):
            words = (f"--{option}" for option in options)
            args = parser.parse_args([*files, f"--platform={platform}", f"--depth={depth}", *words])
            simulate.chosen_rule(args)
            simulate.chosen_profile(args)
            if args.aligner:
                find_aligner(args.aligner)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


# Steps


@dataclass(frozen=True)
class Place:
    """Where the genome of a seed lies on one reference."""

    folder: Path
    reference: Reference
    genome: Genome
    seed: int

    @property
    def fasta(self) -> Path:
        return self.reference.fasta or self.folder / simulate.REFERENCE

    @property
    def truth(self) -> Path:
        return self.folder / TRUTH

    @property
    def bed(self) -> Path:
        return self.folder / REGIONS


@dataclass(frozen=True)
class Reads:
    """Those of a run on one reference; validation: to validate on, not to train."""

    run: Run
    place: Place
    bam: Path
    validation: bool


def iter_reads(recipe: Recipe) -> Iterator[Reads]:
    """The reads of every run on each of its references."""
    for what, runs, references in (
        ("train", recipe.runs, recipe.references),
        ("validate", recipe.validation_runs, recipe.validation_references),
    ):
        for run in runs:
            for i, reference in enumerate(references):
                folder = recipe.output / GENOMES / f"{what}_{run.genome.seed}_{reference.contig}"
                place = Place(folder, reference, run.genome, run.genome.seed + GENOME_SEED * i)
                bam = recipe.output / READS / f"{what}_{run.number}_{reference.contig}.bam"
                yield Reads(run, place, bam, what == "validate")


def steps(recipe: Recipe) -> Iterator[Step]:
    """The genomes, then the reads of every run."""
    yield from map(genome_step, dict.fromkeys(reads.place for reads in iter_reads(recipe)))
    for reads in iter_reads(recipe):
        run, place, bam = reads.run, reads.place, reads.bam
        options = (
            *(f"--ref_fn={place.fasta}", f"--truth={place.truth}", f"--platform={recipe.platform}"),
            *(f"--depth={run.depth}", *run.options, f"--output={bam}"),
            f"--seed={recipe.seed - 1 + RUN_SEED * run.number + run.genome.seed}",
        )
        command = ("simulate", "reads", *options)
        yield Step(READS, f"{READS}_{bam.stem}", (command,), (place.fasta, place.truth), (bam, Path(f"{bam}.bai")))


def genome_step(place: Place) -> Step:
    reference, genome = place.reference, place.genome
    source = f"--ref_fn={reference.fasta}" if reference.fasta else f"--contigs={reference.contig}={reference.bases}"
    real = reference.variants if genome.real else None
    options = (
        *(source, *([f"--variants={real}"] if real else [])),
        *("--density", *map(str, genome.density), f"--output={place.folder}", f"--seed={place.seed}"),
    )
    outputs = (place.truth, place.bed) if reference.fasta else (place.truth, place.bed, place.fasta)
    inputs = tuple(path for path in (reference.fasta, real) if path)
    return Step(GENOMES, f"{GENOMES}_{place.folder.name}", (("simulate", "genome", *options),), inputs, outputs)


def workflow_file(recipe: Recipe) -> dict[str, Any]:
    """The file of the road: a sample for each BAM. Nothing is held out by its name, for what is held out was not
    simulated."""
    samples = []
    for reads in iter_reads(recipe):
        place = reads.place
        files = {"bam": reads.bam, "reference": place.fasta, "truth": place.truth, "bed": place.bed}
        contigs = {"validation_contigs" if reads.validation else "contigs": [place.reference.contig]}
        said = {"name": reads.bam.stem, "phased": True, "networks": list(reads.run.networks), **contigs}
        samples.append(said | {name: str(path) for name, path in files.items()})
    top = {"platform": recipe.platform, "threads": recipe.threads, "seed": recipe.seed, "exclude_contigs": "none"}
    return {"output": str(recipe.output / "road"), **top, "samples": [*samples, *recipe.samples], **recipe.road}
