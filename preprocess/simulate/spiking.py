"""Variants written into real reads, so that real errors surround what is known to be true; see docs/simulate.md."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

from preprocess.confident_regions import NO_INTERVALS, refuse_other_name
from preprocess.environment import Alignments, check_common, check_lengths, first_few, open_alignments, read_alignments
from preprocess.phasing import index_bam
from preprocess.simulate.contig_spiker import ContigSpiker, SpikeRule, SpikeTally, has_bases
from preprocess.simulate.error_counts import Counter as ErrorCounter
from preprocess.simulate.error_counts import Runs, batches, consensus, lay_out
from preprocess.simulate.genome import read_contigs
from preprocess.simulate.haplotypes import fitting, read_variants, write_rows
from preprocess.simulate.known_variants import KnownVariants, read_known
from preprocess.simulate.variants import Drawer, Variant, VariantRule
from preprocess.subsampling import iter_reads
from shared.errors import ConfigError, InputError, unwritable
from shared.reference import Contig, Reference, read_reference
from shared.regions import merge, read_bed
from shared.whole_files import unfinished_in_folder, write_lines

logger = logging.getLogger(__name__)

BATCH = 4_000_000
READS, TRUTH, REGIONS = "reads.bam", "truth.vcf.gz", "confident.bed"


@dataclass(frozen=True)
class Sample:
    """Real reads, a BAM or CRAM, their reference, what is known of them, and the regions, a BED, where that is all."""

    bam: Path
    fasta: Path
    truth: Path | None = None
    bed: Path | None = None


@dataclass(frozen=True)
class Wanted:
    """Variants to write: those of a VCF, and random ones; None: none of the kind."""

    vcf: Path | None = None
    drawn: VariantRule | None = None


def differing(reads: Iterator[pysam.AlignedSegment], codes: np.ndarray, name: str) -> np.ndarray:
    """Places, (n,) bool, where a quarter of the reads differ from the reference alike."""
    out, counter = np.zeros(len(codes), bool), ErrorCounter()
    for batch in batches(filter(has_bases, reads), BATCH):
        columns = lay_out(batch, codes, name)
        runs = Runs.find(columns.codes)
        found = consensus(columns, runs, *counter.run_changes(columns, runs))
        out[columns.low : columns.low + len(found)] |= found
    return out


@dataclass(frozen=True, eq=False)
class SpikeJob:
    """Everything that is known before the reads are looked at; the content of files by contig.

    known, regions  of the sample; None: unknown
    given           the variants of a VCF that are to be written
    """

    sample: Sample
    wanted: Wanted
    rule: SpikeRule
    seed: int
    genome: Reference
    alignments: Alignments
    known: dict[str, KnownVariants] | None
    regions: dict[str, np.ndarray] | None
    given: dict[str, list[Variant]]

    @classmethod
    def read(cls, sample: Sample, wanted: Wanted, rule: SpikeRule, seed: int) -> "SpikeJob":
        """Raises InputError for files that cannot be read, or of another species."""
        genome = read_reference(sample.fasta)
        alignments = read_alignments(sample.bam, genome)
        check_common(alignments, {contig.name for contig in genome.contigs})
        known = read_known(sample.truth) if sample.truth else None
        regions = read_bed(sample.bed) if sample.bed else None
        given = read_variants(wanted.vcf, np.random.default_rng([seed, 4])) if wanted.vcf else {}
        return cls(sample, wanted, rule, seed, genome, alignments, known, regions, given)

    def tell_lost(self) -> None:
        """Warn of reads that stay out because the reference lacks their contigs."""
        if lost := sorted(self.alignments.with_reads - {contig.name for contig in self.genome.contigs}):
            logger.warning(
                "%s: left out the reads on %d contigs that are not in %s: %s",
                self.sample.bam, len(lost), self.sample.fasta, first_few(lost),
            )  # fmt: skip

    def header(self) -> pysam.AlignmentHeader:
        with open_alignments(self.sample.bam, self.alignments.index, self.genome) as source:
            return source.header

    def reads(self, contig: str) -> Iterator[pysam.AlignedSegment]:
        return iter_reads(self.alignments, self.genome, (contig,))

    def spiker(self, number: int, contig: Contig, codes: np.ndarray, tally: SpikeTally) -> ContigSpiker:
        """Choose the sites of a contig, codes (n,) uint8, and look at its reads. Raises InputError when the files do
        not fit each other."""
        name, sample, vcf = contig.name, self.sample, self.wanted.vcf
        check_lengths(self.alignments, self.genome, [contig])
        for path, found in ((sample.truth, self.known), (sample.bed, self.regions), (vcf, self.given)):
            refuse_other_name(path, name, found or ())
        known = (self.known or {}).get(name, KnownVariants())
        regions = None if self.regions is None else merge(self.regions.get(name, NO_INTERVALS))
        spiker = ContigSpiker(codes, known, regions, self.rule, self.seed, tally)
        if self.known is None:
            spiker.unknown(differing(self.reads(name), codes, str(sample.bam)))
        given = fitting(self.given.get(name, []), codes, f"{vcf} {name}")
        spiker.choose(with_random(given, self.wanted.drawn, codes, (self.seed, number)))
        spiker.examine(self.reads(name))
        return spiker


def spike(
    sample: Sample, wanted: Wanted, output: Path, rule: SpikeRule, seed: int, contigs: tuple[str, ...] | None = None
) -> int:
    """Write variants into the reads of a sample, on all contigs with reads or those named; their number.

    In the folder `output` appear the reads with their index, the truth (that of the reads, if given, and what was
    written) and the regions where it holds; each file is complete or absent. Raises InputError for unreadable files,
    or ones that do not fit each other; ConfigError when output would replace the reads.
    """
    if (output / READS).exists() and sample.bam.exists() and (output / READS).samefile(sample.bam):
        raise ConfigError(f"--output {output}: its {READS} is the input; choose another folder")
    job = SpikeJob.read(sample, wanted, rule, seed)
    if contigs is None:
        job.tell_lost()
    rows, regions, tally = [], [], SpikeTally()
    try:
        with unfinished_in_folder(output / READS) as made:
            with pysam.AlignmentFile(str(made), "wb", header=job.header()) as target:
                for number, contig, codes in read_contigs(sample.fasta, contigs):
                    if contig.name not in job.alignments.with_reads:
                        continue
                    spiker = job.spiker(number, contig, codes, tally)
                    for read in job.reads(contig.name):
                        if edited := spiker.edited(read):
                            target.write(edited)
                    rows += [(contig.name, text) for _, text in spiker.truth()]
                    regions += [f"{contig.name}\t{start}\t{end}" for start, end in spiker.confident().tolist()]
            index = index_bam(made, threads=1)
            write_rows(output / TRUTH, job.genome.contigs, rows)
            write_lines(output / REGIONS, regions)
            index.replace(output / f"{READS}{index.suffix}")
            made.replace(output / READS)
    except OSError as error:
        raise InputError(unwritable(output, error)) from None
    tell(output, tally)
    return tally.variants


def with_random(given: list[Variant], rule: VariantRule | None, codes: np.ndarray, seed) -> list[Variant]:
    """The variants given on a contig and, where they leave room, random ones, by position."""
    if rule is None:
        return given
    drawer = Drawer(np.random.default_rng([seed[0], 7, seed[1]]), codes, rule, given)
    drawer.draw()
    return drawer.found


def tell(output: Path, tally: SpikeTally) -> None:
    """Say what was written, and what was not and why."""
    logger.info("%s: wrote %d variants into reads, %d alleles in all", output / READS, tally.variants, tally.written)
    logger.info("%d alleles not written where their reads err", tally.unwritten)
    if tally.left_out:
        logger.warning(
            "%s: left out %d alignments over variants: of reads in pieces (tag SA), or without bases or qualities",
            output / READS, tally.left_out,
        )  # fmt: skip
    if tally.skipped:
        text = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.skipped.items()))
        logger.info("%s: skipped %d variants: %s", output / TRUTH, tally.skipped.total(), text)
