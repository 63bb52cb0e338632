"""Checkpoints: finding the file of a network in a model folder, loading it, and saving networks (spec/models.md 7).

Only tensors and plain values are loaded from a file. What network it holds comes from the tensors, and every entry is
checked against the network before it is loaded.
"""

import hashlib
import io
import logging
import pickle
import re
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from clair3 import tensor_shapes
from clair3.errors import InputError
from clair3.inference.tf_networks import read_network
from clair3.io.atomic import sha256_of, write_whole
from clair3.model import CONV_PADDINGS, NETWORKS, Clair3_F, Clair3_P, paddings_differ

logger = logging.getLogger(__name__)

NETWORK_NAMES = {"pileup": "pileup", "full_alignment": "full-alignment"}
"""Names of the kinds of network in v2.0.2's messages."""

TF_SUFFIX = ".index"
"""Suffix of the index file of a TensorFlow checkpoint; its tensors lie in `.data-SSSSS-of-NNNNN` beside it."""

LATEST_PREFIX = re.compile(r'^model_checkpoint_path:\s*"([^"\n]+)"', re.MULTILINE)
"""Line of TensorFlow's file `checkpoint` that names the latest prefix of a folder."""

MAX_BYTES = 1 << 32
"""What a checkpoint may unpack to: far more than the state of any training here, less than what harms."""

PLAIN_TYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
}
"""Types of tensors in checkpoints."""

_LOAD_ERRORS = (
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of torch.load and zipfile on broken files, besides OSError and UnpicklingError."""

_warned_files: set[Path] = set()
"""Files whose convolution padding was warned about: a run loads its full-alignment network twice."""


def find_checkpoint(folder: Path, kind: str, prefix: str) -> Path:
    """Return the file of a network in a model folder: `<prefix>.pt`, or `<prefix>` itself (spec/cli.md 3, no. 12).

    kind is "pileup" or "full_alignment". As in v2.0.2, when `<prefix>` is a file with another suffix and there is a
    `.pt` file beside it, that one is taken. Without any, it is the index of a TensorFlow checkpoint of that prefix,
    which read_checkpoint converts. Raises InputError when there is neither.
    """
    path = Path(folder) / prefix
    if (named := path.with_name(path.name + ".pt")).is_file():
        return named
    if path.is_file() and (beside := path.with_suffix(".pt")).is_file():
        return beside
    if index := find_tf_index(path):
        logger.info("%s: a TensorFlow checkpoint of Clair3 v1, converted in memory", index)
        return index
    if path.is_file():
        return path
    raise InputError(f"No {NETWORK_NAMES[kind]} model found in provided model path and model prefix {path}")


def find_tf_index(path: Path) -> Path | None:
    """Return the index file of a TensorFlow checkpoint (spec/models.md 12); None when there is none.

    path may be the prefix, the index itself, a SavedModel folder, or a folder whose file `checkpoint` names the latest
    prefix. Raises InputError when that file names none, or one that is not there.
    """
    for index in (path, path.with_name(path.name + TF_SUFFIX), path / "variables" / f"variables{TF_SUFFIX}"):
        if index.suffix == TF_SUFFIX and index.is_file():
            return index
    if not (pointer := path / "checkpoint").is_file():
        return None
    with open(pointer, "rb") as file:
        latest = LATEST_PREFIX.search(file.read(1 << 16).decode(errors="replace"))
    if latest is None:
        raise InputError(f'{pointer}: names no checkpoint; expected a line model_checkpoint_path: "PREFIX"')
    index = path / f"{latest[1]}{TF_SUFFIX}"
    if not index.is_file():
        raise InputError(f"{pointer}: names {latest[1]}, but {index} is missing; give the prefix of the one you want")
    return index


def read_digest(path: Path) -> str:
    """Return the SHA-256 of a file that find_checkpoint returned; of a TensorFlow checkpoint, over all its files.

    Raises InputError when a file cannot be read.
    """
    if path.suffix != TF_SUFFIX:
        return sha256_of(path)
    shards = sorted(file for file in path.parent.iterdir() if file.name.startswith(f"{path.stem}.data-"))
    return hashlib.sha256("\n".join(map(sha256_of, (path, *shards))).encode()).hexdigest()


def load_model(
    path: Path,
    kind: str,
    *,
    heads: int = 2,
    channels: int | None = None,
    conv_padding: str = "auto",
    depth: int | None = None,
) -> nn.Module:
    """Load a network on the CPU in eval mode; the file must have all its entries and no others (spec/models.md 7).

    kind          "pileup" or "full_alignment", the network that the caller needs
    heads         smallest number of heads that the caller needs
    channels      channels of the tensors that a full-alignment network will get; None: any
    conv_padding  "auto" (the file's clair3_meta, else symmetric), or one of CONV_PADDINGS to overrule it
    depth         rows of these tensors; with it, a file that looks converted from TensorFlow is warned about (8.5)

    Raises InputError when the file cannot be read or does not hold such a network.
    """
    state, meta = read_checkpoint(path)
    actual = network_kind(path, state)
    if actual != kind:
        raise InputError(
            f"{path}: holds a {NETWORK_NAMES[actual]} network where the {NETWORK_NAMES[kind]} network is needed; "
            "check the model prefixes"
        )
    model = _build(path, actual, state, meta, conv_padding)
    _check_entries(path, model, state)
    if model.heads < heads:
        raise InputError(f"{path}: a network of {model.heads} heads, but {heads} are needed; use another model")
    if kind == "full_alignment":
        _check_channels(path, model.channels, channels)
        if conv_padding == "auto" and not meta and depth and paddings_differ(depth) and _looks_converted(state):
            _warn_of_padding(Path(path), depth)
    model.load_state_dict(state)
    return model.eval()


def network_kind(path: Path, state: dict[str, Tensor]) -> str:
    """Return the kind of network that a state dict is of. Raises InputError unless it is one of NETWORKS."""
    for kind, network in NETWORKS.items():
        if any(key.startswith(f"{network.body[0]}.") for key in state):
            return kind
    raise InputError(
        f"{path}: not a Clair3 network: it has neither LSTM1 nor conv1; its first entry is {next(iter(state))}"
    )


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read a checkpoint onto the CPU: (state dict without `module.` prefixes, clair3_meta or {}).

    path is a file of PyTorch, of which only tensors and plain values are loaded, or the `.index` of a TensorFlow
    checkpoint (find_tf_index). Raises InputError when it is missing, damaged or something else.
    """
    if (path := Path(path)).suffix == TF_SUFFIX:
        return read_network(path)
    content = load_content(path)
    content = content if isinstance(content, dict) else {}
    state, meta = content.get("state_dict", content), content.get("clair3_meta", {})
    readable = isinstance(state, dict) and isinstance(meta, dict) and len(state) > 0
    if not readable or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise InputError(f"{path}: holds no network weights; expected the state dict of a Clair3 network")
    for key, value in state.items():
        if kind := find_odd_kind(value):
            raise InputError(f"{path}: {key} is a tensor of kind {kind}; save the network's state_dict() as it is")
    return OrderedDict((key.removeprefix("module."), value) for key, value in state.items()), meta


def find_odd_kind(value: Tensor) -> str | None:
    """What makes a tensor one that weights cannot be copied from; None for an ordinary one."""
    if value.layout != torch.strided:
        return str(value.layout).removeprefix("torch.")
    if value.is_nested or value.is_meta or value.is_quantized:
        return "nested" if value.is_nested else "meta" if value.is_meta else "quantized"
    return None if value.dtype in PLAIN_TYPES else str(value.dtype).removeprefix("torch.")


def load_content(path: Path) -> object:
    """Load a file of PyTorch onto the CPU; only tensors and plain values are allowed in it. Raises InputError."""
    try:
        if zipfile.is_zipfile(path):  # torch.load does not verify the checksums
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                    raise InputError(f"{path}: unpacks to more than {MAX_BYTES} bytes; this is no checkpoint of Clair3")
                if broken := archive.testzip():
                    raise zipfile.BadZipFile(f"wrong checksum of {broken}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the model path") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: not a PyTorch checkpoint of tensors and plain values; save the network's state_dict()"
        ) from None
    except _LOAD_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: damaged or not a PyTorch checkpoint ({reason}); copy the model again") from None


def _build(path: Path, kind: str, state: dict[str, Tensor], meta: dict, conv_padding: str) -> nn.Module:
    """Make the network that the tensors describe; its weights are not loaded yet."""
    heads = 4 if "L5_3.weight" in state else 2
    if kind == "pileup":
        return Clair3_P(heads)
    if conv_padding == "auto":
        conv_padding = meta.get("conv_padding", "symmetric")
        if conv_padding not in CONV_PADDINGS:
            raise InputError(
                f"{path}: conv_padding {conv_padding!r} in clair3_meta; expected {' or '.join(CONV_PADDINGS)}"
            )
    weight = state.get("conv1.conv.weight")
    dwell = weight is not None and weight.dim() == 4 and weight.shape[1] == tensor_shapes.DWELL_CHANNEL_COUNT
    return Clair3_F(
        tensor_shapes.DWELL_CHANNEL_COUNT if dwell else tensor_shapes.FULL_ALIGNMENT_CHANNEL_COUNT, heads, conv_padding
    )


def _check_channels(path: Path, actual: int, expected: int | None) -> None:
    """Raise InputError, with the option to change, unless a network has the expected channels."""
    if expected is None or actual == expected:
        return
    if actual == tensor_shapes.DWELL_CHANNEL_COUNT:
        raise InputError(f"{path}: trained with dwell time ({actual} channels); add --enable_dwell_time")
    raise InputError(f"{path}: trained without dwell time ({actual} channels); leave out --enable_dwell_time")


def _check_entries(path: Path, model: nn.Module, state: dict[str, Tensor]) -> None:
    """Raise InputError for the first entry of a state dict that does not fit the network."""
    network = f"the {NETWORK_NAMES[model.kind]} network"
    expected = model.state_dict()
    if missing := [key for key in expected if key not in state]:
        raise InputError(f"{path}: {missing[0]} of {network} is missing ({len(missing)} in all); use another model")
    if extra := [key for key in state if key not in expected]:
        raise InputError(f"{path}: {extra[0]} is no entry of {network} ({len(extra)} in all); use another model")
    for key, weight in state.items():
        if weight.shape != expected[key].shape:
            shapes = f"shape {tuple(weight.shape)}, {network} has {tuple(expected[key].shape)}"
            raise InputError(f"{path}: {key} has {shapes}; use a model of Clair3 v2")
        if weight.is_floating_point() != expected[key].is_floating_point():
            raise InputError(f"{path}: {key} is {weight.dtype}, expected {expected[key].dtype}; save it as float32")
        if not weight.isfinite().all():
            raise InputError(f"{path}: {key} holds infinite numbers or NaN; use another model")


def _warn_of_padding(path: Path, depth: int) -> None:
    """Warn, once per file, that the convolution padding is probably not the one of the training."""
    if path not in _warned_files:
        logger.warning(
            "%s looks converted from TensorFlow by Clair3 v2: at %d rows it does not give the results of the network "
            "that was trained; --conv_padding=tf_same does, --conv_padding=symmetric keeps those of v2.0.2",
            path,
            depth,
        )
        _warned_files.add(path)


def _looks_converted(state: dict[str, Tensor]) -> bool:
    """Return whether every batch counter is 0: training counts its batches, the converter of v2.0.2 does not."""
    return all(int(value) == 0 for key, value in state.items() if key.endswith(".num_batches_tracked"))


def save_model(model: nn.Module, path: Path, meta: dict | None = None) -> None:
    """Write a network as a bare state dict, which v2.0.2 reads too; with meta (plain values), as a dict of both.

    A network of "tf_same" padding always gets a clair3_meta that says so. The file is complete or absent.
    Raises InputError when it cannot be written.
    """
    content = OrderedDict((key, value.detach().cpu().contiguous()) for key, value in model.state_dict().items())
    meta = dict(meta or {})
    if getattr(model, "conv_padding", "symmetric") != "symmetric":
        meta["conv_padding"] = model.conv_padding
    if meta:
        content = {"state_dict": content, "clair3_meta": meta}
    write_checkpoints({Path(path): content})


def write_checkpoints(contents: dict[Path, dict]) -> None:
    """Write checkpoint files with contents that read_checkpoint takes: either all of them or none.

    Raises InputError when one cannot be written.
    """
    write_whole({path: _serialise(content) for path, content in contents.items()})


def _serialise(content: dict) -> bytes:
    """Return the bytes of a checkpoint file: torch.save to a path would hide the OSError of a full disk."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
