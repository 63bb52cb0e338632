"""Simulated genomes and reads: how tests make them, and what each of them must be (docs/simulate.md)."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pysam
from program import clair3

MATCH, INSERTION, DELETION, SOFT, HARD = 0, 1, 2, 4, 5
UNCONTAMINATED = {"contamination": 0.0, "mismapped": 0.0, "adapters": 0.0}


def make_genome(folder: Path, contigs: str, *options) -> Path:
    """A folder with ref.fa, truth.vcf.gz and confident.bed of a little genome."""
    done = clair3("simulate", "genome", "--contigs", contigs, *options, "--output", folder)
    assert done.returncode == 0, done.stderr
    return folder


def spelled_copies(truth: Path, ref: Path) -> dict[tuple[str, int], str]:
    """The letters of both copies, spelled by a simple reading of the truth: (contig, copy)."""
    spelled = {}
    with pysam.FastaFile(str(ref)) as fasta, pysam.VariantFile(str(truth)) as truth:
        for contig in fasta.references:
            text = fasta.fetch(contig).upper()
            for copy in (0, 1):
                done, pieces = 0, []
                for record in truth.fetch(contig):
                    assert record.samples[0].phased and text[record.start : record.stop] == record.ref
                    number = record.samples[0]["GT"][copy]
                    if number:
                        pieces += [text[done : record.start], record.alleles[number]]
                        done = record.stop
                spelled[contig, copy] = "".join(pieces) + text[done:]
    return spelled


def aligned(bam: Path) -> Iterator[pysam.AlignedSegment]:
    with pysam.AlignmentFile(str(bam)) as file:
        yield from file


def check_alignments(bam: Path, ref: Path) -> None:
    """Sorted, complete, with true NM; indels cannot move left, ends are matches."""
    pysam.quickcheck(str(bam))
    fasta = pysam.FastaFile(str(ref))
    texts = {name: fasta.fetch(name).upper() for name in fasta.references}
    before = (0, 0)
    for read in aligned(bam):
        assert (read.reference_id, read.reference_start) >= before
        before = read.reference_id, read.reference_start
        inner = [(kind, size) for kind, size in read.cigartuples if kind not in (SOFT, HARD)]
        assert inner[0][0] == inner[-1][0] == MATCH
        assert all(one[0] != other[0] for one, other in pairwise(inner))
        text, letters = texts[read.reference_name], read.query_sequence
        pos, base, differing = read.reference_start, read.query_alignment_start, 0
        for i, (kind, size) in enumerate(inner):
            side, at = (letters, base) if kind == INSERTION else (text, pos)
            if kind != MATCH and inner[i - 1][0] == MATCH:
                assert side[at - 1] != side[at + size - 1], (read.query_name, read.cigarstring)
            if kind == MATCH:
                pairs = zip(text[pos : pos + size], letters[base : base + size], strict=True)
                differing += sum(one != other for one, other in pairs)
            else:
                differing += size
            pos += size * (kind != INSERTION)
            base += size * (kind != DELETION)
        assert read.get_tag("NM") == differing
