"""Networks as values: clair3.load_model, and predictions with the bits of a calling run."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clair3.api.process_state import os_errors, use_one_torch_thread
from clair3.config import CPU, Compute, parse_device
from clair3.errors import ConfigError, InputError, check_range
from clair3.inference import checkpoint, devices
from clair3.inference.executors import device_errors
from clair3.inference.predictor import Predictor
from clair3.models.choose import AUTO, how_to_get, is_model_name
from clair3.models.registry import check_digest, find_installed, read_card
from clair3.tensor_shapes import CONV_PADDINGS, PILEUP_CHANNEL_COUNT, WINDOW

FilePath = str | os.PathLike[str]

DEVICE_ROWS = 2048
"""Tensors that are given to a GPU at a time."""


@dataclass(frozen=True)
class ModelFiles:
    """Which model it is: its name, its folder, and the SHA-256 of its two files, 64 hexadecimal digits each."""

    name: str
    folder: Path
    pileup_sha256: str
    full_alignment_sha256: str


def identify_model(folder: Path, networks: dict[str, Path]) -> ModelFiles:
    """The identity of a model by the files of its networks. Raises InputError when one cannot be read."""
    card = read_card(folder)
    digests = {f"{kind}_sha256": checkpoint.read_digest(path) for kind, path in networks.items()}
    return ModelFiles(card.name if card else folder.name, folder, **digests)


def load_model(
    name_or_folder: FilePath, *, device: str = "cpu", conv_padding: str = "auto", threads: int = 1
) -> "Model":
    """Load both networks of a model.

    name_or_folder  name of `clair3 models list` that is on this machine, or a folder with the two files
    device          "cpu", "cuda", "cuda:1", "mps", or "auto": a GPU if there is one; on a GPU torch is set to exact
                    arithmetic (no TF32, deterministic algorithms) for the whole process, as a run does
    conv_padding    of the full-alignment network: "auto" as its file says, or "symmetric" or "tf_same"
    threads         that predict at the same time on a CPU

    Raises InputError when the model is not here or damaged, ConfigError for a device that is not there, DeviceError for
    one that fails.
    """
    check_range("threads", threads, 1)
    if conv_padding not in ("auto", *CONV_PADDINGS):
        raise ConfigError(f"conv_padding={conv_padding}; expected auto or {' or '.join(CONV_PADDINGS)}")
    with os_errors():
        folder = find_model(name_or_folder)
        choice = devices.resolve(Compute(*parse_device(device)))
        files = {kind: checkpoint.find_checkpoint(folder, kind, kind) for kind in checkpoint.NETWORK_NAMES}
        identity = identify_model(folder, files)
        pileup = checkpoint.load_model(files["pileup"], "pileup")
        full_alignment = checkpoint.load_model(files["full_alignment"], "full_alignment", conv_padding=conv_padding)
    networks, on_cpu = (pileup, full_alignment), choice.device == CPU
    predictors = tuple(make_predictor(network, choice) for network in networks)
    rows, threads = (devices.MIN_BATCH, threads) if on_cpu else (DEVICE_ROWS, 1)
    return Model(identity, *networks, predictors, rows, threads)


def find_model(name_or_folder: FilePath) -> Path:
    """The folder of a model. Raises InputError when it is not here, or not the one its model.json was written for."""
    text = os.fspath(name_or_folder)
    folder = Path(os.path.abspath(text))
    if is_model_name(text):
        if text == AUTO:
            raise ConfigError("load_model: auto chooses by reads; give a name or a folder")
        folder = find_installed(text)
        if folder is None:
            raise InputError(f"model {text} is not on this machine; {how_to_get(text)}")
    elif not folder.is_dir():
        raise InputError(f"Model path not found: {folder}")
    if card := read_card(folder):
        check_digest(folder, card)
    return folder


def make_predictor(network: nn.Module, compute: Compute) -> Predictor:
    """A predictor for a resolved choice of devices, the first of several, that computes as a run does there."""
    if compute.device == CPU:
        return Predictor(network)
    devices.compute_exactly()
    device = torch.device(compute.device, (compute.numbers or (0,))[0])
    layout = torch.channels_last if network.kind == "full_alignment" else torch.preserve_format
    with device_errors(str(device)):
        return Predictor(network.to(memory_format=layout), device, devices.PIECE[network.kind])


class Model:
    """Both networks of a model on one device, made by load_model. Threads may share it.

    files                   name, folder and digests
    pileup, full_alignment  clair3.model.Clair3_P and Clair3_F, in eval mode
    """

    def __init__(
        self,
        files: ModelFiles,
        pileup: nn.Module,
        full_alignment: nn.Module,
        predictors: tuple[Predictor, Predictor],
        rows: int,
        threads: int,
    ):
        """predictors of the two networks; rows that one of so many threads predicts at a time."""
        self.files, self.pileup, self.full_alignment = files, pileup, full_alignment
        self._predictors, self._rows = predictors, rows
        self._pool = ThreadPoolExecutor(threads, "clair3-predict", initializer=use_one_torch_thread)

    def __repr__(self) -> str:
        return f"<Model {self.files.name} in {self.files.folder}>"

    def predict(self, tensors: np.ndarray) -> np.ndarray:
        """Probabilities of the classes, with the bits of a calling run on this device.

        tensors  (n, 33, 18) int32 for the pileup network, where a run scales candidates deeper than 216 reads first
                 (clair3.inference.predictor.rescale_deep); or (n, depth, 33, 8 or 9) int8 for the full-alignment
                 network, depth 89 for ONT and 55 for HiFi and Illumina, 9 channels with dwell time; n may be 0
        returns  (n, 24) float32, the 21 genotypes and 3 zygosities; (n, 90) with the two indel lengths of 33 classes
                 each, which every full-alignment network has

        Raises ConfigError when shape or dtype are others, InputError for a depth that the network does not serve, and
        DeviceError when a GPU fails.
        """
        predictor = self._predictors[self._check(tensors)]
        parts = [tensors[start : start + self._rows] for start in range(0, max(1, len(tensors)), self._rows)]
        futures = [self._pool.submit(self._predict_part, predictor, part) for part in parts]
        try:
            return np.concatenate([future.result() for future in futures])
        finally:
            for future in futures:  # after an error or Ctrl-C
                future.cancel()

    @staticmethod
    def _predict_part(predictor: Predictor, tensors: np.ndarray) -> np.ndarray:
        if predictor.device.type == CPU:
            return predictor(tensors)
        with device_errors(str(predictor.device)):
            return predictor(tensors)

    def _check(self, tensors: np.ndarray) -> int:
        """0 for tensors of the pileup network, 1 for full alignment. Raises ConfigError for others."""
        shape, dtype = tuple(getattr(tensors, "shape", ())), str(getattr(tensors, "dtype", type(tensors).__name__))
        channels = self.full_alignment.channels
        if len(shape) == 3 and shape[1:] == (WINDOW, PILEUP_CHANNEL_COUNT) and dtype == "int32":
            return 0
        if len(shape) == 4 and shape[2:] == (WINDOW, channels) and dtype == "int8":
            return 1
        raise ConfigError(
            f"predict: tensors of shape {shape} and type {dtype}; expected (n, 33, 18) int32 for the pileup network, "
            f"or (n, depth, 33, {channels}) int8 for this model's full-alignment network"
        )
