"""The training loop: epochs of steps, validation, the best weights, and going on where a run was interrupted.

Everything random in an epoch is seeded from --seed, the epoch and the rank when it begins, so a resumed run does
the same steps as one that was never interrupted.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from clair3.errors import InputError
from clair3.training.trainer.config import UPSTREAM, TrainingConfig
from clair3.training.trainer.data import Batches
from clair3.training.trainer.distributed import Ranks, seed_torch
from clair3.training.trainer.losses import EpochMetrics, head_losses
from clair3.training.trainer.optimizers import (
    PLATEAU,
    PLATEAU_EPOCHS,
    PLATEAU_SHARE,
    SCHEDULES,
    Lookahead,
    make_optimizer,
)
from clair3.training.trainer.plan import (
    Span,
    Split,
    count_examples,
    cut_batches,
    plan_batches,
    select_part,
    select_share,
)
from clair3.util.progress import progress_bar

logger = logging.getLogger(__name__)

MOST_LOST_STEPS = 20
"""Steps in a row without a finite gradient after which a run ends, as the weights will not recover."""


@dataclass
class Progress:
    """Progress of a training run.

    epoch, step  finished (mini-)epochs, and steps of the optimiser
    stale        (mini-)epochs since the best one
    lowered      how often a plateau has lowered the learning rate
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    stale: int = 0
    lowered: int = 0

    @property
    def is_best(self) -> bool:
        """Return whether the last finished epoch is the best."""
        return self.best_epoch == self.epoch


@dataclass
class Trainer:
    """Trains a network on one rank.

    network   its weights, on the device; form computes the logits with them (TrainingForm, maybe compiled)
    training, validation  examples of the bins, prefetched; validation is None without any
    split     which examples of the bins train and which validate
    weights   class weights of each head, or None
    """

    config: TrainingConfig
    network: nn.Module
    form: nn.Module
    device: torch.device
    split: Split
    training: Batches
    validation: Batches | None
    ranks: Ranks
    weights: list[Tensor] | None = None
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self):
        config = self.config
        self.rate = config.learning_rate * (self.ranks.count if config.scale_lr else 1)
        self.optimizer = make_optimizer(
            self.network, config.optimizer, self.rate, config.weight_decay, config.lookahead
        )
        self.inner = self.optimizer.optimizer if isinstance(self.optimizer, Lookahead) else self.optimizer
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.learning_form = self.ranks.wrap(self.form, self.device)
        self.lost_steps = self.lost_in_a_row = 0
        self.rows_per_step = config.batch * self.ranks.count
        self.parts = config.mini_epochs
        batches = len(self.plan_epoch(0))
        if batches < self.parts:
            rows, where = (
                count_examples(self.split.train),
                f"of {self.rows_per_step} rows, for {self.parts} mini-epochs",
            )
            raise InputError(
                f"{config.bins}: {rows} rows to train with are {batches} batches {where}; give more rows, a smaller "
                "--batch_size or fewer --mini_epochs"
            )
        self.steps = config.epochs * batches
        # running means of the batch norms: also a step that is left out would move them
        self.buffers = list(self.network.buffers())
        self.kept_buffers = [buffer.clone() for buffer in self.buffers]

    @property
    def epochs(self) -> int:
        """Mini-epochs of the whole run, each with a checkpoint of its own."""
        return self.config.epochs * self.parts

    def plan_epoch(self, epoch: int) -> list[list[Span]]:
        """Plan the batches of a whole epoch (from 0), of all ranks together."""
        config = self.config
        batches = plan_batches(self.split.train, config.chunk, self.rows_per_step, config.seed, epoch)
        whole = count_examples(batches[-1]) == self.rows_per_step
        if config.split == UPSTREAM and not whole:
            return batches[:-1]
        # the last batch of an epoch must have a row for each rank
        return batches if count_examples(batches[-1]) >= self.ranks.count else batches[:-1]

    def state(self) -> dict:
        """Return the state that save_epoch keeps beside the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": vars(self.progress).copy(),
        }

    def load_state(self, state: dict) -> None:
        """Go on from a saved state."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])

    def iter_epochs(self) -> Iterator[tuple[dict[str, dict[str, float]], dict[str, object]]]:
        """Train (mini-)epoch after (mini-)epoch; after each, its figures of "train" and "validation", and more of it.

        Ends after the last one, or when --patience evaluations brought no better validation loss.
        Raises InputError when the loss stays infinite or NaN.
        """
        while self.progress.epoch < self.epochs and not self.is_stale():
            began = time.monotonic()
            epoch, part = divmod(self.progress.epoch, self.parts)
            batches = select_part(self.plan_epoch(epoch), part, self.parts)
            seed_torch(self.config.seed, self.progress.epoch + 1, self.ranks.rank)
            figures = {"train": self.train(batches)}
            seconds = time.monotonic() - began
            if self.validation is not None:
                figures["validation"] = self.validate()
            self.progress.epoch += 1
            self.update_best(figures)
            more = {
                "learning_rate": self.inner.param_groups[0]["lr"],
                "seconds": round(seconds, 3),
                "rows_per_second": round(figures["train"]["rows"] / max(seconds, 1e-9), 1),
                "lost_steps": self.lost_steps,
            }
            yield figures, more

    def is_stale(self) -> bool:
        """Return whether --patience epochs brought no better validation loss."""
        return self.validation is not None and self.progress.stale >= self.config.patience * self.parts

    def update_best(self, figures: dict[str, dict[str, float]]) -> None:
        """Note whether this epoch is the best so far; without validation the last one is."""
        progress = self.progress
        loss = figures["validation"]["loss/total"] if "validation" in figures else None
        if loss is None or loss < progress.best_loss - self.config.min_delta:
            progress.best_epoch, progress.stale = progress.epoch, 0
            progress.best_loss = math.inf if loss is None else loss
            return
        progress.stale += 1
        if self.config.schedule == PLATEAU and progress.stale % (PLATEAU_EPOCHS * self.parts) == 0:
            progress.lowered += 1

    def train(self, batches: Sequence[list[Span]]) -> dict[str, float]:
        """Train on planned batches once; return the metrics of all ranks."""
        metrics = EpochMetrics(self.network.heads, self.device)
        shares = [select_share(batch, self.ranks.rank, self.ranks.count) for batch in batches]
        self.learning_form.train()
        title = f"epoch {self.progress.epoch + 1}/{self.epochs}"
        rows = sum(map(count_examples, batches))
        with progress_bar(title, rows, "rows") if self.ranks.is_writer else nullcontext() as bar:
            for batch, (tensors, labels) in zip(batches, self.training.iter_plan(shares), strict=True):
                losses = self.train_step(tensors, labels, count_examples(batch), metrics)
                if bar:
                    rate = self.inner.param_groups[0]["lr"]
                    bar.update(count_examples(batch), loss=f"{losses / len(tensors):.4f}", lr=f"{rate:.2e}")
        return metrics.compute()

    def train_step(self, tensors: Tensor, labels: Tensor, rows: int, metrics: EpochMetrics) -> float:
        """Do one step of the optimiser; return the loss summed over this rank's examples.

        tensors, labels: the batch of this rank, as data.Batch; rows: number of examples of all ranks together. Each
        rank's loss is weighted so that the averaged gradient is that of the mean over all of them, also when ranks have
        different numbers of rows.
        """
        progress = self.progress
        rate = self.rate * SCHEDULES[self.config.schedule](progress.step + 1, self.steps)
        rate *= PLATEAU_SHARE**progress.lowered
        for group in self.inner.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        for kept, buffer in zip(self.kept_buffers, self.buffers, strict=True):
            kept.copy_(buffer)
        logits = self.learning_form(tensors)
        losses = head_losses(logits, labels, self.weights)
        self.scaler.scale(losses.sum() * self.ranks.count / rows).backward()
        self.scaler.unscale_(self.inner)  # and notes infinite gradients, after which update() lowers the scale
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_grad_norm or math.inf)
        progress.step += 1
        if bool(torch.isfinite(norm)):
            self.lost_in_a_row = 0
            self.optimizer.step()
            metrics.update(losses.detach(), logits, labels)
        else:
            self.skip_step(losses)
        self.scaler.update()
        return float(losses.detach().sum())

    def skip_step(self, losses: Tensor) -> None:
        """Leave the weights as they are: a gradient is infinite or NaN.

        fp16 overflows now and then until the scaler has found its scale; otherwise it is a warning.
        """
        self.lost_steps += 1
        self.lost_in_a_row += 1
        for kept, buffer in zip(self.kept_buffers, self.buffers, strict=True):
            buffer.copy_(kept)
        if not self.scaler.is_enabled():
            logger.warning("step %d: loss %s, gradient not finite; left out", self.progress.step, losses.sum().item())
        if self.lost_in_a_row >= MOST_LOST_STEPS:
            raise InputError(
                f"the gradient was infinite or NaN in {MOST_LOST_STEPS} steps in a row; lower --learning_rate, give "
                "--clip-grad-norm 1, or look at the bins"
            )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the metrics of the validation examples, each counted once, over all ranks."""
        metrics = EpochMetrics(self.network.heads, self.device)
        batches = cut_batches(self.split.validation, self.rows_per_step)
        shares = [select_share(batch, self.ranks.rank, self.ranks.count) for batch in batches]
        self.ranks.share(self.buffers)  # those of rank 0 are saved
        self.form.eval()
        for tensors, labels in self.validation.iter_plan([share for share in shares if share]):
            logits = self.form(tensors)
            metrics.update(head_losses(logits, labels, self.weights), logits, labels)
        return metrics.compute()
