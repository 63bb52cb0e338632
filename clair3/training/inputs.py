"""What a training run reads: its bins, the rows that train and validate, where they are kept."""

import logging
import os
from dataclasses import replace

import numpy as np
import torch

from clair3.bins import Bin
from clair3.training.config import UPSTREAM, TrainingConfig
from clair3.training.data import BinRule, Rows, RowsInMemory, bytes_in_memory, open_bins
from clair3.training.losses import class_weights
from clair3.training.plan import Split, split_rows, upstream_spans, upstream_split
from shared.errors import ConfigError, InputError
from shared.process import cpu_count

logger = logging.getLogger(__name__)

MEMORY_SHARE = 0.25
"""Of the memory that is free: rows that take less are unpacked at the start."""

MOST_WORKERS = 4


def open_all(config: TrainingConfig) -> tuple[list[Bin], list[Bin]]:
    """The bins that train, and those of --validation_fn, which may hold any contig. Raises InputError."""
    rule = BinRule(config.format, config.platform, config.exclude_samples, config.exclude_contigs, config.reuse_bin)
    bins = open_bins(config.bins, rule)
    held_out = (
        open_bins(config.validation, replace(rule, exclude_samples=(), exclude_contigs=())) if config.validation else []
    )
    return bins, held_out


def split_of(config: TrainingConfig, bins: list[Bin], held_out: list[Bin]) -> Split:
    """Rows that train and rows that validate; held_out come after bins.

    Raises InputError when none trains, or none validates though that was asked for.
    """
    counts = [len(one) for one in bins]
    if config.split == UPSTREAM:
        split = upstream_spans(
            upstream_split(counts, config.chunk, config.batch, bool(config.validation_mode)), config.chunk
        )
    else:
        split = split_rows(counts, config.chunk, config.validation_mode, config.seed)
    if held_out:
        split = replace(split, validation=[(len(bins) + i, 0, len(one)) for i, one in enumerate(held_out)])
    if not split.train:
        raise InputError(f"{config.bins}: no row is left to train with; give more rows, or --split rows")
    if config.validation_mode and not split.validation:
        raise InputError(
            f"{config.bins}: --random_validation, but no bin has {3 * config.chunk} rows, so none would validate; "
            "give --validation_fn, larger bins, or no validation"
        )
    return split


def rows_of(config: TrainingConfig, bins: list[Bin], device: torch.device, ranks: int) -> tuple[Rows, int]:
    """The rows of all bins, unpacked in memory where that fits (once per rank), and the workers that read them.

    Raises ConfigError for workers that would have to read the memory of a GPU.
    """
    shape = config.heads, config.format.channels
    needed = bytes_in_memory(bins) * ranks
    preload = config.preload
    if preload == "auto":
        preload = next((place for place, free in memory(device) if needed < MEMORY_SHARE * free), "no")
    if preload == "no":
        return Rows(bins, *shape), min(MOST_WORKERS, cpu_count()) if config.workers is None else config.workers
    if preload == "device" and device.type != "cpu" and config.workers:
        raise ConfigError("--num_workers cannot read rows that lie on the device; leave it out, or give --preload ram")
    logger.info("Unpacking %.2f GB of rows into memory (%s)", needed / 1e9, preload)
    return RowsInMemory(bins, *shape, device=device if preload == "device" else "cpu"), config.workers or 0


def memory(device: torch.device) -> list[tuple[str, float]]:
    """Free bytes of the device, if it has memory of its own, and of the host."""
    free = [("ram", os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))] if hasattr(os, "sysconf") else []
    return [("device", torch.cuda.mem_get_info(device)[0]), *free] if device.type == "cuda" else free


def weights_of(config: TrainingConfig, bins: list[Bin], device: torch.device) -> list[torch.Tensor] | None:
    """Class weights of each head from the rows of all bins, if asked for."""
    if not config.class_weights:
        return None
    ends = 24 if config.heads == 2 else 90
    counts = sum(
        piece["label"][:, :ends].sum(axis=0, dtype=np.int64) for one in bins for piece in one.pieces(["label"])
    )
    return [weight.to(device) for weight in class_weights(torch.from_numpy(counts))]
