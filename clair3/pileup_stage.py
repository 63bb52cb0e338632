"""The pileup stage as a command of its own: `pileup.vcf.gz` with every call, before any final filter."""

import argparse
from dataclasses import replace

from clair3 import options, pipeline
from clair3.config import CallingConfig
from shared.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of run_clair3."""
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Write the calls of the pileup stage. Raises ClairError, see shared.cli.run."""
    if args.qual != CallingConfig.qual or args.haploid_precise or args.haploid_sensitive:
        raise UsageError("--qual and the haploid modes act after this stage; leave them out")
    args.pileup_only = True
    pipeline.call_variants(replace(options.config_from(args), print_ref_calls=True), final=False)
