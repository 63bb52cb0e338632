"""The commands about training data: `clair3 subsample`, `clair3 phase_truth` and `clair3 inspect`."""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from clair3.cli.arguments import add_switch, required_text
from clair3.genotype.classes import LABELS, LONGEST
from clair3.genotype.labels import HEADS, labels_to_classes
from clair3.io.bins import COLUMNS, Bin, position_contig
from clair3.training.data.check_bins import check_counts, check_labels
from clair3.training.data.phase_truth import phase_truth
from clair3.training.data.subsample import subsample

ZYGOSITIES = ("0/0", "1/1", "0/1 or 1/2")
MOST_CONTIGS = 30
"""Contigs that `clair3 inspect` lists one by one."""


class Subsample:
    """Write a fraction of the reads, drawn by their names, into an indexed BAM."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        for name, metavar, what in (
            ("bam_fn", "BAM", "BAM or CRAM with its index"),
            ("ref_fn", "FASTA", "with its .fai"),
            ("output_fn", "BAM", "result; its index is written beside it"),
        ):
            parser.add_argument(f"--{name}", required=True, type=required_text, metavar=metavar, help=what)
        parser.add_argument("--fraction", type=float, default=1.0, metavar="F", help="of the reads; default: all")
        parser.add_argument("--ctgName", type=required_text, metavar="A,B", help="reads of these contigs; default: all")
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="another draw (default: %(default)s)")

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        contigs = [name for name in (args.ctgName or "").split(",") if name] or None
        subsample(Path(args.bam_fn), Path(args.ref_fn), Path(args.output_fn), args.fraction, contigs, args.seed)


class PhaseTruth:
    """Phase the truth of a contig by the reads, and tag the reads if asked to."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        for name, metavar, what in (
            ("bam_fn", "BAM", "reads that phase"),
            ("ref_fn", "FASTA", "with its .fai"),
            ("vcf_fn", "VCF", "truth with genotypes, phased or not"),
            ("ctgName", "NAME", "the contig"),
            ("output_fn", "VCF", "result, .vcf.gz"),
        ):
            parser.add_argument(f"--{name}", required=True, type=required_text, metavar=metavar, help=what)
        parser.add_argument(
            "--tagged_bam_fn", type=required_text, metavar="BAM", help="also write the reads with HP tags"
        )
        parser.add_argument(
            "--whatshap", type=required_text, metavar="PATH", help="the program; default: the installed one"
        )
        add_switch(parser, "--keep_phase", help="take the phase that the truth has, each contig as one phase set")

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        tagged = Path(args.tagged_bam_fn) if args.tagged_bam_fn else None
        files = (Path(args.bam_fn), Path(args.ref_fn), Path(args.vcf_fn))
        phase_truth(*files, args.ctgName, Path(args.output_fn), tagged, args.whatshap, args.keep_phase)


class InspectBins:
    """Show what training bins hold: examples, their contigs and their classes."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bins", nargs="+", metavar="BIN", help="training bins")
        parser.add_argument("--check", action="store_true", help="unpack every row, to find damage")

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        for name in args.bins:
            with Bin(Path(name)) as one:
                print("\n".join(describe_bin(one, args.check)))


def describe_bin(one: Bin, check: bool = False) -> list[str]:
    """Describe the content of a training bin in lines of text. check: unpack every example. Raises InputError when
    examples are damaged, their labels not one-hot or their counts beyond the type."""
    contigs, histograms = Counter(), [np.zeros(head.stop - head.start, np.int64) for head in HEADS]
    first = 0
    for piece in one.pieces(COLUMNS if check else ("label", "position")):
        if check:
            check_labels(one, first, piece["label"])
            check_counts(one, first, piece["position_matrix"])
        first += len(piece["label"])
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
                ("genotypes", list_counts(LABELS, pairs)),
                ("zygosity", list_counts(ZYGOSITIES, zygosity)),
                ("shorter", list_counts(lengths, shorter)),
                ("longer", list_counts(lengths, longer)),
            )
        ),
        *([f"  not read   {', '.join(one.extra)}"] if one.extra else []),
        *(["  every row was unpacked"] if check else []),
    ]


def list_counts(names: list[str] | tuple[str, ...], counts: np.ndarray) -> str:
    """List each class that occurs with its count; `none` when there is none."""
    return ", ".join(f"{name} {count}" for name, count in zip(names, counts.tolist(), strict=True) if count) or "none"
