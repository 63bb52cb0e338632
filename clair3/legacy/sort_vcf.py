"""Records of many VCF files in one sorted file, one per position (spec/calling.md 9)."""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from clair3.calling.record_sources import filter_record
from clair3.cli import arguments
from clair3.cli.arguments import haploid_mode
from clair3.config import OutputFilter
from clair3.errors import InputError
from clair3.io.atomic import unfinished, write_lines
from clair3.io.fasta import output_rank
from clair3.io.text import read_rows
from clair3.io.vcf import (
    VcfRecord,
    VcfWriter,
    format_record,
    header_contigs,
    iter_records,
    iter_stdin,
    join_header,
    union_header,
)
from clair3.legacy import options
from clair3.legacy.check_envs import header_without_files

logger = logging.getLogger(__name__)

BLOCKS_SUFFIX = ".tmp.gvcf"
"""Block lines of chunks: what is sorted of them is read again by MergeVcf, and stays plain text."""

Keep = Callable[[VcfRecord], VcfRecord | None]
"""A record as it is written, None when it is not."""


def sort_lines(lines: Iterable[str | VcfRecord]) -> list[str]:
    """Header lines as they come, then the lines of the records by contig and position, one per position: of several
    the last."""
    header: list[str] = []
    sorted_lines: dict[str, dict[int, str]] = {}
    for line in lines:
        if isinstance(line, VcfRecord):
            sorted_lines.setdefault(line.contig, {})[line.pos] = format_record(line)
        else:
            header.append(line)
    contigs = sorted(sorted_lines, key=output_rank)
    return header + [sorted_lines[contig][pos] for contig in contigs for pos in sorted(sorted_lines[contig])]


def read_contigs(path: Path) -> list[str]:
    """The contigs of tmp/CONTIGS in output order. Raises InputError when the file is not there."""
    if not path.is_file():
        raise InputError(f"Cannot find contig file {path}. Exit!")
    return sorted(dict.fromkeys(path.read_text().split()), key=output_rank)


def find_files(folder: Path, prefix: str, suffix: str) -> list[Path]:
    """Files of a folder named `<prefix>...<suffix>`, by name. Raises InputError when the folder is not there."""
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; expected that of the VCF files to sort")
    files = sorted(path for path in folder.iterdir() if path.name.startswith(prefix) and path.name.endswith(suffix))
    if not files:
        logger.warning("No vcf file found with prefix:%s/%s", folder, prefix)
    return files


def group_files(files: Iterable[Path], contigs: Iterable[str]) -> dict[str, list[Path]]:
    """The files that have records of each contig, by what they hold and not by their names (spec/cli.md 9.12).

    Warns about contigs that are not among those wanted; their records are left out.
    """
    groups: dict[str, list[Path]] = {}
    for path in files:
        for contig in {record.contig for record in iter_records(path)}:
            groups.setdefault(contig, []).append(path)
    for contig in sorted(groups.keys() - set(contigs)):
        logger.warning("Rows of %s are left out: it is not in the contig file", contig)
    return groups


def iter_sorted(files: Iterable[Path], contig: str) -> Iterator[VcfRecord]:
    """Yield the records of one contig by position, one per position: of several the one read last."""
    records = {record.pos: record for path in files for record in iter_records(path, contig)}
    return (records[pos] for pos in sorted(records))


def sort_files(files: list[Path], output: Path, contigs: list[str], header: list[str], keep: Keep) -> int:
    """Write the records of the files, those that are kept, to a sorted VCF, and return their number.

    contigs are those wanted, in output order; header declares them. An output named *.tmp.gvcf or non_var.gvcf is
    plain text, any other is bgzipped under its name and .gz, with an index. Complete or absent.
    Raises InputError when a file is damaged or the disk refuses, ClairError when the header lacks a contig.
    """
    groups = group_files(files, contigs)
    ordered = (record for contig in contigs for record in iter_sorted(groups.get(contig, ()), contig))
    records = (kept for record in ordered if (kept := keep(record)) is not None)
    if output.name == "non_var.gvcf" or output.name.endswith(BLOCKS_SUFFIX):
        return write_lines(output, chain(header, map(format_record, records))) - len(header)
    output, written = compressed_name(output), 0
    with VcfWriter(output, join_header(header), header_contigs(header).items()) as writer:
        for record in records:
            writer.write(record)
            written += 1
    if not written:
        logger.warning("No variant found, output empty vcf file")
        if output.name == "pileup.vcf.gz":
            copy_vcf(output, output.with_name("merge_output.vcf.gz"))
    return written


def compressed_name(path: Path) -> Path:
    """The name of a bgzipped file: v2.0.2's options say x.vcf where x.vcf.gz is written."""
    return path if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")


def copy_vcf(path: Path, other: Path) -> None:
    """Copy a VCF under another name of the same folder, with its index, which comes first."""
    for suffix in (".tbi", ".csi", ""):
        if (source := path.with_name(f"{path.name}{suffix}")).exists():
            with unfinished(other.with_name(f"{other.name}{suffix}")) as partial:
                shutil.copyfile(source, partial)


def only_contigs(header: Iterable[str], contigs: Iterable[str]) -> list[str]:
    """Header lines without those of contigs that are not among the ones given (spec/calling.md 5)."""
    kept = set(contigs)
    return [line for line in header if (names := list(header_contigs([line]))) == [] or names[0] in kept]


NEEDED = ("Exitval", "Signal", "Command")
FAILED_SHOWN = 10
"""Failed jobs that an error names."""


def check_jobs(path: Path) -> None:
    """Raises InputError when the log is missing, lacks columns, or tells of a job that failed; an empty file is
    worth a warning only."""
    if not path.is_file():
        raise InputError(f"{path}: no such job log; give the file that parallel wrote with --joblog")
    rows = [line.split("\t") for _, line in read_rows(path) if line]
    if not rows:
        logger.warning("%s: the job log is empty", path)
        return
    head, *jobs = rows
    if lacking := [name for name in NEEDED if name not in head]:
        raise InputError(f"{path}: no column {', '.join(lacking)}; not a job log of parallel")
    failed = []
    for job in jobs:
        values = dict(zip(head, job, strict=False))
        if any(values.get(name) != "0" for name in ("Exitval", "Signal")):
            reason = f"Exit status: {values.get('Exitval')}, Signal: {values.get('Signal')}"
            failed.append(f"Command failed: {values.get('Command')} ({reason})")
    for message in failed[:FAILED_SHOWN]:
        logger.error(message)
    if failed:
        raise InputError(f"Some parallel jobs failed (see above for details): {len(failed)} of {len(jobs)} in {path}")


class SortVcf:
    """Sort a VCF on stdin, or the records of all VCF files of a folder, into one file."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--output_fn", required=True, metavar="FILE", help="plain; with --input_dir .gz is added")
        options.add_texts(parser, "input_dir", "vcf_fn_prefix", "ref_fn", "contigs_fn", "cmd_fn")
        parser.add_argument("--vcf_fn_suffix", default=".vcf", metavar="TEXT", help="end of the files' names")
        options.add_sample(parser)
        arguments.add_switch(parser, "--pileup_only", help="apply the final filters")
        options.add_final_filters(parser)
        arguments.add_switch(
            parser, "--output_all_contigs_in_gvcf_header", help="keep uncalled contigs in the gVCF header"
        )
        arguments.add_switch(
            parser, "--check_malformed_records", default=True, help="no effect, such files are refused"
        )
        options.add_refused(parser, flags=("use_gpu",))

    @staticmethod
    def run(args):
        options.refuse(args)
        output = Path(args.output_fn)
        if args.input_dir is None:
            write_lines(output, sort_lines(iter_stdin()))
            return
        options.require(args, "contigs_fn")
        contigs = read_contigs(Path(args.contigs_fn))
        files = find_files(Path(args.input_dir), args.vcf_fn_prefix or "", args.vcf_fn_suffix)
        command = options.read_command_line(args.cmd_fn)
        header = union_header(files, command) or header_without_files(args.ref_fn, args.sampleName, command)
        if args.vcf_fn_suffix == ".gvcf" and not args.output_all_contigs_in_gvcf_header:
            header = only_contigs(header, contigs)
        output_filter = OutputFilter(args.qual, args.print_ref_calls, haploid_mode(args))

        def keep(record: VcfRecord) -> VcfRecord | None:
            return filter_record(record, output_filter) if args.pileup_only else record

        sort_files(files, output, contigs, header, keep)


class CheckExitCode:
    """Fail when a job in a log of GNU parallel failed."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--parallel_log_fn", required=True, metavar="FILE", help="written by parallel --joblog")

    @staticmethod
    def run(args):
        check_jobs(Path(args.parallel_log_fn))
