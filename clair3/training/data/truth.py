"""The truth set: simplified records, and its alleles as labels and unification need them (spec/training.md A.3, B)."""

import gzip
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from clair3.errors import InputError
from clair3.io.atomic import unfinished
from clair3.io.bed import check_contig, refuse_other_name
from clair3.io.text import is_number, read_rows
from clair3.io.vcf import iter_genotyped_records
from clair3.records import BASES

logger = logging.getLogger(__name__)


def trim(ref: str, alts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Trim REF and ALTs of their longest common suffix; as they are when that would leave one of them empty."""
    alleles = (ref, *alts)
    columns = zip(*(reversed(allele) for allele in alleles), strict=False)
    suffix = sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, columns))
    if 0 < suffix < min(map(len, alleles)):
        alleles = tuple(allele[:-suffix] for allele in alleles)
    return alleles[0], alleles[1:]


@dataclass(frozen=True)
class Truth:
    """A true variant: alts are the alternative alleles that the genotype names, in the order of their numbers.

    genotype  (0, 1), (1, 1) or (1, 2)
    """

    ref: str
    alts: tuple[str, ...]
    genotype: tuple[int, int]

    @classmethod
    def from_genotype(cls, ref: str, alts: Sequence[str], genotype: tuple[int, int]) -> "Truth | None":
        """Make a truth of the alleles that the genotype names (spec/training.md B.6); None when it names REF alone, or
        when an allele has other letters than A, C, G and T. Raises ValueError when there is no allele of a number."""
        numbers = sorted(set(genotype) - {0})
        if not numbers or numbers[0] < 0 or numbers[-1] > len(alts):
            if set(genotype) == {0}:
                return None
            raise ValueError(f"genotype {genotype[0]}/{genotype[1]} with {len(alts)} alternative alleles")
        named = tuple(alts[number - 1].upper() for number in numbers)
        if not all(allele and set(allele) <= set(BASES) for allele in (ref.upper(), *named)):
            return None
        first, second = sorted(numbers.index(number) + 1 if number else 0 for number in genotype)
        return cls(ref.upper(), named, (first, second))

    def is_seen(self, alt_info: str) -> bool:
        """Return whether the reads show every alternative allele, one read being enough (spec/training.md B.5).

        alt_info is the text of SupportBatch.text. Letter case of deleted bases is ignored: it is that of the reference.
        """
        return is_supported([trim(self.ref, [alt]) for alt in self.alts], alt_info)


def is_supported(pairs: Sequence[tuple[str, Sequence[str]]], alt_info: str) -> bool:
    """Return whether as many of the observed alleles are among the true ones as there are true ones; each is a pair of
    REF and its one ALT, trimmed (spec/training.md B.5)."""
    alts = {alt for _, (alt,) in pairs}
    deleted = {ref[1:] for ref, (alt,) in pairs if len(alt) == 1}
    matches = 0
    for allele in alt_info.partition("-")[2].split()[::2]:
        kind, bases = allele[:1], allele[1:].upper()
        if kind == "D":
            matches += bases in deleted
        elif kind == "I" or (kind == "X" and len(bases) == 1):
            matches += bases in alts
    return matches >= len(pairs)


MISSING = "None None -1 -1"
"""Ends a line about a position that is a variant of the complete truth, but not of the one in use."""


@dataclass(frozen=True, eq=False)
class TruthSet:
    """The true variants of a contig by 0-based position, and positions about which nothing is known, (k,) int64."""

    variants: dict[int, Truth]
    missing: np.ndarray


def read_truth(path: Path, contig: str) -> TruthSet:
    """Read a file of GetTruth, plain or compressed; of several records at a position the last counts.

    Left out are records without an alternative allele and those with other letters than A, C, G and T. Raises
    InputError when a row is none, or when the file is about other contigs only: all candidates would count as
    reference.
    """
    variants, missing, contigs = {}, [], set()
    for number, line in read_rows(path):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 6 or not is_number(fields[1]):
            problem = f"row {number} is {line[:80]!r}, not contig, position, ref, alt and two allele numbers"
            raise InputError(f"{path}: {problem}; make the file with GetTruth")
        contigs.add(fields[0])
        if fields[0] != contig:
            continue
        pos, (ref, alt, *genotype) = int(fields[1]) - 1, fields[2:]
        if " ".join(fields[2:]) == MISSING:
            missing.append(pos)
            continue
        try:
            truth = Truth.from_genotype(ref, alt.split(","), (int(genotype[0]), int(genotype[1])))
        except ValueError as error:
            raise InputError(f"{path}: row {number}, {line[:80]!r}: {error}; make the file with GetTruth") from None
        if truth:
            variants[pos] = truth
    if not contigs:
        logger.warning("%s: no true variants, every candidate counts as reference", path)
    elif contig not in contigs:
        refuse_other_name(path, contig, contigs)
        raise InputError(f"{path}: true variants of {', '.join(sorted(contigs)[:5])} but none of {contig}")
    return TruthSet(variants, np.array(sorted(missing), np.int64))


# GetTruth


def parse_allele_numbers(genotype: str) -> tuple[int, int]:
    """Parse the allele numbers of 0/1, 1|1, ./1 or 1: a missing allele counts as REF, a haploid genotype as homozygous.

    Raises ValueError for anything else.
    """
    alleles = ["0" if allele == "." else allele for allele in genotype.replace("|", "/").split("/")]
    if len(alleles) > 2 or not all(map(is_number, alleles)):
        raise ValueError(f"the genotype {genotype!r}; expected one or two allele numbers")
    return int(alleles[0]), int(alleles[-1])


def iter_records(path: Path) -> Iterator[tuple[str, int, str, str, tuple[int, int] | None]]:
    """Yield (contig, 1-based position, REF, ALT, genotype) of each row of a truth VCF, in file order.

    The genotype is that of the last sample, smaller number first, see parse_allele_numbers. Raises InputError naming
    the row when there is no genotype, or more than two alleles in it.
    """
    for number, record in iter_genotyped_records(path):
        genotype = record.samples[-1].partition(":")[0]
        try:
            first, second = sorted(parse_allele_numbers(genotype))
        except ValueError as error:
            raise InputError(f"{path}: row {number} has {error}") from None
        if second > record.alt_text.count(",") + 1:
            raise InputError(f"{path}: row {number} has the genotype {genotype!r}, but ALT is {record.alt_text[:80]!r}")
        yield record.contig, record.pos + 1, record.ref, record.alt_text, (first, second)


def simplify(contig: str, pos: int, ref: str, alt: str, genotype: tuple[int, int]) -> str | None:
    """Simplify a record to a line of GetTruth, `contig position ref alt g1 g2`; None when it is dropped
    (spec/training.md A.3).

    `*` stands for a deletion that began before: beside one other allele it counts as REF.
    """
    if genotype == (0, 0):
        return None
    alts = alt.split(",")
    if "*" in alts:
        if len(alts) != 2 or genotype != (1, 2):
            logger.warning("%s:%d %s %s is left out: its alleles cannot be told from *", contig, pos, ref, alt)
            return None
        alts, genotype = [allele for allele in alts if allele != "*"], (0, 1)
    if any("<" in allele or "[" in allele or "]" in allele or allele == "." for allele in alts):
        logger.warning("%s:%d %s %s is left out: not a sequence of bases", contig, pos, ref, alt[:40])
        return None
    return f"{contig} {pos} {ref} {','.join(alts)} {genotype[0]} {genotype[1]}"


def iter_simplified(
    vcf: Path, contig: str | None = None, start: int | None = None, end: int | None = None, complete: Path | None = None
) -> Iterator[str]:
    """Yield lines of GetTruth for a truth VCF, see simplify (spec/training.md A.3).

    contig      None: all
    start, end  1-based, inclusive
    complete    VCF of all true variants: its positions without a line are added as missing, sorted

    Raises InputError, see iter_records; also when the VCF calls the contig differently.
    """
    written, contigs = set(), set()
    for record in iter_records(vcf):
        name, pos = record[:2]
        contigs.add(name)
        if contig not in (None, name) or (start is not None and pos < start) or (end is not None and pos > end):
            continue
        if line := simplify(*record):
            written.add((name, pos))
            yield line
    if contig is not None:
        check_contig(vcf, contig, contigs)
    if complete is not None:
        known: dict[str, set[int]] = {}
        for name, pos, *_ in iter_records(complete):
            if contig in (None, name):
                known.setdefault(name, set()).add(pos)
        for name, positions in known.items():
            yield from (f"{name} {pos} {MISSING}" for pos in sorted(positions) if (name, pos) not in written)


def write_truth(path: Path, lines: Iterable[str]) -> int:
    """Write lines into a gzip file, which is complete or absent, and return their number.

    Raises InputError when the disk refuses; what `lines` raises passes through.
    """
    count = 0
    with (
        unfinished(path) as partial,
        open(partial, "wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file,  # same input, same bytes
    ):
        for line in lines:
            file.write(f"{line}\n".encode())
            count += 1
    return count
