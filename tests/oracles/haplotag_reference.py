"""Haplotypes of reads from phased SNPs as v2.0.2 finds them, written the slow and obvious way.

One function per rule of spec/features.md, section in its docstring. Nothing here is shared with the
product. Positions are 0-based.
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pileup_reference import Read, parse_cigar

MIN_MAPQ = 20
LEFT_BASES, RIGHT_BASES = 10, 11
"""Reference bases that a comparison wants on the left of a SNP, and from the SNP on to the right."""

Ops = list[tuple[str, int]]


class PhasedSnp(NamedTuple):
    """A heterozygous SNP. hap is g of A.11: the haplotype that votes of REF carriers go to, 1 or 2."""

    pos: int
    ref: str
    alt: str
    hap: int
    phase_set: int


class Meeting(NamedTuple):
    """A SNP under a read: in operation `op` after `consumed` of its bases, seen from query base `anchor`."""

    snp: PhasedSnp
    op: int
    consumed: int
    anchor: int


def read_phased_snps(path: Path, contig: str) -> list[PhasedSnp]:
    """The phased SNPs of a contig in a VCF, gzipped or plain, in file order (A.11).

    Records that are no SNP or whose phase set is no integer are left out (fix of E-B15).
    """
    data = Path(path).read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    snps = []
    for line in text.splitlines():
        columns = line.split("\t")
        if line.startswith("#") or columns[0] != contig:
            continue
        ref, alt, sample = columns[3], columns[4], columns[9].split(":")
        if "|" in sample[0] and len(ref) == len(alt) == 1 and re.fullmatch(r"-?[0-9]+", sample[-1]):
            hap = 1 if sample[0] == "0|1" else 2
            snps.append(PhasedSnp(int(columns[1]) - 1, ref, alt, hap, int(sample[-1])))
    return snps


def haplotype(read: Read, ref: str, snps: Iterable[PhasedSnp] | None) -> int:
    """0 (unknown), 1 or 2 (C.3). ref is the whole contig, case kept; snps is None where phasing is off."""
    if snps is None or read.mapq < MIN_MAPQ:
        return 0
    votes: Counter = Counter()
    ops = parse_cigar(read.cigar)
    for met in meetings(ops, read.pos, snps):
        allele = site_allele(read.seq, ops, met, ref)
        if allele is not None:
            votes[met.snp.phase_set] += 1 if allele == met.snp.hap else -1
    most, least = max([0, *votes.values()]), min([0, *votes.values()])
    if most == least == 0:
        return 0
    return 1 if most > -least else 2  # K18: ties go to 2


def meetings(ops: Ops, start: int, snps: Iterable[PhasedSnp]) -> Iterator[Meeting]:
    """The SNPs under a read, each once, with the place in its CIGAR (C.3)."""
    waiting = sorted((snp for snp in snps if snp.pos >= start), key=lambda snp: snp.pos)
    x, y = start, 0
    for i, (op, length) in enumerate(ops):
        if op == "I" and waiting and waiting[0].pos == x:
            yield Meeting(waiting.pop(0), i, 0, y)
        while op in "M=XDN" and waiting and waiting[0].pos < x + length:
            snp = waiting.pop(0)
            consumed = snp.pos - x
            if op != "N":
                yield Meeting(snp, i, consumed, y if op == "D" else y + consumed)
        x += length if op in "M=XDN" else 0
        y += length if op in "M=XIS" else 0


def site_allele(seq: str, ops: Ops, met: Meeting, ref: str) -> int | None:
    """The allele that the read is nearer to, 1 (REF) or 2 (ALT); None if it is as near to both (C.3).

    Where the ops claim bases beyond the contig (an N ends the walk early), the window is cut at its ends.
    """
    (pos, _, alt, _, _), i = met.snp, met.op
    op, length = ops[i]
    ref_left, query_left = walk([(op, met.consumed), *ops[:i][::-1]], LEFT_BASES)
    ref_right, query_right = walk([(op, max(0, length - met.consumed)), *ops[i + 1 :]], RIGHT_BASES)
    ref_left = min(ref_left, pos)
    query = seq[met.anchor - query_left : met.anchor + query_right]
    if not query:
        return None
    left, right = ref[pos - ref_left : pos], ref[pos : pos + ref_right]  # K4: case kept
    to_ref = levenshtein(query, left + right)
    to_alt = levenshtein(query, left + alt + right[1:])  # K7: appended where nothing is left on the right
    if to_ref == to_alt:
        return None
    return 1 if to_ref < to_alt else 2


def walk(ops: Ops, target: int) -> tuple[int, int]:
    """(reference, query) bases along ops until `target` reference bases; (0, 0) if they run out before (C.3, K7)."""
    ref = query = 0
    for op, length in ops:
        if length == 0:
            continue
        if op in "M=X":
            ref, query = ref + length, query + length
            if ref >= target:
                return target, query - (ref - target)
        elif op == "D":
            ref += length
            if ref >= target:
                return target, query
        elif op == "I":
            query += length
        elif op == "N":
            return target, query
    return 0, 0


def levenshtein(a: str, b: str) -> int:
    """Fewest substitutions, insertions and deletions of one letter that turn a into b."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        above, row = row, [i]
        for j, other in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != other)))
    return row[-1]
