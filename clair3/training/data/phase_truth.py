"""The truth of a contig, phased by the reads, and the haplotypes of the reads (spec/training.md A.2)."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pysam

from clair3.errors import InputError, unwritable
from clair3.io.atomic import require_folder, unfinished, write_lines
from clair3.io.bed import check_contig
from clair3.io.fasta import find_contig, read_reference
from clair3.io.vcf import iter_genotyped_records, reference_header
from clair3.phasing.phasers import LONGEST_BAI, WhatsHap, find_whatshap, open_whatshap
from clair3.training.data.truth import iter_records, simplify

logger = logging.getLogger(__name__)

PHASE_SET = '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="Phase set identifier">'


def phase_truth(
    bam: Path,
    reference: Path,
    truth: Path,
    contig: str,
    output: Path,
    tagged: Path | None = None,
    whatshap: str | None = None,
    keep_phase: bool = False,
) -> None:
    """Phase the true variants of a contig with WhatsHap, genotypes distrusted, into a bgzipped VCF.

    Phase that the truth has is not used, unless keep_phase says that it is known along the whole contig, as that of a
    simulated genome is. tagged: a BAM of all reads of bam with their haplotypes.
    Raises InputError when files do not fit or cannot be read, PhasingError when WhatsHap fails; files are complete or
    absent.
    """
    for path in filter(None, (output, tagged)):
        require_folder(path)
    genome = read_reference(reference)
    length = find_contig(genome, contig).length
    header = reference_header(genome, "SAMPLE", None).splitlines()
    try:
        with tempfile.TemporaryDirectory(prefix=".phasing_", dir=output.parent) as folder:
            plain = Path(folder) / "truth.vcf"
            if keep_phase:
                write_lines(plain, [*header[:-1], PHASE_SET, header[-1], *iter_phased_records(truth, contig)])
                with unfinished(output) as partial:
                    pysam.tabix_compress(str(plain), str(partial), force=True)
            else:
                write_lines(plain, [*header, *iter_unphased_records(truth, contig)])
                with open_whatshap(whatshap, bam, reference) as phaser:
                    phaser.phase(contig, plain, output)
    except OSError as error:
        raise InputError(unwritable(output, error)) from None
    if tagged is not None:
        # WhatsHap looks the variants up by the index
        pysam.tabix_index(str(output), preset="vcf", force=True, csi=length > LONGEST_BAI)
        WhatsHap(find_whatshap(whatshap), bam, reference).haplotag(output, tagged)


def iter_unphased_records(truth: Path, contig: str) -> Iterator[str]:
    """Yield VCF rows of a contig's true variants without phase and other fields; what GetTruth drops is left out.

    Raises InputError when the truth cannot be read or calls the contig differently.
    """
    contigs = set()
    for record in iter_records(truth):
        contigs.add(record[0])
        if record[0] == contig and (line := simplify(*record)):
            _, pos, ref, alt, first, second = line.split()
            yield f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t{first}/{second}"
    check_contig(truth, contig, contigs)


def iter_phased_records(truth: Path, contig: str) -> Iterator[str]:
    """Yield VCF rows of a contig's phased variants, all in phase set 1; warns of those without phase.

    Raises InputError as iter_unphased_records does, and when none of the heterozygous ones has a phase.
    """
    contigs, phased, without = set(), 0, 0
    for _, record in iter_genotyped_records(truth):
        contigs.add(record.contig)
        if record.contig != contig:
            continue
        genotype = record.genotype
        if "|" in genotype:
            phased += len(set(genotype.split("|"))) > 1
            yield f"{contig}\t{record.pos_text}\t.\t{record.ref}\t{record.alt_text}\t.\t.\t.\tGT:PS\t{genotype}:1"
        else:
            without += len(set(genotype.split("/"))) > 1
    check_contig(truth, contig, contigs)
    if without and not phased:
        raise InputError(f"{truth}: no genotype on contig {contig} has a phase (0|1); leave out --keep_phase")
    if without:
        logger.warning("%s: left out %d genotypes on contig %s that have no phase", truth, without, contig)
