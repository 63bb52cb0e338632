"""Variants of a diploid genome: left-aligned, one record per position (spec/training.md E.2)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clair3.core.simulate import short_repeats
from clair3.errors import ConfigError
from clair3.io.vcf import VcfRecord
from clair3.simulate.genome import N, decode, mask_to_intervals

BLOCK = 1_000_000
"""The density of variants is drawn anew for each."""

CLUSTER = 10
LONGEST_TRACT_CHANGE = 6


@dataclass(frozen=True, order=True)
class Variant:
    """A variant of a phased truth: alleles as upper-case letters, genotype as numbers of alleles on the two copies."""

    pos: int
    ref: str
    alts: tuple[str, ...]
    genotype: tuple[int, int]

    @property
    def end(self) -> int:
        return self.pos + len(self.ref)

    def allele(self, copy: int) -> str | None:
        """Return the allele of copy 0 or 1; None: ref."""
        number = self.genotype[copy]
        return self.alts[number - 1] if number else None

    def split_mnp(self) -> Iterator["Variant"]:
        """Yield the records of a truth file: the variant itself, or an MNP base by base, as GIAB writes it.
        In one record all but the first would be labelled as reference (spec/training.md B.3)."""
        if any(len(alt) != len(self.ref) for alt in self.alts):
            yield self
            return
        for offset, base in enumerate(self.ref):
            pair = [(self.allele(copy) or self.ref)[offset] for copy in (0, 1)]
            alts = tuple(sorted({*pair} - {base}))
            if alts:
                first, second = (alts.index(one) + 1 if one != base else 0 for one in pair)
                yield Variant(self.pos + offset, base, alts, (first, second))

    def to_record(self, contig: str) -> VcfRecord:
        """Return the variant as a VCF record of a truth: FILTER PASS, and the phased genotype alone."""
        genotype = "{}|{}".format(*self.genotype)
        pos, alts = str(self.pos + 1), ",".join(self.alts)
        return VcfRecord(contig, pos, ".", self.ref, alts, ".", "PASS", ".", "GT", genotype)


@dataclass(frozen=True)
class VariantOptions:
    """How many variants of which kinds (spec/training.md E.2); densities are per base, the others shares.

    triples: MNPs of three bases among those of two or three; HG002 (GIAB v4.2.1, 10 Mb of chr20) has 113 pairs of
    neighbouring SNPs and 3 triples.
    """

    density: tuple[float, float] = (1 / 1500, 1 / 200)
    indels: float = 0.2
    transitions: float = 2.1 / 3.1
    heterozygous: float = 1.6 / 2.6
    multiallelic: float = 0.03
    clustered: float = 0.08
    mnps: float = 0.03
    triples: float = 0.03
    in_tracts: float = 0.6
    structural: float = 1 / 500_000

    def __post_init__(self):
        low, high = self.density
        if not 0 <= low <= high <= 0.05:
            raise ConfigError(
                f"--density {low:g} {high:g}: expected two rates per base from 0 to 0.05, the lower first"
            )
        if not 0 <= self.indels <= 1:
            raise ConfigError(f"--indels {self.indels:g}: expected a share of the variants from 0 to 1")


def make_indel_lengths() -> np.ndarray:
    """Make the chances of indels of 0, 1, ... 200 bases, (201,) float64."""
    length = np.arange(201, dtype=float)
    chance = np.zeros(201)
    chance[1:5] = 0.45, 0.17, 0.08, 0.10
    chance[5:51] = length[5:51] ** -1.7
    chance[5:51] *= 0.195 / chance[5:51].sum()
    chance[51:] = 0.005 / 150
    return chance / chance.sum()


INDEL_LENGTHS = make_indel_lengths()


class VariantSampler:
    """Draws the variants of one contig, codes (n,) uint8, so that they do not overlap.

    variants    known and drawn ones, small; structural: those of 200 to 2000 bases
    taken       (n,) bool  bases that no further variant may touch
    """

    def __init__(
        self, rng: np.random.Generator, codes: np.ndarray, options: VariantOptions, known: Sequence[Variant] = ()
    ):
        self.rng, self.codes, self.options, self.text = rng, codes, options, decode(codes)
        self.taken = codes == N
        self.variants: list[Variant] = list(known)
        self.structural: list[Variant] = []
        for variant in known:
            self.taken[variant.pos : variant.end + CLUSTER] = True
        self.tracts = self.find_tracts()

    def find_tracts(self) -> np.ndarray:
        """Find homopolymers from 4 bases on and short tandem repeats: (k, 3) int64 start, unit, bases, by start."""
        change = np.flatnonzero(np.r_[True, self.codes[1:] != self.codes[:-1], True])
        start, size = change[:-1], np.diff(change)
        long = (size >= 4) & (self.codes[start] != N)
        runs = np.stack([start[long], np.ones(int(long.sum()), int), size[long]], axis=1)
        first, _ = short_repeats(self.codes)
        at = np.flatnonzero(first)
        repeats = np.stack([at, first[at] >> 8, first[at] & 255], axis=1).astype(np.int64)
        tracts = np.concatenate([runs, repeats])
        return tracts[np.argsort(tracts[:, 0], kind="stable")]

    def draw(self) -> None:
        """Draw the variants of the whole contig."""
        low, high = self.options.density
        for start in range(0, len(self.codes), BLOCK):
            end = min(start + BLOCK, len(self.codes))
            if high:
                density = float(np.exp(self.rng.uniform(np.log(max(low, 1e-9)), np.log(high))))
                self.draw_block(start, end, int(self.rng.poisson(density * (end - start))))
        for _ in range(int(self.rng.poisson(self.options.structural * len(self.codes))) if high else 0):
            self.draw_structural()
        self.variants.sort()

    def draw_block(self, start: int, end: int, number: int) -> None:
        """Draw a number of variants in [start, end); those without room are left out."""
        tracts = self.tracts[slice(*np.searchsorted(self.tracts[:, 0], (start, end)))]
        copies = tracts[:, 2] / tracts[:, 1]
        weight = np.cumsum(copies**2)
        recent = start
        for _ in range(number):
            near = self.rng.random() < self.options.clustered and recent != start
            pos = recent + int(self.rng.integers(-CLUSTER, CLUSTER + 1)) if near else int(self.rng.integers(start, end))
            if self.rng.random() >= self.options.indels:
                variant = self.draw_substitution(pos)
            elif self.rng.random() < self.options.in_tracts and len(tracts):
                variant = self.draw_tract_change(*tracts[np.searchsorted(weight, self.rng.random() * weight[-1])])
            else:
                variant = self.draw_indel(pos, int(self.rng.choice(len(INDEL_LENGTHS), p=INDEL_LENGTHS)))
            if variant:
                recent = variant.pos

    def genotype(self, alleles: int) -> tuple[int, int]:
        """Draw the genotype of a variant with one or two alternative alleles."""
        if alleles == 2:
            return (1, 2) if self.rng.random() < 0.5 else (2, 1)
        if self.rng.random() >= self.options.heterozygous:
            return 1, 1
        return (0, 1) if self.rng.random() < 0.5 else (1, 0)

    def add(self, pos: int, ref: str, alts: Iterable[str], reach: int, into: list | None = None) -> Variant | None:
        """Add a variant if the bases [pos, reach), which its indel could as well be placed in, are free."""
        if pos < 1 or reach > len(self.codes) or self.taken[pos:reach].any():
            return None
        alts = tuple(alts)
        variant = Variant(pos, ref, alts, self.genotype(len(alts)))
        self.taken[pos:reach] = True
        (self.variants if into is None else into).append(variant)
        return variant

    def draw_substitution(self, pos: int) -> Variant | None:
        """Draw a SNP with one or two alternative alleles, or two or three neighbouring ones on the same copies."""
        if not 0 < pos < len(self.codes) - 3 or self.codes[pos : pos + 3].max() == N:
            return None
        size = 1
        if self.rng.random() < self.options.mnps:
            size = 3 if self.rng.random() < self.options.triples else 2
        ref = self.codes[pos : pos + size]
        alts = [self.draw_other_bases(ref)]
        if size == 1 and self.rng.random() < self.options.multiallelic:
            alts = [np.array([base]) for base in self.rng.permutation([b for b in range(4) if b != ref[0]])[:2]]
        return self.add(pos, decode(ref), map(decode, alts), pos + size)

    def draw_other_bases(self, ref: np.ndarray) -> np.ndarray:
        """Draw a base other than each of ref, (k,) uint8, by the share of transitions."""
        transition = self.rng.random(len(ref)) < self.options.transitions
        # A<->G and C<->T differ by 2; the two transversions by 1 or 3
        step = np.where(transition, 2, np.where(self.rng.random(len(ref)) < 0.5, 1, 3))
        return ((ref + step) % 4).astype(np.uint8)

    def draw_tract_change(self, start: int, unit: int, size: int) -> Variant | None:
        """Draw a repeat with some units more or fewer, now and then with two different alleles."""
        start, unit, size = int(start), int(unit), int(size)
        copies = size // unit
        changes = [self.draw_units(copies)]
        if self.rng.random() < self.options.multiallelic * 2:  # half of the multi-allelic sites are SNPs
            changes.append(self.draw_units(copies))
        if start < 1 or len(set(changes)) < len(changes):
            return None
        anchor, tract = self.text[start - 1], self.text[start : start + size]
        lost = tract[: max(0, *(-change for change in changes)) * unit]
        alts = [
            anchor + (tract[:unit] * change + lost if change > 0 else lost[: len(lost) + change * unit])
            for change in changes
        ]
        # a tract is as long as it can be, so the base before it ends any move to the left
        return self.add(start - 1, anchor + lost, alts, start + size + 1)

    def draw_units(self, copies: int) -> int:
        """Draw a change in number of units; half are losses, and a tract keeps one unit at least."""
        change = min(int(self.rng.geometric(0.65)), LONGEST_TRACT_CHANGE)
        return -min(change, copies - 1) if self.rng.random() < 0.5 else change

    def draw_indel(self, pos: int, size: int, into: list | None = None) -> Variant | None:
        """Draw a deletion, or an insertion of random or duplicated bases."""
        if not 0 < pos < len(self.codes) - size - 2 or self.codes[pos : pos + size + 1].max() == N:
            return None
        if self.rng.random() < 0.5:
            pos, deleted = left_align(self.text, pos, self.text[pos + 1 : pos + 1 + size])
            reach = pos + 1 + size
            while reach < len(self.text) and self.text[reach] == self.text[reach - size]:
                reach += 1
            return self.add(pos, self.text[pos] + deleted, [self.text[pos]], reach + 1, into)
        inserted = self.text[pos + 1 : pos + 1 + size]
        if self.rng.random() < 0.5:
            inserted = decode(self.rng.integers(0, 4, size))
        pos, inserted = left_align(self.text, pos, inserted)
        reach, again = pos + 1, 0
        while reach < len(self.text) and self.text[reach] == inserted[again % size]:
            reach, again = reach + 1, again + 1
        return self.add(pos, self.text[pos], [self.text[pos] + inserted], reach + 1, into)

    def draw_structural(self) -> None:
        """Draw an indel of 200 to 2000 bases, which stays out of the confident regions."""
        size = int(self.rng.integers(200, 2001))
        if len(self.codes) > 4 * size:
            self.draw_indel(int(self.rng.integers(1, len(self.codes) - size - 2)), size, self.structural)


def left_align(text: str, pos: int, bases: str) -> tuple[int, str]:
    """Move an insertion or deletion of bases behind text[pos] as far left as it goes: new pos and bases."""
    while pos > 0 and text[pos] == bases[-1]:
        bases = bases[-1] + bases[:-1]
        pos -= 1
    return pos, bases


def find_confident(
    codes: np.ndarray, variants: Sequence[Variant], structural: Sequence[Variant]
) -> Iterator[tuple[int, int]]:
    """Find the regions, [start, end), where the truth is complete: without N, and without 50 bases around structural
    variants and around the 1 % of variants with most others near (spec/training.md E.2)."""
    known = codes != N
    pos = np.array([variant.pos for variant in variants], np.int64)
    crowd = np.searchsorted(pos, pos + 50) - np.searchsorted(pos, pos - 50)
    worst = np.argsort(-crowd, kind="stable")[: len(pos) // 100]
    crowded = [variants[i] for i in worst if crowd[i] > 2]
    for variant in [*crowded, *structural]:
        known[max(0, variant.pos - 50) : variant.end + 50] = False
    yield from map(tuple, mask_to_intervals(known).tolist())
