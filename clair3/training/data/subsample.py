"""A part of the reads, chosen by their names: mates and the pieces of a read stay together (spec/training.md A.1)."""

import argparse
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pysam

from clair3.cli.arguments import required_text
from clair3.errors import ConfigError, InputError, check_range, unwritable
from clair3.io.atomic import unfinished_in_folder
from clair3.io.fasta import Reference, read_reference
from clair3.io.inputs import Alignments, check_header, open_alignments, read_alignments
from clair3.phasing.phasers import index_bam

logger = logging.getLogger(__name__)


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


def run(args: argparse.Namespace) -> None:
    """Write the chosen reads. Raises ClairError, see subsample."""
    contigs = [name for name in (args.ctgName or "").split(",") if name] or None
    subsample(Path(args.bam_fn), Path(args.ref_fn), Path(args.output_fn), args.fraction, contigs, args.seed)


def subsample(
    bam: Path, reference: Path, output: Path, fraction: float, contigs: Sequence[str] | None = None, seed: int = 1
) -> int:
    """Write about a fraction of the reads of some contigs (None: of all) into an indexed BAM; their number.

    Raises ConfigError for a fraction outside (0, 1] and when output is bam; InputError when files cannot be read or
    written, or there is no such contig. Output and index are complete or absent.
    """
    check_range("fraction", fraction, 0, 1)
    if not fraction:
        raise ConfigError("--fraction=0 leaves no reads; expected more than 0, up to 1")
    if output.exists() and output.samefile(bam):
        raise ConfigError(f"--output_fn={output} is the input; choose another name")
    genome = read_reference(reference)
    alignments = read_alignments(bam, genome)
    for name in contigs or ():
        check_header(alignments, name)
    draw = Draw(fraction, seed)
    looked_at = kept = 0
    with pysam.AlignmentFile(str(bam), check_sq=False) as source:
        header = source.header
    try:
        with unfinished_in_folder(output) as made:
            with pysam.AlignmentFile(str(made), "wb", header=header) as target:
                for read in iter_reads(alignments, genome, contigs):
                    looked_at += 1
                    if draw.has(read.query_name):
                        kept += 1
                        target.write(read)
            index = index_bam(made, threads=1)
            index.replace(output.with_name(index.name))
            made.replace(output)
    except OSError as error:
        raise InputError(unwritable(output, error)) from None
    logger.info("%s: %d of %d alignments", output, kept, looked_at)
    return kept


def iter_reads(
    alignments: Alignments, reference: Reference, contigs: Sequence[str] | None, start: int = 0, end: int | None = None
) -> Iterator[pysam.AlignedSegment]:
    """The alignments on some contigs, or on all, in the order of the file; those over [start, end), 0-based.

    Raises InputError when they are damaged.
    """
    try:
        with open_alignments(alignments.path, alignments.index, reference) as source:
            for name in alignments.lengths:
                if contigs is None or name in contigs:
                    yield from source.fetch(name, start, end)
    except OSError:
        raise InputError(
            f"{alignments.path}: cannot be read to its end; it is damaged, copy or write it again"
        ) from None


class Draw:
    """Which reads are kept: each with the chance `fraction`, independent of those of another fraction or seed."""

    def __init__(self, fraction: float, seed: int):
        self.limit = int(fraction * 2**64)
        self.key = hashlib.sha256(f"{fraction} {seed}".encode()).digest()

    def has(self, name: str) -> bool:
        """Whether reads of this name are kept."""
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, key=self.key).digest(), "big") < self.limit
