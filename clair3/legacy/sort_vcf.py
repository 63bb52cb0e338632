"""Rows of many VCF files in one sorted file, one row per position (spec/calling.md 9)."""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from clair3.cli import arguments
from clair3.cli.arguments import haploid_mode
from clair3.config import OutputFilter
from clair3.errors import InputError
from clair3.io.atomic import unfinished, write_lines
from clair3.io.fasta import MAJOR_CONTIGS
from clair3.io.text import read_rows
from clair3.io.vcf import VcfWriter, filter_row, header_contigs, iter_rows, iter_stdin, read_header, record_pos
from clair3.legacy import options
from clair3.legacy.check_envs import header_without_files

logger = logging.getLogger(__name__)

BLOCKS_SUFFIX = ".tmp.gvcf"
"""Block lines of chunks: what is sorted of them is read again by MergeVcf, and stays plain text."""

COMMAND_PLACE = 3
"""Header lines before ##cmdline."""

Keep = Callable[[str], str | None]
"""A row as it is written, None when it is not."""


def in_contig_order(names: Iterable[str]) -> list[str]:
    """Names as the output has them: chr1..chr22, chrX, chrY, 1..22, X, Y, then the others as they come."""
    rank = {name: i for i, name in enumerate(MAJOR_CONTIGS)}
    return sorted(dict.fromkeys(names), key=lambda name: rank.get(name, len(rank)))


def sort_lines(lines: Iterable[str]) -> list[str]:
    """Header lines as they come, then rows by contig and position; of several rows at one position the last."""
    header, found = [], {}
    for line in lines:
        if line.startswith("#"):
            header.append(line)
        else:
            found.setdefault(line.partition("\t")[0], {})[record_pos(line)] = line
    return header + [found[name][pos] for name in in_contig_order(found) for pos in sorted(found[name])]


def read_contigs(path: Path) -> list[str]:
    """The contigs of tmp/CONTIGS in output order. Raises InputError when the file is not there."""
    if not path.is_file():
        raise InputError(f"Cannot find contig file {path}. Exit!")
    return in_contig_order(path.read_text().split())


def find_files(folder: Path, prefix: str, suffix: str) -> list[Path]:
    """Files of a folder named `<prefix>...<suffix>`, by name. Raises InputError when the folder is not there."""
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; expected that of the VCF files to sort")
    files = sorted(path for path in folder.iterdir() if path.name.startswith(prefix) and path.name.endswith(suffix))
    if not files:
        logger.warning("No vcf file found with prefix:%s/%s", folder, prefix)
    return files


def files_of_contigs(files: Iterable[Path], contigs: Iterable[str]) -> dict[str, list[Path]]:
    """Which files have rows of each contig, by what they hold and not by their names (spec/cli.md 9.12).

    Warns about contigs that are not among those wanted; their rows are left out.
    """
    found: dict[str, list[Path]] = {}
    for path in files:
        for name in {row.partition("\t")[0] for row in iter_rows(path)}:
            found.setdefault(name, []).append(path)
    for name in sorted(found.keys() - set(contigs)):
        logger.warning("Rows of %s are left out: it is not in the contig file", name)
    return found


def sorted_rows(files: Iterable[Path], contig: str) -> Iterator[str]:
    """Rows of one contig by position, one per position: of several the one read last."""
    rows = {record_pos(row): row for path in files for row in iter_rows(path, contig)}
    return (rows[pos] for pos in sorted(rows))


def union_header(files: Iterable[Path], command_line: str | None) -> list[str]:
    """Header lines of all files, each once, without the ##commandline of other programs; [] without files."""
    seen: dict[str, None] = {}
    columns = []
    for path in files:
        for line in read_header(path):
            if not line.startswith("##"):
                columns = [line]
            elif not line.startswith("##commandline="):
                seen[line] = None
    lines = list(seen)
    if lines and command_line and not any(line.startswith("##cmdline=") for line in lines):
        lines.insert(COMMAND_PLACE, f"##cmdline={command_line}")
    return lines + columns


def sort_files(files: list[Path], output: Path, contigs: list[str], header: list[str], keep: Keep) -> int:
    """Write the rows of the files, those that are kept, to a sorted VCF, and return their number.

    contigs are those wanted, in output order; header declares them. An output named *.tmp.gvcf or non_var.gvcf is
    plain text, any other is bgzipped under its name and .gz, with an index. Complete or absent.
    Raises InputError when a file is damaged or the disk refuses, ClairError when the header lacks a contig.
    """
    found = files_of_contigs(files, contigs)

    def rows() -> Iterator[tuple[str, str]]:
        for contig in contigs:
            for row in sorted_rows(found.get(contig, ()), contig):
                if (kept := keep(row)) is not None:
                    yield contig, kept

    if output.name == "non_var.gvcf" or output.name.endswith(BLOCKS_SUFFIX):
        return write_lines(output, [*header, *(row for _, row in rows())]) - len(header)
    output = compressed_name(output)
    with VcfWriter(output, "".join(f"{line}\n" for line in header), header_contigs(header).items()) as writer:
        written = 0
        for contig, row in rows():
            writer.write(contig, record_pos(row), row)
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
            said = f"Exit status: {values.get('Exitval')}, Signal: {values.get('Signal')}"
            failed.append(f"Command failed: {values.get('Command')} ({said})")
    for message in failed[:FAILED_SHOWN]:
        logger.error(message)
    if failed:
        raise InputError(f"Some parallel jobs failed (see above for details): {len(failed)} of {len(jobs)} in {path}")


class SortVcf:
    """Sort a VCF on stdin, or the rows of all VCF files of a folder, into one file."""

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
        rule = OutputFilter(args.qual, args.print_ref_calls, haploid_mode(args))
        sort_files(files, output, contigs, header, lambda row: filter_row(row, rule) if args.pileup_only else row)


class CheckExitCode:
    """Fail when a job in a log of GNU parallel failed."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--parallel_log_fn", required=True, metavar="FILE", help="written by parallel --joblog")

    @staticmethod
    def run(args):
        check_jobs(Path(args.parallel_log_fn))
