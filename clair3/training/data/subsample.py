"""A fraction of the reads, drawn by their names: mates and the alignments of a read stay together
(spec/training.md A.1)."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import pysam

from clair3.errors import ConfigError, InputError, check_range, unwritable
from clair3.io.alignments import check_header, iter_alignments, read_alignments
from clair3.io.atomic import unfinished_in_folder
from clair3.io.fasta import read_reference
from clair3.phasing.phasers import index_bam

logger = logging.getLogger(__name__)


def subsample(
    bam: Path, reference: Path, output: Path, fraction: float, contigs: Sequence[str] | None = None, seed: int = 1
) -> int:
    """Write a fraction of the reads of some contigs (None: of all) into an indexed BAM; return how many alignments.

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
    sampler = NameSampler(fraction, seed)
    looked_at = kept = 0
    with pysam.AlignmentFile(str(bam), check_sq=False) as source:
        header = source.header
    try:
        with unfinished_in_folder(output) as made:
            with pysam.AlignmentFile(str(made), "wb", header=header) as target:
                for read in iter_alignments(alignments, genome, contigs):
                    looked_at += 1
                    if sampler.keeps(read.query_name):
                        kept += 1
                        target.write(read)
            index = index_bam(made, threads=1)
            index.replace(output.with_name(index.name))
            made.replace(output)
    except OSError as error:
        raise InputError(unwritable(output, error)) from None
    logger.info("%s: %d of %d alignments", output, kept, looked_at)
    return kept


class NameSampler:
    """Draws read names: each is kept with probability `fraction`, independent of other fractions and seeds."""

    def __init__(self, fraction: float, seed: int):
        self.limit = int(fraction * 2**64)
        self.key = hashlib.sha256(f"{fraction} {seed}".encode()).digest()

    def keeps(self, name: str) -> bool:
        """Return whether the reads of this name are kept."""
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, key=self.key).digest(), "big") < self.limit
