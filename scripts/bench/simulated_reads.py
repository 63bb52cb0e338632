"""How much simulated reads look like real ones: rates, runs, candidates, qualities, MAPQ of BAM files side by side.

    python scripts/bench/simulated_reads.py REF real.bam simulated.bam ...

Variants are left out: what a quarter of the reads of a file agree on. One row a figure, one column a file.
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysam

if __package__ in (None, ""):  # started as `python scripts/bench/simulated_reads.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from clair3.core.simulate import CHANGE, RUN
from clair3.simulate.error_counts import Columns, ErrorCounter, Runs, find_consensus, iter_batches, make_columns
from clair3.simulate.genome import read_contigs

BATCH = 8_000_000
RUN_GROUPS = ((1, 2), (2, 4), (4, 6), (6, 8), (8, 11), (11, 15))
QUALITIES = (0, 10, 20, 30, 40, 100)
FRACTIONS = (0.08, 0.15, 0.25)
LEAST_DEPTH = 8
COUNTED = 5
"""MAPQ from which reads make candidates, as in the caller."""


def usable(read: pysam.AlignedSegment) -> bool:
    wrong = read.is_unmapped or read.is_secondary or read.is_supplementary or read.is_duplicate or read.is_qcfail
    return not wrong and read.mapping_quality >= COUNTED and bool(read.query_sequence)


def figures(bam: Path, fasta: Path) -> dict[str, float]:
    """The figures of a file by name."""
    sums: dict[str, float] = {}

    def add(name: str, number: float, of: float) -> None:
        seen = sums.setdefault(name, [0.0, 0.0])
        seen[0] += number
        seen[1] += of

    with pysam.AlignmentFile(str(bam)) as file:
        names = tuple(name for name in file.references if any(True for _ in file.fetch(name)))
        for _, contig, codes in read_contigs(fasta, names):
            for read in file.fetch(contig.name):
                if not read.is_secondary and not read.is_supplementary and not read.is_unmapped:
                    for name, low, high in (("0", 0, 1), ("1-19", 1, 20), ("20-59", 20, 60), ("60", 60, 255)):
                        add(f"MAPQ {name}, % of reads", 100 * (low <= read.mapping_quality < high), 1)
                    clips = sum(size for kind, size in read.cigartuples if kind == 4)
                    add("more than 20 bases clipped, % of reads", 100 * (clips > 20), 1)
                    add("bases clipped, %", 100 * clips, read.query_length)
            for batch in iter_batches(filter(usable, file.fetch(contig.name)), BATCH):
                of_batch(make_columns(batch, codes, str(bam)), add)
    return {name: number / max(of, 1) for name, (number, of) in sums.items()}


def of_batch(c: Columns, add) -> None:
    counter, runs = ErrorCounter(), Runs.find(c.codes)
    run, change = counter.run_changes(c, runs)
    out = find_consensus(c, runs, run, change) | (c.codes > 3)
    used = ~out[c.ref]
    wrong = used & (c.seq[c.base] != c.codes[c.ref])
    gaps = ~out[c.gap_ref] & (c.gap_length <= 50)
    for strand, name in ((False, "forward"), (True, "reverse")):
        here = c.reverse[c.read] == strand
        bases = (used & here).sum() / 1000
        add(f"mismatches per kb, {name}", (wrong & here).sum(), bases)
        gap = gaps & (c.reverse[c.gap_read] == strand)
        for kind, word in ((1, "insertions"), (2, "deletions")):
            add(f"{word} per kb, {name}", (gap & (c.gap_kind == kind)).sum(), bases)
    counter.add(c, out.copy(), False)
    changes = counter.counts.changes
    changes = changes[: RUN + 1] + changes[RUN + 1 :]
    for low, high in RUN_GROUPS:
        rows = changes[low:high].sum(axis=0)
        label = f"runs of {low}" + (f"-{high - 1}" if high > low + 1 else "")
        add(f"{label}: shorter, %", 100 * rows[:CHANGE].sum(), rows.sum())
        add(f"{label}: longer, %", 100 * rows[CHANGE + 1 :].sum(), rows.sum())
    quality = c.quality[c.base].astype(int)
    for name, of in (("correct", used & ~wrong), ("wrong", wrong)):
        histogram = np.bincount(quality[of], minlength=256)
        for low, high in pairwise(QUALITIES):
            add(f"quality {low}-{high - 1} of {name} bases, %", 100 * histogram[low:high].sum(), histogram.sum())
    candidates(c, out, wrong, gaps, add)


def candidates(c: Columns, out: np.ndarray, wrong: np.ndarray, gaps: np.ndarray, add) -> None:
    """Sites that are no variants and look like ones, by the largest share of the reads that differ alike."""
    n = len(c.codes)
    depth = np.bincount(c.ref, minlength=n)
    deleted = c.gap_kind == 2
    for position, size in zip(c.gap_ref[deleted], c.gap_length[deleted], strict=True):
        depth[position : position + size] += 1
    most = np.zeros(n)
    for base in range(4):
        most = np.maximum(most, np.bincount(c.ref[wrong & (c.seq[c.base] == base)], minlength=n))
    indels = np.bincount(np.maximum(c.gap_ref[gaps] - 1, 0), minlength=n)
    looked = ~out & (depth >= LEAST_DEPTH)
    per_kb = looked.sum() / 1000
    for name, count in (("SNP", most), ("indel", indels)):
        fraction = np.where(looked, count / np.maximum(depth, 1), 0)
        for low, high in zip(FRACTIONS, (*FRACTIONS[1:], 1.01), strict=True):
            hit = (fraction >= low) & (fraction < high) & (count >= 2)
            add(f"{name} candidates per kb with a share of {low:g}" + (f" to {high:g}" if high < 1 else " or more"),
                hit.sum(), per_kb)  # fmt: skip
    add("depth", depth[looked].sum(), looked.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ref", type=Path)
    parser.add_argument("bam", type=Path, nargs="+")
    args = parser.parse_args()
    columns = [figures(bam, args.ref) for bam in args.bam]
    print("figure", *(bam.stem for bam in args.bam), sep="\t")
    for name in columns[0]:
        print(name, *(f"{column.get(name, 0):.3g}" for column in columns), sep="\t")


if __name__ == "__main__":
    main()
