"""Short reads, realigned to the haplotypes assembled around their differences, as a file (spec/features.md D).

Calling does this in memory: the full-alignment features of Illumina reads pull them from the same C core.
"""

import logging
from pathlib import Path

import numpy as np

from clair3.core import Source
from clair3.core.short_reads import write_realigned
from clair3.errors import ConfigError, InputError, unwritable
from clair3.io.alignments import check_header, read_alignments
from clair3.io.atomic import unfinished_in_folder
from clair3.io.bed import merge, read_bed
from clair3.io.fasta import Reference, read_reference
from clair3.legacy import options
from clair3.phasing.phasers import index_bam
from clair3.records import Region

logger = logging.getLogger(__name__)

STDOUT = "-"


def realign_reads(
    bam: Path,
    reference: Path,
    contig: str,
    output: Path | None,
    start: int | None = None,
    end: int | None = None,
    candidates: Path | None = None,
) -> None:
    """Write the realigned reads of a part of a contig: into an indexed BAM, or as SAM to stdout (output None).

    start, end  0-based, half-open; None: from the contig's start, to its end
    candidates  rows of this contig in a BED file: only reads that overlap one, and their bounds instead of start and
                end (A.10). Without rows there are no reads

    Raises ConfigError for a contig or part that is not there and when output is bam; InputError and CoreError when
    files cannot be read or written. BAM and index are complete or absent.
    """
    genome = read_reference(reference)
    alignments = read_alignments(bam, genome)
    region, intervals = requested_region(genome, contig, start, end, candidates)
    check_header(alignments, contig)
    if output is not None and output.exists() and output.samefile(bam):
        raise ConfigError(f"--read_fn={output} is the input; choose another name")
    with Source(bam, reference, alignments.index, genome.index, genome.block_index) as source:
        if output is None:
            write_realigned(source, region, intervals, STDOUT, sam=True)
            return
        try:
            with unfinished_in_folder(output) as made:
                write_realigned(source, region, intervals, made)
                index = index_bam(made, threads=1)
                index.replace(output.with_name(index.name))
                made.replace(output)
        except OSError as error:
            raise InputError(unwritable(output, error)) from None
    logger.info("%s: the realigned reads of %s", output, region)


def requested_region(
    genome: Reference, contig: str, start: int | None, end: int | None, candidates: Path | None
) -> tuple[Region, np.ndarray | None]:
    """The region to realign and the intervals that its reads must overlap, see realign_reads. Raises ConfigError."""
    lengths = {known.name: known.length for known in genome.contigs}
    if contig not in lengths:
        raise ConfigError(f"--ctgName={contig}: no such contig in {genome.path}")
    if candidates is not None:
        intervals = merge(read_bed(candidates).get(contig, np.empty((0, 2), np.int64)))
        bounds = (int(intervals[0, 0]), int(intervals[-1, 1]) + 1) if len(intervals) else (0, 1)  # lo - 1 and hi
        return Region(contig, *bounds), intervals
    region = Region(contig, start or 0, lengths[contig] if end is None else min(end, lengths[contig]))
    if not 0 <= region.start < region.end:
        raise ConfigError(f"{region}: no such part of {contig}, which has {lengths[contig]} bases")
    return region, None


PIPE = "PIPE"


class RealignReads:
    """Realign the short reads of a contig to the haplotypes assembled around their differences from the reference."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--bam_fn", required=True, type=Path, metavar="BAM", help="sorted and indexed BAM or CRAM")
        parser.add_argument("--ref_fn", default="ref.fa", type=Path, metavar="FASTA", help="default: %(default)s")
        parser.add_argument("--read_fn", default=PIPE, metavar="BAM", help="result; default: SAM text on stdout")
        parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
        for name in ("ctgStart", "ctgEnd"):
            parser.add_argument(f"--{name}", type=int, metavar="N", help="of the part to realign, 1-based, inclusive")
        parser.add_argument("--full_aln_regions", type=Path, metavar="BED", help="candidates: only reads at them")
        options.add_accepted(parser, "platform", "samtools", "sampleName")

    @staticmethod
    def run(args):
        output = None if args.read_fn == PIPE else Path(args.read_fn)
        start = None if args.ctgStart is None else args.ctgStart - 1
        place = args.ctgName, output, start, args.ctgEnd, args.full_aln_regions
        realign_reads(args.bam_fn, args.ref_fn, *place)
