"""A calling run as a function: clair3.call and its result."""

import argparse
import difflib
import os
import shlex
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from clair3.api.networks import FilePath, ModelFiles, identify_model
from clair3.api.process_state import kept_process_state, os_errors, separate_logging
from clair3.calling.output_folder import GVCF, PHASED_BAM, PHASED_VCF
from clair3.calling.pipeline import call_variants, find_networks
from clair3.cli.run import add_arguments, config_from
from clair3.config import CallingConfig
from clair3.errors import ConfigError, UsageError
from clair3.io.vcf import iter_records
from clair3.platforms import DEFAULT_PLATFORM
from clair3.util.process import cpu_count
from clair3.version import VERSION

OptionValue = str | int | float | os.PathLike[str] | Sequence[str] | None

PARAMETERS = {"bam_fn": "bam", "ref_fn": "ref", "model_path": "model"}
"""Options of the command line that call() has under another name."""

one_run = threading.Lock()
"""Held by a calling run: log files, progress and the threads of torch belong to the process."""


@dataclass(frozen=True)
class CallResult:
    """What a calling run has written. A path is None when the run has no such file.

    counts              records: all of vcf; pass: those whose FILTER is PASS; snp and indel: of these, the ones whose
                        alleles are all one base long, and the others
    records_per_contig  records of each contig that has any, in the order of vcf
    seconds             the run has taken
    """

    vcf: Path
    gvcf: Path | None
    phased_vcf: Path | None
    haplotagged_bam: Path | None
    counts: dict[str, int]
    records_per_contig: dict[str, int]
    model: ModelFiles
    version: str
    seconds: float


def call(
    bam: FilePath,
    ref: FilePath,
    *,
    platform: str,
    output: FilePath,
    model: FilePath | None = None,
    **options: OptionValue,
) -> CallResult:
    """Call variants: the files, records and defaults of the command `clair3 run`.

    bam, ref  indexed BAM or CRAM; indexed FASTA
    platform  "ont", "hifi" or "ilmn"
    output    folder of the results, created if needed
    model     folder, name of `clair3 models list`, or "auto"; None: the default model of the platform
    options   those of `clair3 run`, by their names without dashes: switches are True or False, ctg_name may be a list,
              None leaves an option out. threads: the usable CPUs when it is not given

    Runs of one process follow each other: a second thread waits. Raises UsageError and ConfigError for options,
    InputError for files, CoreError, DeviceError or another ClairError; no file stands under a final name then.
    """
    given = {"bam_fn": bam, "ref_fn": ref, "platform": platform, "model_path": model}
    args = parse_options({**given, "output": os.path.abspath(output)}, options)
    with one_run, os_errors(), separate_logging(), kept_process_state():
        began = time.monotonic()
        config = config_from(args)
        vcf = call_variants(config)
        return summarise(config, vcf, began)


def parse_options(given: dict[str, Any], options: dict[str, Any]) -> argparse.Namespace:
    """The options as the command line of `clair3 run` parses them, so that names, types and defaults are its own.

    given are the named parameters of call(). Raises ConfigError for an unknown name, UsageError for a wrong value.
    """
    parser = OptionParser(prog="clair3 run", add_help=False, allow_abbrev=False)
    add_arguments(parser)
    names = (
        vars(parser.parse_args([*option_words(given | {"platform": DEFAULT_PLATFORM}), "--threads=1"])).keys()
        - given.keys()
    )
    for name in options:
        if name not in names:
            known = sorted({*names, "platform", "output", *PARAMETERS.values()})
            near = PARAMETERS.get(name) or difflib.get_close_matches(name, known, 1, cutoff=0)[0]
            raise ConfigError(f"call() has no option {name}; did you mean {near}?")
    if options.get("threads") is None:
        options = options | {"threads": cpu_count()}
    words = option_words(given | options)
    args = parser.parse_args(words)
    args.command_line, args.arguments = f"{parser.prog} {shlex.join(words)}", words
    return args


class OptionParser(argparse.ArgumentParser):
    """A parser that raises UsageError where others print a usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def option_words(values: dict[str, Any]) -> list[str]:
    """Options as words of a command line; those that are None are left out."""
    return [f"--{name}={option_text(value)}" for name, value in values.items() if value is not None]


def option_text(value: Any) -> str:
    """yes and no for switches, commas between the items of a list."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def summarise(config: CallingConfig, vcf: Path, began: float) -> CallResult:
    """The result of a complete run. The final VCF is read once for the counts; nothing else that is large is read."""
    counts, per_contig = count_records(vcf)
    # final files of earlier runs were removed at the start, so what is there is of this one
    others = {
        name: path if (path := config.output / file).exists() else None
        for name, file in (
            ("gvcf", GVCF), ("phased_vcf", PHASED_VCF), ("haplotagged_bam", PHASED_BAM)
        )
    }  # fmt: skip
    return CallResult(
        vcf=vcf,
        **others,
        counts=counts,
        records_per_contig=per_contig,
        model=identify_model(config.model_dir, find_networks(config)),
        version=VERSION,
        seconds=time.monotonic() - began,
    )


def count_records(vcf: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Records of a VCF by kind and by contig, see CallResult. Raises InputError when it cannot be read."""
    counts, per_contig = {"records": 0, "pass": 0, "snp": 0, "indel": 0}, {}
    for record in iter_records(vcf):
        counts["records"] += 1
        per_contig[record.contig] = per_contig.get(record.contig, 0) + 1
        if record.filter == "PASS":
            counts["pass"] += 1
            counts["snp" if all(len(allele) == 1 for allele in (record.ref, *record.alts)) else "indel"] += 1
    return counts, per_contig
