"""The steps of a training workflow: what each runs, whether it is done, and the running of those that are not.

A step is done when the ledger has an entry with its digest and its outputs are there. The digest covers its commands,
the files of the user that it reads and the digests of the steps whose outputs it reads, so a changed option or file
makes exactly what depends on it be done again. An output that no later step needs is not made again when it is gone.
"""

import json
import logging
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from clair3.calling.tasks import digest_values
from clair3.errors import ClairError, InputError, unwritable
from clair3.io.atomic import make_folder, write_whole
from clair3.io.input_files import file_identity
from clair3.util.parallel import ordered_map
from clair3.util.process import run_program
from clair3.version import VERSION

logger = logging.getLogger(__name__)

DONE, CHANGED, BEGUN, TO_DO = "done", "changed", "begun", "to do"
"""States of a step: done; done with other options or inputs; begun with the present ones; none of these."""

ERROR, WARNING = "[ERROR] ", "[WARNING] "


class StepError(ClairError):
    """A step failed."""


@dataclass(frozen=True)
class Step:
    """Commands that make output files from input files.

    stage      steps of one stage do not need each other
    commands   submodules of clair3 with their options, run one after the other
    inputs     files they read, of the user or of earlier steps; outputs: files that are there when they have ended
    extra      options of the last command that do not change what it makes
    resumable  the last command takes --resume to go on where it was interrupted
    folder     that holds the outputs of this step alone, emptied before it starts anew
    bins       folders out of which the step reads everything
    spent      inputs that nobody needs after the step; they are removed
    """

    stage: str
    name: str
    commands: tuple[tuple[str, ...], ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    extra: tuple[str, ...] = ()
    resumable: bool = False
    folder: Path | None = None
    bins: tuple[Path, ...] = ()
    spent: tuple[Path, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The commands as a user would type them."""
        words = [["clair3", *command] for command in self.commands]
        words[-1] += self.extra
        return [shlex.join(command) for command in words]


class Workflow:
    """The steps in order, each after those whose outputs it reads, and their ledger: a folder with an entry, NAME.json,
    and a log, NAME.log, of each step.

    Raises InputError when a file of the user cannot be looked at.
    """

    def __init__(self, steps: Sequence[Step], folder: Path):
        self.steps, self.folder = list(steps), folder
        self.maker = {output: step.name for step in steps for output in step.outputs}
        self.digests: dict[str, str] = {}
        for step in steps:
            read = [
                self.digests[self.maker[path]] if path in self.maker else identify_input(path) for path in step.inputs
            ]
            self.digests[step.name] = digest_values({"commands": step.commands, "inputs": read, "version": VERSION})

    def state(self, step: Step) -> str:
        """Return the state of a step: DONE, CHANGED, BEGUN or TO_DO."""
        entry = read_entry(self.entry_path(step))
        same, outputs = entry.get("digest") == self.digests[step.name], entry.get("outputs")
        if outputs is None:
            return BEGUN if same else TO_DO
        if not same:
            return CHANGED
        return DONE if outputs == measure_outputs(step) else TO_DO

    def select_steps(self) -> list[Step]:
        """Return the steps to do, in order: those not done whose outputs are final, or read by another step to do."""
        wanted: set[Path] = set()
        to_do = []
        read = {path for step in self.steps for path in step.inputs}
        for step in reversed(self.steps):
            is_end = not read.intersection(step.outputs)
            if (is_end or wanted.intersection(step.outputs)) and self.state(step) != DONE:
                to_do.append(step)
                wanted.update(step.inputs)
        return to_do[::-1]

    def describe(self) -> list[str]:
        """Return lines on each step: its state and, if it is to be done, its commands; by stage."""
        to_do, lines = {step.name for step in self.select_steps()}, []
        for stage, steps in groupby(self.steps, lambda step: step.stage):
            lines.append(f"{stage}:")
            for step in steps:
                state = self.state(step)
                lines.append(f"  {step.name}: {state if step.name in to_do or state == DONE else 'not needed'}")
                if step.name in to_do:
                    lines += [f"    {line}" for line in step.lines]
        lines.append(f"{len(to_do)} of {len(self.steps)} steps are to be done")
        return lines

    def run(self, threads: int) -> int:
        """Run the steps to do, as many of a stage at a time as there are threads, and return their number.

        Raises StepError naming the step that failed; steps that are done stay done.
        """
        to_do = self.select_steps()
        make_folder(self.folder)
        for stage, group in groupby(to_do, lambda step: step.stage):
            steps, stop = list(group), threading.Event()
            total = sum(step.stage == stage for step in self.steps)
            where = f", log in {self.log_path(steps[0])}" if len(steps) == 1 else ""
            logger.info("%s: %d of %d steps to do%s", stage, len(steps), total, where)
            began = time.monotonic()
            with closing(ordered_map(lambda step: self.run_step(step, stop), steps, threads, stop.set)) as results:  # noqa: B023
                for _ in results:
                    pass
            logger.info("%s: %.0f s", stage, time.monotonic() - began)
        return len(to_do)

    def run_step(self, step: Step, stop: threading.Event) -> None:
        """Run the commands of a step and write into the ledger that it is done. Raises StepError."""
        resume = step.resumable and self.state(step) == BEGUN
        try:
            self.clear_outputs(step, resume)
            self.write_entry(step, None)
            with open(self.log_path(step), "a" if resume else "w") as log:
                for number, command in enumerate(step.commands, 1):
                    last = number == len(step.commands)
                    words = [*command, *(step.extra if last else ()), *(["--resume"] if last and resume else ())]
                    log.write(f"$ {shlex.join(['clair3', *words])}\n")
                    log.flush()
                    # -P (Python 3.11): a folder of that name where the user happens to be is not the program
                    safe = ["-P"] if sys.version_info >= (3, 11) else []
                    code, _ = run_program([sys.executable, *safe, "-m", "clair3", *words], stop.is_set, log)
                    if code:
                        raise StepError(f"step {step.name} failed: {self.explain_failure(step, code)}")
            for path in step.outputs:
                if not path.is_file():
                    raise StepError(f"step {step.name} failed: it made no {path}; see {self.log_path(step)}")
            self.write_entry(step, measure_outputs(step))
            if step.resumable:  # a training: what it warns of matters to who uses the network
                for line in self.log_path(step).read_text(errors="replace").splitlines():
                    if line.startswith(WARNING):
                        logger.warning("step %s: %s", step.name, line.removeprefix(WARNING))
        except OSError as error:
            raise StepError(f"step {step.name} failed: {unwritable(error.filename or self.folder, error)}") from None
        for path in step.spent:
            path.unlink(missing_ok=True)
        logger.debug("%s is done", step.name)

    def clear_outputs(self, step: Step, resume: bool) -> None:
        """Make the folders of the outputs, remove earlier outputs, and bins of other configurations that the step would
        read. Raises StepError for files there that no step of this workflow has made."""
        if step.folder and not resume:
            shutil.rmtree(step.folder, ignore_errors=True)
        for path in step.outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not resume:
                path.unlink(missing_ok=True)
        for path in (path for folder in step.bins for path in sorted(folder.iterdir()) if path not in step.inputs):
            if str(path) not in self.read_made():
                raise StepError(
                    f"step {step.name} failed: {path} is not of this workflow and would be read; move it away"
                )
            logger.warning("%s is of an earlier configuration and is removed", path)
            path.unlink()

    def read_made(self) -> set[str]:
        """Return the paths of every output in the ledger, also those of steps of earlier configurations."""
        return {path for entry in self.folder.glob("*.json") for path in read_entry(entry).get("made", ())}

    def entry_path(self, step: Step) -> Path:
        return self.folder / f"{step.name}.json"

    def log_path(self, step: Step) -> Path:
        return self.folder / f"{step.name}.log"

    def write_entry(self, step: Step, outputs: dict[str, int] | None) -> None:
        """Write the ledger entry of a step; outputs None: begun. The file is complete or as before."""
        entry = {"digest": self.digests[step.name], "outputs": outputs, "made": [str(path) for path in step.outputs]}
        write_whole({self.entry_path(step): f"{json.dumps(entry, indent=1)}\n".encode()})

    def explain_failure(self, step: Step, code: int) -> str:
        """Say why a command failed: its own error, else the last line of its log; and where the log is."""
        lines = [line for line in self.log_path(step).read_text(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        end = f"ended by signal {-code}" if code < 0 else lines[-1].strip()
        return f"{errors[-1] if errors else end} ({self.log_path(step)})"


def read_entry(path: Path) -> dict:
    """Read an entry of the ledger; an empty one when there is no such file, or it is damaged."""
    try:
        entry = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}


def measure_outputs(step: Step) -> dict[str, int] | None:
    """Return the size of each output, in bytes; None when one is missing."""
    try:
        return {str(path): path.stat().st_size for path in step.outputs}
    except FileNotFoundError:
        return None


def identify_input(path: Path) -> list:
    """Return what tells an input file of the user from a later one of the same name. Raises InputError."""
    try:
        return file_identity(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
