"""Simulated reads: which stretch of which copy each comes from, and the sorted BAM (spec/training.md E.3)."""

import logging
import struct
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import numpy as np
import pysam

from clair3.core.simulate import SEGMENT, BlockFile, Haplotype, ReadMaker, Records
from preprocess.simulate.genome import N, read_contigs
from preprocess.simulate.haplotypes import haplotype, read_variants, to_reference
from preprocess.simulate.mapping import mapping_quality, unique_places
from preprocess.simulate.profile import Profile, read_level
from shared.cli import check_range
from shared.errors import ConfigError, InputError
from shared.reference import Contig, read_reference
from shared.version import VERSION
from shared.whole_files import unfinished
from shared.workers import in_order

logger = logging.getLogger(__name__)

BATCH = 2_000_000
"""Bases of reads that are made in one go."""

WINDOW = 1000
"""Bases over which coverage follows GC."""

SHORTEST = 30
LONGEST_READ = 200_000


@dataclass(frozen=True)
class ReadRule:
    """How reads are drawn; shares of reads.

    depth           mean number of reads over a base
    error_free      no errors, no junk: the haplotypes as they are
    tagged, wrong   reads with HP and PS tags, and with a wrong one; tagged 0: no tags
    phase_blocks    bases of phase sets, log-uniform between the two
    moves           move tables (tag mv)
    """

    depth: float = 30.0
    error_free: bool = False
    tagged: float = 0.0
    wrong: float = 0.01
    phase_blocks: tuple[int, int] = (100_000, 5_000_000)
    moves: bool = False
    sample: str = "SAMPLE"

    def __post_init__(self):
        if not 0 < self.depth <= 10_000:
            raise ConfigError(f"--depth {self.depth:g}: expected a number of reads above 0, at most 10000")
        check_range("tagged", self.tagged, 0, 1)
        check_range("wrong_tags", self.wrong, 0, 1)
        if not self.sample.isprintable() or not self.sample.strip():
            raise ConfigError(f"--sample {self.sample!r}: expected a name")


@dataclass(frozen=True, eq=False)
class Plan:
    """The reads of a contig, in order of position: batches of segments, and the least position in each."""

    batches: list[np.ndarray]
    least: list[int]


def coverage_weights(copy: Haplotype, strength: float) -> np.ndarray:
    """Relative coverage of windows of WINDOW bases of a copy, (k,) float: less where GC is extreme, none for N."""
    size = -(-len(copy.bases) // WINDOW) * WINDOW
    padded = np.full(size, N, np.uint8)
    padded[: len(copy.bases)] = copy.bases
    windows = padded.reshape(-1, WINDOW)
    known = (windows != N).sum(axis=1)
    gc = ((windows == 1) | (windows == 2)).sum(axis=1) / np.maximum(known, 1)
    return known * np.exp(-strength * (gc - 0.42) ** 2)


def stretches(rng, copy: Haplotype, lengths: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Start and length on a copy of a read of each of the lengths, (k,) int64: cut where N or the contig ends begin.

    A base of each read is drawn first, and then where in the read it is, so that ends are covered like the middle.
    """
    weight = np.cumsum(coverage_weights(copy, strength))
    window = np.searchsorted(weight, rng.random(len(lengths)) * weight[-1], side="right")
    anchor = np.minimum(window * WINDOW + rng.integers(0, WINDOW, len(lengths)), len(copy.bases) - 1)
    start = anchor - (rng.random(len(lengths)) * lengths).astype(np.int64)
    edge = np.flatnonzero(np.diff(np.r_[True, copy.bases == N, True].astype(np.int8)))
    of = np.searchsorted(edge[::2], anchor, side="right") - 1
    inside = (of >= 0) & (anchor < edge[1::2][of])
    low = np.maximum(start, edge[::2][of])
    high = np.minimum(start + lengths, edge[1::2][of])
    return low, np.where(inside, high - low, 0)


def draw_lengths(rng, profile: Profile, number: int) -> np.ndarray:
    """Read lengths by the profile's quantiles, (number,) int64."""
    at = np.linspace(0, 1, len(profile.lengths))
    return np.clip(np.interp(rng.random(number), at, profile.lengths), SHORTEST, LONGEST_READ).astype(np.int64)


def draw_segments(rng, copies: Sequence[Haplotype], profile: Profile, rule: ReadRule) -> np.ndarray:
    """Reads of a contig without order, tags or mapping quality: SEGMENT rows, those of a read together."""
    bases = sum(int((copy.bases != N).sum()) for copy in copies) / len(copies)
    per_read = profile.mean_length * (2 if profile.insert else 1)
    number = int(rng.poisson(rule.depth * bases / per_read))
    balance, skew = rng.beta(40, 40), rng.beta(20, 20)
    strength = rng.uniform(2, 8) if profile.platform == "ilmn" else rng.uniform(0, 3)
    lengths = draw_lengths(rng, profile, number)
    spans = lengths
    if profile.insert:
        spans = np.maximum(rng.normal(*profile.insert, number).astype(np.int64), lengths)
    rows = np.zeros(number, SEGMENT)
    rows["read"] = np.arange(number)
    rows["haplotype"] = (rng.random(number) < balance).astype(np.int32) * (len(copies) - 1)
    rows["reverse"] = rng.random(number) < skew
    for i, copy in enumerate(copies):
        of = rows["haplotype"] == i
        rows["start"][of], rows["length"][of] = stretches(rng, copy, spans[of], strength)
    give_errors(rng, rows, profile, rule)
    kept = rows["length"] >= SHORTEST
    rows, lengths = rows[kept], lengths[kept]
    if profile.insert:
        return mates(rng, rows, lengths)
    return with_chimeras(rng, rows, 0.0 if rule.error_free else profile.chimeras)


def give_errors(rng, rows: np.ndarray, profile: Profile, rule: ReadRule) -> None:
    """How much each read errs, the level of its qualities, junk at its ends, and its seed."""
    number = len(rows)
    rank = rng.random(number)
    rows["errors"] = np.interp(rank, np.linspace(0, 1, len(profile.spread)), profile.spread)
    rows["level"] = read_level(rank)
    rows["end_errors"] = 1
    if not rule.error_free:
        for end in ("head", "tail"):
            junk = np.minimum(rng.exponential(max(profile.junk[1], 1e-9), number), 5000) + 1
            rows[end] = np.where(rng.random(number) < profile.junk[0] / 2, junk, 0)
    rows["seed"] = rng.integers(0, 2**63, number, np.uint64)
    rows["emit"] = 1


def mates(rng, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Two segments for each fragment, from its two ends, on opposite strands; the second errs more at its end."""
    pairs = np.repeat(rows, 2)
    end = pairs["start"] + pairs["length"]
    pairs["length"] = np.minimum(np.repeat(lengths, 2), pairs["length"])
    pairs["reverse"][1::2] = 1 - pairs["reverse"][::2]
    pairs["start"] = np.where(pairs["reverse"] == 1, end - pairs["length"], pairs["start"])
    pairs["end_errors"] = np.tile((0.8, 1.2), len(rows))
    pairs["seed"][1::2] = rng.integers(0, 2**63, len(rows), np.uint64)
    return pairs


def with_chimeras(rng, rows: np.ndarray, share: float) -> np.ndarray:
    """Some reads go on in the place of another read: rows of one read number together, the longer first."""
    order = rng.permutation(len(rows))
    number = int(rng.binomial(len(rows) // 2, share))
    first, second = order[:number], order[number : 2 * number]
    rows["read"][second] = rows["read"][first]
    return rows[np.lexsort((-rows["length"], rows["read"]))]


def give_tags(rng, rows: np.ndarray, pos: np.ndarray, length: int, rule: ReadRule) -> None:
    """HP and PS tags as a phasing tool would give them: blocks, in which the copies' names are swapped at random, some
    reads without and some with the wrong tag."""
    cuts = [0]
    while cuts[-1] < length:
        cuts.append(cuts[-1] + int(np.exp(rng.uniform(*np.log(rule.phase_blocks)))))
    block = np.searchsorted(cuts, pos, side="right") - 1
    swapped = rng.random(len(cuts)) < 0.5
    by_read = np.array([rng.random(int(rows["read"].max(initial=0)) + 1) for _ in range(2)])[:, rows["read"]]
    other = swapped[block] ^ (by_read[1] < rule.wrong)
    has = by_read[0] < rule.tagged
    rows["tag"] = np.where(has, 1 + ((rows["haplotype"] > 0) ^ other), 0)
    rows["phase_set"] = np.array(cuts)[block] + 1


def plan_reads(rng, codes: np.ndarray, copies: Sequence[Haplotype], profile: Profile, rule: ReadRule) -> Plan:
    """All reads of a contig in batches by position."""
    rows = draw_segments(rng, copies, profile, rule)
    pos, end = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for i, copy in enumerate(copies):
        of = rows["haplotype"] == i
        pos[of] = to_reference(copy, rows["start"][of])
        end[of] = to_reference(copy, rows["start"][of] + rows["length"][of] - 1) + 1
    rows["mapq"] = mapping_quality(rng, unique_places(codes), pos, end, profile.platform == "ilmn")
    if rule.tagged:
        give_tags(rng, rows, pos, len(codes), rule)
    index = listed(rows, pos, profile.insert is not None)
    if not len(index):
        return Plan([], [])
    chosen, key = index[:, 0], index[:, 1]
    emitted = rows[chosen].copy()
    emitted["emit"] = index[:, 2]
    first = np.flatnonzero(np.r_[True, index[1:, 3] != index[:-1, 3]])  # a place in the order holds one or two rows
    bases = np.cumsum(np.add.reduceat(emitted["length"].astype(np.int64), first))
    cut = first[np.searchsorted(bases, np.arange(BATCH, bases[-1], BATCH))] if bases[-1] > BATCH else []
    cut = np.unique(np.r_[0, cut, len(emitted)]).astype(np.int64)
    parts = list(pairwise(cut))
    return Plan([emitted[a:b] for a, b in parts], [int(key[a:b].min()) for a, b in parts])


def listed(rows: np.ndarray, pos: np.ndarray, paired: bool) -> np.ndarray:
    """The order in which reads are made: (k, 4) int64 row, position, whether it is written there, and its place.

    Mates are made once, where the first lies; the parts of a chimera twice, each where it lies.
    """
    number = np.arange(len(rows))
    mate = np.flatnonzero(rows["read"][1:] == rows["read"][:-1])  # the first of two
    if paired:
        key = pos.copy()
        key[mate] = key[mate + 1] = np.minimum(pos[mate], pos[mate + 1])
        entries = np.stack([number, key, np.ones_like(number), rows["read"]], axis=1)
    else:
        single = np.setdiff1d(number, np.r_[mate, mate + 1])
        groups = [np.stack([single, pos[single], np.ones_like(single), 3 * rows["read"][single]], axis=1)]
        for which in (0, 1):
            for part in (0, 1):
                columns = [mate + part, pos[mate + which], np.full(len(mate), int(part == which))]
                groups.append(np.stack([*columns, 3 * rows["read"][mate] + 1 + which], axis=1))
        entries = np.concatenate(groups)
    return entries[np.lexsort((entries[:, 0], entries[:, 3], entries[:, 1]))]


def in_position_order(batches: Iterator[Records], least: Sequence[int]) -> Iterator[np.ndarray]:
    """Bytes of records in order of position. Batch i holds none before least[i], but may reach beyond least[i + 1]."""
    waiting: list[tuple[int, np.ndarray]] = []
    for i, batch in enumerate(batches):
        parts = (batch.pool[a:b] for a, b in pairwise(batch.first.tolist()))
        waiting += zip(batch.pos.tolist(), parts, strict=True)
        waiting.sort(key=itemgetter(0))
        last = i + 1 == len(least)
        ready = len(waiting) if last else bisect_left(waiting, least[i + 1], key=itemgetter(0))
        if ready:
            yield np.concatenate([part for _, part in waiting[:ready]])
        waiting = waiting[ready:]


def bam_header(contigs: Sequence[Contig], platform: str, rule: ReadRule, seed: int) -> bytes:
    """The head of a BAM file; nothing in it depends on the machine or the threads."""
    maker = {"ont": "ONT", "hifi": "PACBIO", "ilmn": "ILLUMINA"}[platform]
    lines = ["@HD\tVN:1.6\tSO:coordinate"]
    lines += [f"@SQ\tSN:{contig.name}\tLN:{contig.length}" for contig in contigs]
    lines += [f"@RG\tID:{rule.sample}\tSM:{rule.sample}\tPL:{maker}\tDS:simulated reads"]
    lines += [f"@PG\tID:clair3-torch\tPN:clair3-torch\tVN:{VERSION}\tDS:simulate reads, seed {seed}"]
    text = ("\n".join(lines) + "\n").encode()
    parts = [b"BAM\1", struct.pack("<i", len(text)), text, struct.pack("<i", len(contigs))]
    for contig in contigs:
        name = contig.name.encode() + b"\0"
        parts += [struct.pack("<i", len(name)), name, struct.pack("<i", contig.length)]
    return b"".join(parts)


def simulate_reads(
    fasta: Path, truth: Path, output: Path, profile: Profile, rule: ReadRule, seed: int, threads: int = 1,
    contigs: tuple[str, ...] | None = None,
) -> int:  # fmt: skip
    """Write reads of the two copies that a phased truth describes as a sorted, indexed BAM; returns bases of reads.

    The bytes depend on the inputs and the seed, not on the threads. Nothing is there under the output's name unless it
    is complete. Raises InputError for unreadable files, or a truth that does not fit the reference.
    """
    started = time.monotonic()
    found = read_variants(truth, np.random.default_rng([seed, 1]))
    known = read_reference(fasta).contigs
    if strangers := sorted(set(found) - {contig.name for contig in known}):
        raise InputError(f"{truth}: contig {strangers[0]} is not in {fasta}; use the reference of the truth")
    process = profile.process(rule.moves, rule.error_free)
    bases = 0
    with unfinished(output) as partial, unfinished(output.with_name(f"{output.name}.bai")) as index:
        with BlockFile(partial, threads) as file:
            file.write(bam_header(known, profile.platform, rule, seed))
            for number, contig, codes in read_contigs(fasta, contigs):
                where = f"{truth} {contig.name}"
                copies = [haplotype(codes, found.get(contig.name, []), copy, where) for copy in (0, 1)]
                rng = np.random.default_rng([seed, 2, number])
                plan = plan_reads(rng, codes, copies, profile, rule)
                paired, bonus = profile.insert is not None, 10 if profile.platform == "ilmn" else 0
                maker = ReadMaker(process, copies, codes, (number, contig.name), paired, bonus, rule.sample)
                batches = in_order(maker.records, plan.batches, threads, lambda: None)
                counted = count_bases(batches, totals := [0])
                for data in in_position_order(counted, plan.least):
                    file.write(data)
                bases += totals[0]
        try:
            pysam.index(str(partial), str(index))
        except pysam.SamtoolsError as error:  # contigs beyond 512 Mb, say, which a .bai cannot hold
            raise InputError(f"{output}: cannot be indexed ({' '.join(str(error).split())[-200:]})") from None
    seconds = time.monotonic() - started
    logger.info("%s: %.1f Mb of reads in %.1f s", output, bases / 1e6, seconds)
    return bases


def count_bases(batches: Iterator[Records], totals: list[int]) -> Iterator[Records]:
    for batch in batches:
        totals[0] += batch.bases
        yield batch
