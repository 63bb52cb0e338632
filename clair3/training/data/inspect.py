"""What a training bin holds, in words and numbers: `clair3 inspect`."""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from clair3.genotype.classes import LONGEST
from clair3.genotype.labels import HEADS, labels_to_classes
from clair3.io.bins import COLUMNS, Bin, position_contig

ZYGOSITIES = ("0/0", "1/1", "0/1 or 1/2")
MOST_CONTIGS = 30
"""Contigs that are listed one by one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bins", nargs="+", metavar="BIN", help="training bins")
    parser.add_argument("--check", action="store_true", help="unpack every row, to find damage")


def run(args: argparse.Namespace) -> None:
    """Print what each bin holds. Raises InputError when one cannot be read."""
    for name in args.bins:
        with Bin(Path(name)) as one:
            print("\n".join(describe(one, args.check)))


def describe(one: Bin, check: bool = False) -> list[str]:
    """Lines about a bin. check unpacks every row. Raises InputError when rows are damaged."""
    contigs, histograms = Counter(), [np.zeros(head.stop - head.start, np.int64) for head in HEADS]
    for piece in one.pieces(COLUMNS if check else ("label", "position")):
        contigs.update(map(position_contig, piece["position"].tolist()))
        for histogram, classes in zip(histograms, labels_to_classes(piece["label"]).T, strict=True):
            histogram += np.bincount(classes, minlength=len(histogram))
    fits = f"not said; the shape is that of {' and '.join(one.format.platforms)}"
    pairs, zygosity, shorter, longer = histograms
    lengths = [str(length) for length in range(-LONGEST, LONGEST + 1)]
    listed = [f"{contig} {count}" for contig, count in contigs.items()]
    if len(listed) > MOST_CONTIGS:
        listed = [*listed[:MOST_CONTIGS], f"and {len(listed) - MOST_CONTIGS} more"]
    made = f"clair3-torch {one.attributes['tool_version']}" if "tool_version" in one.attributes else "not said"
    seed = one.attributes.get("seed", "none")
    return [
        str(one.path),
        *(
            f"  {name:10} {value}"
            for name, value in (
                ("rows", len(one)),
                ("tensors", f"{one.format}, {one.format.dtype}"),
                ("platform", one.platform or fits),
                ("made by", f"{made}, seed {seed}"),
                ("packing", one.packing()),
                ("contigs", ", ".join(listed) or "none"),
                ("genotypes", counted(classes.LABELS, pairs)),
                ("zygosity", counted(ZYGOSITIES, zygosity)),
                ("shorter", counted(lengths, shorter)),
                ("longer", counted(lengths, longer)),
            )
        ),
        *([f"  not read   {', '.join(one.extra)}"] if one.extra else []),
        *(["  every row was unpacked"] if check else []),
    ]


def counted(names: list[str] | tuple[str, ...], counts: np.ndarray) -> str:
    """Each class that occurs with its number."""
    return ", ".join(f"{name} {count}" for name, count in zip(names, counts.tolist(), strict=True) if count) or "none"
