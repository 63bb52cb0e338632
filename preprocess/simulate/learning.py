"""`clair3 profile BAM REF`: learn an error profile from aligned reads; see docs/simulate.md."""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pysam

from clair3.core.simulate import CHANGE, CONTEXT, RUN, RUN_GROUPS
from preprocess.confident_regions import refuse_other_name
from preprocess.environment import Alignments, check_lengths, read_alignments
from preprocess.simulate.error_counts import Counter, Counts, Runs, batches, counted, lay_out, widened
from preprocess.simulate.genome import read_contigs
from preprocess.simulate.haplotypes import read_variants
from preprocess.simulate.mixtures import factor_quantiles, site_rates
from preprocess.simulate.profile import MOST_QUALITY, STATES, Profile, kmer_text, profile_text
from preprocess.simulate.variants import Variant
from preprocess.subsampling import iter_reads
from shared.cli import required_text
from shared.errors import ConfigError, InputError
from shared.platforms import PLATFORMS
from shared.reference import Reference, read_reference
from shared.regions import read_bed
from shared.whole_files import write_whole

logger = logging.getLogger(__name__)

BATCH = 4_000_000
LEAST_BASES = 100_000
LEAST_MAPQ = 20
LONG_CLIP, NEAR_END, LONGEST_CLIP = 20, 100, 2000
PRIOR_RUNS, PRIOR_TRACTS, PRIOR_EVENTS = 100, 200, 4
SIGNIFICANT = 9.0
LARGEST_FACTOR = 8.0
"""Long reads that err more than this lie where they do not belong."""

SHORT_RANKS = 201
"""Quantiles of the spread of short reads: few reads have most of the errors."""
GROWTH, TRACT_GROWTH = 1.25, 1.02
"""How much more often a run (a tandem repeat) errs that is one base longer, where too few are seen to tell."""


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


@dataclass
class ReadFacts:
    """What is known of whole reads: lists with an entry for each."""

    lengths: list[int] = field(default_factory=list)
    inserts: list[int] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    ends: int = 0
    chimeras: int = 0
    dwell: list[float] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    qualities: list[np.ndarray] = field(default_factory=list)

    def add(self, read: pysam.AlignedSegment, contig_length: int) -> None:
        self.lengths.append(read.infer_read_length())
        if read.is_proper_pair and read.template_length > 0:
            self.inserts.append(read.template_length)
        if read.has_tag("SA"):
            self.chimeras += 1
        else:
            self.add_clips(read, contig_length)
        if len(self.qualities) < 2000:
            quality = np.frombuffer(read.query_alignment_qualities, np.uint8)
            self.qualities.append((quality[::-1] if read.is_reverse else quality)[:20_000])
        if read.has_tag("mv") and len(self.dwell) < 2000:
            moves = np.array(read.get_tag("mv"), np.int64)
            self.strides.append(int(moves[0]))
            self.dwell.append((len(moves) - 1) / max(1, int(moves[1:].sum())))

    def add_clips(self, read: pysam.AlignedSegment, contig_length: int) -> None:
        """Clipped ends that are not simply beyond the contig."""
        inner = (
            (read.cigartuples[0], read.reference_start),
            (read.cigartuples[-1], contig_length - read.reference_end),
        )
        for (kind, size), room in inner:
            if room > NEAR_END:
                self.ends += 1
                if kind == 4 and size >= LONG_CLIP:
                    self.clips.append(min(size, LONGEST_CLIP))


def run(args: argparse.Namespace) -> None:
    """Learn and write the profile. Raises ClairError, see shared.cli.run."""
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
    for read in iter_reads(alignments, genome, (contig,), low, high):
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


def estimate(platform: str, counts: Counts, facts: ReadFacts) -> Profile:
    """The profile that explains the counts."""
    tables = run_tables(counts.changes)
    context, scale = context_factors(counts, tables)
    middle = slice(CHANGE, CHANGE + 1)
    for table in tables.values():
        table[:, :CHANGE] *= scale["losses"]
        table[:, CHANGE + 1 :] *= scale["gains"]
        table[:, middle] = 0
    runs = max(1, int(counts.changes.sum()))
    share, smoothness = quality_correlations(facts.qualities)
    rise, decline = along_read(counts) if platform == "ilmn" else (0.0, 0.0)
    quantiles = np.linspace(0, 1, 21)
    mismatch = counts.mismatches.sum() / max(1, counts.bases.sum())
    depth, errors, number = np.concatenate(counts.sites).T
    sites = site_rates(depth, errors, number, mismatch / 3)
    elsewhere = max(0.1, 1 - sum(part * rate for part, rate in sites) / max(mismatch, 1e-9))
    values = {
        "platform": platform,
        "lengths": np.quantile(np.clip(facts.lengths, 50, 200_000), quantiles).tolist(),
        "spread": spread(np.concatenate(counts.read_errors), np.concatenate(counts.read_bases)),
        "insert": insert_size(facts.inserts),
        "mismatch": scale["mismatches"] * mismatch * elsewhere,
        "sites": sites,
        "run_factors": run_factors(counts),
        "insertion": counts.inserted.sum() / runs,
        "deletion": counts.deleted.sum() / runs,
        "substitution": shares(counts.substitution + 0.5 * (1 - np.eye(4))).tolist(),
        "insertion_length": shares(counts.inserted + 0.01).tolist(),
        "deletion_length": shares(counts.deleted + 0.01).tolist(),
        "run": {name: table.tolist() for name, table in tables.items()},
        "tract": tract_table(counts.tracts).tolist(),
        "context": context,
        "quality": {name: shares(row).tolist() for name, row in zip(STATES, quality_rows(counts.quality), strict=True)},
        "read_share": share,
        "smoothness": smoothness,
        "rise": rise,
        "decline": decline,
        "junk": [2 * len(facts.clips) / max(1, facts.ends), float(np.mean(facts.clips or [0]))],
        "chimeras": facts.chimeras / max(1, len(facts.lengths)),
    }
    if facts.dwell:
        values |= {"dwell": max(1.0, float(np.mean(facts.dwell))), "stride": max(facts.strides[0], 1)}
    return Profile(
        **{name: float(value) if isinstance(value, np.floating) else value for name, value in values.items()}
    )


def shares(table: np.ndarray) -> np.ndarray:
    """Rows that add up to 1."""
    return table / table.sum(axis=-1, keepdims=True)


def run_tables(changes: np.ndarray) -> dict[str, np.ndarray]:
    """Chances of changes by length of the run, (33, 7) for A/T and C/G; where few runs were seen, as the length before
    with GROWTH."""
    tables = {}
    for kind, rows in (("AT", changes[: RUN + 1]), ("CG", changes[RUN + 1 :])):
        table = np.zeros(rows.shape)
        for length in range(1, RUN + 1):
            prior = table[length - 1] * GROWTH
            prior *= min(1.0, 0.45 / max(prior.sum(), 1e-12))
            seen = max(int(rows[length].sum()), 0)
            weight = PRIOR_RUNS if length > 1 else 0
            table[length] = (rows[length] + weight * prior) / max(seen + weight, 1)
            table[length, CHANGE] = 0
        tables[kind] = table
    return tables


def tract_table(tracts: np.ndarray) -> np.ndarray:
    """Chances of tandem repeats to lose and to gain a unit, (65, 2), smoothed as run_tables are."""
    table = np.zeros((len(tracts), 2))
    total = max(1, int(tracts[:, 0].sum()))
    before = tracts[:, 1:].sum(axis=0) / total
    for size in range(len(tracts)):
        prior = np.minimum(before * (TRACT_GROWTH if size > 6 else 1), 0.2)
        table[size] = np.minimum((tracts[size, 1:] + PRIOR_TRACTS * prior) / (tracts[size, 0] + PRIOR_TRACTS), 0.4)
        before = table[size]
    return table


def context_factors(counts: Counts, tables: dict[str, np.ndarray]) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Factors of the 6-mers that err much more or less than others, and what they make of the rates: the rates times
    the scales, with the factors, give the errors that were seen."""
    both = np.concatenate([tables["AT"], tables["CG"]])
    expected = {
        "mismatches": counts.bases * (counts.mismatches.sum() / max(1, counts.bases.sum())),
        "gains": counts.runs @ both[:, CHANGE + 1 :].sum(axis=1),
        "losses": counts.runs @ both[:, :CHANGE].sum(axis=1),
    }
    factors, scale = np.ones((4**CONTEXT, 3)), {}
    for column, (name, wanted) in enumerate(expected.items()):
        seen = getattr(counts, name)
        factor = (seen + PRIOR_EVENTS) / (wanted + PRIOR_EVENTS)
        clear = (seen - wanted) ** 2 > SIGNIFICANT * np.maximum(wanted, 1)
        factors[clear, column] = factor[clear]
        scale[name] = float(seen.sum() / max(1e-9, (wanted * factors[:, column]).sum()))
    odd = np.flatnonzero((factors != 1).any(axis=1))
    return {kmer_text(int(code)): factors[code].tolist() for code in odd}, scale


def quality_rows(quality: np.ndarray) -> np.ndarray:
    """Counts of qualities by state; a state that was hardly seen has those of mismatches, or of all."""
    rows = quality.astype(float) + 1e-3 * quality.sum(axis=0) / max(1, quality.sum())
    few = quality.sum(axis=1) < 20
    rows[few] = quality[1] if quality[1].sum() >= 20 else quality.sum(axis=0)
    return rows[:, : int(np.flatnonzero(quality.sum(axis=0)).max(initial=0)) + 1]


def spread(errors: np.ndarray, bases: np.ndarray) -> list[float]:
    """Quantiles of the factor of a read on all rates, mean 1: as seen in reads of many errors, else what chance does
    not explain."""
    wanted = bases * (errors.sum() / max(1, bases.sum()))
    many = wanted >= 20
    if many.sum() >= 20:
        factor = np.minimum(np.quantile(errors[many] / wanted[many], np.linspace(0, 1, 21)), LARGEST_FACTOR)
        return (factor / ((factor[1:] + factor[:-1]) / 2).mean()).tolist()
    expected = np.maximum(np.round(wanted, 2), 0.01)
    rows = counted(np.round(100 * expected).astype(np.int64), errors)
    return factor_quantiles(rows[:, 1], rows[:, 0] / 100, rows[:, 2], SHORT_RANKS)


def run_factors(counts: Counts) -> list[list[float]]:
    """Quantiles of the factor of a run on its changes, for each group of lengths."""
    row, reads, events, number = np.concatenate(counts.run_sites).T
    rate = 1 - counts.changes[:, CHANGE] / np.maximum(counts.changes.sum(axis=1), 1)
    group = np.searchsorted(RUN_GROUPS, row % (RUN + 1), side="right") - 1
    expected = reads * rate[row]
    tables = []
    for which in range(len(RUN_GROUPS)):
        of = group == which
        tables.append(factor_quantiles(events[of], expected[of], number[of], 21))
    return tables


def quality_correlations(qualities: list[np.ndarray]) -> tuple[float, float]:
    """How much of a quality's level all bases of a read share, and how alike neighbours are beyond that."""
    long = [quality for quality in qualities if len(quality) >= 50]
    if not long:
        return 0.0, 0.0
    below = np.cumsum(np.bincount(np.concatenate(long), minlength=256)).astype(float)
    middle = (np.r_[0, below[:-1]] + below) / 2 / below[-1]
    level = np.array([NormalDist().inv_cdf(min(max(q, 1e-4), 1 - 1e-4)) for q in middle])
    reads = [level[quality] for quality in long]
    total = float(np.concatenate(reads).var())
    mean = np.concatenate(reads).mean()
    products = sum(float(((row[1:] - mean) * (row[:-1] - mean)).sum()) for row in reads)
    neighbours = products / max(1, sum(len(row) - 1 for row in reads)) / max(total, 1e-9)
    shared = float(np.var([row.mean() for row in reads])) / max(total, 1e-9)
    rest = (neighbours - shared) / max(1 - shared, 1e-9)
    return float(np.sqrt(np.clip(shared, 0, 0.95))), float(np.clip(rest, 0, 0.99))


def along_read(counts: Counts) -> tuple[float, float]:
    """How much errors rise and quality falls with the square of the place in a read, as Profile has it."""
    place = ((np.arange(len(counts.along)) + 0.5) / len(counts.along)) ** 2
    bases = np.maximum(counts.along[:, 0], 1)
    rise, start = np.polyfit(place, counts.along[:, 1] / bases, 1)
    fall, _ = np.polyfit(place, counts.along[:, 2] / bases, 1)
    every = counts.quality.sum(axis=0)
    quality = np.arange(MOST_QUALITY + 1)
    mean = (every * quality).sum() / max(1, every.sum())
    deviation = np.sqrt((every * (quality - mean) ** 2).sum() / max(1, every.sum()))
    return float(np.clip(rise / max(start, 1e-9), 0, 20)), float(np.clip(-fall / max(deviation, 1e-9), 0, 3))


def insert_size(inserts: list[int]) -> list[float] | None:
    """Mean and standard deviation of fragments; those far too long belong to no pair. None without pairs."""
    if len(inserts) < 100:
        return None
    sizes = np.array(inserts)
    sizes = sizes[sizes <= 3 * np.median(sizes)]
    return [float(sizes.mean()), float(sizes.std())]


def summary(counts: Counts) -> str:
    """The error rates in words."""
    bases = max(1, int(counts.bases.sum()))
    lost = counts.losses.sum() + counts.deleted.sum() + counts.tracts[:, 1].sum()
    gained = counts.gains.sum() + counts.inserted.sum() + counts.tracts[:, 2].sum()
    rates = {"mismatches": counts.mismatches.sum(), "insertions": gained, "deletions": lost}
    text = ", ".join(f"{name} {number / bases:.3%}" for name, number in rates.items())
    return f"{bases / 1e6:.1f} Mb of bases compared: {text}"
