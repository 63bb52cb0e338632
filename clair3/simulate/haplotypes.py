"""The two copies of a contig that a phased truth describes, and the VCF it is read from and written to."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam

from clair3.core.block_file import BlockFile
from clair3.core.simulate import Haplotype
from clair3.errors import InputError, unwritable
from clair3.io.atomic import unfinished_in_folder
from clair3.io.fasta import Contig
from clair3.io.vcf import VcfRecord, format_record, iter_genotyped_records
from clair3.phasing.phasers import LONGEST_BAI
from clair3.records import BASES
from clair3.simulate.genome import N, encode
from clair3.simulate.variants import Variant
from clair3.version import VERSION

logger = logging.getLogger(__name__)


def read_variants(path: Path, rng: np.random.Generator) -> dict[str, list[Variant]]:
    """Read the variants of a VCF's first sample by contig, sorted; genotypes without phase get one at random.

    Left out are calls of the reference or of nothing, records with other letters than bases, and repeated positions.
    Raises InputError as iter_genotyped_records does.
    """
    by_contig: dict[str, dict[int, Variant]] = {}
    for _, record in iter_genotyped_records(path):
        variant = choose_alleles(record, rng)
        if variant:
            by_contig.setdefault(record.contig, {}).setdefault(variant.pos, variant)
    return {contig: sorted(variants.values()) for contig, variants in by_contig.items()}


def choose_alleles(record: VcfRecord, rng: np.random.Generator) -> Variant | None:
    """Make the variant of a record, with the alternative alleles of its genotype alone; None for one to leave out."""
    text = record.genotype
    words = text.replace("|", "/").split("/")
    words = words * 2 if len(words) == 1 else words
    alts = record.alt_text.upper().split(",")
    if len(words) != 2 or not all(word.isdigit() and int(word) <= len(alts) for word in words):
        return None
    numbers = [int(word) for word in words]
    if "|" not in text and rng.random() < 0.5:
        numbers.reverse()
    named = sorted(set(numbers) - {0})
    ref, chosen = record.ref.upper(), tuple(alts[number - 1] for number in named)
    if not named or not all(allele and set(allele) <= set(BASES) for allele in (ref, *chosen)):
        return None
    first, second = (named.index(number) + 1 if number else 0 for number in numbers)
    return Variant(record.pos, ref, chosen, (first, second))


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
    parts = ((contig, part) for contig, variant in variants for part in variant.split_mnp())
    write_truth(path, contigs, (part.to_record(contig) for contig, part in parts))


def write_truth(path: Path, contigs: Iterable[Contig], records: Iterable[VcfRecord]) -> None:
    """Write records whose only FORMAT key is GT as write_variants does."""
    contigs = list(contigs)
    csi = max((contig.length for contig in contigs), default=0) > LONGEST_BAI
    header = ["##fileformat=VCFv4.2", f"##source=clair3-torch {VERSION} simulate"]
    header += [f"##contig=<ID={contig.name},length={contig.length}>" for contig in contigs]
    header += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype, phased">']
    header += ["\t".join(("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "SAMPLE"))]
    try:
        with unfinished_in_folder(path) as made:
            with BlockFile(made, name=path) as file:
                file.write(("\n".join(header) + "\n").encode())
                for record in records:
                    file.write(f"{format_record(record)}\n".encode())
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

    records   by position, with the genotype of the first sample and nothing else of it
    snp_pos   (k,)   int64  0-based, ascending: heterozygous SNPs of the commonest phase set
    snp_base  (k, 2) uint8  their letters (ASCII) on the first and the second copy
    """

    records: list[VcfRecord] = field(default_factory=list)
    snp_pos: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    snp_base: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.uint8))


def read_known(path: Path) -> dict[str, KnownVariants]:
    """Read the variants of a VCF's first sample by contig. Raises InputError as iter_genotyped_records does."""
    records, snps = defaultdict(list), defaultdict(list)
    for _, record in iter_genotyped_records(path):
        values = record.sample_values()
        plain = record._replace(qual_text=".", filter="PASS", info=".", format="GT", sample=values["GT"])
        records[record.contig].append(plain)  # the header of the truth knows no other words
        alleles = [record.ref.upper(), *record.alt_text.upper().split(",")]
        words = values["GT"].split("|")
        if len(words) == 2 and all(word.isdigit() and int(word) < len(alleles) for word in words):
            pair = [alleles[int(word)] for word in words]
            if pair[0] != pair[1] and len(record.ref) == 1 and all(base in BASES and len(base) == 1 for base in pair):
                snps[record.contig].append((record.pos, ord(pair[0]), ord(pair[1]), values.get("PS", ".")))
    return {
        name: group_known_variants(sorted(known, key=by_place), sorted(snps[name])) for name, known in records.items()
    }


def by_place(record: VcfRecord) -> tuple[int, int, VcfRecord]:
    """Sort key of records of one contig: position, end, then the text."""
    return record.pos, record.end, record


def group_known_variants(records: list[VcfRecord], snps: list[tuple[int, int, int, str]]) -> KnownVariants:
    """Group the known variants of a contig; SNPs of the commonest phase set alone, as phase sets are unrelated."""
    if not snps:
        return KnownVariants(records)
    commonest = Counter(snp[3] for snp in snps).most_common(1)[0][0]
    table = np.array([snp[:3] for snp in snps if snp[3] == commonest], np.int64)
    return KnownVariants(records, table[:, 0], table[:, 1:].astype(np.uint8))
