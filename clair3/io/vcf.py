"""VCF: headers, records as values, readers, and a writer that leaves all or nothing.

This is the only module that knows how a record stands in text. Records of other programs are read as text too:
htslib (pysam) refuses keys that the header does not declare and prints numbers in its own way, so what is passed on
would change.
"""

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pysam

from clair3.core.block_file import BlockFile
from clair3.errors import ClairError, ConfigError, InputError, unwritable
from clair3.io.atomic import write_lines, write_whole
from clair3.io.fasta import Reference
from clair3.io.text import is_number, read_rows
from clair3.records import Call
from clair3.version import COMPATIBLE_VERSION

logger = logging.getLogger(__name__)

PILEUP_INFO, FULL_ALIGNMENT_INFO = "P", "F"

COMMAND_PLACE = 3
"""Header lines before ##cmdline."""

_FILTERS = """\
##FILTER=<ID=PASS,Description="All filters passed">
##FILTER=<ID=LowQual,Description="Low quality variant">
##FILTER=<ID=RefCall,Description="Reference call">
##INFO=<ID=P,Number=0,Type=Flag,Description="Result from pileup calling">
##INFO=<ID=F,Number=0,Type=Flag,Description="Result from full-alignment calling">
"""
_BLOCKS = """\
##ALT=<ID=NON_REF,Description="Represents any possible alternative allele at this location">
##INFO=<ID=END,Number=1,Type=Integer,Description="End position (for use with symbolic alleles)">
"""
_FORMATS = """\
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="Genotype Quality">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Approximate read depth (reads 1. with MQ below 5 or an \
user-specified threshold, or 2. selected by 'samtools view -F 2316', are filtered)">
##FORMAT=<ID=AD,Number=R,Type=Integer,Description="Allelic depths for the ref and alt alleles in the order listed">
"""
_BLOCK_DEPTH = """\
##FORMAT=<ID=MIN_DP,Number=1,Type=Integer,Description="Minimum DP observed within the GVCF block">
"""
_MORE_FORMATS = """\
##FORMAT=<ID=PL,Number=G,Type=Integer,Description="Normalized, Phred-scaled likelihoods for genotypes as defined in \
the VCF specification">
##FORMAT=<ID=AF,Number=A,Type=Float,Description="Observed allele frequency in reads, for each ALT allele, in the same \
order as listed, or the REF allele for a RefCall">
"""


def header(
    sample: str,
    reference_path: str | None,
    contigs: Iterable[tuple[str, int]],
    command_line: str | None,
    gvcf: bool = False,
) -> str:
    """The whole header, ending with a newline (spec/calling.md 5). Bytes that are no UTF-8 stand in it escaped.

    contigs are names and lengths in the order of the .fai; reference_path is absolute; command_line and
    reference_path are left out when None or empty. gvcf adds what blocks need.
    Raises ConfigError when a text would break the header's lines or columns.
    """
    for text in (sample, reference_path, command_line):
        if text and set(text) & set("\n\r"):
            raise ConfigError(f"{text!r}: a line break cannot stand in a VCF header")
    if not sample or "\t" in sample:
        raise ConfigError(f"--sample_name is {sample!r}; expected a name without tabs")
    text = "".join(
        [
            f"##fileformat=VCFv4.2\n##source=Clair3\n##clair3_version={COMPATIBLE_VERSION}\n",
            f"##cmdline={command_line}\n" if command_line else "",
            f"##reference={reference_path}\n" if reference_path else "",
            _FILTERS,
            _BLOCKS if gvcf else "",
            _FORMATS,
            _BLOCK_DEPTH if gvcf else "",
            _MORE_FORMATS,
            *[f"##contig=<ID={name},length={length}>\n" for name, length in contigs],
            f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{sample}\n",
        ]
    )
    return text.encode("utf-8", "backslashreplace").decode()


def reference_header(reference: Reference, sample: str, command_line: str | None, gvcf: bool = False) -> str:
    """The header of VCFs with all contigs of a reference, as header gives it."""
    return header(sample, str(reference.path.absolute()), reference.lengths.items(), command_line, gvcf)


COLUMNS = 10
"""Columns of a VCF with one sample."""


class VcfRecord(NamedTuple):
    """A VCF record: its columns as they are written, and properties that give them as values.

    pos_text   POS, 1-based
    alt_text   ALT, alleles separated by commas, "." for a reference call
    qual_text  QUAL
    sample     the column behind FORMAT; of several samples all of them, separated by tabs

    Columns that a record of another program lacks are empty. Records are read once in each stage of a run, and most
    are looked at for two or three columns only, so numbers are parsed when they are asked for.
    """

    contig: str
    pos_text: str
    id: str
    ref: str
    alt_text: str
    qual_text: str
    filter: str
    info: str
    format: str
    sample: str

    @property
    def pos(self) -> int:
        """Position of the first base of REF, 0-based."""
        return int(self.pos_text) - 1

    @property
    def end(self) -> int:
        """Position behind the last base of REF, 0-based."""
        return self.pos + len(self.ref)

    @property
    def alts(self) -> tuple[str, ...]:
        """The alternative alleles, none for a reference call."""
        return () if self.alt_text == "." else tuple(self.alt_text.split(","))

    @property
    def qual(self) -> float:
        """QUAL as a number. Raises ValueError when it is missing or not a number."""
        return float(self.qual_text)

    @property
    def genotype(self) -> str:
        """GT of the first sample as it is written; FORMAT must begin with GT, as it does wherever GT is given."""
        return self.sample.partition("\t")[0].partition(":")[0]

    @property
    def samples(self) -> list[str]:
        """The columns behind FORMAT."""
        return self.sample.split("\t") if self.sample else []

    def sample_values(self, number: int = 0) -> dict[str, str]:
        """FORMAT key to value of a sample, counted from 0; trailing values may be missing, as VCF allows."""
        return dict(zip(self.format.split(":"), self.samples[number].split(":"), strict=False))

    def with_sample_values(self, values: dict[str, str]) -> "VcfRecord":
        """The record with other FORMAT keys and values of its only sample, in the order of the dictionary."""
        return self._replace(format=":".join(values), sample=":".join(values.values()))


def make_record(contig: str, call: Call, info: str) -> VcfRecord:
    """The record of a call; info is P or F (spec/calling.md 3). With PL when the call has likelihoods."""
    depths = ",".join(map(str, call.depths))
    fractions = ",".join([f"{fraction:.4f}" for fraction in call.fractions])
    sample = f"{call.genotype}:{call.gq}:{call.depth}:{depths}:{fractions}"
    keys = "GT:GQ:DP:AD:AF"
    if call.likelihoods is not None:
        keys, sample = keys + ":PL", f"{sample}:{','.join(map(str, call.likelihoods))}"
    alts, qual = ",".join(call.alts) or ".", f"{call.qual:.2f}"
    return VcfRecord(contig, str(call.pos + 1), ".", call.ref, alts, qual, call.filter, info, keys, sample)


def make_uncalled_record(contig: str, pos: int, name: str, ref: str) -> VcfRecord:
    """The record of a site without a call: genotype `./.` and nothing else; pos is 0-based, name stands in ID."""
    return VcfRecord(contig, str(pos + 1), name, ref, ".", ".", ".", ".", "GT", "./.")


def parse_record(line: str) -> VcfRecord:
    """The record of a VCF line without line end; columns that it lacks are empty."""
    columns = line.split("\t", COLUMNS - 1)
    if len(columns) < COLUMNS:
        columns += [""] * (COLUMNS - len(columns))
    return VcfRecord._make(columns)


def format_record(record: VcfRecord) -> str:
    """The VCF line of a record, without line end."""
    return "\t".join(record)


CONTIG_LINE = re.compile(r"##contig=<ID=([^,>]+),length=(\d+)")


def read_header(path: Path) -> list[str]:
    """Header lines of a VCF without line ends. Raises InputError as iter_records does."""
    lines = []
    for _, line in read_rows(path):
        if not line.startswith("#"):
            break
        lines.append(line)
    return lines


def read_samples(path: Path) -> list[str]:
    """Names of the samples of a VCF, in the order of its columns. Raises InputError as iter_records does, and when
    there is no #CHROM line."""
    header = read_header(path)
    if not header or not header[-1].startswith("#CHROM"):
        raise InputError(f"{path}: no #CHROM line; expected a VCF")
    return header[-1].split("\t")[COLUMNS - 1 :]


def union_header(paths: Iterable[Path], command_line: str | None = None) -> list[str]:
    """Header lines of all files, each once, without line ends; [] without files (spec/calling.md 9).

    The ##commandline of other programs is left out. command_line is added where no file names that of a run.
    """
    seen: dict[str, None] = {}
    columns = []
    for path in paths:
        for line in read_header(path):
            if not line.startswith("##"):
                columns = [line]
            elif not line.startswith("##commandline="):
                seen[line] = None
    lines = list(seen)
    if lines and command_line and not any(line.startswith("##cmdline=") for line in lines):
        lines.insert(COMMAND_PLACE, f"##cmdline={command_line}")
    return lines + columns


def join_header(lines: Iterable[str]) -> str:
    """The text of header lines, as VcfWriter takes it."""
    return "".join(f"{line}\n" for line in lines)


def header_contigs(header: Iterable[str]) -> dict[str, int]:
    """Names and lengths (bases) of the contigs that header lines declare, in their order."""
    return {match[1]: int(match[2]) for line in header if (match := CONTIG_LINE.match(line))}


def iter_records(path: Path, contig: str | None = None) -> Iterator[VcfRecord]:
    """Records of a VCF with one sample, plain or compressed, in file order; of one contig, or of all with None.

    Raises InputError when the file is missing, cut or damaged, or when a line is no record.
    """
    start = "" if contig is None else f"{contig}\t"
    for _, line in read_rows(path):
        if line and not line.startswith("#") and line.startswith(start):
            yield check_record(parse_record(line), path)


def iter_stdin() -> Iterator[str | VcfRecord]:
    """Header lines of a VCF on stdin as text without line end, and its records, checked as in iter_records."""
    for line in sys.stdin:
        line = line.rstrip("\n")
        if line:
            yield line if line.startswith("#") else check_record(parse_record(line), "stdin")


def check_record(record: VcfRecord, source: str | Path) -> VcfRecord:
    """The record, if it has a position and one sample. Raises InputError naming the source otherwise."""
    if not record.sample or "\t" in record.sample or not is_number(record.pos_text):
        line = format_record(record)[:80].rstrip("\t")
        raise InputError(f"{source}: {line!r} is not a VCF record of {COLUMNS} columns; make the file again")
    return record


def iter_numbered_records(path: Path, columns: int = 5) -> Iterator[tuple[int, VcfRecord]]:
    """(line number from 1, record) of a VCF of any program and number of samples, plain or compressed, in file order.

    Raises InputError when the file is missing, cut or damaged, or when a line has no position or fewer columns.
    """
    for number, line in read_rows(path):
        if not line or line.startswith("#"):
            continue
        record = parse_record(line)
        if not is_number(record.pos_text) or line.count("\t") < columns - 1:
            raise InputError(f"{path}: row {number} is {line[:80]!r}, not a VCF record of {columns} columns")
        yield number, record


def iter_genotyped_records(path: Path) -> Iterator[tuple[int, VcfRecord]]:
    """(line number from 1, record) as iter_numbered_records gives them, all with at least one sample, GT first.

    Raises InputError as iter_numbered_records does, and when a record has no genotype.
    """
    for number, record in iter_numbered_records(path):
        if not record.sample or record.format.partition(":")[0] != "GT":
            raise InputError(f"{path}: row {number} has no genotype; expected a sample column, GT first in it")
        yield number, record


def write_records(path: Path, header: str, records: Iterable[VcfRecord]) -> None:
    """Write a plain VCF, which is complete or absent. Raises InputError when it cannot be written."""
    lines = [f"{format_record(record)}\n" for record in records]
    write_whole({path: "".join([header, *lines]).encode("utf-8", "backslashreplace")})


def write_calls(output: Path | None, header: Sequence[str], records: Iterator[VcfRecord]) -> None:
    """Write a plain VCF, which is complete or absent; None: to stdout. No file without records (spec/calling.md 4)."""
    lines = map(format_record, records)
    if output is None:
        sys.stdout.writelines(f"{line}\n" for line in chain(header, lines))
    elif (first := next(lines, None)) is None:
        logger.info("No vcf output for file %s, remove empty file", output)
    else:
        write_lines(output, chain(header, (first,), lines))


class VcfWriter:
    """Write a VCF with bgzip and its index under `path`; both are there in the end, or neither is.

        with VcfWriter(path, header, contigs) as vcf:
            vcf.write(record)

    contigs are the names and lengths of the header. The records of a contig come one after the other, positions
    ascending. The index is tabix (.tbi), or CSI (.csi) when a contig is too long for
    it. The file grows under a hidden name in the same folder and takes its own when the block ends without an
    exception, the index first; whatever a failed block wrote is removed.
    Raises ClairError on records out of order or on a contig that the header lacks, InputError when the disk refuses.
    """

    LONGEST_TABIX = 2**29 - 1

    def __init__(self, path: str | os.PathLike, header: str, contigs: Iterable[tuple[str, int]]):
        self.path = Path(path)
        self.lengths = dict(contigs)
        self._header = header
        self._csi = max(self.lengths.values(), default=0) > self.LONGEST_TABIX
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp.gz")  # .gz: pysam looks at it
        self._contig, self._pos, self._seen = None, 0, set()

    def __enter__(self):
        if self.path.is_dir():
            raise InputError(f"{self.path}: is a folder; expected the name of a file")
        self._file = BlockFile(self._temporary, name=self.path)
        try:
            self._put(self._header.encode("utf-8", "backslashreplace"))
        except InputError as error:
            self.__exit__(InputError, error, None)
            raise
        return self

    def write(self, record: VcfRecord) -> None:
        """Add a record."""
        self._move_to(record.contig, record.pos)
        self._put(f"{format_record(record)}\n".encode("utf-8", "backslashreplace"))

    def write_text(self, contig: str, text: bytes) -> None:
        """Add records of one contig as whole lines with their line ends; those of one contig come ascending."""
        if text:
            self._move_to(contig, self._pos if contig == self._contig else 0)
            self._put(text)

    def _move_to(self, contig: str, pos: int) -> None:
        """Note where the next record lies. Raises ClairError when it comes out of order, or the header lacks contig."""
        if contig != self._contig:
            if contig not in self.lengths or contig in self._seen:
                why = "comes back after another contig" if contig in self._seen else "is not in the header"
                raise ClairError(f"{self.path}: contig {contig} {why}, at position {pos + 1}")
            self._seen.add(contig)
            self._contig, self._pos = contig, pos
        if pos < self._pos:
            raise ClairError(f"{self.path}: {contig}:{pos + 1} comes after {contig}:{self._pos + 1}; sort the records")
        self._pos = pos

    def _put(self, text: bytes) -> None:
        self._file.write(text)

    def __exit__(self, kind, error, traceback):
        try:
            with suppress(InputError) if kind else nullcontext():
                self._file.close()
            if kind is None:
                self._publish()
        except OSError as problem:
            raise InputError(unwritable(self.path, problem)) from None
        finally:
            self._remove()

    def _publish(self) -> None:
        suffix, stale = (".csi", ".tbi") if self._csi else (".tbi", ".csi")
        pysam.tabix_index(str(self._temporary), preset="vcf", csi=self._csi, force=True)
        os.replace(f"{self._temporary}{suffix}", f"{self.path}{suffix}")
        os.replace(self._temporary, self.path)
        Path(f"{self.path}{stale}").unlink(missing_ok=True)

    def _remove(self) -> None:
        for suffix in ("", ".tbi", ".csi"):
            Path(f"{self._temporary}{suffix}").unlink(missing_ok=True)


def find_unfinished(path: Path) -> Iterator[Path]:
    """What VcfWriters that were killed left beside `path`: their temporary files and indices. None may be at work."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.tmp\.gz(\.tbi|\.csi)?")
    return (left for left in path.parent.iterdir() if pattern.fullmatch(left.name) and left.is_file())
