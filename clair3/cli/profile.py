"""`clair3 profile BAM REF`: learn an error profile from aligned reads; see docs/simulate.md."""

import argparse
import logging
from pathlib import Path

from clair3.cli.arguments import required_text
from clair3.errors import ConfigError
from clair3.io.atomic import write_whole
from clair3.platforms import PLATFORMS
from clair3.simulate.error_counts import Counts
from clair3.simulate.estimation import estimate
from clair3.simulate.observation import count_errors
from clair3.simulate.profile import format_profile

logger = logging.getLogger(__name__)


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
        "--most_bases", type=float, default=3e8, metavar="N", help="read bases that are enough (default: %(default)g)"
    )
    parser.add_argument("--origin", default="", metavar="TEXT", help="a note on the reads, kept in the profile")


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


def summarize(counts: Counts) -> str:
    """Summarize the error rates in one line."""
    bases = max(1, int(counts.bases.sum()))
    lost = counts.losses.sum() + counts.deleted.sum() + counts.tracts[:, 1].sum()
    gained = counts.gains.sum() + counts.inserted.sum() + counts.tracts[:, 2].sum()
    rates = {"mismatches": counts.mismatches.sum(), "insertions": gained, "deletions": lost}
    text = ", ".join(f"{name} {number / bases:.3%}" for name, number in rates.items())
    return f"{bases / 1e6:.1f} Mb of bases compared: {text}"
