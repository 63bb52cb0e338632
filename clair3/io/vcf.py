"""VCF text: the header, a call's row, the filters that the user asked for, and a writer that leaves all or nothing."""

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pysam

from clair3.config import PRECISE, OutputFilter
from clair3.errors import ClairError, ConfigError, InputError, unwritable
from clair3.io.atomic import write_lines
from clair3.io.fasta import Reference
from clair3.io.text import is_number, read_rows
from clair3.records import Call
from clair3.version import COMPATIBLE_VERSION

logger = logging.getLogger(__name__)

PILEUP_INFO, FULL_ALIGNMENT_INFO = "P", "F"

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
    """The whole header, ending with a newline (spec/calling.md 5).

    contigs are names and lengths in the order of the .fai; reference_path is absolute; command_line and
    reference_path are left out when None or empty. gvcf adds what blocks need.
    Raises ConfigError when a text would break the header's lines or columns.
    """
    for text in (sample, reference_path, command_line):
        if text and set(text) & set("\n\r"):
            raise ConfigError(f"{text!r}: a line break cannot stand in a VCF header")
    if not sample or "\t" in sample:
        raise ConfigError(f"--sample_name is {sample!r}; expected a name without tabs")
    return "".join(
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


def reference_header(reference: Reference, sample: str, command_line: str | None, gvcf: bool = False) -> str:
    """The header of VCFs with all contigs of a reference, as header gives it."""
    return header(sample, str(reference.path.absolute()), reference.lengths.items(), command_line, gvcf)


def row(contig: str, call: Call, info: str) -> str:
    """The VCF line of a call, without newline; info is P or F (spec/calling.md 3). With PL when the call has any."""
    alts = ",".join(call.alts) or "."
    depths = ",".join(map(str, call.depths))
    fractions = ",".join([f"{fraction:.4f}" for fraction in call.fractions])
    sample = f"{call.genotype}:{call.gq}:{call.depth}:{depths}:{fractions}"
    keys = "GT:GQ:DP:AD:AF"
    if call.likelihoods is not None:
        keys, sample = keys + ":PL", f"{sample}:{','.join(map(str, call.likelihoods))}"
    site = f"{contig}\t{call.pos + 1}\t.\t{call.ref}\t{alts}\t{call.qual:.2f}\t{call.filter}"
    return f"{site}\t{info}\t{keys}\t{sample}"


def parse_row(line: str) -> Call:
    """The call of a line that `row` wrote; rows of other programs may lack what is expected here."""
    _, pos, _, ref, alts, qual, filtered, _, _, sample = line.split("\t")
    genotype, gq, depth, depths, fractions, *likelihoods = sample.split(":")
    return Call(
        pos=int(pos) - 1,
        ref=ref,
        alts=() if alts == "." else tuple(alts.split(",")),
        qual=float(qual),
        filter=filtered,
        genotype=genotype,
        gq=int(gq),
        depth=int(depth),
        depths=tuple(map(int, depths.split(","))),
        fractions=tuple(map(float, fractions.split(","))),
        likelihoods=tuple(map(int, likelihoods[0].split(","))) if likelihoods else None,
    )


def record_pos(line: str) -> int:
    """0-based position of a VCF line."""
    return int(line.split("\t", 2)[1]) - 1


def final_filter(call: Call, rule: OutputFilter) -> Call | None:
    """The call as the user asked for it, or None when it is not written (spec/calling.md 3.5, 8.3, 8.4).

    A QUAL equal to the limit is low (C2), and a low limit never turns LowQual into PASS (C1).
    """
    if not call.alts and not rule.print_ref_calls:
        return None
    if rule.haploid:
        genotype = _haploid(call, rule.haploid)
        if genotype is None:
            return None
        call = replace(call, genotype=genotype)
    if call.alts and rule.qual and call.qual <= rule.qual and call.filter != "LowQual":
        call = replace(call, filter="LowQual")
    return call


def filter_row(line: str, rule: OutputFilter) -> str | None:
    """final_filter on a line that `row` wrote; reference calls that go are not parsed."""
    contig, _, _, _, alts, _, _, info, _ = line.split("\t", 8)
    if alts == "." and not rule.print_ref_calls:
        return None
    call = final_filter(parse_row(line), rule)
    return None if call is None else row(contig, call, info)


def _haploid(call: Call, mode: str) -> str | None:
    """The one allele of a diploid call, None when the mode has no place for it. PL stays diploid (8.3)."""
    if mode == PRECISE:
        return {"1/1": "1", "0/0": "0"}.get(call.genotype)
    if len(call.alts) == 2:
        return None
    return "1" if call.genotype in ("0/1", "1/0", "1/1") else "0"


def find_unfinished(path: Path) -> Iterator[Path]:
    """What VcfWriters that were killed left beside `path`: their temporary files and indices. None may be at work."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+\.tmp\.gz(\.tbi|\.csi)?")
    return (found for found in path.parent.iterdir() if pattern.fullmatch(found.name) and found.is_file())


def write_calls(output: Path | None, header: Sequence[str], rows: Iterator[str]) -> None:
    """Write a plain VCF, which is complete or absent; None: to stdout. No file without rows (spec/calling.md 4)."""
    if output is None:
        sys.stdout.writelines(f"{line}\n" for line in chain(header, rows))
    elif (first := next(rows, None)) is None:
        logger.info("No vcf output for file %s, remove empty file", output)
    else:
        write_lines(output, chain(header, (first,), rows))


class VcfWriter:
    """Write a VCF with bgzip and its index under `path`; both are there in the end, or neither is.

        with VcfWriter(path, header, contigs) as vcf:
            vcf.write("chr20", 761, line)

    contigs are the names and lengths of the header. Rows come with their contig and 0-based position, contigs in
    one stretch each, positions ascending. The index is tabix (.tbi), or CSI (.csi) when a contig is too long for
    it. The file grows under a hidden name in the same folder and takes its own when the block ends without an
    exception, the index first; whatever a failed block wrote is removed.
    Raises ClairError on rows out of order or on a contig that the header lacks, InputError when the disk refuses.
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
        try:
            self._temporary.open("wb").close()  # first, because BGZFile crashes on a path that it cannot open
        except OSError as error:
            raise self._refused(error) from None
        self._file = pysam.BGZFile(str(self._temporary), "wb")
        try:
            self._put(self._header)
        except InputError as error:
            self.__exit__(InputError, error, None)
            raise
        return self

    def write_lines(self, contig: str, text: bytes) -> None:
        """Add whole rows of one contig with their line ends; those of one contig come in ascending order."""
        if text:
            self.write(contig, max(self._pos, 0) if contig == self._contig else 0, text[:-1].decode())

    def write(self, contig: str, pos: int, line: str) -> None:
        """Add one row, given without newline; pos is its 0-based position."""
        if contig != self._contig:
            if contig not in self.lengths or contig in self._seen:
                why = "comes back after another contig" if contig in self._seen else "is not in the header"
                raise ClairError(f"{self.path}: contig {contig} {why}, at position {pos + 1}")
            self._seen.add(contig)
            self._contig, self._pos = contig, pos
        if pos < self._pos:
            raise ClairError(f"{self.path}: {contig}:{pos + 1} comes after {contig}:{self._pos + 1}; sort the rows")
        self._pos = pos
        self._put(f"{line}\n")

    def _put(self, text: str) -> None:
        try:
            self._file.write(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise self._refused(error) from None

    def __exit__(self, kind, error, traceback):
        try:
            self._file.close()
            if kind is None:
                self._publish()
        except OSError as problem:
            if kind is None:
                raise self._refused(problem) from None
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

    def _refused(self, error: OSError) -> InputError:
        return InputError(unwritable(self.path, error))


COLUMNS = 10
"""A VCF of one sample."""

CONTIG_LINE = re.compile(r"##contig=<ID=([^,>]+),length=(\d+)")


def check_row(line: str, source: str | Path) -> str:
    """The line, if it is a VCF row of one sample. Raises InputError naming the source otherwise."""
    fields = line.split("\t")
    if len(fields) != COLUMNS or not is_number(fields[1]):
        raise InputError(f"{source}: {line[:80]!r} is not a VCF row of {COLUMNS} columns; make the file again")
    return line


def iter_rows(path: Path, contig: str | None = None) -> Iterator[str]:
    """Rows of a VCF, plain or compressed, without line ends, in file order; of one contig, or of all with None.

    Raises InputError when the file is missing, cut or damaged, or when a row is none.
    """
    start = None if contig is None else f"{contig}\t"
    for _, line in read_rows(path):
        if line and not line.startswith("#") and (start is None or line.startswith(start)):
            yield check_row(line, path)


def iter_stdin() -> Iterator[str]:
    """Lines of a VCF on stdin without line ends, rows checked as in iter_rows; header lines come too."""
    for line in sys.stdin:
        line = line.rstrip("\n")
        if line:
            yield line if line.startswith("#") else check_row(line, "stdin")


def read_header(path: Path) -> list[str]:
    """Header lines of a VCF without line ends. Raises InputError as iter_rows does."""
    lines = []
    for _, line in read_rows(path):
        if not line.startswith("#"):
            break
        lines.append(line)
    return lines


def header_contigs(header: Iterable[str]) -> dict[str, int]:
    """Names and lengths (bases) of the contigs that header lines declare, in their order."""
    return {found[1]: int(found[2]) for line in header if (found := CONTIG_LINE.match(line))}
