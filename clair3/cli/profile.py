"""`clair3 profile BAM REF`: learn an error profile from aligned reads; see docs/simulate.md."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysam

from clair3.cli.arguments import required_text
from clair3.errors import ConfigError, InputError
from clair3.io.atomic import write_whole
from clair3.io.bed import read_bed, refuse_other_name
from clair3.io.fasta import Reference, read_reference
from clair3.io.inputs import Alignments, check_lengths, iter_alignments, read_alignments
from clair3.platforms import PLATFORMS
from clair3.simulate.error_counts import Counter, Counts, Runs, batches, lay_out, widened
from clair3.simulate.estimation import ReadFacts, estimate
from clair3.simulate.genome import read_contigs
from clair3.simulate.haplotypes import read_variants
from clair3.simulate.profile import profile_text
from clair3.simulate.variants import Variant

logger = logging.getLogger(__name__)

BATCH = 4_000_000
LEAST_BASES = 100_000
LEAST_MAPQ = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files and what is known about them."""
    parser.usage = "%(prog)s BAM REF --platform NAME --output JSON [options]"
    parser.add_argument("bam", type=required_text, metavar="BAM", help="aligned reads, indexed")
    parser.add_argument("ref", type=required_text, metavar="REF", help="their reference, with its .fai")
    parser.add_argument("--platform", required=True, choices=sorted(PLATFORMS), help="kind of reads")
    parser.add_argument("--output", type=required_text, required=True, metavar="JSON", help="the profile")
    parser.add_argument(
        "--truth", type=required_text, metavar="VCF",
        help="variants of the sample, which are left out (default: whatever a quarter of the reads agree on)",
    )  # fmt: skip
    parser.add_argument("--bed_fn", type=required_text, metavar="BED", help="look at these regions only")
    parser.add_argument(
        "--most_bases", type=float, default=3e8, metavar="N", help="read bases that are enough (default: %(default)g)"
    )
    parser.add_argument("--origin", default="", metavar="TEXT", help="a note on the reads, kept in the profile")


def run(args: argparse.Namespace) -> None:
    """Learn and write the profile. Raises ClairError, see clair3.cli.arguments.run."""
    if not args.most_bases > 0:
        raise ConfigError(f"--most_bases {args.most_bases:g}: expected a number above 0")
    output = Path(args.output)
    counts, facts = count(Path(args.bam), Path(args.ref), args.truth, args.bed_fn, args.most_bases)
    profile = estimate(args.platform, counts, facts)
    seen = {"bases": str(int(counts.bases.sum())), "reads": str(len(facts.lengths)), "bam": Path(args.bam).name}
    profile.origin.update({"made_by": "clair3 profile", **seen, **({"note": args.origin} if args.origin else {})})
    write_whole({output: f"{profile_text(profile)}\n".encode()})
    logger.info("%s: %d reads, %s", output, len(facts.lengths), summary(counts))


def count(bam: Path, fasta: Path, truth: str | None, bed: str | None, most: float) -> tuple[Counts, ReadFacts]:
    """Count the errors of the reads of all contigs, until there are enough bases. Raises InputError."""
    genome = read_reference(fasta)
    alignments = read_alignments(bam, genome)
    known = read_variants(Path(truth), np.random.default_rng(0)) if truth else None
    wanted = read_bed(Path(bed)) if bed else None
    counter, facts, seen = Counter(), ReadFacts(), 0
    for _, contig, codes in read_contigs(fasta, tuple(sorted(alignments.with_reads))):
        check_lengths(alignments, genome, [contig])
        for path, found in ((truth, known), (bed, wanted)):
            refuse_other_name(Path(path or ""), contig.name, found or ())
        regions = None if wanted is None else wanted.get(contig.name, np.empty((0, 2), np.int64))
        for batch in batches(usable_reads(alignments, genome, contig.name, regions), BATCH):
            columns = lay_out(batch, codes, str(bam))
            out = outside(regions, columns)
            if known is not None:
                out |= variant_positions(known.get(contig.name, []), columns)
            counter.add(columns, out, known is None)
            for read in batch:
                facts.add(read, contig.length)
            seen += int(columns.length.sum())
            if seen >= most:
                return counter.counts, facts
    if counter.counts.bases.sum() < LEAST_BASES:
        found = int(counter.counts.bases.sum())
        raise InputError(f"{bam}: {found} aligned bases are too few for a profile; {LEAST_BASES} are needed")
    return counter.counts, facts


def usable_reads(
    alignments: Alignments, genome: Reference, contig: str, regions: np.ndarray | None
) -> Iterator[pysam.AlignedSegment]:
    """Primary alignments that are surely where they belong, by position; those over regions, (k, 2) int64, if given."""
    low, high = (0, None) if regions is None else (int(regions[:, 0].min(initial=0)), int(regions[:, 1].max(initial=0)))
    if high == 0:
        return
    for read in iter_alignments(alignments, genome, (contig,), low, high):
        wrong = read.is_secondary or read.is_supplementary or read.is_duplicate or read.is_qcfail
        if not wrong and read.mapping_quality >= LEAST_MAPQ and read.query_sequence and read.reference_length > 1:
            yield read


def outside(regions: np.ndarray | None, columns) -> np.ndarray:
    """Positions of a batch that are in none of the regions, (n,) bool."""
    out = np.full(len(columns.codes), regions is not None)
    for start, end in () if regions is None else regions - columns.low:
        out[max(0, start) : max(0, end)] = False
    return out


def variant_positions(variants: list[Variant], columns) -> np.ndarray:
    """Positions of a batch at or next to true variants, (n,) bool, with the runs they are in."""
    out = np.zeros(len(columns.codes), bool)
    for variant in variants:
        start, end = variant.pos - columns.low, variant.end + 1 - columns.low
        if end > 0 and start < len(out):
            out[max(0, start) : end] = True
    return widened(out, Runs.find(columns.codes))


def summary(counts: Counts) -> str:
    """The error rates in words."""
    bases = max(1, int(counts.bases.sum()))
    lost = counts.losses.sum() + counts.deleted.sum() + counts.tracts[:, 1].sum()
    gained = counts.gains.sum() + counts.inserted.sum() + counts.tracts[:, 2].sum()
    rates = {"mismatches": counts.mismatches.sum(), "insertions": gained, "deletions": lost}
    text = ", ".join(f"{name} {number / bases:.3%}" for name, number in rates.items())
    return f"{bases / 1e6:.1f} Mb of bases compared: {text}"
