"""Training examples: the candidates that become examples, with their labels (spec/training.md B.4).

The tensors are those of calling; only the labels are added.
"""

import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pysam

from clair3 import core
from clair3.config import CandidateOptions, ReadFeatureOptions
from clair3.core.phasing import Haplotypes
from clair3.errors import check_range
from clair3.features.chunks import Chunk
from clair3.features.full_alignment import iter_full_alignment, iter_realigned
from clair3.features.pileup import iter_pileup
from clair3.genotype import labels
from clair3.io.bed import is_within, merge
from clair3.records import BASES, PhasedSnps, TensorBatch, TrainingExamples
from clair3.tensor_shapes import FLANK, FULL_ALIGNMENT_CHANNELS, WINDOW
from clair3.training.data.truth import TruthSet

BLOCK_SIZE = 10_000
"""Candidates whose reads are held at a time; deep ones draw rows from a generator per block (spec/features.md C.6)."""

HAPLOTYPE = FULL_ALIGNMENT_CHANNELS.index("haplotype")
PHASED = (30, 90)
"""Values of that channel in rows of either haplotype; rows of neither have 60 (spec/features.md C.7)."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of one contig that have no labels yet.

    pos       (n,) int64  0-based
    windows   n texts: the WINDOW reference bases around each, upper case, A beyond the ends of the contig
    tensors   (n, 33, 18) int32, or (n, depth, 33, 8 or 9) int8
    alt_info  n texts, as SupportBatch.text writes them
    """

    contig: str
    pos: np.ndarray
    windows: list[str]
    tensors: np.ndarray
    alt_info: list[str]

    def __len__(self):
        return len(self.pos)

    @classmethod
    def from_batch(cls, batch: TensorBatch, fasta: pysam.FastaFile) -> "Candidates":
        """Make the candidates of a batch, with the reference bases around them."""
        windows = [fetch_window(fasta, batch.contig, pos) for pos in batch.pos.tolist()]
        alt_info = [batch.support.text(i, chr(ref)) for i, ref in enumerate(batch.ref.tolist())]
        return cls(batch.contig, batch.pos, windows, batch.tensors, alt_info)

    def select(self, kept: np.ndarray) -> "Candidates":
        """Select the candidates of a mask, (n,) bool."""
        rows = np.flatnonzero(kept).tolist()
        windows, alt_info = [self.windows[i] for i in rows], [self.alt_info[i] for i in rows]
        return Candidates(self.contig, self.pos[kept], windows, self.tensors[kept], alt_info)

    def centres(self) -> np.ndarray:
        """(n,) uint8: the reference letter at each candidate."""
        return np.frombuffer("".join(window[FLANK] for window in self.windows).encode("ascii", "replace"), np.uint8)


def fetch_window(fasta: pysam.FastaFile, contig: str, pos: int) -> str:
    """Fetch the bases around a 0-based position, upper case; A where the contig has none."""
    bases = fasta.fetch(contig, max(0, pos - FLANK), pos + FLANK + 1).upper()
    return ("A" * max(0, FLANK - pos) + bases).ljust(WINDOW, "A")


def iter_pileup_candidates(
    source: core.Source, fasta: pysam.FastaFile, chunks: Sequence[Chunk], rule: CandidateOptions
) -> Iterator[Candidates]:
    """Yield the candidates of chunks with pileup tensors, not scaled down however deep: that is done before the network
    only.

    Raises CoreError as iter_pileup does.
    """
    for chunk in chunks:
        for batch in iter_pileup(source, chunk, rule):
            yield Candidates.from_batch(batch, fasta)


def iter_full_alignment_candidates(
    source: core.Source,
    fasta: pysam.FastaFile,
    contig: str,
    pos: np.ndarray,
    rule: ReadFeatureOptions,
    snps: PhasedSnps | None,
    unphased_copies: bool = False,
) -> Iterator[Candidates]:
    """Yield the candidates at these positions, (n,) int64, 0-based, ascending, distinct, with full-alignment tensors.

    unphased_copies  candidates with a phased read in a row come a second time, as they look when no read is phased

    Raises CoreError as iter_full_alignment does.
    """
    plain = replace(rule, haplotype_tags=False)
    for start in range(0, len(pos), BLOCK_SIZE):
        block = pos[start : start + BLOCK_SIZE]
        batches = iter_full_alignment(source, contig, block, rule, snps)
        if not unphased_copies or (snps is None and not rule.haplotype_tags):
            yield from (Candidates.from_batch(batch, fasta) for batch in batches)
            continue
        # the same draw of rows in the order of reads without haplotypes, which is what calling gives unphased reads
        for batch, copy in zip(batches, iter_full_alignment(source, contig, block, plain, None), strict=True):
            yield Candidates.from_batch(batch, fasta)
            phased = np.isin(batch.tensors[..., HAPLOTYPE], PHASED).any(axis=(1, 2))
            yield Candidates.from_batch(copy, fasta).select(phased)


def iter_realigned_candidates(
    source: core.Source,
    fasta: pysam.FastaFile,
    contig: str,
    pos: np.ndarray,
    rule: ReadFeatureOptions,
    haplotypes: Haplotypes | None,
    allowed: np.ndarray,
    unphased_copies: bool = False,
) -> Iterator[Candidates]:
    """Yield the candidates that short reads show around these positions, (n,) int64, 0-based, ascending, once
    realigned.

    haplotypes       of the reads; None: those of their HP tags, if the rule wants them
    allowed          (k, 2) int64, sorted, disjoint [start, end): where candidates may lie
    unphased_copies  as in iter_full_alignment_candidates, but the copies come after all others

    Raises CoreError as iter_realigned does.
    """
    phased: list[int] = []
    for batch in iter_realigned(source, contig, pos, rule, haplotypes):
        candidates = Candidates.from_batch(batch, fasta).select(is_within(batch.pos, allowed))
        phased += candidates.pos[np.isin(candidates.tensors[..., HAPLOTYPE], PHASED).any(axis=(1, 2))].tolist()
        yield candidates
    if unphased_copies and phased:
        copied = merge(np.array(phased)[:, None] + [0, 1])
        for batch in iter_realigned(source, contig, pos, replace(rule, haplotype_tags=False)):
            yield Candidates.from_batch(batch, fasta).select(is_within(batch.pos, copied))


@dataclass
class Tally:
    """Counts of the candidates: labelled as variants or others, or left out."""

    variants: int = 0
    others: int = 0
    unseen: int = 0
    unknown: int = 0

    def __str__(self):
        left_out = f"{self.unseen} variants that no read shows and {self.unknown} of unknown truth are left out"
        return f"{self.variants} variants and {self.others} other candidates; {left_out}"


def label_candidates(candidates: Candidates, truth: TruthSet, tally: Tally) -> TrainingExamples:
    """Label the candidates that make examples, in order (spec/training.md B.4).

    Left out are those at other reference letters than A, C, G and T, at positions of unknown truth, and at variants
    that their reads do not show; all the others count as reference. tally: counts, added to.
    """
    letters = candidates.centres()
    known = ~np.isin(candidates.pos, truth.missing)
    kept = known & np.isin(letters, list(BASES.encode()))
    classes = np.zeros((len(candidates), len(labels.HEADS)), np.int64)
    classes[kept] = labels.reference_classes(letters[kept])
    for i in np.flatnonzero(kept).tolist():
        variant = truth.variants.get(int(candidates.pos[i]))
        if variant is None:
            tally.others += 1
        elif variant.is_seen(candidates.alt_info[i]):
            tally.variants += 1
            classes[i] = labels.variant_classes(variant.ref, variant.alts, variant.genotype)
        else:
            tally.unseen += 1
            kept[i] = False
    tally.unknown += int((~known).sum())
    chosen = candidates.select(kept)
    places = zip(chosen.pos.tolist(), chosen.windows, strict=True)
    return TrainingExamples(
        chosen.tensors,
        labels.one_hot(classes[kept]),
        [f"{chosen.contig}:{pos + 1}:{window}".encode() for pos, window in places],
        [text.encode() for text in chosen.alt_info],
    )


COPIES = string.ascii_lowercase + string.ascii_uppercase
"""A further tensor of a position sorts as if its contig began with the next of these; more are not kept (A.7.4)."""


@dataclass
class ExamplePicker:
    """Picks the examples that enter a bin, and their order (spec/training.md A.7.4, A.7.5).

    ratio       most examples without a variant, as a multiple of those with one; the ones to keep are drawn
    shuffle     random order, else by the text of contig and position
    duplicates  further tensors of a position are kept; else the first only
    seed        of the draw and the order
    Raises ConfigError when ratio is negative.
    """

    ratio: float | None = None
    shuffle: bool = False
    duplicates: bool = False
    seed: int = 0
    seen: Counter = field(default_factory=Counter)

    def __post_init__(self):
        if self.ratio is not None:
            check_range("maximum_non_variant_ratio", self.ratio, 0)
        check_range("seed", self.seed, 0)
        self.random = np.random.default_rng(self.seed)

    def pick(self, parts: Sequence[TrainingExamples]) -> np.ndarray:
        """Pick examples by their numbers, (k,) int64, counted through the parts. Earlier calls count: positions are
        remembered."""
        keys = [self._key(position) for part in parts for position in part.position]
        rows = np.array([i for i, key in enumerate(keys) if key], np.int64)
        if not len(rows):
            return rows
        variant = np.concatenate([labels.is_variant(part.label) for part in parts])[rows]
        variants, others = int(variant.sum()), int((~variant).sum())
        if self.ratio is not None and others > self.ratio * variants:
            rows = rows[variant | (self.random.random(len(rows)) < self.ratio * variants / others)]
        if self.shuffle:
            return self.random.permutation(rows)
        return np.array(sorted(rows.tolist(), key=keys.__getitem__), np.int64)

    def _key(self, position: bytes) -> bytes | None:
        """Return the text by which an example is sorted; None for a copy that is not kept."""
        place = position.rpartition(b":")[0]
        before = self.seen[place]
        self.seen[place] += 1
        if before == 0:
            return place
        if not self.duplicates or before > len(COPIES):
            return None
        return COPIES[before - 1].encode() + place


def gather_examples(parts: Sequence[TrainingExamples], rows: np.ndarray) -> TrainingExamples:
    """Gather examples by their numbers, (k,) int64, counted through the parts; at least one part."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    which = np.searchsorted(starts, rows, side="right") - 1
    places = [(parts[part], row) for part, row in zip(which.tolist(), (rows - starts[which]).tolist(), strict=True)]
    return TrainingExamples(
        np.stack([part.position_matrix[row] for part, row in places]),
        np.stack([part.label[row] for part, row in places]),
        [part.position[row] for part, row in places],
        [part.alt_info[row] for part, row in places],
    )
