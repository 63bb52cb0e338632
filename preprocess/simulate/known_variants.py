"""The truth of a real sample: rows that are kept as they are, and the heterozygous SNPs that tell reads apart."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from preprocess.simulate.haplotypes import iter_rows
from shared.sequence import BASES


@dataclass(frozen=True, eq=False)
class KnownVariants:
    """What is known of one contig.

    rows      [(pos, end, text)] by position: records with the genotype and nothing else of the sample
    snp_pos   (k,)   int64  0-based, ascending: heterozygous SNPs of the commonest phase set
    snp_base  (k, 2) uint8  their letters (ASCII) on the first and the second copy
    """

    rows: list[tuple[int, int, str]] = field(default_factory=list)
    snp_pos: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    snp_base: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.uint8))


def read_known(path: Path) -> dict[str, KnownVariants]:
    """The variants of a VCF's first sample by contig. Raises InputError when a row is none, or has no genotype."""
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
    return {contig: known_of(sorted(found), sorted(snps[contig])) for contig, found in rows.items()}


def known_of(rows: list[tuple[int, int, str]], snps: list[tuple[int, int, int, str]]) -> KnownVariants:
    """Phase sets are not related to each other, so only the commonest counts."""
    if not snps:
        return KnownVariants(rows)
    commonest = Counter(snp[3] for snp in snps).most_common(1)[0][0]
    table = np.array([snp[:3] for snp in snps if snp[3] == commonest], np.int64)
    return KnownVariants(rows, table[:, 0], table[:, 1:].astype(np.uint8))
