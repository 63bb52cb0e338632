"""From reads and truths to a model, in one command: the whole road of training (spec/training.md A, C)."""

import argparse
import logging
from itertools import groupby
from pathlib import Path

from clair3.calling.output_folder import alone_in
from clair3.cli.arguments import add_switch, required_text
from clair3.errors import UsageError
from clair3.io.atomic import make_folder, write_lines
from clair3.training.workflow.config import WorkflowConfig, read_config
from clair3.training.workflow.plan import CONTIGS, MODEL, STAGES, plan
from clair3.training.workflow.steps import DONE, Road
from clair3.util import log
from clair3.util.process import usable_threads

logger = logging.getLogger(__name__)

STEPS_FOLDER, LOG_FILE = "steps", "road.log"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s CONFIG.yaml [options]"
    parser.add_argument(
        "config", type=required_text, metavar="CONFIG.yaml", help="samples and options, see docs/training.md"
    )
    add_switch(parser, "--dry_run", help="print the steps, whether they are done, and their commands; do nothing")
    parser.add_argument("--until", metavar="STAGE", choices=STAGES, help=f"stop after: {', '.join(STAGES)}")


def run(args: argparse.Namespace) -> None:
    """Do what is left of the road. Raises ClairError; what was done stays and is not done again."""
    config = read_config(Path(args.config))
    steps = plan(config)
    if args.until:
        last = STAGES.index(args.until)
        if not any(step.stage == args.until for step in steps):
            raise UsageError(f"--until={args.until}: this road has no such steps; see --dry_run")
        steps = [step for step in steps if STAGES.index(step.stage) <= last]
    road = Road(steps, config.output / STEPS_FOLDER)
    if args.dry_run:
        print("\n".join(overview(road)))
        return
    with alone_in(make_folder(config.output)):
        log.append_to(config.output / LOG_FILE)
        write_contigs(config)
        done = road.run(usable_threads(config.threads))
    logger.info("%d steps done, %d were done before or are not needed", done, len(steps) - done)
    if steps[-1].stage == MODEL:
        logger.info("The model: %s", config.output / MODEL)


def overview(road: Road) -> list[str]:
    """Each step with its state and, unless it is done, its commands; by stage."""
    left, lines = {step.name for step in road.left()}, []
    for stage, steps in groupby(road.steps, lambda step: step.stage):
        lines.append(f"{stage}:")
        for step in steps:
            state = road.state(step)
            lines.append(f"  {step.name}: {state if step.name in left or state == DONE else 'not needed'}")
            if step.name in left:
                lines += [f"    {line}" for line in step.lines]
    lines.append(f"{len(left)} of {len(road.steps)} steps are to be done")
    return lines


def write_contigs(config: WorkflowConfig) -> None:
    """The names of all contigs, for SortVcf, which takes of the files what it finds of these."""
    contigs = [contig.name for sample in config.samples for contig in (*sample.contigs, *sample.validation_contigs)]
    write_lines(config.output / CONTIGS, dict.fromkeys(contigs))
