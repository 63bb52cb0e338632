"""From a configuration to the steps of its training workflow, in order (spec/training.md A.0)."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clair3.calling.output_folder import alone_in
from clair3.calling.tasks import digest_values, file_name
from clair3.errors import UsageError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.io.atomic import make_folder, write_lines
from clair3.io.fasta import Contig
from clair3.models.registry import CARD_FILE, NETWORK_FILES
from clair3.training.trainer.checkpoints import BEST
from clair3.training.workflow.config import Depth, Sample, WorkflowConfig
from clair3.training.workflow.steps import Step, Workflow
from clair3.util import log
from clair3.util.process import usable_threads

READS, PHASING, TRUTH, UNIFICATION, UNIFIED = "reads", "phasing", "truth", "unification", "unified_truth"
CALLS, CANDIDATES, MODEL = "pileup_calls", "candidates", "model"
TENSORS, BINS, TRAINING = "tensors", "bins", "model"
"""Second halves of the names of stages that each network has: pileup_tensors ... full_alignment_model."""

STAGES = (
    *(READS, PHASING, TRUTH, UNIFICATION, UNIFIED),
    *(f"{PILEUP}_{what}" for what in (TENSORS, BINS, TRAINING)),
    *(CALLS, CANDIDATES),
    *(f"{FULL_ALIGNMENT}_{what}" for what in (TENSORS, BINS, TRAINING)),
    MODEL,
)

CONTIGS = "CONTIGS"
"""File with the names of all contigs, for SortVcf."""


@dataclass(frozen=True)
class Unit:
    """The reads of a sample, at one depth, on one contig. trains: else they validate."""

    sample: Sample
    depth: Depth
    contig: Contig
    trains: bool

    @property
    def name(self) -> str:
        return f"{self.sample.name}_{self.depth.label}_{file_name(self.contig.name)}"

    @property
    def options(self) -> tuple[str, ...]:
        """Contig and reference, as most commands want them."""
        return f"--ctgName={self.contig.name}", f"--ref_fn={self.sample.reference}"


def plan(config: WorkflowConfig) -> list[Step]:
    """Return every step of the training workflow of a configuration, in order."""
    planner = Planner(config)
    return [
        *planner.reads(),
        *planner.phasing(),
        *planner.truth(),
        *(planner.unification() if config.unify else ()),
        *planner.network(PILEUP),
        *planner.calls(),
        *planner.candidates(),
        *planner.network(FULL_ALIGNMENT),
        planner.model(),
    ]


class Planner:
    """Makes the steps of a configuration; the methods named after files say where these lie."""

    def __init__(self, config: WorkflowConfig):
        self.config, self.output = config, config.output
        self.units = [
            Unit(sample, depth, contig, contig in sample.contigs)
            for sample in config.samples
            for depth in sample.depths
            for contig in (*sample.contigs, *sample.validation_contigs)
        ]

    def network_units(self, kind: str) -> list[Unit]:
        """The units that a network is trained or validated with."""
        return [unit for unit in self.units if kind in unit.sample.networks]

    # Files

    def bam(self, unit: Unit) -> Path:
        return self.output / "reads" / f"{unit.name}.bam" if self.is_cut(unit) else unit.sample.bam

    def is_cut(self, unit: Unit) -> bool:
        """Whether the reads are copied: for unification also whole, for they are tagged and written again there."""
        return unit.depth.fraction < 1 or self.config.unify

    def phased(self, unit: Unit) -> Path:
        return self.output / "phased" / f"{unit.name}.vcf.gz"

    def tagged(self, unit: Unit) -> Path:
        return self.output / "tagged" / f"{unit.name}.bam"

    def known(self, unit: Unit) -> Path:
        """The truth as the sample has it; one file for all depths."""
        return self.output / "truth" / f"var_{unit.sample.name}_{file_name(unit.contig.name)}"

    def var(self, unit: Unit) -> Path:
        """The truth that labels."""
        return self.unified(unit) / f"var_{unit.name}" if self.config.unify else self.known(unit)

    def unified(self, unit: Unit) -> Path:
        return self.output / "unified" / unit.name

    def unified_part(self, unit: Unit, part: int) -> Path:
        """SortVcf takes all of a folder, so parts of another cut lie elsewhere."""
        return self.unified(unit) / f"parts_{len(self.parts(unit))}" / f"{unit.name}_{part}.vcf"

    def calls_path(self, unit: Unit) -> Path:
        return self.output / "calls" / f"{unit.name}.vcf"

    def candidate_paths(self, unit: Unit) -> list[Path]:
        """As SelectHetSnp names them."""
        name = f"{unit.sample.name}_{unit.depth.label}_{unit.contig.name}"
        return [self.output / "candidates" / f"{name}_{part}" for part in self.parts(unit)]

    def bins(self, kind: str, trains: bool) -> Path:
        return self.output / kind / ("bins" if trains else "validation_bins")

    def bin(self, kind: str, unit: Unit) -> Path:
        return self.bins(kind, unit.trains) / f"bin_{unit.name}"

    def tensors(self, kind: str, unit: Unit) -> list[Path]:
        """Bins of the parts of a contig; of an undivided one that is the bin itself."""
        parts = self.parts(unit)
        if len(parts) == 1:
            return [self.bin(kind, unit)]
        return [self.output / kind / "tensors" / f"tensor_{unit.name}_{part}" for part in parts]

    def checkpoint(self, kind: str) -> Path:
        return self.output / kind / "model" / BEST

    def parts(self, unit: Unit) -> range:
        """Numbers of the parts of a contig, from 1."""
        return range(1, max(1, -(-unit.contig.length // self.config.chunk_size)) + 1)

    # Steps

    def reads(self) -> Iterator[Step]:
        for unit in self.units:
            if self.is_cut(unit):
                bam = self.bam(unit)
                options = (f"--fraction={unit.depth.fraction:g}", f"--seed={self.config.seed}", f"--output_fn={bam}")
                command = ("subsample", f"--bam_fn={unit.sample.bam}", *unit.options, *options)
                inputs = (unit.sample.bam, unit.sample.reference)
                yield Step(READS, f"{READS}_{unit.name}", (command,), inputs, (bam, Path(f"{bam}.bai")))

    def phasing(self) -> Iterator[Step]:
        for unit in self.units if self.config.unify else self.network_units(FULL_ALIGNMENT):
            files = (f"--bam_fn={self.bam(unit)}", f"--vcf_fn={unit.sample.truth}", f"--output_fn={self.phased(unit)}")
            outputs = [self.phased(unit)]
            if self.config.unify:
                outputs.append(self.tagged(unit))
                files = (*files, f"--tagged_bam_fn={self.tagged(unit)}")
            if unit.sample.phased:
                files = (*files, "--keep_phase")
            inputs = (self.bam(unit), unit.sample.truth, unit.sample.reference)
            command = ("phase_truth", *files, *unit.options)
            yield Step(PHASING, f"{PHASING}_{unit.name}", (command,), inputs, tuple(outputs))

    def truth(self) -> Iterator[Step]:
        for known, unit in {self.known(unit): unit for unit in self.units}.items():
            options = (f"--vcf_fn={unit.sample.truth}", f"--ctgName={unit.contig.name}", f"--var_fn={known}")
            yield Step(TRUTH, f"{TRUTH}_{known.name}", (("GetTruth", *options),), (unit.sample.truth,), (known,))

    def unification(self) -> Iterator[Step]:
        """Parts of a contig, then all of them in one file."""
        for unit, part in ((each, part) for each in self.units for part in self.parts(each)):
            made = self.unified_part(unit, part)
            options = (
                *(f"--platform={self.config.platform}", f"--bam_fn={self.tagged(unit)}", *unit.options),
                *(f"--var_fn={self.known(unit)}", f"--output_vcf_fn={made}", *bed_files(unit)),
                *(f"--chunk_id={part}", f"--chunk_num={len(self.parts(unit))}"),
            )
            inputs = (self.tagged(unit), self.known(unit), *user_files(unit))
            yield Step(UNIFICATION, f"{UNIFICATION}_{made.stem}", (("UnifyRepresentation", *options),), inputs, (made,))
        for unit in self.units:
            parts = [self.unified_part(unit, part) for part in self.parts(unit)]
            joined = self.unified(unit) / "all.vcf.gz"
            sort = (f"--input_dir={parts[0].parent}", f"--contigs_fn={self.output / CONTIGS}", f"--output_fn={joined}")
            commands = (
                ("SortVcf", *sort, f"--ref_fn={unit.sample.reference}"),
                ("GetTruth", f"--vcf_fn={joined}", f"--ctgName={unit.contig.name}", f"--var_fn={self.var(unit)}"),
            )
            outputs = (joined, self.var(unit))
            yield Step(UNIFIED, f"{UNIFIED}_{unit.name}", commands, (*parts, unit.sample.reference), outputs)

    def calls(self) -> Iterator[Step]:
        """What the pileup network says, reference calls too (spec/training.md A.6)."""
        network = self.config.candidate_model or self.checkpoint(PILEUP)
        for unit in self.network_units(FULL_ALIGNMENT):
            options = (
                *("--pileup", f"--platform={self.config.platform}", f"--chkpnt_fn={network}"),
                *(f"--bam_fn={self.bam(unit)}", *unit.options, *bed_files(unit), f"--call_fn={self.calls_path(unit)}"),
            )
            inputs = (network, self.bam(unit), *user_files(unit))
            outputs = (self.calls_path(unit),)
            yield Step(CALLS, f"{CALLS}_{unit.name}", (("CallVariantsFromCffi", *options),), inputs, outputs)

    def candidates(self) -> Iterator[Step]:
        reference, variants = self.config.lowest
        for unit in self.network_units(FULL_ALIGNMENT):
            paths = self.candidate_paths(unit)
            options = (
                *(f"--alt_fn={self.calls_path(unit)}", "--phase", f"--ctgName={unit.contig.name}"),
                *(
                    f"--split_folder={paths[0].parent}",
                    f"--sampleName={unit.sample.name}",
                    f"--depth={unit.depth.label}",
                ),
                *(f"--chunk_num={len(paths)}", f"--ref_pct_full={reference:g}", f"--var_pct_full={variants:g}"),
                "--chr_prefix=",
            )
            command = ("SelectHetSnp", *options)
            yield Step(CANDIDATES, f"{CANDIDATES}_{unit.name}", (command,), (self.calls_path(unit),), tuple(paths))

    def network(self, kind: str) -> Iterator[Step]:
        """Tensors of parts of contigs, bins of contigs, and the training."""
        for unit in self.network_units(kind):
            for part, made in enumerate(self.tensors(kind, unit), 1):
                yield self.make_tensors(kind, unit, part, made)
        for unit in self.network_units(kind):
            made, parts = self.bin(kind, unit), self.tensors(kind, unit)
            if parts != [made]:
                options = (f"--platform={self.config.platform}", f"--out_fn={made}", *self.kind_options(kind))
                command = ("MergeBin", *map(str, parts), *options)
                yield Step(
                    f"{kind}_{BINS}",
                    f"{kind}_{BINS}_{unit.name}",
                    (command,),
                    tuple(parts),
                    (made,),
                    spent=tuple(parts),
                )
        yield self.training(kind)

    def kind_options(self, kind: str) -> tuple[str, ...]:
        if kind == PILEUP:
            return ("--pileup",)
        return ("--enable_dwell_time",) if self.config.dwell else ()

    def make_tensors(self, kind: str, unit: Unit, part: int, made: Path) -> Step:
        """The labelled tensors of one part of a contig, drawn and shuffled with a seed of its own."""
        seed = int(digest_values({"seed": self.config.seed, "kind": kind, "part": made.name}), 16) % 2**31
        options = [
            *(f"--platform={self.config.platform}", f"--bam_fn={self.bam(unit)}", *unit.options, *bed_files(unit)),
            *(f"--var_fn={self.var(unit)}", f"--bin_fn={made}", *self.kind_options(kind)),
            *("--shuffle", "--allow_duplicate_chr_pos", f"--seed={seed}", *self.config.networks[kind].tensors),
        ]
        inputs = [self.bam(unit), self.var(unit), *user_files(unit)]
        if kind == PILEUP:
            options += [f"--chunk_id={part}", f"--chunk_num={len(self.parts(unit))}"]
        else:
            regions, phased = self.candidate_paths(unit)[part - 1], self.phased(unit)
            options += [f"--full_aln_regions={regions}", f"--phased_vcf_fn={phased}", "--add_no_phasing_data_training"]
            inputs += [regions, phased]
        stage, command = f"{kind}_{TENSORS}", ("CreateTrainingTensorDirect", *options)
        return Step(stage, f"{stage}_{unit.name}_{part}", (command,), tuple(inputs), (made,))

    def training(self, kind: str) -> Step:
        """The training of a network; it validates on the contigs held back for that, else on a tenth of each bin."""
        config, checkpoint = self.config, self.checkpoint(kind)
        folders = [self.bins(kind, trains) for trains in ((True, False) if config.validates else (True,))]
        start = [
            Path(word.partition("=")[2]) for word in config.networks[kind].training if word.startswith("--chkpnt_fn=")
        ]
        options = (
            *(f"--platform={config.platform}", f"--bin_fn={folders[0]}", f"--ochk_prefix={checkpoint.parent / kind}"),
            f"--validation_fn={folders[1]}" if config.validates else "--random_validation",
            *(() if kind == PILEUP else ("--add_indel_length",)),
            *(f"--exclude_contigs={','.join(config.exclude_contigs) or 'none'}", *self.kind_options(kind)),
            *config.networks[kind].training,
        )
        stage = f"{kind}_{TRAINING}"
        return Step(
            stage,
            stage,
            (("Train", *options),),
            (*(self.bin(kind, unit) for unit in self.network_units(kind)), *start),
            (checkpoint,),
            extra=(f"--torch_num_threads={config.threads}",),
            resumable=True,
            folder=checkpoint.parent,
            bins=tuple(folders),
        )

    def model(self) -> Step:
        """The folder that calling takes."""
        networks = tuple(self.checkpoint(kind) for kind in (PILEUP, FULL_ALIGNMENT))
        folder = self.output / "model"
        options = (f"--pileup_fn={networks[0]}", f"--fa_fn={networks[1]}", f"--platform={self.config.platform}")
        outputs = tuple(folder / name for name in (*NETWORK_FILES, CARD_FILE))
        command = ("assemble_model", *options, f"--output_dir={folder}", *self.config.card)
        return Step(MODEL, MODEL, (command,), networks, outputs)


def bed_files(unit: Unit) -> tuple[str, ...]:
    return (f"--bed_fn={unit.sample.bed}",) if unit.sample.bed else ()


def user_files(unit: Unit) -> tuple[Path, ...]:
    """Files of the user beside the reads that most steps look at."""
    return (unit.sample.reference, *([unit.sample.bed] if unit.sample.bed else []))


logger = logging.getLogger(__name__)

STEPS_FOLDER = "steps"
"""Ledger of the workflow, in its output folder."""

LOG_FILE = "workflow.log"
"""Log of the workflow in its output folder, by the name that earlier versions gave it."""


def make_workflow(config: WorkflowConfig, until: str | None = None) -> Workflow:
    """Make the workflow of a configuration up to a stage; None: up to the model.

    Raises UsageError when the workflow has no such stage, InputError when a file of the user cannot be read.
    """
    return Workflow(select_stages(plan(config), until), config.output / STEPS_FOLDER)


def select_stages(steps: list[Step], until: str | None) -> list[Step]:
    """Return the steps of the stages up to one. Raises UsageError when none of the steps is of that stage."""
    if until is None:
        return steps
    if not any(step.stage == until for step in steps):
        raise UsageError(f"--until={until}: this workflow has no such steps; see --dry_run")
    last = STAGES.index(until)
    return [step for step in steps if STAGES.index(step.stage) <= last]


def train_multisample(config: WorkflowConfig, until: str | None = None) -> None:
    """Run the steps that are not done, up to a stage. Raises ClairError; finished steps are not run again."""
    workflow = make_workflow(config, until)
    with alone_in(make_folder(config.output)):
        log.append_to(config.output / LOG_FILE)
        write_contigs(config)
        done = workflow.run(usable_threads(config.threads))
    logger.info("%d steps done, %d were done before or are not needed", done, len(workflow.steps) - done)
    if workflow.steps[-1].stage == MODEL:
        logger.info("The model: %s", config.output / MODEL)


def write_contigs(config: WorkflowConfig) -> None:
    """Write the names of all contigs for SortVcf, which takes those of them that are in its files."""
    contigs = [contig.name for sample in config.samples for contig in (*sample.contigs, *sample.validation_contigs)]
    write_lines(config.output / CONTIGS, dict.fromkeys(contigs))
