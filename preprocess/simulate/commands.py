"""`clair3 simulate genome|reads`: a diploid genome with known variants, and reads of it; see docs/simulate.md."""

import argparse
import logging
from pathlib import Path

import numpy as np

from preprocess.simulate.genome import (
    check_sizes,
    decode,
    encode,
    make_sequence,
    read_contigs,
    soft_masked,
    write_fasta,
)
from preprocess.simulate.haplotypes import read_variants, write_variants
from preprocess.simulate.profile import Profile
from preprocess.simulate.profile_choice import RANDOM, load, varied
from preprocess.simulate.reads import ReadRule, simulate_reads
from preprocess.simulate.variants import Drawer, Variant, VariantRule, confident
from shared.cli import add_switch, required_text
from shared.errors import InputError, UsageError, unwritable
from shared.platforms import PLATFORMS
from shared.process import usable_threads
from shared.reference import Contig
from shared.whole_files import write_whole

logger = logging.getLogger(__name__)

TRUTH, REGIONS, REFERENCE = "truth.vcf.gz", "confident.bed", "ref.fa"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="genome|reads", prog=parser.prog)
    add_genome_arguments(actions.add_parser("genome", help=f"write {TRUTH} and {REGIONS}, and {REFERENCE} if made up"))
    add_reads_arguments(actions.add_parser("reads", help="write a sorted, indexed BAM of reads of such a genome"))


def add_genome_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("reference, one of the two")
    source.add_argument("--ref_fn", type=required_text, metavar="FASTA", help="a reference with its .fai")
    source.add_argument("--contigs", metavar="NAME=BASES,...", help="make up a reference of these contigs")
    parser.add_argument("--output", type=required_text, required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument("--ctg_name", metavar="NAME,...", help="only these contigs of the reference get variants")
    kinds = parser.add_argument_group("variants")
    kinds.add_argument("--variants", type=required_text, metavar="VCF", help="real variants to start from")
    kinds.add_argument(
        "--density", type=float, nargs=2, metavar=("LOW", "HIGH"), default=VariantRule.density,
        help="random variants per base, drawn for each Mb between the two; 0 0: none (default: 1/1500 1/200)",
    )  # fmt: skip
    kinds.add_argument(
        "--indels", type=float, metavar="SHARE", default=VariantRule.indels,
        help="indels among the random variants (default: %(default)s)",
    )  # fmt: skip
    add_seed(parser)


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
        "--depth", type=float, default=ReadRule.depth, metavar="X", help="coverage (default: %(default)g)"
    )
    add_switch(reads, "--moves", help="move tables (tag mv), for --enable_dwell_time")
    reads.add_argument(
        "--tagged", type=float, default=ReadRule.tagged, metavar="SHARE",
        help="reads with haplotype tags (HP, PS), as a phasing tool gives them (default: %(default)s)",
    )  # fmt: skip
    reads.add_argument(
        "--wrong_tags", type=float, default=ReadRule.wrong, metavar="SHARE", help="wrong ones (default: %(default)s)"
    )
    reads.add_argument(
        "--sample", default=ReadRule.sample, metavar="NAME", help="name of the sample (default: %(default)s)"
    )
    reads.add_argument("--threads", type=int, default=1, metavar="N", help="threads (default: %(default)s)")
    add_seed(parser)


def add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of all that is random (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Raises ClairError, see shared.cli.run."""
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: expected a whole number from 0")
    (run_genome if args.action == "genome" else run_reads)(args)


def chosen_contigs(args: argparse.Namespace) -> tuple[str, ...] | None:
    return tuple(args.ctg_name.split(",")) if args.ctg_name else None


def run_genome(args: argparse.Namespace) -> None:
    """Write the reference if made up, the truth and its regions."""
    rule = VariantRule(density=tuple(args.density), indels=args.indels)
    if (args.ref_fn is None) == (args.contigs is None):
        raise UsageError("give one of --ref_fn FASTA and --contigs NAME=BASES,...")
    sizes = check_sizes(args.contigs) if args.contigs else None
    folder = make_folder(Path(args.output))
    fasta = Path(args.ref_fn) if args.ref_fn else folder / REFERENCE
    if sizes:
        rng = np.random.default_rng([args.seed, 3])
        texts = ((name, soft_masked(rng, decode(make_sequence(rng, size)), 0.05)) for name, size in sizes)
        write_fasta(fasta, texts)
    known = read_variants(Path(args.variants), np.random.default_rng([args.seed, 4])) if args.variants else {}
    contigs, truth, regions = [], [], []
    for number, contig, codes in read_contigs(fasta, chosen_contigs(args)):
        drawer = Drawer(np.random.default_rng([args.seed, 5, number]), codes, rule, fitting(args, codes, contig, known))
        drawer.draw()
        contigs.append(contig)
        truth += [(contig.name, variant) for variant in sorted(drawer.found + drawer.structural)]
        regions += [(contig.name, *region) for region in confident(codes, drawer.found, drawer.structural)]
    write_variants(folder / TRUTH, contigs, truth)
    write_bed(folder / REGIONS, regions)
    logger.info("%s: %d variants in %d contigs", folder / TRUTH, len(truth), len(contigs))


def fitting(args: argparse.Namespace, codes: np.ndarray, contig: Contig, known: dict) -> list[Variant]:
    """The real variants of a contig that do not overlap. Raises InputError when a REF is not what the reference has."""
    kept, end = [], 0
    for variant in known.get(contig.name, []):
        if variant.pos < end:
            continue
        if variant.end > len(codes) or (codes[variant.pos : variant.end] != encode(variant.ref)).any():
            place = f"{contig.name}:{variant.pos + 1}"
            raise InputError(f"{args.variants}: {place}: REF {variant.ref[:30]} is not what {args.ref_fn} has there")
        kept.append(variant)
        end = variant.end
    return kept


def make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(unwritable(folder, error)) from None
    return folder


def write_bed(path: Path, regions: list[tuple[str, int, int]]) -> None:
    """Write (contig, start, end) rows; the file is complete or absent."""
    write_whole({path: "".join(f"{name}\t{start}\t{end}\n" for name, start, end in regions).encode()})


def chosen_profile(args: argparse.Namespace) -> Profile:
    rng = np.random.default_rng([args.seed, 6])
    profile = load(args.profile or args.platform, args.platform, rng)
    return varied(profile, rng) if args.vary else profile


def run_reads(args: argparse.Namespace) -> None:
    """Write the BAM."""
    if args.moves and args.platform != "ont":
        raise UsageError("--moves: only ONT reads have move tables; leave it out")
    rule = ReadRule(args.depth, args.error_free, args.tagged, args.wrong_tags, moves=args.moves, sample=args.sample)
    output = Path(args.output)
    make_folder(output.parent)
    simulate_reads(
        Path(args.ref_fn), Path(args.truth), output, chosen_profile(args), rule, args.seed,
        usable_threads(args.threads), chosen_contigs(args),
    )  # fmt: skip
