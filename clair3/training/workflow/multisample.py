"""`train_multisample`: from the reads and truths of samples to a model folder (spec/training.md A, C)."""

import logging

from clair3.calling.output_folder import alone_in
from clair3.errors import UsageError
from clair3.io.atomic import make_folder, write_lines
from clair3.training.workflow.config import WorkflowConfig
from clair3.training.workflow.plan import CONTIGS, MODEL, STAGES, plan
from clair3.training.workflow.steps import Step, Workflow
from clair3.util import log
from clair3.util.process import usable_threads

logger = logging.getLogger(__name__)

STEPS_FOLDER = "steps"
"""Ledger of the workflow, in its output folder."""

LOG_FILE = "road.log"
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
