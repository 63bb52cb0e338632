"""The post-processing tools, which rewrite a VCF with what the reads show at each record (spec/calling.md 12)."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pysam

from clair3.cli import arguments
from clair3.config import HIGHEST_MAPQ, CandidateOptions
from clair3.errors import ConfigError, InputError, UsageError, check_range
from clair3.io.alignments import check_format
from clair3.io.bam_index import find_alignment_index, read_alignment_index
from clair3.io.bed import read_bed
from clair3.io.vcf import (
    VcfRecord,
    VcfWriter,
    header_contigs,
    iter_numbered_records,
    iter_records,
    join_header,
    read_header,
)
from clair3.legacy import options
from clair3.legacy.sort_vcf import compressed_name

logger = logging.getLogger(__name__)


EXCLUDED_FLAGS = 2316
"""Unmapped, mate unmapped, secondary and supplementary (spec/features.md A.2)."""

NO_DEPTH_LIMIT = 1 << 30


@dataclass(frozen=True)
class Column:
    """The reads over one 0-based position.

    names   read name of each entry
    tokens  the entry in mpileup's words, upper case: A, A+2CC, A-3NNN, * (deleted), > (skipped)
    """

    pos: int
    names: list[str]
    tokens: list[str]


class ReadColumns:
    """Columns of a BAM, one position at a time; not for more than one thread.

    min_mq, min_bq  least mapping and base quality (phred) of what counts
    Raises InputError when the file or its index is missing or damaged, ConfigError when a limit is below 0.
    """

    def __init__(self, path: Path, min_mq: int = 5, min_bq: int = 0):
        check_range("min_mq", min_mq, 0, HIGHEST_MAPQ)
        check_range("min_bq", min_bq, 0, HIGHEST_MAPQ)  # a byte, too
        index = find_alignment_index(path)
        check_format(path)
        read_alignment_index(index)
        self._path, self._min_mq, self._min_bq = path, min_mq, min_bq
        try:
            self._bam = pysam.AlignmentFile(str(path), "r", index_filename=str(index))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read, {error}") from None
        self.lengths = dict(zip(self._bam.references, self._bam.lengths, strict=True))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bam.close()

    def iter_columns(self, contig: str, start: int, end: int) -> Iterator[Column]:
        """Yield the covered positions of [start, end), 0-based, ascending.

        Raises InputError when the BAM lacks the contig. The filters are mpileup's: flags, mapping and
        base quality, pairs that are not proper (spec/features.md A.2).
        """
        if contig not in self.lengths:
            raise InputError(f"{self._path}: contig {contig} is not in the header; give the reads that were called")
        columns = self._bam.pileup(
            contig,
            max(start, 0),
            min(end, self.lengths[contig]),
            truncate=True,
            stepper="samtools",
            flag_filter=EXCLUDED_FLAGS,
            min_mapping_quality=self._min_mq,
            min_base_quality=self._min_bq,
            max_depth=NO_DEPTH_LIMIT,
            ignore_overlaps=False,
            compute_baq=False,
        )
        for column in columns:
            tokens = column.get_query_sequences(add_indels=True)
            if tokens:
                names = column.get_query_names()
                yield Column(column.reference_pos, names, [token.upper() for token in tokens])


def add_arguments(parser) -> None:
    """The options that both tools have (spec/cli.md 8)."""
    parser.add_argument("--bam_fn", required=True, metavar="BAM", help="the reads that were called, with index")
    parser.add_argument("--clair3_vcf_input", required=True, metavar="VCF", help="the calls")
    parser.add_argument("--vcf_output", required=True, metavar="VCF", help="bgzipped; .gz is added")
    options.add_number(parser, "min_mq", CandidateOptions.min_mapq, "least mapping quality")
    parser.add_argument("--min_bq", type=int, default=0, metavar="BQ", help="least base quality (default: 0)")


def rewrite(
    calls: Path,
    output: Path,
    contig: str | None,
    reads: ReadColumns,
    header_lines: Iterable[str],
    change: Callable[[VcfRecord], VcfRecord | None],
) -> tuple[int, int]:
    """Write the calls (of one contig, or of all with None) in their order, each as `change` makes it.

    change takes and gives a record, or gives None for a record that is left out.
    header_lines go before #CHROM. The output is bgzipped and indexed, complete or absent.
    Returns the number of records read and written. Raises InputError when a file is missing, damaged or has no header.
    """
    target, read, written = compressed_name(output), 0, 0
    if target.exists() and calls.exists() and target.samefile(calls):
        raise ConfigError(f"--vcf_output is the input {calls}; give another name")
    header = read_header(calls)
    if not header or not header[-1].startswith("#CHROM"):
        raise InputError(f"{calls}: no #CHROM line; expected a VCF")
    lines = [*header[:-1], *header_lines, header[-1]]
    contigs = {**reads.lengths, **header_contigs(header)}
    with VcfWriter(target, join_header(lines), contigs.items()) as writer:
        for record in iter_records(calls, contig):
            read += 1
            changed = change(record)
            if changed is not None:
                written += 1
                writer.write(changed)
    return read, written


def alleles(genotype: str) -> list[int]:
    """Allele numbers of a genotype such as 0/1 or 1|1; missing ones are left out."""
    return [int(allele) for allele in genotype.replace("|", "/").split("/") if allele.isdigit()]


HEADER_LINE = (
    '##FORMAT=<ID=PEAD,Number=1,Type=Integer,Description="Number of distinct read names that support the first ALT">'
)


def add_depths(
    calls: Path, output: Path, reads: ReadColumns, filters: Iterable[str] = ("PASS",), contig: str | None = None
) -> None:
    """Write the variants whose FILTER is one of filters, with PEAD. Raises InputError as rewrite does."""

    def add_depth(record: VcfRecord) -> VcfRecord | None:
        if record.filter not in filters or not any(alleles(record.sample_values().get("GT", ""))):
            return None
        names = {
            name
            for column in reads.iter_columns(record.contig, record.pos, record.pos + 1)
            for name, token in zip(column.names, column.tokens, strict=True)
            if supports(token, record.ref.upper(), record.alt_text.split(",")[0].upper())
        }
        return record._replace(format=f"{record.format}:PEAD", sample=f"{record.sample}:{len(names)}")

    logger.info("%d rows, %d written with PEAD", *rewrite(calls, output, contig, reads, [HEADER_LINE], add_depth))


def supports(token: str, ref: str, alt: str) -> bool:
    """Whether an entry of a column, in mpileup's words, shows ALT: SNP, A+2CC for ACC, or A-3NNN for a deletion."""
    base, indel = token[:1], token[1:]
    if len(alt) == len(ref):
        return token == alt[0]
    if len(alt) > len(ref):
        return indel == f"+{len(alt) - 1}{alt[1:]}" and base == alt[0]
    return indel.startswith(f"-{len(ref) - 1}N") and base == alt[0]


HEADER_LINES = (
    '##INFO=<ID=SVBASEDHET,Number=0,Type=Flag,Description="Heterozygous because of a structural variant">',
    '##INFO=<ID=ORG_CLAIR3_SCORE,Number=1,Type=Float,Description="QUAL before that of the structural variant">',
)
END = re.compile(r"(?:^|;)END=(\d+)(?:;|$)")

Deletions = dict[str, list[tuple[int, int, float | None]]]
"""Per contig: 0-based start, end, and QUAL (None: not known) of each."""


@dataclass(frozen=True)
class SwitchOptions:
    """Which calls are switched. Fractions of reads; flank in bases on each side."""

    max_af: float = 0.7
    min_deleted: float = 0.3
    flank: int = 16
    use_quality: bool = True
    sv_filters: Sequence[str] = ("PASS",)
    sv_alts: Sequence[str] = ("<DEL>",)

    def __post_init__(self):
        check_range("max_af_for_zygosity_switching", self.max_af, 0, 1)
        check_range("min_del_proportion_for_long_sv", self.min_deleted, 0, 1)
        check_range("flanking_window_size", self.flank, 0)


def read_deletions(path: Path, switching: SwitchOptions) -> Deletions:
    """Intervals [POS, END), in VCF's numbers, of the deletions of an SV VCF. Raises InputError naming a bad row."""
    deletions: Deletions = {}
    for number, record in iter_numbered_records(path, columns=8):
        if record.filter not in switching.sv_filters or record.alt_text not in switching.sv_alts:
            continue
        end = END.search(record.info)
        if end is None:
            raise InputError(f"{path}: row {number} has no END in its INFO")
        try:
            quality = None if record.qual_text == "." else record.qual
        except ValueError:
            raise InputError(f"{path}: row {number} has QUAL {record.qual_text!r}; expected a number or .") from None
        deletions.setdefault(record.contig, []).append((record.pos, int(end[1]) - 1, quality))
    return deletions


def read_bed_deletions(path: Path) -> Deletions:
    """Intervals of a BED file, which have no quality. Raises InputError as read_bed does."""
    return {
        name: [(start, end, None) for start, end in intervals.tolist()] for name, intervals in read_bed(path).items()
    }


def switch(
    calls: Path,
    output: Path,
    reads: ReadColumns,
    deletions: Deletions,
    switching: SwitchOptions,
    contig: str | None = None,
) -> None:
    """Write all calls, those that qualify switched. Raises InputError as rewrite does."""
    switched = 0

    def change(record: VcfRecord) -> VcfRecord | None:
        nonlocal switched
        if not qualifies(record, switching):
            return record
        pos = record.pos
        qualities = [quality for start, end, quality in deletions.get(record.contig, ()) if start <= pos < end]
        if not qualities or not is_deleted(reads, record.contig, pos, switching):
            return record
        changed = switch_record(record, qualities, switching)
        switched += changed is not None
        return changed

    total, _ = rewrite(calls, output, contig, reads, HEADER_LINES, change)
    logger.info("%d of %d rows switched", switched, total)


def qualifies(record: VcfRecord, switching: SwitchOptions) -> bool:
    """Whether a record is a PASS SNP with genotype sum 2 and no more than max_af of the reads."""
    values = record.sample_values()
    short = len(record.ref) == 1 and len(record.alt_text.split(",")[0]) == 1
    if record.filter != "PASS" or not short or sum(alleles(values.get("GT", ""))) != 2:
        return False
    try:
        return float(values.get("AF", "").split(",")[0]) <= switching.max_af
    except ValueError:  # no AF: not a call of ours
        return False


def is_deleted(reads: ReadColumns, contig: str, pos: int, switching: SwitchOptions) -> bool:
    """Whether at every covered position around pos enough reads are deleted; False where no read is."""
    covered = False
    for column in reads.iter_columns(contig, pos - switching.flank, pos + switching.flank + 1):
        covered = True
        deleted = sum(token[0] in "*#" for token in column.tokens)
        if deleted / len(column.tokens) < switching.min_deleted:
            return False
    return covered


def switch_record(record: VcfRecord, qualities: Sequence[float | None], switching: SwitchOptions) -> VcfRecord | None:
    """The record as 0/1 with the top quality of the deletions over it; None, with a warning, when none has any."""
    changed = record._replace(sample=record.sample.replace("1/1", "0/1"))
    if not switching.use_quality:
        return changed
    known = [quality for quality in qualities if quality is not None]
    if not known:
        place = f"{record.contig}:{record.pos_text}"
        logger.warning("%s is left out: no QUAL in the structural variants over it", place)
        return None
    info = "" if record.info == "." else f"{record.info};"
    info = f"{info}SVBASEDHET;ORG_CLAIR3_SCORE={record.qual_text}"
    return changed._replace(info=info, qual_text=f"{max(known):.2f}")


class AddPairEndAlleleDepth:
    """Add to each variant the number of read pairs that support it (PEAD)."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser)
        parser.add_argument(
            "--filter_tag", default="PASS", metavar="LIST", help="FILTER of rows to keep (default: PASS)"
        )
        options.add_texts(parser, "ctg_name")
        options.add_accepted(parser, "threads", "samtools")

    @staticmethod
    def run(args):
        with ReadColumns(Path(args.bam_fn), args.min_mq, args.min_bq) as reads:
            files = Path(args.clair3_vcf_input), Path(args.vcf_output)
            add_depths(*files, reads, args.filter_tag.split(","), args.ctg_name)


NUMBERS = {
    "max_af_for_zygosity_switching": SwitchOptions.max_af,
    "min_del_proportion_for_long_sv": SwitchOptions.min_deleted,
    "flanking_window_size": SwitchOptions.flank,
}


class SwitchZygosityBasedOnSVCalls:
    """Make homozygous SNPs inside a heterozygous deletion heterozygous."""

    @staticmethod
    def add_arguments(parser):
        add_arguments(parser)
        for name, default in NUMBERS.items():
            parser.add_argument(f"--{name}", type=type(default), default=default, help="default: %(default)s")
        parser.add_argument("--sv_filter_tag", default="PASS", help="FILTER of SVs that count (default: PASS)")
        parser.add_argument("--sv_alt_tag", default="<DEL>", help="ALT of SVs that count (default: <DEL>)")
        arguments.add_switch(parser, "--use_sv_qual", default=True, help="QUAL of the SV replaces that of the call")
        options.add_texts(parser, "sv_vcf_input", "sv_bed_input", "ctg_name")
        options.add_accepted(parser, "threads", "samtools")
        options.add_refused(parser, "filter_tag")

    @staticmethod
    def run(args):
        options.refuse(args)
        if (args.sv_vcf_input is None) == (args.sv_bed_input is None):
            raise UsageError("one of --sv_vcf_input and --sv_bed_input is needed")
        quality = args.use_sv_qual and args.sv_bed_input is None
        tags = args.sv_filter_tag.split(","), (args.sv_alt_tag,)
        switching = SwitchOptions(*(getattr(args, name) for name in NUMBERS), quality, *tags)
        if args.sv_vcf_input:
            deletions = read_deletions(Path(args.sv_vcf_input), switching)
        else:
            deletions = read_bed_deletions(Path(args.sv_bed_input))
        with ReadColumns(Path(args.bam_fn), args.min_mq, args.min_bq) as reads:
            switch(Path(args.clair3_vcf_input), Path(args.vcf_output), reads, deletions, switching, args.ctg_name)
