"""Training data: the bins, the examples in them that train or validate, and the batches that the network sees."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clair3.errors import ClairError, ConfigError, InputError
from clair3.genotype.classes import PILEUP
from clair3.genotype.labels import labels_to_classes
from clair3.io.atomic import sha256_of
from clair3.io.bins import Bin, BinFormat, find_bins
from clair3.training.data.check_bins import check_counts, check_labels
from clair3.training.trainer.config import UPSTREAM, TrainingConfig
from clair3.training.trainer.losses import class_weights
from clair3.training.trainer.plan import Span, Split, convert_upstream_split, split_examples, split_like_upstream
from clair3.util.process import cpu_count

logger = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]
"""Tensors (n, 33, 18) or (n, depth, 33, channels) of an integer type, and the true classes (n, heads) int64."""


@dataclass(frozen=True)
class BinOptions:
    """The options by which bins of a folder are used (spec/training.md B.7); with reuse also those with one channel too
    many."""

    format: BinFormat
    platform: str
    exclude_samples: tuple[str, ...] = ()
    exclude_contigs: tuple[str, ...] = ()
    reuse: bool = False

    def check(self, one: Bin) -> None:
        """Raises InputError for a bin of other tensors or another platform."""
        wider = BinFormat(self.format.kind, self.format.rows, self.format.channels + 1)
        one.check(wider if self.reuse and one.format == wider else self.format, self.platform)


def open_bins(folder: Path, options: BinOptions) -> list[Bin]:
    """Open the bins of a folder that the options let in, in order of their names; those without examples are left out.

    Raises InputError when a file is no such bin, or none is left.
    """
    kept = []
    for path in find_bins(folder, options.exclude_samples):
        one = Bin(path)
        options.check(one)
        if held_out := find_contig_among(one, options.exclude_contigs):
            logger.info("%s: not used, it holds rows of %s (--exclude_contigs)", path.name, held_out)
        elif not len(one):
            logger.warning("%s: no rows in it", path.name)
        else:
            kept.append(one)
    if not kept:
        raise InputError(
            f"{folder}: no bin is left to be used; look at --exclude_contigs and --exclude_training_samples"
        )
    return kept


def find_contig_among(one: Bin, contigs: Sequence[str]) -> str | None:
    """Find the first of some contigs that any example of a bin lies on; None without any."""
    for piece in one.pieces(["position"]) if contigs else ():
        for contig in contigs:
            if np.char.startswith(piece["position"], f"{contig}:".encode()).any():
                return contig
    return None


class Examples(Dataset):
    """Examples of bins by their spans; may be handed to worker processes."""

    def __init__(self, bins: Sequence[Bin], heads: int, channels: int):
        """channels: number that the network takes; further ones in the bins are cut off."""
        self.bins, self.heads, self.channels = list(bins), heads, channels

    def read(self, index: int, start: int, stop: int) -> Batch:
        """Read the examples [start, stop) of one bin.

        Raises InputError when they are damaged, a label is not one-hot, or a count beyond the type.
        """
        rows = self.bins[index].rows(start, stop)
        check_labels(self.bins[index], start, rows["label"])
        check_counts(self.bins[index], start, rows["position_matrix"])
        tensors = np.ascontiguousarray(rows["position_matrix"][..., : self.channels])
        return torch.from_numpy(tensors), torch.from_numpy(labels_to_classes(rows["label"], self.heads))

    def __getitem__(self, spans: Sequence[Span]) -> Batch:
        """Return the examples of some spans, in their order."""
        return concatenate([self.read(*span) for span in spans])


class ExamplesInMemory(Examples):
    """Examples unpacked in the memory of the host or of a device: for sets that fit, and fast networks."""

    def __init__(self, bins: Sequence[Bin], heads: int, channels: int, device: torch.device | str = "cpu"):
        super().__init__(bins, heads, channels)
        self.held = [self._hold(index, torch.device(device)) for index in range(len(self.bins))]

    def _hold(self, index: int, device: torch.device) -> Batch:
        one = self.bins[index]
        # counts of reads fit 16 bits: half the memory
        dtype = torch.int16 if one.kind == PILEUP else torch.int8
        tensors = torch.empty((len(one), *one.format.shape[:-1], self.channels), dtype=dtype, device=device)
        classes = torch.empty((len(one), self.heads), dtype=torch.int64, device=device)
        for start in range(0, len(one), PRELOAD_ROWS):
            stop = min(start + PRELOAD_ROWS, len(one))
            read, labels = self.read(index, start, stop)
            tensors[start:stop], classes[start:stop] = read.to(device, dtype), labels.to(device)
        one.close()
        return tensors, classes

    def __getitem__(self, spans: Sequence[Span]) -> Batch:
        """Return the examples of some spans, in their order."""
        return concatenate([tuple(part[start:stop] for part in self.held[index]) for index, start, stop in spans])


PRELOAD_ROWS = 2000


def measure_memory(bins: Sequence[Bin]) -> int:
    """Compute the bytes that ExamplesInMemory takes."""
    return sum(len(one) * int(np.prod(one.format.shape)) * (2 if one.kind == PILEUP else 1) for one in bins)


def concatenate(parts: Sequence[Batch]) -> Batch:
    """Concatenate batches."""
    tensors, classes = zip(*parts, strict=True)
    return torch.cat(tensors), torch.cat(classes)


class _ErrorsAsValues(Dataset):
    """Examples whose errors come as values: raised in a worker, they would reach the user as a traceback."""

    def __init__(self, rows: Examples):
        self.rows = rows

    def __getitem__(self, spans: Sequence[Span]) -> Batch | InputError:
        try:
            return self.rows[spans]
        except InputError as error:
            return error


class Batches:
    """Yields planned batches, prefetched by worker processes that live as long as this does.

    The batches of a plan come in its order whatever the number of workers. Close after use.
    """

    def __init__(self, rows: Examples, workers: int, prefetch: int, device: torch.device):
        self.device = device
        self.plan: list[list[Span]] = []
        self.loader = DataLoader(
            _ErrorsAsValues(rows),
            batch_size=None,
            sampler=_Plan(self),
            num_workers=workers,
            prefetch_factor=prefetch if workers else None,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda" and not _on_device(rows),
            generator=torch.Generator(),  # its own: the number of workers must not move the training's random numbers
        )

    def close(self) -> None:
        """End the worker processes."""
        self.loader = None

    def iter_plan(self, plan: list[list[Span]]) -> Iterator[Batch]:
        """Yield the batches of a plan, on the device.

        Raises InputError when rows are damaged, ClairError when a worker process is gone.
        """
        self.plan = plan
        if not plan:
            return
        for batch in self._read():
            if isinstance(batch, InputError):
                raise batch
            tensors, classes = batch
            yield tensors.to(self.device, non_blocking=True), classes.to(self.device, non_blocking=True)

    def _read(self) -> Iterator[Batch | InputError]:
        try:
            yield from self.loader
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise ClairError(
                f"a process that reads bins ended ({str(error).partition(chr(10))[0]}); memory or /dev/shm may be too "
                "small: give --num_workers 0"
            ) from None


def _on_device(rows: Examples) -> bool:
    return isinstance(rows, ExamplesInMemory) and rows.held[0][0].device.type != "cpu"


class _Plan:
    """A sampler: the keys are the spans of the plan that is set at the moment."""

    def __init__(self, batches: Batches):
        self.batches = batches

    def __iter__(self) -> Iterator[list[Span]]:
        return iter(self.batches.plan)

    def __len__(self) -> int:
        return len(self.batches.plan)


MEMORY_SHARE = 0.25
"""Share of the free memory; examples that take less are unpacked at the start."""

MOST_WORKERS = 4


def open_training_bins(config: TrainingConfig) -> tuple[list[Bin], list[Bin]]:
    """Open the bins that train, and those of --validation_fn, which may hold any contig. Raises InputError."""
    options = BinOptions(
        config.format, config.platform, config.exclude_samples, config.exclude_contigs, config.reuse_bin
    )
    bins = open_bins(config.bins, options)
    held_out = (
        open_bins(config.validation, replace(options, exclude_samples=(), exclude_contigs=()))
        if config.validation
        else []
    )
    refuse_common_files(bins, held_out)
    return bins, held_out


def refuse_common_files(bins: list[Bin], held_out: list[Bin]) -> None:
    """Raises InputError when a bin trains and validates: the same file, or a copy of it."""
    for other in held_out:
        for one in bins:
            same = one.path.samefile(other.path)
            if same or (
                one.path.stat().st_size == other.path.stat().st_size and sha256_of(one.path) == sha256_of(other.path)
            ):
                raise InputError(
                    f"{other.path}: --validation_fn is the same as {one.path}, which trains; take one away"
                )


def read_sites(bins: Sequence[Bin]) -> list[np.ndarray]:
    """Read the site of each example, `contig:pos`, 1-based: one array of bytes per bin."""
    sites = []
    for one in bins:
        texts = [text.rpartition(b":")[0] for piece in one.pieces(["position"]) for text in piece["position"].tolist()]
        sites.append(np.array(texts, dtype=np.bytes_))
    return sites


def separate_sites(bins: Sequence[Bin], split: Split, drop: bool) -> Split:
    """Hold training and validation apart by site: copies of a candidate (other depth, sample, no phase) share it.

    bins   all of them, as the spans of split count them
    drop   leave training examples out whose site validates; else only warn of them
    """
    sites = read_sites(bins)
    validating = np.unique(np.concatenate([sites[index][start:stop] for index, start, stop in split.validation]))
    kept: list[Span] = []
    common = 0
    for index, start, stop in split.train:
        shared = np.isin(sites[index][start:stop], validating)
        common += int(shared.sum())
        edges = np.flatnonzero(np.diff(np.concatenate([[True], shared, [True]]).astype(np.int8))) + start
        kept += [(index, a, b) for a, b in edges.reshape(-1, 2).tolist()]
    if not common:
        return split
    if drop:
        logger.warning("%d training rows are left out: their sites validate", common)
        return replace(split, train=kept)
    logger.warning(
        "%d training rows lie on sites of --validation_fn, so its figures are too good; hold contigs out by "
        "--exclude_contigs",
        common,
    )
    return split


def make_split(config: TrainingConfig, bins: list[Bin], held_out: list[Bin]) -> Split:
    """Split the examples into those that train and those that validate; held_out come after bins.

    Raises InputError when none trains, or none validates though that was asked for.
    """
    counts = [len(one) for one in bins]
    if config.split == UPSTREAM:
        split = convert_upstream_split(
            split_like_upstream(counts, config.chunk, config.batch, bool(config.validation_mode)), config.chunk
        )
    else:
        split = split_examples(counts, config.chunk, config.validation_mode, config.seed)
    if held_out:
        split = replace(split, validation=[(len(bins) + i, 0, len(one)) for i, one in enumerate(held_out)])
    if split.validation and config.split != UPSTREAM:
        split = separate_sites([*bins, *held_out], split, drop=not held_out)
    if not split.train:
        raise InputError(f"{config.bins}: no row is left to train with; give more rows, or --split rows")
    if config.validation_mode and not split.validation:
        raise InputError(
            f"{config.bins}: --random_validation, but no bin has {3 * config.chunk} rows, so none would validate; "
            "give --validation_fn, larger bins, or no validation"
        )
    return split


def load_examples(config: TrainingConfig, bins: list[Bin], device: torch.device, ranks: int) -> tuple[Examples, int]:
    """Load the examples of all bins, in memory where they fit (once per rank); return them and the number of workers.

    Raises ConfigError for workers that would have to read the memory of a GPU.
    """
    shape = config.heads, config.format.channels
    needed = measure_memory(bins) * ranks
    preload = config.preload
    if preload == "auto":
        preload = next((place for place, free in find_free_memory(device) if needed < MEMORY_SHARE * free), "no")
    if preload == "no":
        return Examples(bins, *shape), min(MOST_WORKERS, cpu_count()) if config.workers is None else config.workers
    if preload == "device" and device.type != "cpu" and config.workers:
        raise ConfigError("--num_workers cannot read rows that lie on the device; leave it out, or give --preload ram")
    logger.info("Unpacking %.2f GB of rows into memory (%s)", needed / 1e9, preload)
    return ExamplesInMemory(bins, *shape, device=device if preload == "device" else "cpu"), config.workers or 0


def find_free_memory(device: torch.device) -> list[tuple[str, float]]:
    """Find the free bytes of the device, if it has memory of its own, and of the host."""
    free = [("ram", os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))] if hasattr(os, "sysconf") else []
    return [("device", torch.cuda.mem_get_info(device)[0]), *free] if device.type == "cuda" else free


def compute_class_weights(config: TrainingConfig, bins: list[Bin], device: torch.device) -> list[torch.Tensor] | None:
    """Compute class weights of each head from the examples of all bins; None unless asked for."""
    if not config.class_weights:
        return None
    ends = 24 if config.heads == 2 else 90
    counts = sum(
        piece["label"][:, :ends].sum(axis=0, dtype=np.int64) for one in bins for piece in one.pieces(["label"])
    )
    return [weight.to(device) for weight in class_weights(torch.from_numpy(counts))]
