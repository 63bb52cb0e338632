"""Simulated reads as a sorted, indexed BAM (spec/training.md E.3)."""

import logging
import struct
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import numpy as np
import pysam

from clair3.core.block_file import BlockFile
from clair3.core.simulate import ReadMaker, Records
from clair3.errors import InputError
from clair3.io.atomic import unfinished
from clair3.io.fasta import Contig, read_reference
from clair3.platforms import PLATFORMS
from clair3.simulate.genome import read_contigs
from clair3.simulate.haplotypes import read_variants
from clair3.simulate.profile import Profile, draw_error_sites
from clair3.simulate.read_plan import ReadOptions, make_sources, plan_reads
from clair3.util.parallel import ordered_map
from clair3.version import VERSION

logger = logging.getLogger(__name__)


def merge_by_position(batches: Iterator[Records], least: Sequence[int]) -> Iterator[np.ndarray]:
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


def make_bam_header(contigs: Sequence[Contig], platform: str, options: ReadOptions, seed: int) -> bytes:
    """The head of a BAM file; nothing in it depends on the machine or the threads."""
    maker = PLATFORMS[platform].read_group_platforms[0]
    lines = ["@HD\tVN:1.6\tSO:coordinate"]
    lines += [f"@SQ\tSN:{contig.name}\tLN:{contig.length}" for contig in contigs]
    lines += [f"@RG\tID:{options.sample}\tSM:{options.sample}\tPL:{maker}\tDS:simulated reads"]
    lines += [f"@PG\tID:clair3-torch\tPN:clair3-torch\tVN:{VERSION}\tDS:simulate reads, seed {seed}"]
    text = ("\n".join(lines) + "\n").encode()
    parts = [b"BAM\1", struct.pack("<i", len(text)), text, struct.pack("<i", len(contigs))]
    for contig in contigs:
        name = contig.name.encode() + b"\0"
        parts += [struct.pack("<i", len(name)), name, struct.pack("<i", contig.length)]
    return b"".join(parts)


def simulate_reads(
    fasta: Path, truth: Path, output: Path, profile: Profile, options: ReadOptions, seed: int, threads: int = 1,
    contigs: tuple[str, ...] | None = None,
) -> int:  # fmt: skip
    """Write reads of the two copies that a phased truth describes as a sorted, indexed BAM; returns bases of reads.

    The bytes depend on the inputs and the seed, not on the threads. Nothing is there under the output's name unless it
    is complete. Raises InputError for unreadable files, or a truth that does not fit the reference.
    """
    started = time.monotonic()
    by_contig = read_variants(truth, np.random.default_rng([seed, 1]))
    known = read_reference(fasta).contigs
    if unknown := sorted(set(by_contig) - {contig.name for contig in known}):
        raise InputError(f"{truth}: contig {unknown[0]} is not in {fasta}; use the reference of the truth")
    process = profile.process(options.moves, options.error_free)
    conditions = options.conditions(np.random.default_rng([seed, 8]), profile.platform)
    short_reads = PLATFORMS[profile.platform].short_reads
    bases = 0
    with unfinished(output) as partial, unfinished(output.with_name(f"{output.name}.bai")) as index:
        with BlockFile(partial, threads) as file:
            file.write(make_bam_header(known, profile.platform, options, seed))
            for number, contig, codes in read_contigs(fasta, contigs):
                where = f"{truth} {contig.name}"
                rng, variants = np.random.default_rng([seed, 2, number]), by_contig.get(contig.name, [])
                sources = make_sources(rng, codes, variants, conditions, where, short_reads)
                plan = plan_reads(rng, contig.length, sources, profile, options, conditions)
                copies = [draw_error_sites(copy, profile, seed) for copy in sources.copies]
                paired, bonus = profile.insert is not None, 10 if short_reads else 0
                maker = ReadMaker(process, copies, codes, (number, contig.name), paired, bonus, options.sample)
                batches = ordered_map(maker.records, plan.batches, threads, lambda: None)
                counted = count_bases(batches, totals := [0])
                for data in merge_by_position(counted, plan.least):
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
