"""The pileup stage as a command of its own: `pileup.vcf.gz` with every call, before any final filter."""

import argparse
from dataclasses import replace

from clair3.calling import pipeline
from clair3.cli.run import add_arguments, config_from
from clair3.config import CallingConfig
from clair3.errors import UsageError

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> None:
    """Write the calls of the pileup stage. Raises ClairError, see clair3.cli.arguments.run."""
    if args.qual != CallingConfig.qual or args.haploid_precise or args.haploid_sensitive:
        raise UsageError("--qual and the haploid modes act after this stage; leave them out")
    args.pileup_only = True
    pipeline.call_variants(replace(config_from(args), print_ref_calls=True), final=False)
