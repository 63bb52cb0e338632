"""A genome of a few hundred bases with reads, written where a test wants it."""

from pathlib import Path

import pysam

LENGTHS = {"chr1": 400, "chr2": 300, "scaffold": 200}
READ = 50


def write_fasta(path: Path, lengths: dict[str, int] = LENGTHS) -> Path:
    """An indexed FASTA, bgzip with a .gzi when the name ends in .gz."""
    text = "".join(f">{name} made here\n" + fold("ACGTTGCA" * length, length) for name, length in lengths.items())
    if path.suffix == ".gz":
        with pysam.BGZFile(str(path), "w") as file:
            file.write(text.encode())
    else:
        path.write_text(text)
    pysam.faidx(str(path))
    return path


def fold(bases: str, length: int, width: int = 60) -> str:
    return "".join(bases[start : min(start + width, length)] + "\n" for start in range(0, length, width))


def write_reads(
    path: Path,
    places: list[tuple[str, int]],
    lengths: dict[str, int] = LENGTHS,
    fasta: Path | None = None,
    order: str | None = "coordinate",
    index: bool = True,
) -> Path:
    """A BAM, or a CRAM against fasta, with a read of READ bases at each (contig, 0-based position)."""
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": name, "LN": length} for name, length in lengths.items()]}
    if order:
        header["HD"]["SO"] = order
    names = list(lengths)
    mode = "wc" if path.suffix == ".cram" else "wb"
    with pysam.AlignmentFile(str(path), mode, header=header, reference_filename=fasta and str(fasta)) as file:
        for number, (contig, pos) in enumerate(places):
            read = pysam.AlignedSegment(file.header)
            read.query_name, read.reference_id, read.reference_start = f"r{number}", names.index(contig), pos
            read.mapping_quality, read.cigarstring = 60, f"{READ}M"
            read.query_sequence = ("ACGTTGCA" * READ)[pos % 8 :][:READ]
            file.write(read)
    if index:
        pysam.index(str(path))
    return path
