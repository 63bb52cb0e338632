"""Contigs of odd alignments, to hold WhatsHap's solver against its command."""

import gzip
import random
from pathlib import Path

import pysam

from clair3.io import vcf


def records(path: Path) -> list[str]:
    text = path.read_bytes()
    text = gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text
    return [line for line in text.decode().splitlines() if not line.startswith("#")]


# --- the runs of v2.0.2 ------------------------------------------------------------------------------------------


CIGAR_CODES = {letter: code for code, letter in enumerate("MIDNSHP=X")}


class OddContig:
    """A contig with SNPs and reads as odd as the command takes them, from a seed."""

    def __init__(self, name: str, seed: int):
        self.name, self.random = name, random.Random(seed)
        length = self.random.randint(60, 500)
        self.letters = "".join(self.random.choices("ACGTacgtNR", [20, 20, 20, 20, 4, 4, 4, 4, 1, 1], k=length))
        places = {*self.random.sample(range(length), self.random.randint(0, 50)), 0, length - 1}
        places |= {pos + 1 for pos in self.random.sample(sorted(places), len(places) // 4) if pos + 1 < length}
        places = self.random.sample(sorted(places), self.random.randint(len(places) // 4, len(places)))
        self.snps = {pos: self.random.choice([c for c in "ACGT" if c != self.letters[pos].upper()]) for pos in places}
        self.snps = dict(sorted(self.snps.items()))
        sides = [{pos: self.random.random() < 0.5 for pos in self.snps}]
        self.sides = [sides[0], {pos: not alt for pos, alt in sides[0].items()}]
        error = self.random.choice([0.0, 0.03, 0.15])
        self.reads = [self.read(number, error) for number in range(self.random.choice([0, 3, 10, 25, 60]))]

    def rows(self) -> list[str]:
        values = "0/1:17:22:3,9:0.4091"
        return [
            f"{self.name}\t{pos + 1}\t.\t{self.letters[pos].upper()}\t{alt}\t{self.random.choice(['17.71', '9.50'])}"
            f"\tPASS\tP\tGT:GQ:DP:AD:AF\t{values if self.random.random() < 0.9 else values.replace('0/1', '1/0')}"
            for pos, alt in self.snps.items()
        ]

    def read(self, number: int, error: float) -> dict:
        pick, length = self.random, len(self.letters)
        start = at = pick.choice([0, pick.randrange(length), pick.randrange(length)])
        end = pick.choice([length, min(length, start + pick.randint(1, 300))])
        side, ops, seq = pick.choice(self.sides), [], ""
        if pick.random() < 0.3:
            clip = pick.choice("SH")
            ops.append((clip, pick.randint(1, 15)))
            seq += "".join(pick.choices("ACGT", k=ops[-1][1] if clip == "S" else 0))
        while at < end:
            n = min(end - at, pick.randint(1, pick.choice([3, 12, 80])))
            op = pick.choices("MXIDN", [12, 2, 2, 2, 1])[0]
            if op == "N" and not 15 < at < at + n < length - 15:
                op = "M"
            if op == "I":
                seq += "".join(pick.choices("ACGT", k=n))
            elif op in "MX":
                for pos in range(at, at + n):
                    letter = self.snps[pos] if side.get(pos) else self.letters[pos].upper()
                    seq += pick.choice("ACGTN") if pick.random() < error else letter
            if op == "X" and pick.random() < 0.5:
                op = "="
            ops.append((op, n))
            at += n if op != "I" else 0
            if op == "I" and pick.random() < 0.3:
                break
        if pick.random() < 0.3 or not seq:  # the command breaks off at a used read without bases
            ops.append(("S", pick.randint(1, 15)))
            seq += "".join(pick.choices("ACGT", k=ops[-1][1]))
        flag = pick.choices((0, 16, 99, 147, 256, 1024, 2048, 512, 4), [50, 20, 4, 4, 2, 2, 2, 2, 2])[0]
        tags = [("BX", "A1"), ("HP", 2), ("PS", 7)] if pick.random() < 0.1 else []
        name = pick.choice([f"r{number}", f"R{number % 7}", f"r{number}/~{'z' * (number % 5)}"])
        hidden = bool(flag & 0x504) and pick.random() < 0.5
        mapq = pick.choices((0, 19, 20, 21, 60, 255), [1, 2, 2, 2, 20, 1])[0]
        return {
            "name": name,
            "flag": flag,
            "pos": start,
            "mapq": mapq,
            "ops": ops,
            "seq": "" if hidden else seq,
            "tags": tags,
        }

    def segments(self, header: pysam.AlignmentHeader):
        for read in sorted(self.reads, key=lambda read: read["pos"]):
            segment = pysam.AlignedSegment(header)
            segment.query_name, segment.flag = read["name"], read["flag"]
            segment.reference_name, segment.reference_start = self.name, read["pos"]
            segment.mapping_quality, segment.query_sequence = read["mapq"], read["seq"] or None
            segment.cigartuples = [(CIGAR_CODES[op], n) for op, n in read["ops"]]
            if read["seq"] and read["mapq"] != 21:
                segment.query_qualities = pysam.qualitystring_to_array("5" * len(read["seq"]))
            segment.set_tags(read["tags"])
            yield segment


def write_inputs(folder: Path, contigs: list[OddContig]) -> tuple[Path, Path, str]:
    """reads.bam, ref.fa and the text of a VCF header for these contigs."""
    listed = [(contig.name, len(contig.letters)) for contig in contigs]
    header = pysam.AlignmentHeader.from_references(*zip(*listed, strict=True))
    bam, reference = folder / "reads.bam", folder / "ref.fa"
    with pysam.AlignmentFile(str(bam), "wb", header=header) as file:
        for contig in contigs:
            for segment in contig.segments(header):
                file.write(segment)
    pysam.index(str(bam))
    reference.write_text("".join(f">{contig.name}\n{contig.letters}\n" for contig in contigs))
    pysam.faidx(str(reference))
    return bam, reference, vcf.header("SAMPLE", str(reference), listed, None)
