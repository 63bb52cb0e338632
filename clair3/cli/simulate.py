"""`clair3 simulate genome|reads|spike`: a diploid genome with known variants, reads of it, and variants written into
real reads; see docs/simulate.md."""

import argparse
import logging
from pathlib import Path

import numpy as np

from clair3.cli.arguments import add_switch, required_text
from clair3.errors import ConfigError, UsageError
from clair3.io.atomic import make_folder, unfinished_in_folder, write_whole
from clair3.platforms import PLATFORMS
from clair3.simulate.aligner import align, find_aligner, read_minimap2_version
from clair3.simulate.error_counts import Counts
from clair3.simulate.estimation import estimate
from clair3.simulate.genome import check_sizes
from clair3.simulate.genome_files import REFERENCE, REGIONS, TRUTH, write_genome
from clair3.simulate.observation import count_errors
from clair3.simulate.profile import Profile, format_profile
from clair3.simulate.profile_choice import RANDOM, load_profile, vary_profile
from clair3.simulate.read_plan import ReadOptions
from clair3.simulate.reads import simulate_reads
from clair3.simulate.spike_in import READS, Sample, SpikeOptions, SpikeVariants, spike
from clair3.simulate.variants import VariantOptions
from clair3.util.process import usable_threads


class Genome:
    """Write a genome with known variants: its truth and regions, and a reference if it is made up."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        source = parser.add_argument_group("reference, one of the two")
        source.add_argument("--ref_fn", type=required_text, metavar="FASTA", help="a reference with its .fai")
        source.add_argument("--contigs", metavar="NAME=BASES,...", help="make up a reference of these contigs")
        parser.add_argument("--output", type=required_text, required=True, metavar="FOLDER", help="where the files go")
        parser.add_argument("--ctg_name", metavar="NAME,...", help="only these contigs of the reference get variants")
        kinds = parser.add_argument_group("variants")
        kinds.add_argument("--variants", type=required_text, metavar="VCF", help="real variants to start from")
        add_random_variants(kinds, VariantOptions.density, "1/1500 1/200")
        add_seed(parser)

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        options = VariantOptions(density=tuple(args.density), indels=args.indels)
        if (args.ref_fn is None) == (args.contigs is None):
            raise UsageError("give one of --ref_fn FASTA and --contigs NAME=BASES,...")
        sizes = check_sizes(args.contigs) if args.contigs else None
        reference, known = (Path(name) if name else None for name in (args.ref_fn, args.variants))
        write_genome(make_folder(args.output), reference or sizes, known, options, args.seed, split_contigs(args))


class Reads:
    """Write a sorted, indexed BAM of reads of a simulated genome."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        files = parser.add_argument_group("files")
        files.add_argument(
            "--ref_fn", type=required_text, required=True, metavar="FASTA", help="reference with its .fai"
        )
        files.add_argument(
            "--truth", type=required_text, required=True, metavar="VCF", help="phased variants of the genome"
        )
        files.add_argument("--output", type=required_text, required=True, metavar="BAM", help="the reads")
        files.add_argument("--ctg_name", metavar="NAME,...", help="reads of these contigs only")
        reads = parser.add_argument_group("reads")
        reads.add_argument("--platform", required=True, choices=sorted(PLATFORMS), help="kind of reads")
        reads.add_argument(
            "--profile", type=required_text, metavar="NAME",
            help=f"error profile: ont, hifi, ilmn, a file of clair3 profile, or {RANDOM} "
            "(default: that of the platform)",
        )  # fmt: skip
        add_switch(reads, "--vary", help="change the profile at random, by the seed")
        add_switch(reads, "--error_free", help="reads without errors")
        reads.add_argument(
            "--depth", type=float, default=ReadOptions.depth, metavar="X", help="coverage (default: %(default)g)"
        )
        add_switch(reads, "--moves", help="move tables (tag mv), for --enable_dwell_time")
        reads.add_argument(
            "--tagged", type=float, default=ReadOptions.tagged, metavar="SHARE",
            help="reads with haplotype tags (HP, PS), as a phasing tool gives them (default: %(default)s)",
        )  # fmt: skip
        reads.add_argument(
            "--wrong_tags",
            type=float,
            default=ReadOptions.wrong,
            metavar="SHARE",
            help="wrong ones (default: %(default)s)",
        )
        foreign = parser.add_argument_group("what real files have too; shares of reads, drawn by the seed if not given")
        for name, what in (
            ("contamination", "reads of another sample (default: 0 to 0.005)"),
            ("misplaced", "reads that belong elsewhere (default: 0 to 0.005, Illumina 0 to 0.02)"),
            ("adapters", "pairs longer than their fragment (default: Illumina 0.002, else 0)"),
        ):
            foreign.add_argument(f"--{name}", type=float, metavar="SHARE", help=what)
        reads.add_argument(
            "--sample", default=ReadOptions.sample, metavar="NAME", help="name of the sample (default: %(default)s)"
        )
        reads.add_argument(
            "--aligner", type=required_text, metavar="PROGRAM",
            help="minimap2, by name or place: it aligns the reads (default: they lie where they came from)",
        )  # fmt: skip
        reads.add_argument("--threads", type=int, default=1, metavar="N", help="threads (default: %(default)s)")
        add_seed(parser)

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        options = make_read_options(args)
        program = find_aligner(args.aligner) if args.aligner else None
        output, ref, profile = Path(args.output), Path(args.ref_fn), choose_profile(args)
        make_folder(output.parent)
        threads = usable_threads(args.threads)

        def simulate(into: Path) -> None:
            simulate_reads(ref, Path(args.truth), into, profile, options, args.seed, threads, split_contigs(args))

        if program is None:
            simulate(output)
            return
        read_minimap2_version(program)
        with unfinished_in_folder(output) as made:
            simulate(made)
            align(program, made, ref, output, profile, threads)

    @staticmethod
    def check(args: argparse.Namespace) -> None:
        """Refuse options, or a profile or aligner, that run would refuse. Raises ConfigError or InputError."""
        make_read_options(args)
        choose_profile(args)
        if args.aligner:
            find_aligner(args.aligner)


class Spike:
    """Write variants into real reads."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        files = parser.add_argument_group("files")
        files.add_argument("--bam_fn", type=required_text, required=True, metavar="BAM", help="real reads, indexed")
        files.add_argument(
            "--ref_fn", type=required_text, required=True, metavar="FASTA", help="reference with its .fai"
        )
        files.add_argument(
            "--output", type=required_text, required=True, metavar="FOLDER",
            help=f"where {READS}, {TRUTH} and {REGIONS} go",
        )  # fmt: skip
        files.add_argument(
            "--truth", type=required_text, metavar="VCF",
            help="variants of the reads; phased ones tell the copies apart (default: unknown; the HP tags tell)",
        )  # fmt: skip
        files.add_argument("--bed_fn", type=required_text, metavar="BED", help="regions where --truth says all")
        files.add_argument("--ctg_name", metavar="NAME,...", help="reads of these contigs only")
        kinds = parser.add_argument_group("variants to write, at least one of --variants and --density")
        kinds.add_argument(
            "--variants", type=required_text, metavar="VCF", help="these; genotypes without phase get one"
        )
        add_random_variants(kinds, None, "none")
        kinds.add_argument(
            "--gap", type=int, metavar="BASES", default=SpikeOptions.gap,
            help="least distance to other variants (default: %(default)s)",
        )  # fmt: skip
        kinds.add_argument(
            "--clear", type=float, metavar="SHARE", default=SpikeOptions.clear,
            help="reads over a site that must show the reference there (default: %(default)s)",
        )  # fmt: skip
        add_seed(parser)

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        if args.variants is None and args.density is None:
            raise UsageError("give at least one of --variants VCF and --density LOW HIGH")
        drawn = VariantOptions(density=tuple(args.density), indels=args.indels, structural=0) if args.density else None
        truth, bed, variants = (Path(name) if name else None for name in (args.truth, args.bed_fn, args.variants))
        sample = Sample(Path(args.bam_fn), Path(args.ref_fn), truth, bed)
        options = SpikeOptions(args.gap, args.clear)
        spike(sample, SpikeVariants(variants, drawn), make_folder(args.output), options, args.seed, split_contigs(args))


ACTIONS = {
    "genome": (Genome, f"write {TRUTH} and {REGIONS}, and {REFERENCE} if made up"),
    "reads": (Reads, "write a sorted, indexed BAM of reads of such a genome"),
    "spike": (Spike, "write variants into real reads"),
}
"""Name of each action, its command, and what it does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(ACTIONS), prog=parser.prog)
    for name, (command, text) in ACTIONS.items():
        command.add_arguments(actions.add_parser(name, help=text))


def run(args: argparse.Namespace) -> None:
    """Run an action. Raises ClairError, see clair3.cli.arguments.run."""
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: expected a whole number from 0")
    command, _ = ACTIONS[args.action]
    command.run(args)


def add_random_variants(group, default: tuple[float, float] | None, text: str) -> None:
    """Declare --density and --indels, the options of random variants."""
    group.add_argument(
        "--density", type=float, nargs=2, metavar=("LOW", "HIGH"), default=default,
        help=f"random variants per base, drawn for each Mb between the two; 0 0: none (default: {text})",
    )  # fmt: skip
    group.add_argument(
        "--indels", type=float, metavar="SHARE", default=VariantOptions.indels,
        help="indels among the random variants (default: %(default)s)",
    )  # fmt: skip


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Declare --seed."""
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of all that is random (default: %(default)s)"
    )


def split_contigs(args: argparse.Namespace) -> tuple[str, ...] | None:
    """Return the contigs of --ctg_name; None: all."""
    return tuple(args.ctg_name.split(",")) if args.ctg_name else None


def choose_profile(args: argparse.Namespace) -> Profile:
    """Read or draw the error profile. Raises ConfigError, or InputError for a file that is none."""
    rng = np.random.default_rng([args.seed, 6])
    profile = load_profile(args.profile or args.platform, args.platform, rng)
    return vary_profile(profile, rng) if args.vary else profile


def make_read_options(args: argparse.Namespace) -> ReadOptions:
    """Make the options by which reads are drawn. Raises ConfigError when they do not fit each other or the platform."""
    if args.moves and not PLATFORMS[args.platform].move_tables:
        raise UsageError("--moves: only ONT reads have move tables; leave it out")
    if args.adapters and not PLATFORMS[args.platform].short_reads:
        raise UsageError("--adapters: only Illumina pairs end in adapters; leave it out")
    options = ReadOptions(
        args.depth, args.error_free, args.tagged, args.wrong_tags, moves=args.moves, sample=args.sample,
        contamination=args.contamination, mismapped=args.misplaced, adapters=args.adapters,
    )  # fmt: skip
    options.conditions(np.random.default_rng(0), args.platform)  # raises for a share that is none
    return options


logger = logging.getLogger(__name__)


def summarize(counts: Counts) -> str:
    """Summarize the error rates in one line."""
    bases = max(1, int(counts.bases.sum()))
    lost = counts.losses.sum() + counts.deleted.sum() + counts.tracts[:, 1].sum()
    gained = counts.gains.sum() + counts.inserted.sum() + counts.tracts[:, 2].sum()
    rates = {"mismatches": counts.mismatches.sum(), "insertions": gained, "deletions": lost}
    text = ", ".join(f"{name} {number / bases:.3%}" for name, number in rates.items())
    return f"{bases / 1e6:.1f} Mb of bases compared: {text}"


class LearnProfile:
    """`clair3 profile BAM REF`: learn an error profile from aligned reads; see docs/simulate.md."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the files and what is known about them."""
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
            "--most_bases",
            type=float,
            default=3e8,
            metavar="N",
            help="read bases that are enough (default: %(default)g)",
        )
        parser.add_argument("--origin", default="", metavar="TEXT", help="a note on the reads, kept in the profile")

    @staticmethod
    def run(args: argparse.Namespace) -> None:
        """Learn and write the profile. Raises ClairError, see clair3.cli.arguments.run."""
        if not args.most_bases > 0:
            raise ConfigError(f"--most_bases {args.most_bases:g}: expected a number above 0")
        output = Path(args.output)
        truth, bed = (Path(name) if name else None for name in (args.truth, args.bed_fn))
        counts, facts = count_errors(Path(args.bam), Path(args.ref), truth, bed, args.most_bases)
        profile = estimate(args.platform, counts, facts)
        seen = {"bases": str(int(counts.bases.sum())), "reads": str(len(facts.lengths)), "bam": Path(args.bam).name}
        profile.origin.update({"made_by": "clair3 profile", **seen, **({"note": args.origin} if args.origin else {})})
        write_whole({output: f"{format_profile(profile)}\n".encode()})
        logger.info("%s: %d reads, %s", output, len(facts.lengths), summarize(counts))
