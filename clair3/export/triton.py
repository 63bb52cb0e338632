"""A model repository of Triton Inference Server: where its files lie and what config.pbtxt says."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from clair3.export.formats import Format, input_shape
from clair3.model import HEAD_SIZES
from shared.cli import check_range

MODEL_NAMES = {"pileup": "pileup", "full_alignment": "alignment"}
"""What the client of Clair3 v2 asks for, by kind of network."""

MAX_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Repository:
    """How Triton serves the networks.

    model_version  of the models: the number of their folder
    max_batch      candidates that Triton takes in one request, and merges requests up to
    """

    model_version: int = 1
    max_batch: int = 1000

    def __post_init__(self):
        check_range("model_version", self.model_version, 1, MAX_INT32)
        check_range("max_batch", self.max_batch, 1, MAX_INT32)

    def files(
        self, network: nn.Module, content: bytes, form: Format, rows: int, names: tuple[str, str]
    ) -> dict[Path, bytes]:
        """The files of one model by their place in the repository; content is the network in the given format."""
        folder = Path(MODEL_NAMES[network.kind])
        config = self.config(network, form, rows, names)
        return {folder / str(self.model_version) / form.file: content, folder / "config.pbtxt": config.encode()}

    def config(self, network: nn.Module, form: Format, rows: int, names: tuple[str, str]) -> str:
        """The text of config.pbtxt; dims are those of one candidate, the first axis is Triton's to fill."""
        integers = "TYPE_INT32" if network.kind == "pileup" else "TYPE_INT8"
        dims = ", ".join(map(str, input_shape(network, rows)))
        classes = sum(HEAD_SIZES[: network.heads])
        return (
            f'name: "{MODEL_NAMES[network.kind]}"\n'
            f'backend: "{form.backend}"\n'
            f"max_batch_size: {self.max_batch}\n"
            f'input [ {{ name: "{names[0]}", data_type: {integers}, dims: [ {dims} ] }} ]\n'
            f'output [ {{ name: "{names[1]}", data_type: TYPE_FP32, dims: [ {classes} ] }} ]\n'
            "dynamic_batching { max_queue_delay_microseconds: 100 }\n"
        )
