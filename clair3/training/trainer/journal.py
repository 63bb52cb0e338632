"""What a training run writes down of each epoch: a table, a JSON log, and what was asked for besides."""

import json
import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clair3.errors import ConfigError, InputError, unwritable
from clair3.io.atomic import write_whole

logger = logging.getLogger(__name__)

TABLE, JSON_LOG = "training.log", "training.jsonl"


class Journal:
    """`training.log` as v2.0.2 writes it (epoch, loss, val_loss) and `training.jsonl` with every figure of an epoch.

    tensorboard writes training and validation under the same tag into two folders, so that the curves lie over
    each other; wandb logs to Weights & Biases.
    """

    def __init__(self, folder: Path, resume: bool, tensorboard: bool = False, wandb: Mapping[str, Any] | None = None):
        """wandb: the options of the run to be recorded there, or None for no such log. With resume, go on writing.

        Raises ConfigError when TensorBoard or W&B are asked for and not installed.
        """
        self.folder = folder
        self.table, self.json_log = folder / TABLE, folder / JSON_LOG
        self.writers = {}
        self.wandb = None
        if tensorboard:
            require("tensorboard", "--tensorboard")
            from torch.utils.tensorboard import SummaryWriter

            self.writers = {part: SummaryWriter(str(folder / "tensorboard" / part)) for part in ("train", "validation")}
        if wandb is not None:
            require("wandb", "--wandb")
            import wandb as service

            self.wandb = service.init(
                project="clair3", dir=str(folder), config=dict(wandb), resume="allow" if resume else None
            )
        if not (resume and self.table.is_file()):
            self.json_log.unlink(missing_ok=True)
            self.table.unlink(missing_ok=True)
            _append(self.table, "epoch\tloss\tval_loss")

    def write(self, epoch: int, step: int, figures: Mapping[str, Mapping[str, float]], more: Mapping[str, Any]) -> None:
        """Add an epoch (from 1): figures of "train" and, with validation, of "validation"; more of the epoch itself.

        Raises InputError when the disk refuses.
        """
        losses = [f"{figures[part]['loss/total']:.6f}" if part in figures else "" for part in ("train", "validation")]
        _append(self.table, "\t".join([str(epoch), *losses]))
        _append(self.json_log, json.dumps({"epoch": epoch, "step": step, **more, **figures}))
        for part, writer in self.writers.items():
            for name, value in figures.get(part, {}).items():
                writer.add_scalar(name, value, epoch)
            if part == "train":
                writer.add_scalar("learning_rate", more["learning_rate"], epoch)
            writer.flush()
        if self.wandb:
            flat = {f"{part}/{name}": value for part, values in figures.items() for name, value in values.items()}
            self.wandb.log({"epoch": epoch, **more, **flat}, step=step)

    def drop_after(self, epoch: int) -> None:
        """Drop the lines of epochs that a resumed run does again."""
        for path, number in ((self.table, _epoch_of_row), (self.json_log, _epoch_of_json)):
            if path.is_file():
                lines = path.read_text().splitlines(keepends=True)
                write_whole({path: "".join(line for line in lines if number(line) <= epoch).encode()})

    def close(self) -> None:
        """End the logs that have an end."""
        for writer in self.writers.values():
            writer.close()
        if self.wandb:
            self.wandb.finish()


def _append(path: Path, line: str) -> None:
    """Raises InputError when the disk refuses."""
    try:
        with open(path, "a") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise InputError(unwritable(path, error)) from None


def _epoch_of_row(line: str) -> int:
    first = line.split("\t")[0]
    return int(first) if first.isdecimal() else 0


def _epoch_of_json(line: str) -> int:
    try:
        return json.loads(line)["epoch"]
    except (ValueError, KeyError):  # cut off when the run was killed
        return _NEVER


_NEVER = 1 << 62


def require(package: str, option: str) -> None:
    """Raises ConfigError when an optional package is not installed."""
    if find_spec(package) is None:
        raise ConfigError(f'{option} needs {package}; run "pip install {package}" or leave the option out')


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The epochs in a folder's JSON log, in order; none when there is no log."""
    path = folder / JSON_LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
