"""The truth of a contig, phased by the reads: which haplotype each read is of (spec/training.md A.2)."""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pysam

from clair3.vcf_files import write_lines
from clair3.workspace import vcf_header
from preprocess.confident_regions import check_contig
from preprocess.phasing import LONGEST_BAI, WhatsHap, find_whatshap, open_whatshap
from preprocess.truth import iter_records, simplify
from shared.cli import required_text
from shared.errors import InputError
from shared.reference import read_reference

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, metavar, what in (
        ("bam_fn", "BAM", "reads that phase"),
        ("ref_fn", "FASTA", "with its .fai"),
        ("vcf_fn", "VCF", "truth with genotypes, phased or not"),
        ("ctgName", "NAME", "the contig"),
        ("output_fn", "VCF", "result, .vcf.gz"),
    ):
        parser.add_argument(f"--{name}", required=True, type=required_text, metavar=metavar, help=what)
    parser.add_argument("--tagged_bam_fn", type=required_text, metavar="BAM", help="also write the reads with HP tags")
    parser.add_argument(
        "--whatshap", type=required_text, metavar="PATH", help="the program; default: the installed one"
    )


def run(args: argparse.Namespace) -> None:
    """Phase, and tag if asked to. Raises ClairError, see phase_truth."""
    tagged = Path(args.tagged_bam_fn) if args.tagged_bam_fn else None
    files = (Path(args.bam_fn), Path(args.ref_fn), Path(args.vcf_fn))
    phase_truth(*files, args.ctgName, Path(args.output_fn), tagged, args.whatshap)


def phase_truth(
    bam: Path,
    reference: Path,
    truth: Path,
    contig: str,
    output: Path,
    tagged: Path | None = None,
    whatshap: str | None = None,
) -> None:
    """Phase the true variants of a contig with WhatsHap, genotypes distrusted, into a bgzipped VCF.

    Phase that the truth has is not used. tagged: a BAM of all reads of bam with their haplotypes.
    Raises InputError when files do not fit or cannot be read, PhasingError when WhatsHap fails; files are complete or
    absent.
    """
    genome = read_reference(reference)
    length = next((known.length for known in genome.contigs if known.name == contig), None)
    if length is None:
        raise InputError(f"{reference}: no contig {contig} (--ctgName); it has {genome.contigs[0].name} ...")
    with tempfile.TemporaryDirectory(prefix=".phasing_", dir=output.parent) as folder:
        plain = Path(folder) / "truth.vcf"
        write_lines(plain, [*vcf_header(genome, "SAMPLE", None).splitlines(), *unphased_rows(truth, contig)])
        with open_whatshap(whatshap, bam, reference) as phaser:
            phaser.phase(contig, plain, output)
    if tagged is not None:
        # WhatsHap looks the variants up by the index
        pysam.tabix_index(str(output), preset="vcf", force=True, csi=length > LONGEST_BAI)
        WhatsHap(find_whatshap(whatshap), bam, reference).haplotag(output, tagged)


def unphased_rows(truth: Path, contig: str) -> Iterator[str]:
    """VCF rows of a contig's true variants without phase and other fields; what GetTruth drops is left out.

    Raises InputError when the truth cannot be read or calls the contig differently.
    """
    contigs = set()
    for record in iter_records(truth):
        contigs.add(record[0])
        if record[0] == contig and (line := simplify(*record)):
            _, pos, ref, alt, first, second = line.split()
            yield f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t{first}/{second}"
    check_contig(truth, contig, contigs)
