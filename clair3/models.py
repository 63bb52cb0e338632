"""Model folders: which files hold the networks. Loads none of them, so it needs no torch."""

import hashlib
import logging
import re
from pathlib import Path

from shared.digest import sha256_of
from shared.errors import InputError

logger = logging.getLogger(__name__)

NETWORK_NAMES = {"pileup": "pileup", "full_alignment": "full-alignment"}
"""Kinds of network and how v2.0.2's messages call them."""

TF_SUFFIX = ".index"
"""Of the file by which a TensorFlow checkpoint is named here; its numbers lie in `.data-SSSSS-of-NNNNN` beside it."""

LATEST = re.compile(r'^model_checkpoint_path:\s*"([^"\n]+)"', re.MULTILINE)
"""In the file `checkpoint`, with which TensorFlow says which prefix of a folder is the latest."""


def find_checkpoint(folder: Path, kind: str, prefix: str) -> Path:
    """The file of a network in a model folder: `<prefix>.pt`, or `<prefix>` itself (spec/cli.md 3, no. 12).

    kind is "pileup" or "full_alignment". As in v2.0.2, when `<prefix>` is a file with another suffix and there is a
    `.pt` file beside it, that one is taken. Without any, the index of a TensorFlow checkpoint of that prefix, which
    clair3.checkpoint converts. Raises InputError when nothing is there.
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
    """The index file of a TensorFlow checkpoint (spec/models.md 12); None when there is none.

    path may be the prefix, the index itself, a SavedModel folder, or a folder whose file `checkpoint` names the latest
    prefix. Raises InputError when that file names none, or one that is not there.
    """
    for index in (path, path.with_name(path.name + TF_SUFFIX), path / "variables" / f"variables{TF_SUFFIX}"):
        if index.suffix == TF_SUFFIX and index.is_file():
            return index
    if not (note := path / "checkpoint").is_file():
        return None
    with open(note, "rb") as file:
        named = LATEST.search(file.read(1 << 16).decode(errors="replace"))
    if named is None:
        raise InputError(f'{note}: names no checkpoint; expected a line model_checkpoint_path: "PREFIX"')
    index = path / f"{named[1]}{TF_SUFFIX}"
    if not index.is_file():
        raise InputError(f"{note}: names {named[1]}, but {index} is missing; give the prefix of the one you want")
    return index


def read_digest(path: Path) -> str:
    """SHA-256 of what find_checkpoint found: of the file, or over all the files of a TensorFlow checkpoint.

    Raises InputError when one cannot be read.
    """
    if path.suffix != TF_SUFFIX:
        return sha256_of(path)
    shards = sorted(file for file in path.parent.iterdir() if file.name.startswith(f"{path.stem}.data-"))
    return hashlib.sha256("\n".join(map(sha256_of, (path, *shards))).encode()).hexdigest()
