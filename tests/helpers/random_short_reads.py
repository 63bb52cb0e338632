"""Small random samples of short reads with variants, for the tests of realignment: reads as they are and as a BAM."""

import random
from dataclasses import dataclass
from pathlib import Path

import pysam
from realignment_reference import Read, merged, text

CONTIG = "chr1"
LENGTH = 12_000
PLACES = (60, 900, 5_050, 10_400, LENGTH - 300)
"""Where reads lie: at both ends of the contig, across the border of two chunks, and behind a gap of more than one."""


@dataclass
class Sample:
    """reads: in the order of the file; paths of BAM and FASTA; the reference in upper case."""

    bam: Path
    fasta: Path
    reference: str
    reads: list[Read]


def make_sample(seed: int, folder: Path) -> Sample:
    """Reads of two haplotypes around some places of a contig: errors, clips, skips, odd letters."""
    rng = random.Random(seed)
    reference = make_reference(rng)
    reads = []
    for place in rng.sample(PLACES, rng.randint(1, 3)):
        forms = [
            make_haplotype(rng, reference, place, place + 200, variants) for variants in (0, rng.choice([1, 1, 2, 4]))
        ]
        for _ in range(rng.choice([20, 60, 90])):
            if (read := make_read(rng, rng.choice(forms))) is not None:
                reads.append(read)
    masked = reference[:500] + reference[500:1100].lower() + reference[1100:]
    return write_sample(rng, folder, masked, reads)


def make_repeat_sample(seed: int, folder: Path) -> Sample:
    """Reads of 150 and 250 bases of 700 bases with short tandem repeats and places of variants 165 to 200 bases apart.

    Windows of realignment lie beside each other, and many reads over two of them. Some haplotypes are rare, so some
    alleles are shown by two or three reads, of which one may belong to the other window.
    """
    rng = random.Random(seed)
    reference = "".join(rng.choices("ACGT", k=LENGTH))
    places = [rng.randint(200, 250)]
    while places[-1] < 700:
        unit = "".join(rng.choices("ACGT", k=rng.randint(1, 4)))
        repeat = unit * rng.randint(1, 8 // len(unit) + 1)
        reference = reference[: places[-1] + 1] + repeat + reference[places[-1] + 1 + len(repeat) :]
        places.append(places[-1] + rng.randint(165, 200))
    forms = [make_haplotype(rng, reference, 100, 800, 0)]
    forms += [make_rare_haplotype(rng, reference, places) for _ in range(5)]
    drawn = [
        make_read(rng, rng.choices(forms, [9, 9, 1, 1, 1, 1])[0], (150, 250), errors=0.001, clips=0.1)
        for _ in range(75)
    ]
    reads = [read for read in drawn if read is not None]
    return write_sample(rng, folder, reference, reads)


def make_rare_haplotype(rng: random.Random, reference: str, places: list[int]) -> list:
    """Columns of [100, 800) with another insertion, deletion or SNP at some of the places."""
    columns = [(reference[pos], pos) for pos in range(100, 800)]
    for place in reversed(places):  # the last first: columns before stay where they are
        at = place - 100
        kind, length = rng.choice("=XIIDD"), rng.choice([1, 1, 2, 4, 12])
        if kind == "X":
            columns[at] = (rng.choice("ACGT"), columns[at][1])
        elif kind == "I":
            columns[at + 1 : at + 1] = [(letter, None) for letter in reference[place + 1 : place + 1 + length]]
        elif kind == "D":
            del columns[at + 1 : at + 1 + length]
    return columns


def make_rare_insertion_sample(seed: int, folder: Path) -> Sample:
    """Reads over two windows of realignment beside each other, each with a SNP, and an insertion of few reads.

    A read that ends just behind the insertion is clipped there, for no alignment by itself reaches those bases; it
    shows the insertion only when enough others, all of which start later, bring it into the graph of the window. Some
    of them lie in the next window for the larger part.
    """
    rng = random.Random(seed)
    reference = "".join(rng.choices("ACGT", k=LENGTH))
    here, at = 400, 400 + rng.randint(10, 25)
    there = at + rng.randint(173, 180)
    other = list(reference)
    for pos in (here, there):
        other[pos] = {"A": "C", "C": "G", "G": "T", "T": "A"}[reference[pos]]
    reads = []

    def plain(start: int, letters, end: int) -> Read:
        return Read(start, [(end - start, "M")], "".join(letters[start:end]), [40] * (end - start))

    for _ in range(10):
        start = rng.randint(here - 140, here - 20)
        reads.append(plain(start, rng.choice([reference, other]), start + 150))
    for letters in (reference, other) * 4:
        start = rng.randint(there - 100, there - 10)
        reads.append(plain(start, letters, start + 150))
    inserted = "".join(rng.choices("ACGT", k=rng.randint(4, 8)))
    start, rest = at - 120, rng.randint(2, 4)
    letters = reference[start:at] + inserted + reference[at : at + rest]
    reads += [plain(at + rng.randint(0, rest), letters, at + 150) for letters in (reference, other)]  # fit behind it
    clip = len(inserted) + rest
    reads.append(Read(start, [(120, "M"), (clip, "S")], letters, [40] * len(letters)))
    for kind in rng.choice(["own", "own own", "own next", "next next"]).split():
        start = at - rng.randint(20, 24)
        end = at + (60 if kind == "own" else 225)
        cigar = [(at - start, "M"), (len(inserted), "I"), (end - at, "M")]
        letters = reference[start:at] + inserted + reference[at:end]
        reads.append(Read(start, cigar, letters, [40] * len(letters)))
    return write_sample(rng, folder, reference, reads)


def make_late_insertion_sample(seed: int, folder: Path) -> Sample:
    """More than a thousand reads over a SNP, and an insertion of two reads: one of the first thousand, which is clipped
    there, and one that starts behind all others. Only both together bring the insertion into the graph."""
    rng = random.Random(seed)
    reference = "".join(rng.choices("ACGT", k=LENGTH))
    here, at = 400, 400 + rng.randint(10, 25)
    other = reference[:here] + {"A": "C", "C": "G", "G": "T", "T": "A"}[reference[here]] + reference[here + 1 :]
    inserted = "".join(rng.choices("ACGT", k=rng.randint(4, 8)))
    shown = reference[:at] + inserted + reference[at:]
    reads = []
    for start in rng.choices(range(here - 140, here - 20), k=1_100):
        letters = rng.choice([reference, other])[start : start + 150]
        reads.append(Read(start, [(150, "M")], letters, [40] * 150))
    start, end = at - 120, at + len(inserted) + 85
    reads.append(Read(start, [(120, "M"), (end - at, "S")], shown[start:end], [40] * (end - start)))
    start, end = at - 15, at + 60
    cigar = [(15, "M"), (len(inserted), "I"), (60, "M")]
    reads.append(Read(start, cigar, shown[start : end + len(inserted)], [40] * (75 + len(inserted))))
    return write_sample(rng, folder, reference, reads)


def write_sample(rng: random.Random, folder: Path, letters: str, reads: list[Read]) -> Sample:
    """Write the files of a sample whose reads are in any order."""
    reads.sort(key=lambda read: read.start)
    folder.mkdir(exist_ok=True)
    fasta, bam = folder / "ref.fa", folder / "reads.bam"
    fasta.write_text(f">{CONTIG}\n{letters}\n")
    pysam.faidx(str(fasta))
    write_bam(rng, bam, reads)
    return Sample(bam, fasta, letters.upper(), reads)


def make_reference(rng: random.Random) -> str:
    bases = rng.choices("ACGT", k=LENGTH)
    for place in PLACES:  # a short repeat, an odd letter, a longer sequence that comes twice
        unit = rng.choices("ACGT", k=rng.randint(1, 5))
        at = place + rng.randrange(200)
        bases[at : at + 4 * len(unit)] = unit * 4
        if rng.random() < 0.3:
            bases[place + rng.randrange(200)] = rng.choice("NR")
        if rng.random() < 0.3:
            bases[place + 100 : place + 130] = bases[place + 40 : place + 70]
    return "".join(bases)[:LENGTH]


def make_haplotype(rng: random.Random, reference: str, start: int, end: int, variants: int) -> list:
    """Columns (letter, position on the reference or None) of [start, end) with some variants."""
    columns = [(reference[pos], pos) for pos in range(start, min(end, LENGTH))]
    for _ in range(variants):
        at = rng.randrange(5, len(columns) - 15)
        kind = rng.choice("XIDD")
        if kind == "X":
            columns[at] = (rng.choice("ACGT"), columns[at][1])
        elif kind == "I":
            columns[at:at] = [(letter, None) for letter in rng.choices("ACGT", k=rng.choice([1, 3, 8, 20]))]
        else:
            del columns[at : at + rng.choice([1, 2, 10])]
    return columns


def make_read(rng: random.Random, columns: list, lengths=(25, 32, 33, 60, 80), errors=0.01, clips=0.4) -> Read | None:
    """A read of a haplotype, aligned as it came about or clipped behind an indel."""
    at = rng.randrange(len(columns) - 20)
    part = columns[at : at + rng.choice(lengths)]
    while part and part[0][1] is None:
        part = part[1:]
    while part and part[-1][1] is None:
        part = part[:-1]
    if len(part) < 10:
        return None
    letters = [rng.choice("ACGTN") if rng.random() < errors else letter for letter, _ in part]
    letters = [letter if letter in "ACGTN" else "A" for letter in letters]
    start = last = part[0][1]
    cigar = [(1, "M")]
    for _, pos in part[1:]:
        if pos is None:
            cigar.append((1, "I"))
        else:
            cigar += [(pos - last - 1, "D"), (1, "M")]
            last = pos
    cigar = merged(cigar)
    if rng.random() < clips:
        cigar = clipped(rng, cigar)
    elif rng.random() < 1.5 * clips:  # on the left
        start += sum(length for length, op in cigar if op != "I")
        cigar = clipped(rng, cigar[::-1])[::-1]
        start -= cigar[-1][0]
    if rng.random() < 0.05:
        cigar = [(length, rng.choice("=XM") if op == "M" else op) for length, op in cigar]
    if rng.random() < 0.05:
        cigar = [*cigar, (7, "H")]
    if rng.random() < 0.03 and cigar[0][1] == "M" and cigar[0][0] > 4:
        cigar = [(2, "M"), (rng.choice([30, 4_000]), "N"), (cigar[0][0] - 2, "M"), *cigar[1:]]
    quality = rng.choices([40, 20, 19, 15, 14, 2], [300, 50, 2, 2, 1, 1], k=len(letters))
    return Read(
        start, cigar, "".join(letters), quality, rng.choices([60, 20, 19, 14, 13, 5, 4], [20, 3, 1, 1, 1, 1, 1])[0]
    )


def clipped(rng: random.Random, cigar: list) -> list:
    """The alignment up to its first indel, or to some place; the other bases as a clip."""
    kept = [(length, op) for length, op in cigar if op == "M"][:1]
    rest = sum(length for length, op in cigar if op != "D") - kept[0][0]
    if not rest and kept[0][0] > 12:
        rest = rng.randint(1, kept[0][0] // 2)
        kept = [(kept[0][0] - rest, "M")]
    return merged([*kept, (rest, "S")])


def write_bam(rng: random.Random, path: Path, reads: list[Read]) -> None:
    header = pysam.AlignmentHeader.from_dict(
        {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": CONTIG, "LN": LENGTH}]}
    )
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for i, read in enumerate(reads):
            record = pysam.AlignedSegment(header)
            record.query_name, record.flag = f"read{i // 2}", rng.choice([0, 16, 99, 147, 256, 512, 1024, 2048])
            record.reference_id, record.reference_start, record.mapping_quality = 0, read.start, read.mapq
            record.cigarstring, record.query_sequence = text(read.cigar), read.letters
            record.query_qualities = read.quality
            record.next_reference_id, record.next_reference_start = 0, rng.randrange(LENGTH)
            record.template_length = 77
            if rng.random() < 0.3:
                record.set_tag("HP", rng.choice([1, 2, 31]))
            file.write(record)
    pysam.index(str(path))
