"""Repeat a contig: `python scripts/bench/tile.py reads.bam ref.fa chr20 10 out` (docs/benchmarks.md).

Writes out/reads.bam and out/ref.fa, in which one contig is so many copies of the given one, each with its own reads: a
larger input of the same depth and kind, to tell what a further Mb costs.
"""

import sys
from pathlib import Path

import pysam


def tile(bam: Path, fasta: Path, contig: str, copies: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with pysam.FastaFile(str(fasta)) as reference:
        sequence = reference.fetch(contig)
    (folder / "ref.fa").write_text(f">{contig}\n{sequence * copies}\n")
    pysam.faidx(str(folder / "ref.fa"))
    with pysam.AlignmentFile(str(bam)) as given:
        header = given.header.to_dict()
        header["SQ"] = [{"SN": contig, "LN": len(sequence) * copies}]
        with pysam.AlignmentFile(str(folder / "reads.bam"), "wb", header=header) as written:
            for copy in range(copies):
                for read in given.fetch(contig):
                    start = copy * len(sequence) + 1
                    near = read.next_reference_id == read.reference_id
                    moved = {
                        "name": f"{read.query_name}.{copy}",
                        "ref_pos": str(read.reference_start + start),
                        "next_ref_name": "=" if near else "*",
                        "next_ref_pos": str(read.next_reference_start + start if near else 0),
                    }
                    moved = pysam.AlignedSegment.from_dict(read.to_dict() | moved, written.header)
                    written.write(moved)
    pysam.index(str(folder / "reads.bam"))


if __name__ == "__main__":
    tile(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
