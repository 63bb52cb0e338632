"""Model folders: which files hold the networks. Loads none of them, so it needs no torch."""

from pathlib import Path

from shared.errors import InputError

NETWORK_NAMES = {"pileup": "pileup", "full_alignment": "full-alignment"}
"""Kinds of network and how v2.0.2's messages call them."""


def find_checkpoint(folder: Path, kind: str, prefix: str) -> Path:
    """The file of a network in a model folder: `<prefix>.pt`, or `<prefix>` itself (spec/cli.md 3, no. 12).

    kind is "pileup" or "full_alignment". As in v2.0.2, when `<prefix>` is a file with another suffix and there is a
    `.pt` file beside it, that one is taken. Raises InputError when nothing is there, or a TensorFlow checkpoint only.
    """
    path = Path(folder) / prefix
    if (named := path.with_name(path.name + ".pt")).is_file():
        return named
    if path.is_file() and (beside := path.with_suffix(".pt")).is_file():
        return beside
    index = path if path.suffix == ".index" else path.with_name(path.name + ".index")
    if index.is_file():
        raise InputError(
            f"{index}: a TensorFlow checkpoint of Clair3 v1; it must be converted with "
            "scripts/convert_tf_checkpoint_to_torch.py, which comes in a later version"
        )
    if path.is_file():
        return path
    raise InputError(f"No {NETWORK_NAMES[kind]} model found in provided model path and model prefix {path}")
