"""The two copies of a contig that a phased truth describes, and the VCF it is read from and written to."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam

from clair3.core.simulate import Haplotype
from clair3.errors import InputError, unwritable
from clair3.io.atomic import unfinished_in_folder
from clair3.io.fasta import Contig
from clair3.io.text import is_number, read_rows
from clair3.phasing.phasers import LONGEST_BAI
from clair3.records import BASES
from clair3.simulate.genome import N, encode
from clair3.simulate.variants import Variant
from clair3.version import VERSION

logger = logging.getLogger(__name__)

FIELDS = 10


def iter_rows(path: Path) -> Iterator[list[str]]:
    """Yield the fields of the rows of a VCF. Raises InputError when a row is none, or its first sample has no
    genotype."""
    for number, line in read_rows(path):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) < FIELDS or not is_number(fields[1]) or fields[8].split(":")[0] != "GT":
            raise InputError(f"{path}: row {number}, {line[:60]!r}, is not a VCF row with a genotype (GT first)")
        yield fields


def read_variants(path: Path, rng: np.random.Generator) -> dict[str, list[Variant]]:
    """Read the variants of a VCF's first sample by contig, sorted; genotypes without phase get one at random.

    Left out are calls of the reference or of nothing, records with other letters than bases, and repeated positions.
    Raises InputError when a row is none, or has no genotype.
    """
    by_contig: dict[str, dict[int, Variant]] = {}
    for fields in iter_rows(path):
        variant = parse_variant(fields, rng)
        if variant:
            by_contig.setdefault(fields[0], {}).setdefault(variant.pos, variant)
    return {contig: sorted(variants.values()) for contig, variants in by_contig.items()}


def parse_variant(fields: Sequence[str], rng: np.random.Generator) -> Variant | None:
    """Make the variant of a VCF row, with the alternative alleles of its genotype alone; None for a row to leave
    out."""
    text = fields[9].split(":")[0]
    words = text.replace("|", "/").split("/")
    words = words * 2 if len(words) == 1 else words
    alts = fields[4].upper().split(",")
    if len(words) != 2 or not all(word.isdigit() and int(word) <= len(alts) for word in words):
        return None
    numbers = [int(word) for word in words]
    if "|" not in text and rng.random() < 0.5:
        numbers.reverse()
    named = sorted(set(numbers) - {0})
    ref, chosen = fields[3].upper(), tuple(alts[number - 1] for number in named)
    if not named or not all(allele and set(allele) <= set(BASES) for allele in (ref, *chosen)):
        return None
    first, second = (named.index(number) + 1 if number else 0 for number in numbers)
    return Variant(int(fields[1]) - 1, ref, chosen, (first, second))


def select_fitting(variants: Iterable[Variant], codes: np.ndarray, where: str) -> list[Variant]:
    """Select the variants of a contig, sorted, that do not overlap; where names the file and the contig.

    Raises InputError when a REF is not what the reference, codes (n,) uint8, has.
    """
    kept, end = [], 0
    for variant in variants:
        if variant.pos < end:
            continue
        check_ref(variant, codes, where)
        kept.append(variant)
        end = variant.end
    return kept


def check_ref(variant: Variant, codes: np.ndarray, where: str) -> None:
    """Raises InputError when REF is not what the reference has, or reaches beyond it. N may stand for any base."""
    there = codes[variant.pos : variant.end]
    if variant.end > len(codes) or ((there != encode(variant.ref)) & (there != N)).any():
        raise InputError(f"{where}:{variant.pos + 1}: REF {variant.ref[:30]} is not what the reference has there")


def write_variants(path: Path, contigs: Iterable[Contig], variants: Iterable[tuple[str, Variant]]) -> None:
    """Write (contig, variant) in file order as a phased, bgzip-compressed and indexed VCF, MNPs as SNPs; complete or
    absent."""
    write_rows(path, contigs, ((contig, part.row) for contig, variant in variants for part in variant.split_mnp()))


def write_rows(path: Path, contigs: Iterable[Contig], rows: Iterable[tuple[str, str]]) -> None:
    """Write (contig, the other fields of a VCF row with GT alone) as write_variants does."""
    contigs = list(contigs)
    csi = max((contig.length for contig in contigs), default=0) > LONGEST_BAI
    header = ["##fileformat=VCFv4.2", f"##source=clair3-torch {VERSION} simulate"]
    header += [f"##contig=<ID={contig.name},length={contig.length}>" for contig in contigs]
    header += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype, phased">']
    header += ["\t".join(("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "SAMPLE"))]
    try:
        with unfinished_in_folder(path) as made:
            with pysam.BGZFile(str(made), "wb") as file:
                file.write(("\n".join(header) + "\n").encode())
                for contig, row in rows:
                    file.write(f"{contig}\t{row}\n".encode())
            pysam.tabix_index(str(made), preset="vcf", force=True, csi=csi)
            index = f"{path.name}.{'csi' if csi else 'tbi'}"
            made.with_name(index).replace(path.with_name(index))
            made.replace(path)
    except OSError as error:
        raise InputError(unwritable(path, error)) from None


def make_haplotype(codes: np.ndarray, variants: Sequence[Variant], copy: int, where: str = "") -> Haplotype:
    """Make copy 0 or 1 of a contig, codes (n,) uint8, with its alleles of the variants, which are sorted.

    An allele that overlaps the one before on the same copy, or runs beyond the contig, is left out with a warning.
    Raises InputError when a REF is not what the reference has. where names the files.
    """
    pieces, starts, positions, lengths = [], [], [], []
    done = place = overlapping = 0  # bases of the reference and of the copy that are written

    def match(end: int) -> None:
        nonlocal done, place
        if end > done:
            starts.append(place)
            positions.append(done)
            lengths.append(end - done)
            pieces.append(codes[done:end])
            place += end - done
            done = end

    for variant in variants:
        alt = variant.allele(copy)
        if alt is None:
            continue
        if variant.pos < done or variant.end > len(codes):
            overlapping += 1
            continue
        check_ref(variant, codes, where)
        new = encode(alt)
        match(variant.pos)
        same = min(len(variant.ref), len(new))  # bases that lie over the reference; the rest is inserted or deleted
        starts.append(place)
        positions.append(variant.pos)
        lengths.append(same)
        pieces.append(new)
        place += len(new)
        done = variant.end
    match(len(codes))
    if overlapping:
        logger.warning("%s: left out %d of the alleles of copy %d, which overlap others", where, overlapping, copy + 1)
    blocks = (np.array(column, np.int64) for column in (starts, positions, lengths))
    return Haplotype(np.concatenate(pieces), *blocks)


def map_to_reference(copy: Haplotype, place: np.ndarray) -> np.ndarray:
    """Map positions on a copy, (k,) int64, to the reference; within an insertion, to the base behind it."""
    block = np.searchsorted(copy.block_start, place, side="right") - 1
    into = np.minimum(place - copy.block_start[block], copy.block_length[block])
    return copy.block_pos[block] + into


@dataclass(frozen=True, eq=False)
class KnownVariants:
    """The known variants of one contig.

    rows      [(pos, end, text)] by position: records with the genotype and nothing else of the sample
    snp_pos   (k,)   int64  0-based, ascending: heterozygous SNPs of the commonest phase set
    snp_base  (k, 2) uint8  their letters (ASCII) on the first and the second copy
    """

    rows: list[tuple[int, int, str]] = field(default_factory=list)
    snp_pos: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    snp_base: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.uint8))


def read_known(path: Path) -> dict[str, KnownVariants]:
    """Read the variants of a VCF's first sample by contig. Raises InputError when a row is none, or has no genotype."""
    rows, snps = defaultdict(list), defaultdict(list)
    for fields in iter_rows(path):
        values = dict(zip(fields[8].split(":"), fields[9].split(":"), strict=False))
        pos = int(fields[1]) - 1
        text = "\t".join((*fields[:5], ".", "PASS", ".", "GT", values["GT"]))  # the header knows no other words
        rows[fields[0]].append((pos, pos + len(fields[3]), text))
        alleles = [fields[3].upper(), *fields[4].upper().split(",")]
        words = values["GT"].split("|")
        if len(words) == 2 and all(word.isdigit() and int(word) < len(alleles) for word in words):
            pair = [alleles[int(word)] for word in words]
            if pair[0] != pair[1] and len(fields[3]) == 1 and all(base in BASES and len(base) == 1 for base in pair):
                snps[fields[0]].append((pos, ord(pair[0]), ord(pair[1]), values.get("PS", ".")))
    return {contig: group_known_variants(sorted(records), sorted(snps[contig])) for contig, records in rows.items()}


def group_known_variants(rows: list[tuple[int, int, str]], snps: list[tuple[int, int, int, str]]) -> KnownVariants:
    """Group the known variants of a contig; SNPs of the commonest phase set alone, as phase sets are unrelated."""
    if not snps:
        return KnownVariants(rows)
    commonest = Counter(snp[3] for snp in snps).most_common(1)[0][0]
    table = np.array([snp[:3] for snp in snps if snp[3] == commonest], np.int64)
    return KnownVariants(rows, table[:, 0], table[:, 1:].astype(np.uint8))
