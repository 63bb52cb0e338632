"""The small samples of most tests: two contigs, a diploid genome, noisy long reads or pairs of short ones, an untrained
model.

Everything is drawn from one seed. The reads are placed by construction, so no aligner is needed. The model holds seeded
random weights: its calls mean nothing, they only show that the program runs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

BASES = np.frombuffer(b"ACGT", np.uint8)
CIGAR_OPS = {"M": 0, "I": 1, "D": 2}


@dataclass(frozen=True)
class SampleRule:
    """Sizes and rates of the sample; rates are per base. pairs: reads are the ends of stretches of so many bases."""

    contigs: tuple[tuple[str, int], ...] = (("chr20", 60_000), ("chr21", 20_000))
    depth: float = 30.0
    read_length: int = 6_000
    variant_rate: float = 0.001
    substitution_rate: float = 0.01
    insertion_rate: float = 0.01
    deletion_rate: float = 0.015
    pairs: int | None = None


PAIRS = SampleRule((("chr20", 24_000), ("chr21", 8_000)), 30.0, 120, 0.006, 0.002, 0.0002, 0.0002, pairs=330)


@dataclass
class Haplotype:
    """One copy of a contig, laid over the reference: a base per position (0: deleted) and what is inserted after it."""

    bases: np.ndarray
    inserted: dict[int, bytes]


def draw_variants(rng, reference: np.ndarray, rule: SampleRule):
    """Variants at least 20 bases apart: (pos, ref, alt, (allele of copy 1, allele of copy 2)), alleles as bytes."""
    grid = np.arange(100, len(reference) - 100, 20)
    for pos in np.sort(rng.choice(grid, int(len(reference) * rule.variant_rate), replace=False)):
        genotype = ((0, 1), (1, 0), (1, 1))[rng.integers(3)]
        kind, length = rng.random(), int(rng.integers(1, 6))
        anchor = reference[pos : pos + 1].tobytes()
        if kind < 0.8:
            yield int(pos), anchor, rng.choice(BASES[BASES != reference[pos]], 1).tobytes(), genotype
        elif kind < 0.9:
            yield int(pos), anchor, anchor + rng.choice(BASES, length).tobytes(), genotype
        else:
            yield int(pos), reference[pos : pos + 1 + length].tobytes(), anchor, genotype


def apply_variants(reference: np.ndarray, variants, copy: int) -> Haplotype:
    """The copy (0 or 1) of the contig that carries its alleles of the variants."""
    haplotype = Haplotype(reference.copy(), {})
    for pos, ref, alt, genotype in variants:
        if not genotype[copy]:
            continue
        if len(alt) > len(ref):
            haplotype.inserted[pos] = alt[1:]
        elif len(ref) > len(alt):
            haplotype.bases[pos + 1 : pos + len(ref)] = 0
        else:
            haplotype.bases[pos] = alt[0]
    return haplotype


def draw_read(rng, haplotype: Haplotype, start: int, end: int, rule: SampleRule):
    """A noisy read of [start, end): (bases uint8, op of each base or deleted position as CIGAR number)."""
    bases = haplotype.bases[start:end].copy()
    wrong = rng.random(len(bases)) < rule.substitution_rate
    bases[wrong & (bases > 0)] = rng.choice(BASES, int((wrong & (bases > 0)).sum()))
    bases[1:-1][rng.random(len(bases) - 2) < rule.deletion_rate] = 0
    insertions = {pos - start: text for pos, text in haplotype.inserted.items() if start <= pos < end - 1}
    for at in np.flatnonzero(rng.random(len(bases) - 1) < rule.insertion_rate):
        insertions[int(at)] = insertions.get(int(at), b"") + rng.choice(BASES, 1).tobytes()
    ops = np.where(bases > 0, CIGAR_OPS["M"], CIGAR_OPS["D"]).astype(np.uint8)
    at = np.repeat([pos + 1 for pos in insertions], [len(text) for text in insertions.values()]).astype(int)
    bases = np.insert(bases, at, np.frombuffer(b"".join(insertions.values()), np.uint8))
    return bases, np.insert(ops, at, CIGAR_OPS["I"])


def aligned_segment(header, contig: str, name: str, start: int, bases: np.ndarray, ops: np.ndarray, rng):
    """The read as a BAM record."""
    starts = np.flatnonzero(np.r_[True, ops[1:] != ops[:-1]])
    lengths = np.diff(np.r_[starts, len(ops)])
    read = pysam.AlignedSegment(header)
    read.query_name, read.reference_name, read.reference_start = name, contig, start
    read.flag, read.mapping_quality = int(rng.integers(2)) * 16, 60
    read.query_sequence = bases[bases > 0].tobytes().decode()
    read.query_qualities = pysam.qualitystring_to_array("5" * len(read.query_sequence))
    read.cigartuples = [(int(ops[i]), int(n)) for i, n in zip(starts, lengths, strict=True)]
    return read


def draw_long(rng, header, contig: str, size: int, copies, rule: SampleRule):
    """Long reads of a contig of this size, by start."""
    number = int(rule.depth * size / rule.read_length)
    starts = np.sort(rng.integers(-rule.read_length // 2, size - rule.read_length // 2, number))
    starts = np.sort(np.maximum(starts, 0))
    for i, start in enumerate(starts):
        end = min(size, int(start) + int(rng.normal(rule.read_length, rule.read_length / 6)))
        bases, ops = draw_read(rng, copies[rng.integers(2)], int(start), end, rule)
        yield aligned_segment(header, contig, f"{contig}_{i}", int(start), bases, ops, rng)


def draw_pairs(rng, header, contig: str, size: int, copies, rule: SampleRule) -> list[pysam.AlignedSegment]:
    """Proper pairs of reads of a contig of this size, by start."""
    reads = []
    number = int(rule.depth * size / rule.read_length / 2)
    for i, start in enumerate(rng.integers(0, size - rule.pairs, number).tolist()):
        copy, behind = copies[rng.integers(2)], start + rule.pairs
        ends = (start, start + rule.read_length), (behind - rule.read_length, behind)
        mates = [
            aligned_segment(header, contig, f"{contig}_{i}", first, *draw_read(rng, copy, first, last, rule), rng)
            for first, last in ends
        ]
        for mate, other, flag in zip(mates, mates[::-1], (99, 147), strict=True):
            mate.flag, mate.next_reference_name, mate.next_reference_start = flag, contig, other.reference_start
        reads += mates
    return sorted(reads, key=lambda read: read.reference_start)


def write_truth(path: Path, contigs, truth) -> None:
    """The variants as an indexed, phased VCF."""
    header = "##fileformat=VCFv4.2\n" + "".join(f"##contig=<ID={name},length={size}>\n" for name, size in contigs)
    header += '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    header += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tSAMPLE\n"
    with pysam.BGZFile(str(path), "wb") as out:
        out.write(header.encode())
        for contig, (pos, ref, alt, genotype) in truth:
            line = [contig, pos + 1, ".", ref.decode(), alt.decode(), ".", ".", ".", "GT", "{}|{}".format(*genotype)]
            out.write(("\t".join(map(str, line)) + "\n").encode())
    pysam.tabix_index(str(path), preset="vcf", force=True)


def make_reads(folder: Path, rule: SampleRule = SampleRule(), seed: int = 1) -> None:
    """Write ref.fa, reads.bam, truth.vcf.gz, their indexes, and confident.bed into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    header = pysam.AlignmentHeader.from_dict(
        {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": name, "LN": size} for name, size in rule.contigs]}
    )
    truth = []
    with (
        open(folder / "ref.fa", "w") as fasta,
        pysam.AlignmentFile(str(folder / "reads.bam"), "wb", header=header) as bam,
    ):
        for contig, size in rule.contigs:
            reference = rng.choice(BASES, size)
            text = reference.tobytes().decode()
            fasta.write(f">{contig}\n" + "".join(text[i : i + 60] + "\n" for i in range(0, size, 60)))
            variants = list(draw_variants(rng, reference, rule))
            truth += [(contig, variant) for variant in variants]
            copies = [apply_variants(reference, variants, copy) for copy in (0, 1)]
            draw = draw_pairs if rule.pairs else draw_long
            for read in draw(rng, header, contig, size, copies, rule):
                bam.write(read)
    pysam.index(str(folder / "reads.bam"))
    pysam.faidx(str(folder / "ref.fa"))
    write_truth(folder / "truth.vcf.gz", rule.contigs, truth)
    (folder / "confident.bed").write_text("".join(f"{contig}\t0\t{size}\n" for contig, size in rule.contigs))


def make_model(folder: Path, seed: int = 1) -> None:
    """Write pileup.pt and full_alignment.pt with seeded random weights."""
    from clair3.inference.checkpoint import save_model  # torch takes a second; reads alone do not need it
    from clair3.model import random_model

    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("pileup", "full_alignment"):
        save_model(random_model(kind, seed), folder / f"{kind}.pt")
