"""`clair3 simulate genome|reads|spike`: a diploid genome with known variants, reads of it, and variants written into
real reads; see docs/simulate.md."""

import argparse
import logging
from pathlib import Path

import numpy as np

from clair3.cli.arguments import add_switch, required_text
from clair3.errors import UsageError
from clair3.io.atomic import make_folder, unfinished_in_folder, write_lines
from clair3.io.bed import refuse_other_name
from clair3.platforms import PLATFORMS
from clair3.simulate.aligner import align, find_aligner, minimap2_version
from clair3.simulate.genome import check_sizes, decode, make_sequence, read_contigs, soft_masked, write_fasta
from clair3.simulate.haplotypes import fitting, read_variants, write_variants
from clair3.simulate.profile import Profile
from clair3.simulate.profile_choice import RANDOM, load, varied
from clair3.simulate.read_plan import ReadOptions
from clair3.simulate.reads import simulate_reads
from clair3.simulate.spike_in import READS, REGIONS, TRUTH, Sample, SpikeOptions, Wanted, spike
from clair3.simulate.variants import Drawer, VariantOptions, confident
from clair3.util.process import usable_threads

logger = logging.getLogger(__name__)

REFERENCE = "ref.fa"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="genome|reads|spike", prog=parser.prog)
    add_genome_arguments(actions.add_parser("genome", help=f"write {TRUTH} and {REGIONS}, and {REFERENCE} if made up"))
    add_reads_arguments(actions.add_parser("reads", help="write a sorted, indexed BAM of reads of such a genome"))
    add_spike_arguments(actions.add_parser("spike", help="write variants into real reads"))


def add_genome_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("reference, one of the two")
    source.add_argument("--ref_fn", type=required_text, metavar="FASTA", help="a reference with its .fai")
    source.add_argument("--contigs", metavar="NAME=BASES,...", help="make up a reference of these contigs")
    parser.add_argument("--output", type=required_text, required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument("--ctg_name", metavar="NAME,...", help="only these contigs of the reference get variants")
    kinds = parser.add_argument_group("variants")
    kinds.add_argument("--variants", type=required_text, metavar="VCF", help="real variants to start from")
    add_random_variants(kinds, VariantOptions.density, "1/1500 1/200")
    add_seed(parser)


def add_random_variants(group, default: tuple[float, float] | None, text: str) -> None:
    """--density and --indels."""
    group.add_argument(
        "--density", type=float, nargs=2, metavar=("LOW", "HIGH"), default=default,
        help=f"random variants per base, drawn for each Mb between the two; 0 0: none (default: {text})",
    )  # fmt: skip
    group.add_argument(
        "--indels", type=float, metavar="SHARE", default=VariantOptions.indels,
        help="indels among the random variants (default: %(default)s)",
    )  # fmt: skip


def add_reads_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files")
    files.add_argument("--ref_fn", type=required_text, required=True, metavar="FASTA", help="reference with its .fai")
    files.add_argument(
        "--truth", type=required_text, required=True, metavar="VCF", help="phased variants of the genome"
    )
    files.add_argument("--output", type=required_text, required=True, metavar="BAM", help="the reads")
    files.add_argument("--ctg_name", metavar="NAME,...", help="reads of these contigs only")
    reads = parser.add_argument_group("reads")
    reads.add_argument("--platform", required=True, choices=sorted(PLATFORMS), help="kind of reads")
    reads.add_argument(
        "--profile", type=required_text, metavar="NAME",
        help=f"error profile: ont, hifi, ilmn, a file of clair3 profile, or {RANDOM} (default: that of the platform)",
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
        "--wrong_tags", type=float, default=ReadOptions.wrong, metavar="SHARE", help="wrong ones (default: %(default)s)"
    )
    strangers = parser.add_argument_group("what real files have too; shares of reads, drawn by the seed if not given")
    for name, what in (
        ("contamination", "reads of another sample (default: 0 to 0.005)"),
        ("misplaced", "reads that belong elsewhere (default: 0 to 0.005, Illumina 0 to 0.02)"),
        ("adapters", "pairs longer than their fragment (default: Illumina 0.002, else 0)"),
    ):
        strangers.add_argument(f"--{name}", type=float, metavar="SHARE", help=what)
    reads.add_argument(
        "--sample", default=ReadOptions.sample, metavar="NAME", help="name of the sample (default: %(default)s)"
    )
    reads.add_argument(
        "--aligner", type=required_text, metavar="PROGRAM",
        help="minimap2, by name or place: it aligns the reads (default: they lie where they came from)",
    )  # fmt: skip
    reads.add_argument("--threads", type=int, default=1, metavar="N", help="threads (default: %(default)s)")
    add_seed(parser)


def add_spike_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files")
    files.add_argument("--bam_fn", type=required_text, required=True, metavar="BAM", help="real reads, indexed")
    files.add_argument("--ref_fn", type=required_text, required=True, metavar="FASTA", help="reference with its .fai")
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
    kinds.add_argument("--variants", type=required_text, metavar="VCF", help="these; genotypes without phase get one")
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


def add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of all that is random (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Raises ClairError, see clair3.cli.arguments.run."""
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: expected a whole number from 0")
    {"genome": run_genome, "reads": run_reads, "spike": run_spike}[args.action](args)


def chosen_contigs(args: argparse.Namespace) -> tuple[str, ...] | None:
    return tuple(args.ctg_name.split(",")) if args.ctg_name else None


def run_genome(args: argparse.Namespace) -> None:
    """Write the reference if made up, the truth and its regions."""
    rule = VariantOptions(density=tuple(args.density), indels=args.indels)
    if (args.ref_fn is None) == (args.contigs is None):
        raise UsageError("give one of --ref_fn FASTA and --contigs NAME=BASES,...")
    sizes = check_sizes(args.contigs) if args.contigs else None
    folder = make_folder(args.output)
    fasta = Path(args.ref_fn) if args.ref_fn else folder / REFERENCE
    if sizes:
        rng = np.random.default_rng([args.seed, 3])
        texts = ((name, soft_masked(rng, decode(make_sequence(rng, size)))) for name, size in sizes)
        write_fasta(fasta, texts)
    known = read_variants(Path(args.variants), np.random.default_rng([args.seed, 4])) if args.variants else {}
    contigs, truth, regions = [], [], []
    for number, contig, codes in read_contigs(fasta, chosen_contigs(args)):
        refuse_other_name(Path(args.variants or ""), contig.name, known)
        given = fitting(known.get(contig.name, []), codes, f"{args.variants} {contig.name}")
        drawer = Drawer(np.random.default_rng([args.seed, 5, number]), codes, rule, given)
        drawer.draw()
        contigs.append(contig)
        truth += [(contig.name, variant) for variant in sorted(drawer.found + drawer.structural)]
        known_fully = confident(codes, drawer.found, drawer.structural)
        regions += [f"{contig.name}\t{start}\t{end}" for start, end in known_fully]
    write_variants(folder / TRUTH, contigs, truth)
    write_lines(folder / REGIONS, regions)
    logger.info("%s: %d variants in %d contigs", folder / TRUTH, len(truth), len(contigs))


def chosen_profile(args: argparse.Namespace) -> Profile:
    rng = np.random.default_rng([args.seed, 6])
    profile = load(args.profile or args.platform, args.platform, rng)
    return varied(profile, rng) if args.vary else profile


def chosen_rule(args: argparse.Namespace) -> ReadOptions:
    """How reads are drawn. Raises ConfigError for options that do not fit each other or the platform."""
    if args.moves and args.platform != "ont":
        raise UsageError("--moves: only ONT reads have move tables; leave it out")
    if args.adapters and args.platform != "ilmn":
        raise UsageError("--adapters: only Illumina pairs end in adapters; leave it out")
    rule = ReadOptions(
        args.depth, args.error_free, args.tagged, args.wrong_tags, moves=args.moves, sample=args.sample,
        contamination=args.contamination, misplaced=args.misplaced, adapters=args.adapters,
    )  # fmt: skip
    rule.conditions(np.random.default_rng(0), args.platform)  # raises for a share that is none
    return rule


def run_reads(args: argparse.Namespace) -> None:
    """Write the BAM."""
    rule = chosen_rule(args)
    program = find_aligner(args.aligner) if args.aligner else None
    output, ref, profile = Path(args.output), Path(args.ref_fn), chosen_profile(args)
    make_folder(output.parent)
    threads = usable_threads(args.threads)

    def simulate(into: Path) -> None:
        simulate_reads(ref, Path(args.truth), into, profile, rule, args.seed, threads, chosen_contigs(args))

    if program is None:
        simulate(output)
        return
    minimap2_version(program)
    with unfinished_in_folder(output) as made:
        simulate(made)
        align(program, made, ref, output, profile, threads)


def run_spike(args: argparse.Namespace) -> None:
    """Write the reads with their truth."""
    if args.variants is None and args.density is None:
        raise UsageError("give at least one of --variants VCF and --density LOW HIGH")
    drawn = VariantOptions(density=tuple(args.density), indels=args.indels, structural=0) if args.density else None
    truth, bed, variants = (Path(name) if name else None for name in (args.truth, args.bed_fn, args.variants))
    sample = Sample(Path(args.bam_fn), Path(args.ref_fn), truth, bed)
    rule = SpikeOptions(args.gap, args.clear)
    spike(sample, Wanted(variants, drawn), make_folder(args.output), rule, args.seed, chosen_contigs(args))
