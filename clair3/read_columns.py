"""What reads say at a position, and the VCF rewritten with it, for the post-processing tools (spec/calling.md 12)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pysam

from clair3.sorting import compressed_name
from clair3.vcf import VcfWriter
from clair3.vcf_files import contigs_of, iter_rows, read_header
from preprocess.alignment_index import find_alignment_index, read_alignment_index
from preprocess.candidates import HIGHEST_MAPQ
from preprocess.environment import check_format
from shared.cli import check_range
from shared.errors import ConfigError, InputError

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

    def of(self, contig: str, start: int, end: int) -> Iterator[Column]:
        """Covered positions of [start, end), 0-based, ascending. Raises InputError when the BAM lacks the contig.

        The filters are mpileup's: flags, mapping and base quality, pairs that are not proper (spec/features.md A.2).
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
    parser.add_argument("--min_mq", type=int, default=5, metavar="MQ", help="least mapping quality (default: 5)")
    parser.add_argument("--min_bq", type=int, default=0, metavar="BQ", help="least base quality (default: 0)")


def rewrite(
    calls: Path,
    output: Path,
    contig: str | None,
    reads: ReadColumns,
    header_lines: Iterable[str],
    change: Callable[[list[str]], list[str] | None],
) -> tuple[int, int]:
    """Write the calls (of one contig, or of all with None) in their order, each as `change` makes it.

    change takes and gives the fields of a row, or None for a row that is left out; it is free to return its argument.
    header_lines go before #CHROM. The output is bgzipped and indexed, complete or absent.
    Returns the number of rows read and written. Raises InputError when a file is missing, damaged or has no header.
    """
    target, read, written = compressed_name(output), 0, 0
    if target.exists() and calls.exists() and target.samefile(calls):
        raise ConfigError(f"--vcf_output is the input {calls}; give another name")
    header = read_header(calls)
    if not header or not header[-1].startswith("#CHROM"):
        raise InputError(f"{calls}: no #CHROM line; expected a VCF")
    lines = [*header[:-1], *header_lines, header[-1]]
    contigs = {**reads.lengths, **contigs_of(header)}
    with VcfWriter(target, "".join(f"{line}\n" for line in lines), contigs.items()) as writer:
        for row in iter_rows(calls, contig):
            read += 1
            fields = change(row.split("\t"))
            if fields is not None:
                written += 1
                writer.write(fields[0], int(fields[1]) - 1, "\t".join(fields))
    return read, written


def sample_values(fields: list[str]) -> dict[str, str]:
    """FORMAT key to value of the only sample of a row."""
    return dict(zip(fields[8].split(":"), fields[9].split(":"), strict=False))


def alleles(genotype: str) -> list[int]:
    """Allele numbers of a genotype such as 0/1 or 1|1; missing ones are left out."""
    return [int(allele) for allele in genotype.replace("|", "/").split("/") if allele.isdigit()]
