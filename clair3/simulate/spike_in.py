"""Variants written into real reads: where there is room, what reads show there, which copy each read is of."""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam

from clair3.errors import ConfigError, InputError, check_range, unwritable
from clair3.io.alignments import (
    Alignments,
    check_common,
    check_lengths,
    iter_alignments,
    open_alignments,
    read_alignments,
)
from clair3.io.atomic import unfinished_in_folder, write_lines
from clair3.io.bed import NO_INTERVALS, intersection, merge, read_bed, refuse_other_name
from clair3.io.fasta import Contig, Reference, first_few, read_reference
from clair3.io.vcf import VcfRecord
from clair3.phasing.phasers import index_bam
from clair3.simulate.error_counts import ErrorCounter, Runs, find_consensus, iter_batches, make_columns
from clair3.simulate.genome import N, decode, mask_to_intervals, read_contigs
from clair3.simulate.genome_files import REGIONS, TRUTH
from clair3.simulate.haplotypes import KnownVariants, read_known, read_variants, select_fitting, write_truth
from clair3.simulate.read_edits import Change, ReadEdit, parse_change
from clair3.simulate.variants import Variant, VariantOptions, VariantSampler

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpikeOptions:
    """Where a variant may be written.

    gap      bases to any other difference that is true
    clear    share of the reads over a site that show the reference there, so that the variant can be written
    reads    over a site, at least
    longest  indel, in bases
    """

    gap: int = 10
    clear: float = 0.7
    reads: int = 4
    longest: int = 50

    def __post_init__(self):
        check_range("gap", self.gap, 0, 10_000)
        check_range("clear", self.clear, 0, 1)


@dataclass
class Site:
    """A variant to be written: the change of each allele (None: the reference), and how many reads over it can take
    it."""

    variant: Variant
    changes: tuple[Change | None, Change | None]
    seen: int = 0
    fit: int = 0

    @property
    def distinct(self) -> set[Change]:
        return {change for change in self.changes if change}

    @property
    def span(self) -> tuple[int, int]:
        return min(change.pos for change in self.distinct), max(change.end for change in self.distinct)


@dataclass
class CopySupport:
    """Support of the reads of one name for the copies: SNPs of the first minus SNPs of the second; their tags."""

    score: int = 0
    tag: int = 0
    phase_set: int = 0


@dataclass
class SpikeTally:
    """Counts of the variants and of their alleles in reads: written, or unwritten where the reads err.

    left_out  alignments over a variant that cannot be edited
    skipped   variants not written, by the reason
    """

    variants: int = 0
    skipped: Counter = field(default_factory=Counter)
    written: int = 0
    unwritten: int = 0
    left_out: int = 0


@dataclass(eq=False)
class ContigSpiker:
    """Chooses the sites of one contig and writes them into its reads.

    codes    (n,) uint8    of the reference
    regions  (k, 2) int64  where the known variants are all and others may be written, disjoint; None: everywhere
    tally    counts, added to
    """

    codes: np.ndarray
    known: KnownVariants
    regions: np.ndarray | None
    options: SpikeOptions
    seed: int
    tally: SpikeTally
    text: bytes = b""
    sites: list[Site] = field(default_factory=list)
    copy_of: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        self.text = decode(self.codes).encode()
        self.sure = self.codes != N  # the truth will hold there
        self.taken = ~self.sure
        for record in self.known.records:
            self.taken[max(0, record.pos - self.options.gap) : record.end + self.options.gap] = True

    def mask_unknown(self, mask: np.ndarray) -> None:
        """Exclude positions, mask (n,) bool, where the reads agree on another base than the reference and no truth is
        given."""
        for start, end in mask_to_intervals(mask):
            around = slice(max(0, start - self.options.gap), end + self.options.gap)
            self.sure[around], self.taken[around] = False, True

    def confident(self) -> np.ndarray:
        """Return where the truth will hold, (k, 2) int64: the regions without positions that mask_unknown excluded."""
        sure = mask_to_intervals(self.sure)
        return sure if self.regions is None else intersection(sure, self.regions)

    def choose(self, variants: Sequence[Variant]) -> None:
        """Take the variants that can be written and have room, within the regions."""
        allowed = np.full(len(self.codes), self.regions is None)
        for start, end in () if self.regions is None else self.regions:
            allowed[start:end] = True
        letters = self.text.decode()
        for variant in variants:
            changes = tuple(
                parse_change(letters, variant.pos, variant.ref, allele) if (allele := variant.allele(copy)) else None
                for copy in (0, 1)
            )
            site = Site(variant, changes)
            unfit = any(variant.allele(copy) and not changes[copy] for copy in (0, 1))
            size = max(abs(len(change.ref) - len(change.alt)) for change in site.distinct) if site.distinct else 0
            if unfit or not site.distinct or size > self.options.longest:
                self.tally.skipped["neither SNPs nor small indels"] += 1
                continue
            start, end = site.span
            if not allowed[start : end + 1].all():
                self.tally.skipped["outside the regions"] += 1
            elif self.taken[max(0, start - 1) : end + 1].any():
                self.tally.skipped["near other variants or N"] += 1
            else:
                self.taken[max(0, start - self.options.gap) : end + self.options.gap] = True
                self.sites.append(site)
        self.sites.sort(key=lambda site: site.span)
        self.index_sites()

    def index_sites(self) -> None:
        """Keep the bounds of the sites for sites_over."""
        spans = np.array([site.span for site in self.sites], np.int64).reshape(-1, 2)
        self.starts, self.ends = spans[:, 0], spans[:, 1]

    def sites_over(self, read: pysam.AlignedSegment) -> list[Site]:
        """Return the sites within an alignment; sites do not overlap each other."""
        first = np.searchsorted(self.starts, read.reference_start)
        return self.sites[first : np.searchsorted(self.ends, read.reference_end, side="right")]

    def scan_reads(self, reads: Iterator[pysam.AlignedSegment]) -> None:
        """Look at all reads for their copies and for sites that they show clearly; unclear sites are dropped."""
        support: dict[str, CopySupport] = defaultdict(CopySupport)
        for read in reads:
            if not is_usable(read):
                continue
            sites, snps = self.sites_over(read), self.known_snps(read)
            if not sites and not len(snps):
                continue
            edit = ReadEdit(read, self.text)
            for site in sites:
                site.seen += 1
                site.fit += all(edit.find_shift(change) is not None for change in site.distinct)
            copy_support = support[read.query_name]
            for i in snps:
                base = edit.base_at(int(self.known.snp_pos[i]))
                if base is not None:
                    first, second = self.known.snp_base[i].tolist()
                    copy_support.score += (edit.seq[base] == first) - (edit.seq[base] == second)
            if read.has_tag("HP"):
                copy_support.tag = read.get_tag("HP")
                copy_support.phase_set = read.get_tag("PS") if read.has_tag("PS") else 0
        self.assign_copies(support)
        kept = []
        for site in self.sites:
            if site.seen < self.options.reads:
                self.tally.skipped["with too few reads"] += 1
            elif site.fit < self.options.clear * site.seen:
                self.tally.skipped["where reads err too much"] += 1
            else:
                kept.append(site)
        self.sites = kept
        self.index_sites()
        self.tally.variants += len(kept)

    def known_snps(self, read: pysam.AlignedSegment) -> np.ndarray:
        return np.arange(*np.searchsorted(self.known.snp_pos, (read.reference_start, read.reference_end)))

    def assign_copies(self, support: dict[str, CopySupport]) -> None:
        """Assign reads to copies by their SNPs, else by their tags. The names of the copies in a phase set are swapped
        when most of its reads contradict the SNPs of the truth."""
        agreeing = Counter()
        for read in support.values():
            if read.score and read.tag in (1, 2):
                agreeing[read.phase_set] += 1 if (read.score > 0) == (read.tag == 1) else -1
        for name, read in support.items():
            if read.score:
                self.copy_of[name] = int(read.score < 0)
            elif read.tag in (1, 2):
                self.copy_of[name] = (read.tag - 1) ^ (agreeing[read.phase_set] < 0)

    def choose_copy(self, name: str) -> int:
        """Return the copy that a read is of, 0 or 1; without SNPs and tags a random one, the same for mates."""
        decided = self.copy_of.get(name)
        if decided is not None:
            return decided
        return hashlib.blake2b(f"{self.seed} {name}".encode(), digest_size=1).digest()[0] & 1

    def edit_read(self, read: pysam.AlignedSegment) -> pysam.AlignedSegment | None:
        """Return a read with the alleles of its copy; None for a read in several alignments that has alleles, as it
        would contradict its other alignments."""
        sites = [] if read.is_unmapped else self.sites_over(read)
        copy = self.choose_copy(read.query_name) if sites else 0
        changes = [site.changes[copy] for site in sites if site.changes[copy]]
        if read.has_tag("MC"):
            read.set_tag("MC", None)
        if not changes:
            return read
        if not is_usable(read) or read.has_tag("SA"):
            self.tally.left_out += 1
            return None
        edit, done = ReadEdit(read, self.text), 0
        for change in reversed(changes):
            shift = edit.find_shift(change)
            if shift is not None:
                edit.write(change, shift)
                done += 1
        self.tally.written += done
        self.tally.unwritten += len(changes) - done
        return edit.finish() if done else read

    def truth(self, contig: str) -> list[VcfRecord]:
        """Return the known and the written variants of the contig of that name, by position."""
        written = [part.to_record(contig) for site in self.sites for part in site.variant.split_mnp()]
        return sorted(self.known.records + written, key=lambda record: (record.pos, record))


def is_usable(read: pysam.AlignedSegment) -> bool:
    """Return whether an alignment is the primary one of its read, with bases and qualities."""
    other = read.is_unmapped or read.is_secondary or read.is_supplementary
    return not other and bool(read.query_sequence) and read.query_qualities is not None


BATCH = 4_000_000
READS = "reads.bam"
"""Name of the edited reads in the folder, beside the truth and the regions."""


@dataclass(frozen=True)
class Sample:
    """Real reads, a BAM or CRAM, their reference, a VCF of their variants, and a BED of where these are complete."""

    bam: Path
    fasta: Path
    truth: Path | None = None
    bed: Path | None = None


@dataclass(frozen=True)
class SpikeVariants:
    """Variants to write into reads: those of a VCF, and random ones; None: none of the kind."""

    vcf: Path | None = None
    drawn: VariantOptions | None = None


def find_differing(reads: Iterator[pysam.AlignedSegment], codes: np.ndarray, name: str) -> np.ndarray:
    """Mark positions, (n,) bool, where a quarter of the reads differ from the reference alike."""
    out, counter = np.zeros(len(codes), bool), ErrorCounter()
    for batch in iter_batches(filter(is_usable, reads), BATCH):
        columns = make_columns(batch, codes, name)
        runs = Runs.find(columns.codes)
        differs = find_consensus(columns, runs, *counter.run_changes(columns, runs))
        out[columns.low : columns.low + len(differs)] |= differs
    return out


@dataclass(frozen=True, eq=False)
class SpikeJob:
    """The inputs of a spike-in, read before the reads are looked at; contents of files by contig.

    known, regions  of the sample; None: unknown
    given           the variants of a VCF that are to be written
    """

    sample: Sample
    wanted: SpikeVariants
    options: SpikeOptions
    seed: int
    genome: Reference
    alignments: Alignments
    known: dict[str, KnownVariants] | None
    regions: dict[str, np.ndarray] | None
    given: dict[str, list[Variant]]

    @classmethod
    def read(cls, sample: Sample, wanted: SpikeVariants, options: SpikeOptions, seed: int) -> "SpikeJob":
        """Read the files of a job. Raises InputError for files that cannot be read, or have no contig in common."""
        genome = read_reference(sample.fasta)
        alignments = read_alignments(sample.bam, genome)
        check_common(alignments, {contig.name for contig in genome.contigs})
        known = read_known(sample.truth) if sample.truth else None
        regions = read_bed(sample.bed) if sample.bed else None
        given = read_variants(wanted.vcf, np.random.default_rng([seed, 4])) if wanted.vcf else {}
        return cls(sample, wanted, options, seed, genome, alignments, known, regions, given)

    def warn_of_lost(self) -> None:
        """Warn of reads that stay out because the reference lacks their contigs."""
        if lost := sorted(self.alignments.with_reads - {contig.name for contig in self.genome.contigs}):
            logger.warning(
                "%s: left out the reads on %d contigs that are not in %s: %s",
                self.sample.bam, len(lost), self.sample.fasta, first_few(lost),
            )  # fmt: skip

    def header(self) -> pysam.AlignmentHeader:
        """Return the header of the reads' file."""
        with open_alignments(self.sample.bam, self.alignments.index, self.genome) as source:
            return source.header

    def reads(self, contig: str) -> Iterator[pysam.AlignedSegment]:
        """Yield the alignments of a contig, by position."""
        return iter_alignments(self.alignments, self.genome, (contig,))

    def make_spiker(self, number: int, contig: Contig, codes: np.ndarray, tally: SpikeTally) -> ContigSpiker:
        """Choose the sites of a contig, codes (n,) uint8, and scan its reads. Raises InputError when the files do
        not fit each other."""
        name, sample, vcf = contig.name, self.sample, self.wanted.vcf
        check_lengths(self.alignments, self.genome, [contig])
        for path, by_contig in ((sample.truth, self.known), (sample.bed, self.regions), (vcf, self.given)):
            refuse_other_name(path, name, by_contig or ())
        known = (self.known or {}).get(name, KnownVariants())
        regions = None if self.regions is None else merge(self.regions.get(name, NO_INTERVALS))
        spiker = ContigSpiker(codes, known, regions, self.options, self.seed, tally)
        if self.known is None:
            spiker.mask_unknown(find_differing(self.reads(name), codes, str(sample.bam)))
        given = select_fitting(self.given.get(name, []), codes, f"{vcf} {name}")
        spiker.choose(add_random(given, self.wanted.drawn, codes, (self.seed, number)))
        spiker.scan_reads(self.reads(name))
        return spiker


def spike(
    sample: Sample,
    wanted: SpikeVariants,
    output: Path,
    options: SpikeOptions,
    seed: int,
    contigs: tuple[str, ...] | None = None,
) -> int:
    """Write variants into the reads of a sample, on all contigs with reads or those named; return their number.

    In the folder `output` appear the reads with their index, the truth (that of the reads, if given, and what was
    written) and the regions where it holds; each file is complete or absent. Raises InputError for unreadable files,
    or ones that do not fit each other; ConfigError when output would replace the reads.
    """
    if (output / READS).exists() and sample.bam.exists() and (output / READS).samefile(sample.bam):
        raise ConfigError(f"--output {output}: its {READS} is the input; choose another folder")
    job = SpikeJob.read(sample, wanted, options, seed)
    if contigs is None:
        job.warn_of_lost()
    truth, regions, tally = [], [], SpikeTally()
    try:
        with unfinished_in_folder(output / READS) as made:
            with pysam.AlignmentFile(str(made), "wb", header=job.header()) as target:
                for number, contig, codes in read_contigs(sample.fasta, contigs):
                    if contig.name not in job.alignments.with_reads:
                        continue
                    spiker = job.make_spiker(number, contig, codes, tally)
                    for read in job.reads(contig.name):
                        if edited := spiker.edit_read(read):
                            target.write(edited)
                    truth += spiker.truth(contig.name)
                    regions += [f"{contig.name}\t{start}\t{end}" for start, end in spiker.confident().tolist()]
            index = index_bam(made, threads=1)
            write_truth(output / TRUTH, job.genome.contigs, truth)
            write_lines(output / REGIONS, regions)
            index.replace(output / f"{READS}{index.suffix}")
            made.replace(output / READS)
    except OSError as error:
        raise InputError(unwritable(output, error)) from None
    report_tally(output, tally)
    return tally.variants


def add_random(given: list[Variant], options: VariantOptions | None, codes: np.ndarray, seed) -> list[Variant]:
    """Return the given variants of a contig and, where they leave room, random ones, by position."""
    if options is None:
        return given
    sampler = VariantSampler(np.random.default_rng([seed[0], 7, seed[1]]), codes, options, given)
    sampler.draw()
    return sampler.variants


def report_tally(output: Path, tally: SpikeTally) -> None:
    """Log what was written, and what was not and why."""
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
