"""Letters of sequences: the four bases and the IUPAC codes (spec/calling.md 1.2, 3)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from clair3.errors import InputError

BASES = "ACGT"

IUPAC_TO_BASE = dict(zip("ACGTURYSWKMBDHVN", "ACGTTACCAGACAAAA", strict=True))
"""The base that a code of the reference counts as."""

_NO_BASE = 255
_BASE_INDEX = np.full(256, _NO_BASE, np.uint8)
for _code, _base in IUPAC_TO_BASE.items():
    _BASE_INDEX[ord(_code)] = BASES.index(_base)

_IUPAC = re.compile("[^ACGTNacgtn]")


def base_index(letters: np.ndarray) -> np.ndarray:
    """Index into BASES of the base that each nucleotide code counts as.

    letters  (n,)  uint8  ASCII, upper case
    returns  (n,)  uint8  0..3
    Raises InputError when a letter is not an upper-case nucleotide code.
    """
    index = _BASE_INDEX[letters]
    if (index == _NO_BASE).any():
        letter = chr(letters[index == _NO_BASE][0])
        raise InputError(f"reference letter {letter!r}: expected one of {''.join(IUPAC_TO_BASE)}")
    return index


def agree(ref: str, letters: str) -> bool:
    """Whether a REF is what the reference has there: as long, and equal where both have A, C, G or T; upper case."""
    if ref == letters or len(ref) != len(letters):
        return ref == letters
    return all(a == b for a, b in zip(ref, letters, strict=True) if a in BASES and b in BASES)


def iupac_to_n(sequence: str) -> str:
    """Replace every letter but A, C, G, T and N by N; the case of the others stays (spec/calling.md 3)."""
    return _IUPAC.sub("N", sequence)


def haploid_likelihoods(diploid: Sequence[int]) -> list[int]:
    """Return PL of genotypes of one allele from those of two, in VCF order: of two equal alleles, the least made 0."""
    homozygous, allele = [], 0
    while (index := allele * (allele + 3) // 2) < len(diploid):
        homozygous.append(diploid[index])
        allele += 1
    return [value - min(homozygous) for value in homozygous]


@dataclass(frozen=True, order=True)
class Region:
    """A stretch of a contig: [start, end), 0-based."""

    contig: str
    start: int
    end: int

    def __str__(self):
        return f"{self.contig}:{self.start + 1}-{self.end}"


class ReadTally(NamedTuple):
    """How many reads came for some positions [start, end), whether they count for calls or not.

    starting  begin there
    entering  begin before start and overlap it
    leaving   begin before end and overlap the position behind it
    """

    starting: int
    entering: int
    leaving: int


class Task(Protocol):
    """A unit of work of a stage: name is unique within it, inputs a fingerprint of what else the work depends on."""

    contig: str
    name: str
    region: Region
    inputs: str


@dataclass(frozen=True)
class SupportBatch:
    """What the reads show at n candidates, as arrays (spec/features.md B.6, spec/calling.md 1.3).

    The order of the items matters: equally supported alleles are resolved by it. Deleted bases have the reference's
    letter case.

    depth       (n,)    int32  reads with a base or a deletion at the candidate
    item_start  (n+1,)  int64  items of candidate i: item_start[i] <= k < item_start[i+1], in alt-info order
    kind        (m,)    uint8  ord of X (mismatch), D (deletion), I (insertion), R (reference), or i: an insertion
                               whose bases begin with the reads' own anchor (short-read rules, spec/features.md C.13)
    count       (m,)    int32  reads, both strands
    seq_start   (m+1,)  int64  bases of item k: pool[seq_start[k]:seq_start[k+1]], without anchor; R has none
    pool        bytes          the bases, one after the other
    """

    depth: np.ndarray
    item_start: np.ndarray
    kind: np.ndarray
    count: np.ndarray
    seq_start: np.ndarray
    pool: bytes

    def __len__(self):
        return len(self.depth)

    def rows(self, start: int, end: int) -> "SupportBatch":
        """Candidates start <= i < end; arrays are views, the pool is shared."""
        first, last = self.item_start[[start, end]].tolist()
        return SupportBatch(
            depth=self.depth[start:end],
            item_start=self.item_start[start : end + 1] - first,
            kind=self.kind[first:last],
            count=self.count[first:last],
            seq_start=self.seq_start[first : last + 1],
            pool=self.pool,
        )

    @classmethod
    def concatenate(cls, batches: Sequence["SupportBatch"]) -> "SupportBatch":
        """All rows of the batches, in order."""
        pools = [batch.pool[batch.seq_start[0] : batch.seq_start[-1]] for batch in batches]
        first_item = np.cumsum([0, *[len(batch.kind) for batch in batches]])
        first_base = np.cumsum([0, *[len(pool) for pool in pools]])
        item_ends = [batch.item_start[1:] + at for batch, at in zip(batches, first_item, strict=False)]
        seq_ends = [
            batch.seq_start[1:] - batch.seq_start[0] + at for batch, at in zip(batches, first_base, strict=False)
        ]
        return cls(
            depth=np.concatenate([batch.depth for batch in batches]),
            item_start=np.concatenate([[0], *item_ends]),
            kind=np.concatenate([batch.kind for batch in batches]),
            count=np.concatenate([batch.count for batch in batches]),
            seq_start=np.concatenate([[0], *seq_ends]),
            pool=b"".join(pools),
        )

    def items(self, i: int) -> Iterator[tuple[str, str, int]]:
        """(kind, bases, count) of candidate i in alt-info order."""
        for k in range(self.item_start[i], self.item_start[i + 1]):
            bases = self.pool[self.seq_start[k] : self.seq_start[k + 1]].decode("ascii")
            yield chr(self.kind[k]), bases, int(self.count[k])

    def text(self, i: int, ref: str) -> str:
        """Candidate i in the alt-info grammar of v2.0.2, e.g. `37-XT 14 IAAC 2 RA 21`; ref is its reference base."""
        prefix = {"X": "X", "D": "D", "I": "I" + ref, "i": "I", "R": "R" + ref}
        items = (f"{prefix[kind]}{bases} {count}" for kind, bases, count in self.items(i))
        return f"{self.depth[i]}-" + " ".join(items)


@dataclass(frozen=True)
class TensorBatch:
    """Candidates of one contig with what the network and the decoder need.

    pos      (n,)                int64  0-based, ascending
    ref      (n,)                uint8  reference letter (ASCII, upper case)
    tensors  (n, 33, 18)         int32  pileup counts, or (n, depth, 33, channels) int8 full alignment
    support  n rows
    """

    contig: str
    pos: np.ndarray
    ref: np.ndarray
    tensors: np.ndarray
    support: SupportBatch

    def __len__(self):
        return len(self.pos)

    def within(self, start: int, end: int) -> "TensorBatch":
        """The candidates at positions [start, end)."""
        first, last = np.searchsorted(self.pos, (start, end)).tolist()
        kept = slice(first, last)
        return TensorBatch(
            self.contig, self.pos[kept], self.ref[kept], self.tensors[kept], self.support.rows(first, last)
        )

    @classmethod
    def concatenate(cls, batches: Sequence["TensorBatch"]) -> "TensorBatch":
        """All candidates of batches of one contig, in order."""
        if len(batches) == 1:
            return batches[0]
        pos, ref, tensors = (
            np.concatenate([getattr(batch, name) for batch in batches]) for name in ("pos", "ref", "tensors")
        )
        return cls(batches[0].contig, pos, ref, tensors, SupportBatch.concatenate([batch.support for batch in batches]))


@dataclass(frozen=True, eq=False)
class TrainingExamples:
    """Labelled candidates: rows of a training bin, by the names of its datasets (spec/training.md A.8).

    position_matrix  (n, 33, 18) int32 pileup counts, or (n, depth, 33, 8 or 9) int8 full alignment
    label            (n, 90) int8 one-hot blocks, see clair3.genotype.labels
    position         n times `contig:pos:window`, pos from 1, the window 33 reference bases
    alt_info         n times the support as SupportBatch.text writes it
    """

    position_matrix: np.ndarray
    label: np.ndarray
    position: list[bytes]
    alt_info: list[bytes]

    def __len__(self):
        return len(self.label)


@dataclass(frozen=True, slots=True)
class Call:
    """One VCF row, still as values (spec/calling.md 3). pos is 0-based; alts is empty for a reference call.

    genotype is as printed ("0/1", or "1" in haploid modes); depths is the AD column, reference first;
    fractions is the AF column as numbers; likelihoods is the PL column, or None outside gVCF mode.
    """

    pos: int
    ref: str
    alts: tuple[str, ...]
    qual: float
    filter: str
    genotype: str
    gq: int
    depth: int
    depths: tuple[int, ...]
    fractions: tuple[float, ...]
    likelihoods: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class PhasedSnps:
    """Phased SNPs of one contig as haplotagging needs them (spec/features.md A.11), in the order of the file: that of
    the VCF given to phasing, by position.

    pos        (n,) int64  0-based
    ref, alt   (n,) uint8  letters (ASCII)
    haplotype  (n,) int8   1: ALT is on the second haplotype (0|1), 2: any other phased genotype
    phase_set  (n,) int64  SNPs of one set are phased relative to each other
    """

    pos: np.ndarray
    ref: np.ndarray
    alt: np.ndarray
    haplotype: np.ndarray
    phase_set: np.ndarray

    def __len__(self):
        return len(self.pos)
