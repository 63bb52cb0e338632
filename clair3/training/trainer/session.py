"""A training run from end to end: data, network, epochs, files."""

import logging
import os
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from clair3.config import Compute, parse_device
from clair3.errors import ConfigError, InputError
from clair3.inference.checkpoint import read_checkpoint
from clair3.inference.devices import resolve
from clair3.io.atomic import make_folder, sha256_of
from clair3.io.bins import Bin
from clair3.models.registry import ModelCard, write_card
from clair3.training.trainer import checkpoints, plots
from clair3.training.trainer.config import AMP, TrainingConfig
from clair3.training.trainer.data import (
    Batches,
    Examples,
    compute_class_weights,
    load_examples,
    make_split,
    open_training_bins,
)
from clair3.training.trainer.distributed import Ranks, join, leave, seed_torch
from clair3.training.trainer.journal import Journal, read_epochs, require
from clair3.training.trainer.loop import Trainer
from clair3.training.trainer.network import (
    TrainingForm,
    compile_form,
    format_layers,
    make_network,
    recompute_in_backward,
)
from clair3.training.trainer.plan import Split, count_examples, cut_batches
from clair3.util import log
from clair3.util.process import cpu_count
from clair3.version import VERSION

logger = logging.getLogger(__name__)

PLOT_ROWS, PLOT_BATCH = 20_000, 500
"""Examples that the plots are drawn of, and examples per batch."""


LEAST_RECALL = 0.01
"""Share of the true variants below which a trained network is taken for one that learned nothing."""


def train(config: TrainingConfig, local_rank: int | None = None) -> Path:
    """Train a network and return the path of the best checkpoint.

    Raises ClairError; the checkpoints of finished epochs stay.
    """
    kind, numbers = parse_training_device(config.device)
    ranks = join(kind, local_rank)
    try:
        device = select_device(kind, numbers, ranks)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        config = replace(config, precision=resolve_precision(config, device))
        configure_torch(config, ranks)
        if not ranks.is_writer:
            log.setup(logging.ERROR)
        return train_on(config, device, ranks)
    finally:
        leave(ranks)


def parse_training_device(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse the kind of a device and the numbers of the GPUs that may be used. Raises ConfigError when it is not
    there."""
    kind, numbers = parse_device(text)
    kind = resolve(Compute(kind, numbers)).device
    return kind, numbers or (tuple(range(torch.cuda.device_count())) if kind == "cuda" else ())


def select_device(kind: str, numbers: tuple[int, ...], ranks: Ranks) -> torch.device:
    """Select the device of a process: on a host, each has a GPU of its own. Raises ConfigError when there are too
    few."""
    if kind != "cuda":
        return torch.device(kind)
    if ranks.local >= len(numbers):
        raise ConfigError(f"process {ranks.local + 1} on this host has no GPU, there are {len(numbers)}; lower --gpus")
    return torch.device(kind, numbers[ranks.local])


def resolve_precision(config: TrainingConfig, device: torch.device) -> str:
    """Resolve the precision "amp" to bf16 or fp16. Raises ConfigError where the device cannot compute it."""
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("--mixed-precision fp16 is for GPUs; a CPU has bf16")
    if config.precision != AMP:
        return config.precision
    return "bf16" if device.type != "cuda" or torch.cuda.is_bf16_supported() else "fp16"


def configure_torch(config: TrainingConfig, ranks: Ranks) -> None:
    """Set the threads, exactness and seed of this process's torch."""
    threads = config.threads or max(1, cpu_count() // ranks.count)
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.tf32
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    seed_torch(config.seed)


def train_on(config: TrainingConfig, device: torch.device, ranks: Ranks) -> Path:
    """Train on one rank; see train."""
    make_folder(config.folder)
    for package in ("tensorboard", "wandb"):
        if getattr(config, package):
            require(package, f"--{package}")
    if ranks.is_writer:
        log.append_to(config.folder / "train.log")
    bins, held_out = open_training_bins(config)
    split = make_split(config, bins, held_out)
    digests = digest_bins(bins, held_out)
    recipe = make_recipe(config, split, ranks, digests)
    state = checkpoints.read_state(config.prefix, recipe) if config.resume else None
    checkpoints.refuse_another_run(config.prefix, resumed=state is not None)
    if config.resume and not state:
        logger.info("%s: not there, so this run starts from the beginning", checkpoints.state_path(config.prefix))
    everything = [*bins, *held_out]
    rows, workers = load_examples(config, everything, device, ranks.count)
    network = make_network(config)
    if ranks.count > 1 and device.type == "cuda":  # gloo has no such layer: there each rank has means of its own
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if config.gradient_checkpointing:
        recompute_in_backward(network)
    network.to(device, memory_format=torch.channels_last if config.channels_last else torch.preserve_format)
    form = TrainingForm(network, device, config.precision)
    if config.compile_model:
        form = compile_form(form, rows[[(0, 0, 1)]][0].to(device))
    with closing(Batches(rows, workers, config.prefetch, device)) as training:
        validation = Batches(rows, min(workers, 1), config.prefetch, device) if split.validation else None
        trainer = Trainer(
            config,
            network,
            form,
            device,
            split,
            training,
            validation,
            ranks,
            compute_class_weights(config, bins, device),
        )
        if state:
            trainer.load_state(state)
            logger.info("Going on after epoch %d (step %d)", trainer.progress.epoch, trainer.progress.step)
        describe(config, everything, split, trainer, device)
        if ranks.is_writer and not state:
            checkpoints.remove_leavings(config.prefix)
        run_epochs(config, trainer, recipe, ranks)
    best = config.prefix.with_name(checkpoints.BEST)
    if ranks.is_writer:
        write_results(config, trainer, rows, digests, best)
    ranks.wait()
    return best


def digest_bins(bins: list[Bin], held_out: list[Bin]) -> dict[str, dict[str, str]]:
    """Compute the SHA-256 of each bin by its name, of "training bins" and of "validation bins"."""
    parts = {"training bins": bins, "validation bins": held_out}
    return {part: {one.path.name: sha256_of(one.path) for one in some} for part, some in parts.items()}


RECIPE = (
    *("kind", "heads", "platform", "dwell", "epochs", "mini_epochs", "batch", "learning_rate", "scale_lr", "optimizer"),
    *("lookahead", "schedule", "weight_decay", "class_weights", "clip_grad_norm", "precision", "seed", "split"),
    *("start", "validation_mode", "initialization", "batch_norm_momentum", "conv_padding", "patience", "min_delta"),
    *("deterministic", "tf32", "reuse_bin"),
)
"""Options that must not change when a run goes on, besides its examples, its processes and PyTorch."""


def make_recipe(
    config: TrainingConfig, split: Split, ranks: Ranks, digests: dict[str, dict[str, str]]
) -> dict[str, object]:
    """Make the recipe of a run, which --resume compares: options, examples, processes and the version of PyTorch.

    digests: those of digest_bins.
    """
    rows = {"training rows": count_examples(split.train), "validation rows": count_examples(split.validation)}
    others = {"processes": ranks.count, "torch": str(torch.__version__)}
    options = {name: getattr(config, name) for name in RECIPE}
    if config.start:
        options["start"] = sha256_of(config.start)
    return options | rows | others | digests


def describe(config: TrainingConfig, bins: list[Bin], split: Split, trainer: Trainer, device: torch.device) -> None:
    """Log network, bins and steps before the training, with v2.0.2's figures (spec/training.md C.5)."""
    parameters = sum(p.numel() for p in trainer.network.parameters())
    logger.info("%s network, %d heads, %s parameters, on %s", config.kind, config.heads, f"{parameters:,}", device)
    for line in format_layers(trainer.network) if config.summary else ():
        logger.info("%s", line)
    logger.info(
        "%d bins: %s", len(bins), ", ".join(one.path.name for one in bins[:10]) + (" ..." if len(bins) > 10 else "")
    )
    logger.info("%d rows train, %d validate", count_examples(split.train), count_examples(split.validation))
    logger.info(
        "batch size %d x %d, learning rate %g (%s, %s%s), %d epochs x %d parts, %d steps",
        *(config.batch, trainer.ranks.count, trainer.rate, config.schedule, config.optimizer),
        *(" with Lookahead" if config.lookahead else "", config.epochs, config.mini_epochs, trainer.steps),
    )


def run_epochs(config: TrainingConfig, trainer: Trainer, recipe: dict[str, object], ranks: Ranks) -> None:
    """Train, and after each (mini-)epoch write its metrics and checkpoint; recipe: that of make_recipe."""
    journal = None
    if ranks.is_writer:
        options = {key: str(value) for key, value in asdict(config).items()}
        journal = Journal(
            config.folder,
            config.resume and trainer.progress.epoch > 0,
            config.tensorboard,
            options if config.wandb else None,
        )
        journal.drop_after(trainer.progress.epoch)
    try:
        for figures, more in trainer.iter_epochs():
            if not journal:
                continue
            progress = trainer.progress
            # first: a run killed between the two does the epoch again, and forgets the lines about it
            journal.write(progress.epoch, progress.step, figures, more)
            state = {**trainer.state(), "made_with": recipe}
            checkpoints.save_epoch(
                config.prefix, progress.epoch, trainer.network, state, progress.is_best, config.keep_last
            )
            losses = ", ".join(f"{part} loss {values['loss/total']:.6f}" for part, values in figures.items())
            accuracy = figures.get("validation", figures["train"])["f1/variant"]
            logger.info(
                "Epoch %d/%d: %s, variant F1 %.4f, %.0f rows/s",
                progress.epoch,
                trainer.epochs,
                losses,
                accuracy,
                more["rows_per_second"],
            )
    finally:
        if journal:
            journal.close()
    if trainer.is_stale():
        logger.info("No better validation loss in %d epochs: ending early", trainer.progress.stale)
    if trainer.validation is not None:
        logger.info("Best validation loss %.6f in epoch %d", trainer.progress.best_loss, trainer.progress.best_epoch)


def write_results(
    config: TrainingConfig, trainer: Trainer, rows: Examples, digests: dict[str, dict[str, str]], best: Path
) -> None:
    """Write the model card and the plots; digests: those of digest_bins.

    Raises InputError when there is no best network.
    """
    if not trainer.progress.best_epoch:
        raise InputError(f"{config.folder}: the validation loss was never a number; lower --learning_rate")
    epochs = read_epochs(config.folder)
    chosen = next((one for one in epochs if one["epoch"] == trainer.progress.best_epoch), {})
    write_card(
        config.folder,
        ModelCard(
            name=config.folder.name,
            platform=config.platform,
            dwell=config.dwell or None,
            origin=f"trained with clair3-torch {VERSION}",
            training_data=", ".join(digests["training bins"]),
            metrics={part: chosen[part] for part in ("train", "validation") if part in chosen},
            digest={best.name: sha256_of(best)},
            training={
                "network": config.kind,
                "epoch": trainer.progress.best_epoch,
                "commit": checkpoints.read_commit(),
                "options": {
                    key: value if isinstance(value, int | float | str | None) else str(value)
                    for key, value in asdict(config).items()
                },
                "bins": digests["training bins"],
                "validation_bins": digests["validation bins"],
            },
        ),
    )
    if config.plots:
        plots.draw(config.folder, epochs, predict_examples(config, trainer, rows, best))
    logger.info("Best checkpoint: %s", best)
    warn_of_blind_network(best, chosen.get("validation") or chosen.get("train") or {})


def warn_of_blind_network(best: Path, metrics: dict[str, float]) -> None:
    """Warn when the best network finds next to no variant, by its metrics in its epoch."""
    if (recall := metrics.get("recall/variant", 1.0)) < LEAST_RECALL:
        logger.warning(
            "%s finds next to no variant (recall %.4f): do not call with it; give more rows with variants, more epochs "
            "or another --learning_rate",
            best,
            recall,
        )


def predict_examples(config: TrainingConfig, trainer: Trainer, rows: Examples, best: Path) -> plots.Predictions:
    """Predict validation examples, else training examples, with the best network, PLOT_ROWS at most."""
    state, _ = read_checkpoint(best)
    trainer.network.load_state_dict(state)
    spans = trainer.split.validation or trainer.split.train
    probabilities, labels = [], []
    trainer.network.eval()
    with torch.no_grad():
        for batch in list(cut_batches(spans, PLOT_BATCH))[: PLOT_ROWS // PLOT_BATCH]:
            tensors, classes = rows[batch]
            probabilities.append(trainer.network.predict(tensors.to(trainer.device)).cpu().numpy())
            labels.append(classes.cpu().numpy())
    return plots.Predictions(np.concatenate(probabilities), np.concatenate(labels))
