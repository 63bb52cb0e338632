"""`clair3 convert_tf`: TensorFlow checkpoints of Clair3 v1 become files for this program and v2 (spec/models.md 12).

Which network a checkpoint holds comes from the checkpoint; the options of v2.0.2's converter must agree with it.
TensorFlow is not needed.
"""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clair3.cli.arguments import add_switch, required_text, switch
from clair3.errors import ConfigError, InputError, UsageError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.inference.checkpoint import NETWORK_NAMES, TF_SUFFIX, find_tf_index, read_digest, write_checkpoints
from clair3.inference.tf_networks import read_network
from clair3.io.atomic import make_folder
from clair3.platforms import PLATFORMS
from clair3.tensor_shapes import DWELL_CHANNEL_COUNT
from clair3.version import VERSION

logger = logging.getLogger(__name__)

KINDS = PILEUP, FULL_ALIGNMENT
"""Kinds of network, and the default prefixes of their files."""


@dataclass(frozen=True)
class Conversion:
    """A network to convert: the index of its checkpoint, the file or folder to write, and its kind if it was given."""

    index: Path
    output: Path
    kind: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of v2.0.2's converter, and --bare."""
    group = parser.add_argument_group("one network")
    add_path(group, "checkpoint", "PATH", "prefix, .index file, SavedModel folder, or folder with one network")
    add_path(group, "output", "FILE", "file to write, or an existing folder")
    group.add_argument("--model-type", choices=(*KINDS, "full-alignment"), help="which network it is")
    add_claim(group, "add-indel-length", "it has the two length heads")
    group = parser.add_argument_group("both networks of a folder")
    add_path(group, "checkpoint-dir", "DIR", "folder with the checkpoints of both networks, or of one")
    add_path(group, "output-dir", "DIR", "folder to write <prefix>.pt into, created if needed")
    add_claim(group, "pileup-add-indel-length", "the pileup network has the two length heads")
    add_claim(group, "fa-add-indel-length", "the full-alignment network has the two length heads")
    group = parser.add_argument_group("both ways")
    add_path(group, "pileup-prefix", "NAME", f"name of the pileup network (default: {PILEUP})")
    add_path(group, "fa-prefix", "NAME", f"of the full-alignment network (default: {FULL_ALIGNMENT})")
    group.add_argument("--platform", choices=list(PLATFORMS), help="of the reads; recorded, for no file tells it")
    add_claim(group, "enable-dwell-time", "the full-alignment network has a channel for dwell time")
    add_switch(group, "--bare", help="write the weights alone, without the record of TensorFlow's padding")


def add_path(group: Any, name: str, metavar: str, text: str) -> None:
    group.add_argument(f"--{name}", type=required_text, metavar=metavar, help=text)


def add_claim(group: Any, name: str, text: str) -> None:
    """Declare a switch that is None when not given: then the file decides, else it must agree."""
    text += " (default: what the file says)"
    group.add_argument(f"--{name}", type=switch, nargs="?", const=True, metavar="yes|no", help=text)


def run(args: argparse.Namespace) -> None:
    """Convert the networks that the options name; all files are written, or none.

    Raises UsageError for options that do not go together, ConfigError where they contradict a file, and InputError.
    """
    contents, messages = {}, []
    for conversion in list(iter_conversions(args)):
        state, meta = read_network(conversion.index)
        check_claims(args, conversion, meta)
        output = conversion.output / f"{meta['network']}.pt" if conversion.output.is_dir() else conversion.output
        if output in contents:
            raise UsageError(f"{output}: both networks would be written there; convert one at a time")
        meta |= {
            "checkpoint": conversion.index.name,
            "sha256": read_digest(conversion.index),
            "by": f"clair3-torch {VERSION}",
        }
        if args.platform:
            meta["platform"] = args.platform
        contents[output] = state if args.bare else {"state_dict": state, "clair3_meta": meta}
        messages.append(f"{output}: {describe(meta)}, from {conversion.index}")
    for output in contents:
        make_folder(output.parent)
    write_checkpoints(contents)
    for line in messages:
        logger.info("%s", line)
    if args.bare and any("conv1.conv.weight" in state for state in contents.values()):
        logger.warning("--bare: give --conv_padding=tf_same when you call HiFi or Illumina reads with this network")


def describe(meta: dict) -> str:
    """Return the properties of a network as words of a message."""
    words = f"{NETWORK_NAMES[meta['network']]} network, {meta['heads']} heads"
    return f"{words}, {meta['channels']} channels, padding {meta['conv_padding']}" if "channels" in meta else words


def iter_conversions(args: argparse.Namespace) -> Iterator[Conversion]:
    """Yield the networks to convert. Raises UsageError, and InputError when there is no checkpoint."""
    one, both = args.checkpoint and args.output, args.checkpoint_dir and args.output_dir
    mixed = (args.checkpoint or args.output) and (args.checkpoint_dir or args.output_dir)
    if mixed or not (one or both):
        raise UsageError("give --checkpoint and --output, or --checkpoint-dir and --output-dir")
    if one:
        kind, output = args.model_type and args.model_type.replace("-", "_"), Path(args.output)
        if output.suffix == TF_SUFFIX:
            raise UsageError(f"--output={output}: {TF_SUFFIX} is the name of TensorFlow's files; write a .pt file")
        if (args.pileup_add_indel_length, args.fa_add_indel_length) != (None, None):
            raise UsageError("with --checkpoint the option is --add-indel-length, whatever the network")
        yield Conversion(find_one(args, Path(args.checkpoint), kind), output, kind)
        return
    if (args.model_type, args.add_indel_length) != (None, None):
        raise UsageError("--model-type and --add-indel-length go with --checkpoint, not with --checkpoint-dir")
    folder, indices = Path(args.checkpoint_dir), find_both(args, Path(args.checkpoint_dir))
    if not indices:
        names = " and ".join(str(folder / output_prefix(args, kind)) for kind in KINDS)
        raise InputError(f"{folder}: no TensorFlow checkpoint; looked for {names}")
    for kind in KINDS:
        prefix = output_prefix(args, kind)
        if kind in indices:
            name = Path(prefix).name.removesuffix(TF_SUFFIX)
            yield Conversion(indices[kind], Path(args.output_dir) / f"{name}.pt", kind)
        else:
            logger.warning("%s: there is no %s network", folder / prefix, NETWORK_NAMES[kind])


def output_prefix(args: argparse.Namespace, kind: str) -> str:
    """Return the prefix of a network: as given, else its kind."""
    return (args.pileup_prefix if kind == PILEUP else args.fa_prefix) or kind


def find_both(args: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Return the index files of a folder's networks, by kind. Raises InputError when a given prefix has none."""
    indices = {kind: find_tf_index(folder / output_prefix(args, kind)) for kind in KINDS}
    for kind, given in ((PILEUP, args.pileup_prefix), (FULL_ALIGNMENT, args.fa_prefix)):
        if given and not indices[kind]:
            raise InputError(f"{folder / given}: no TensorFlow checkpoint of that prefix; correct the option")
    return {kind: index for kind, index in indices.items() if index}


def find_one(args: argparse.Namespace, path: Path, kind: str | None) -> Path:
    """Return the index file that --checkpoint means; a folder with both networks needs --model-type.

    Networks under the usual prefixes are taken before that of the file `checkpoint`, which was saved last. Raises
    UsageError when there are two, InputError when there is none.
    """
    indices = [index for one, index in find_both(args, path).items() if kind in (None, one)] or [find_tf_index(path)]
    if len(indices) > 1:
        raise UsageError(f"{path}: holds both networks; add --model-type, or give --checkpoint-dir and --output-dir")
    if indices[0] is None:
        raise InputError(f"{path}: no TensorFlow checkpoint; give its prefix, its {TF_SUFFIX} file or its folder")
    return indices[0]


def check_claims(args: argparse.Namespace, conversion: Conversion, meta: dict) -> None:
    """Raise ConfigError when an option contradicts the checkpoint."""
    kind, heads = meta["network"], meta["heads"]
    if conversion.kind not in (None, kind):
        names = NETWORK_NAMES[kind], NETWORK_NAMES[conversion.kind]
        raise ConfigError(f"{conversion.index}: holds a {names[0]} network, not a {names[1]} network")
    name = "add" if args.checkpoint else "pileup-add" if kind == PILEUP else "fa-add"
    claims = {f"{name}-indel-length": (heads == 4, f"{heads} heads")}
    if kind == FULL_ALIGNMENT:
        channels = meta["channels"]
        claims["enable-dwell-time"] = channels == DWELL_CHANNEL_COUNT, f"{channels} channels"
        if channels == DWELL_CHANNEL_COUNT and args.platform and not PLATFORMS[args.platform].move_tables:
            raise ConfigError(f"{conversion.index}: has {channels} channels, which only ont has, not {args.platform}")
    for option, (actual, words) in claims.items():
        if (claimed := getattr(args, option.replace("-", "_"))) not in (None, actual):
            raise ConfigError(
                f"{conversion.index}: has {words}, which --{option}={'yes' if claimed else 'no'} contradicts"
            )
