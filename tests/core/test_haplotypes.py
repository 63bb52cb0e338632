"""Haplotypes of reads by phased SNPs: those that the command `whatshap haplotag` gives."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pysam
import pytest
import small_sample
from odd_contigs import OddContig, records, write_inputs
from random_reads import draw, write_bam, write_fasta

from clair3.calling import stages
from clair3.calling.selection import Block
from clair3.calling.stages import ContigHaplotypes
from clair3.core import CancelFlag, CancelledError, Source
from clair3.core.phasing import haplotypes
from clair3.io import vcf
from clair3.phasing.phasers import find_whatshap, open_whatshap, read_phased
from clair3.records import PhasedSnps
from clair3.util.process import run_program

PS = '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="Phase set">\n'
NEVER_TAGGED = 0x904
"""Unmapped, secondary, supplementary."""


def phased_snps(rows: list[tuple[int, str, int, int]]) -> PhasedSnps:
    """Rows of position, ALT, haplotype (1: of 0|1) and phase set."""
    pos, alt, haplotype, phase_set = zip(*rows, strict=True)
    return PhasedSnps(
        np.array(pos), None, np.frombuffer("".join(alt).encode(), np.uint8), np.array(haplotype), np.array(phase_set)
    )


def test_drawn_reads(tmp_path):
    """Phased SNPs: T>G at 4 (1|0) and A>C at 20 (0|1) in one set, G>A at 37 and T>A at 62 (both 0|1) in another.

    r1 and r2 show the first and the second haplotype; r3 one allele of each; r4 ALT at 37; r5 says 2 in the first set
    and 1 in the other, so the first set decides; the mates r6 say 1 and 2.
    """
    ref, reads = draw("""
        = ACGATCCATGcatTTAACGTATGCCGATTGACCTACGGACTTGACGATGCATGGATTCCATTGGATCAGGTACAT
        > ....G...............
        > ....................C.........
        > ....G...............C.........
        >                       ...............A...............
        >             ........C.................................
        > ....G.......
        >             ........C...........
    """)
    reads[6] = replace(reads[6], name="r6")
    bam = write_bam(tmp_path / "reads.bam", {"c": len(ref)}, {"c": reads})
    snps = phased_snps([(4, "G", 2, 5), (20, "C", 1, 5), (37, "A", 1, 38), (62, "A", 1, 38)])
    with Source(bam, write_fasta(tmp_path / "ref.fa", {"c": ref})) as source:
        found = haplotypes(source, "c", snps)
        assert [found.get(f"r{i}") for i in range(1, 7)] == [1, 2, 0, 2, 2, 0]
        cancel = CancelFlag()
        cancel.set()
        with pytest.raises(CancelledError):
            haplotypes(source, "c", snps, cancel)


def test_haplotypes_are_held_as_long_as_they_are_needed(monkeypatch):
    """Once for each phased contig, until its last block is done, whatever happens to a block."""
    found = []
    monkeypatch.setattr(stages, "haplotypes", lambda source, contig, *rest: found.append(contig) or contig)
    blocks = [Block(contig, 0, 1, np.array([0])) for contig in ("a", "a", "b", "c")]
    held = ContigHaplotypes({"a": None, "b": None}, blocks)
    with (
        held.borrow(None, "a", None) as first,
        held.borrow(None, "b", None) as second,
        held.borrow(None, "c", None) as third,
    ):
        assert (first, second, third) == ("a", "b", None)
    assert list(held.computed) == ["a"]
    with pytest.raises(KeyError), held.borrow(None, "a", None):
        raise KeyError
    assert not held.computed and found == ["a", "b"]


def phased_rows(contig: OddContig, rng: random.Random) -> list[str]:
    """VCF rows of a contig's SNPs in some phase sets, side by side or mixed; some homozygous or without phase."""
    sets, mixed = rng.choice([1, 1, 2, 4]), rng.random() < 0.5
    sets, places, rows = min(sets, len(contig.snps)), sorted(contig.snps), []
    for k, pos in enumerate(places):
        member = rng.randrange(sets) if mixed else sets * k // len(places)
        genotype, phase_set = rng.choice([("0|1", member), ("1|0", member)])
        if rng.random() < 0.2:
            genotype, phase_set = rng.choice([("0/1", "."), ("1/0", "."), ("1|1", phase_set), ("0|0", phase_set)])
        shown = phase_set if phase_set == "." else places[member] + 1
        ref, alt = contig.letters[pos].upper(), contig.snps[pos]
        rows.append(f"{contig.name}\t{pos + 1}\t.\t{ref}\t{alt}\t17.7\tPASS\tP\tGT:GQ:PS\t{genotype}:17:{shown}")
    return rows


def compare_with_command(folder: Path, seeds: range) -> list[int]:
    """Tag the reads of odd contigs both ways; how many have haplotype 0, 1, 2."""
    contigs, rng = [OddContig(f"c{seed}", seed) for seed in seeds], random.Random(seeds[0])
    for contig in contigs:  # the command breaks off at a read without bases; linked reads (BX) are in another test
        contig.reads = [dict(read, tags=[("HP", 2), ("PS", 7)]) for read in contig.reads if read["seq"]]
    bam, reference, header = write_inputs(folder, contigs)
    phased, tagged = folder / "phased.vcf.gz", folder / "tagged.bam"
    with pysam.BGZFile(str(phased), "wb") as file:
        file.write(header.replace("#CHROM", f"{PS}#CHROM").encode())
        file.write("".join(f"{row}\n" for contig in contigs for row in phased_rows(contig, rng)).encode())
    pysam.tabix_index(str(phased), preset="vcf", force=True)
    options = ["--ignore-read-groups", "--reference", reference, "--output", tagged]
    code, said = run_program([*find_whatshap(), "haplotag", *options, phased, bam])
    assert code == 0, said
    counts = [0, 0, 0]
    with Source(bam, reference) as source, pysam.AlignmentFile(str(tagged)) as expected:
        found = {c.name: haplotypes(source, c.name, read_phased(phased, c.name, heterozygous=True)) for c in contigs}
        for read in expected:
            mine = 0 if read.flag & NEVER_TAGGED else found[read.reference_name].get(read.query_name)
            assert mine == (read.get_tag("HP") if read.has_tag("HP") else 0), str(read)
            counts[mine] += 1
    return counts


def test_odd_reads_as_the_command(tmp_path):
    assert min(compare_with_command(tmp_path, range(80))) > 150


@pytest.mark.slow
@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("errors", [0.001, 0.02])
def test_pairs_as_the_command(tmp_path, errors):
    """Pairs of short reads through both steps: phased by the solver, then tagged, against the two commands."""
    rates = dict.fromkeys(("substitution_rate", "insertion_rate", "deletion_rate"), errors)
    small_sample.make_reads(tmp_path, replace(small_sample.PAIRS, pairs=250, variant_rate=0.02, **rates), seed=3)
    bam, reference, given = tmp_path / "reads.bam", tmp_path / "ref.fa", tmp_path / "chr20.vcf"
    phased, expected, tagged = (tmp_path / name for name in ("phased.vcf.gz", "expected.vcf.gz", "tagged.bam"))
    with pysam.VariantFile(str(tmp_path / "truth.vcf.gz")) as truth:
        rows = [row for row in truth.fetch("chr20") if len(row.ref) == len(row.alts[0]) == 1]
    lines = [f"chr20\t{row.pos}\t.\t{row.ref}\t{row.alts[0]}\t17.7\tPASS\tP\tGT:GQ\t0/1:17\n" for row in rows]
    given.write_text(vcf.header("SAMPLE", str(reference), small_sample.PAIRS.contigs, None) + "".join(lines))
    with open_whatshap(None, bam, reference) as whatshap:
        whatshap.phase("chr20", given, phased)
        whatshap.command.phase("chr20", given, expected)
        assert records(phased) == records(expected)
        pysam.tabix_index(str(expected), preset="vcf")
        whatshap.command.haplotag(expected, tagged)
    with Source(bam, reference) as source, pysam.AlignmentFile(str(tagged)) as reads:
        found = haplotypes(source, "chr20", read_phased(phased, "chr20", heterozygous=True))
        tags = [(read.query_name, read.get_tag("HP") if read.has_tag("HP") else 0) for read in reads.fetch("chr20")]
    assert [found.get(name) for name, _ in tags] == [tag for _, tag in tags]
    assert len(lines) > 300 and sum(tag > 0 for _, tag in tags) > 0.5 * len(tags)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(2000, 3000, 250))
def test_more_odd_reads_as_the_command(tmp_path, first):
    compare_with_command(tmp_path, range(first, first + 250))
