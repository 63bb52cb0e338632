"""Alleles of reads at SNPs to be phased: drawn cases, odd reads, files that cannot be read."""

import numpy as np
import pytest
from random_reads import draw, random_case, read_bam, reference_span, write_bam, write_case, write_fasta

from clair3.core import Source
from clair3.core.phasing import PhaseAlleles, phase_alleles
from clair3.errors import CoreError

LEFT_OUT = 0x4 | 0x100 | 0x400 | 0x800
"""Unmapped, secondary, duplicate, supplementary."""


def shown(alleles: PhaseAlleles) -> dict[str, str]:
    """SNP number and r (REF) or a (ALT) of each read, as text."""
    pairs = [f"{snp}{'ra'[allele]}" for snp, allele in zip(alleles.snp, alleles.allele, strict=True)]
    first = alleles.first.tolist()
    return {name: " ".join(pairs[first[r] : first[r + 1]]) for r, name in enumerate(alleles.names)}


def alleles_of(bam, reference, contig: str, snps: dict[int, str]) -> PhaseAlleles:
    with Source(bam, reference) as source:
        pos = np.array(sorted(snps), np.int64)
        return phase_alleles(source, contig, pos, np.array([ord(snps[at]) for at in sorted(snps)], np.uint8))


def test_drawn_reads(tmp_path):
    """SNPs T>G at 4 and A>C at 20: a read shows the haplotype that is nearer to it, 10 bases on both sides.

    r1 and r2 show ALT and REF, the case of the reference does not matter; r3 has a third letter and r4 a deletion: as
    near to both; r5 ends after 6 bases and r6 is 3 bases long: compared as far as they go; r7 begins behind a skip, r8
    skips the SNP; r9 has a base inserted before it; r10 ends before it in an insertion that looks like ALT.
    """
    ref, reads = draw("""
        = ACGATCCATGcatTTAACGTATGCCGATTGACCTA
        > ....G...............C.............
        < ..................................
        > ....A......
        > ....*......
        > ......
        >   ..G
        >         ..    ......C.
        > ..          ........
        >                 .....
        +                    T
        >          ...........
        +                    CTGCCGATTGAC
    """)
    bam = write_bam(tmp_path / "reads.bam", {"c": len(ref)}, {"c": reads})
    found = alleles_of(bam, write_fasta(tmp_path / "ref.fa", {"c": ref}), "c", {4: "G", 20: "C"})
    expected = "r1 0a 1a, r2 0r 1r, r5 0r, r6 0a, r7 1a, r9 1r, r10 1a"
    assert shown(found) == dict(text.split(" ", 1) for text in expected.split(", "))
    assert list(zip(found.names, found.pos.tolist(), strict=True)) == [
        *[("r1", 0), ("r2", 0), ("r5", 0), ("r6", 2), ("r7", 8), ("r10", 9), ("r9", 16)]
    ]
    assert found.mapq.tolist() == [60] * 7


@pytest.mark.parametrize("seed", range(25))
def test_random_reads(tmp_path, seed):
    """Which reads are looked at, and that all that is told lies inside them."""
    case = random_case(seed)
    bam, reference = write_case(tmp_path, case)
    rng = np.random.default_rng(seed)
    places = rng.choice(len(case.ref), size=min(len(case.ref), 30), replace=False).tolist()
    snps = {pos: str(rng.choice([letter for letter in "ACGT" if letter != case.ref[pos].upper()])) for pos in places}
    found = alleles_of(bam, reference, "chr1", snps)
    used = [read for read in read_bam(bam, "chr1") if not read.flag & LEFT_OUT and read.mapq >= 20]
    ends: dict[tuple, int] = {}  # names repeat
    for read in used:
        key = (read.name, read.pos, read.mapq)
        ends[key] = max(ends.get(key, 0), read.pos + reference_span(read.cigar))
    assert set(found.allele.tolist()) <= {0, 1}
    for r, key in enumerate(zip(found.names, found.pos.tolist(), found.mapq.tolist(), strict=True)):
        seen = np.array(sorted(snps))[found.snp[found.first[r] : found.first[r + 1]]]
        assert len(seen) and (np.diff(seen) > 0).all()
        assert key[1] <= seen[0] and seen[-1] <= ends[key]


def test_nothing_to_read(tmp_path):
    bam, reference = write_case(tmp_path, random_case(1))
    for snps in ({}, {len(random_case(1).ref) + 5000: "A"}):
        found = alleles_of(bam, reference, "chr1", snps)
        assert found.names == [] and found.first.tolist() == [0] and len(found.snp) == len(found.pos) == 0


def test_unreadable(tmp_path):
    bam, reference = write_case(tmp_path, random_case(1))
    with pytest.raises(CoreError, match=r"reads\.bam chrX: .*no such contig"):
        alleles_of(bam, reference, "chrX", {5: "A"})
    reference.write_text(">chr1\nA\n")
    reference.with_name("ref.fa.fai").write_text("other\t1\t6\t1\t2\n")
    with pytest.raises(CoreError, match="no such contig"):
        alleles_of(bam, reference, "chr1", dict.fromkeys(range(len(random_case(1).ref)), "A"))
