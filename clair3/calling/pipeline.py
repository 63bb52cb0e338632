"""A calling run from end to end: checks, plan, stages, final files.

Nothing stands under a final name unless the run that made it was complete: final files of an earlier run in the same
folder are removed before the first read is looked at, and those of this run when it fails. Each is complete from the
moment it is there, also when the run is killed.
"""

import hashlib
import importlib
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pysam

from clair3.calling import output_folder
from clair3.calling.banner import iter_banner
from clair3.calling.output_folder import (
    FULL_ALIGNMENT_VCF,
    GVCF,
    MERGED_VCF,
    PHASED_BAM,
    PHASED_VCF,
    PILEUP_VCF,
    alone_in,
    keep_inputs,
    remove_final_files,
    remove_intermediates,
    write_plan,
)
from clair3.calling.phasing import phase_rows, phase_snps
from clair3.calling.selection import Block, QualCounts, Selection, cut_blocks, select, within
from clair3.calling.tasks import Ledger, MergedRecords, Records, StageRecords, digest_values, file_identity
from clair3.config import PROGRAM_NAMES, CallingConfig, OutputFilter
from clair3.errors import InputError
from clair3.features.chunks import Chunk, plan_chunks
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.inference.checkpoint import find_checkpoint, read_digest
from clair3.inference.compute import take_devices
from clair3.io import vcf
from clair3.io.bed import pad, realignment_bins
from clair3.io.gvcf import Blocks, Cell, cells_of_contig, cells_of_sites, letter_reader, merge
from clair3.io.inputs import RunInputs, check_inputs, check_moves, warn_of_uncounted_reads
from clair3.io.known_sites import KnownSites, read_known_sites
from clair3.io.vcf import VcfWriter, record_pos
from clair3.phasing.phasers import WhatsHap, find_whatshap
from clair3.platforms import PLATFORMS
from clair3.records import PhasedSnps
from clair3.util import log
from clair3.util.process import uninterrupted
from clair3.version import VERSION

logger = logging.getLogger(__name__)


def call_variants(config: CallingConfig, final: bool = True) -> Path:
    """Call variants and return the path of the VCF.

    final=False leaves out the last filters of --pileup_only: reference calls stay, and neither --qual nor the haploid
    modes apply. That is the pileup stage as later stages see it.
    Raises ClairError; no file stands under a final name then.
    """
    began = time.monotonic()
    keep_inputs(config)
    with alone_in(config.output):
        log.append_to(config.output / output_folder.LOG_FILE)
        config = replace(config, compute=take_devices(config.compute))
        for line in iter_banner(config):
            logger.info(line)
        models, environment = find_networks(config), check_run_inputs(config)
        remove_final_files(config.output)
        spans = gvcf_spans(config, environment)
        chunks = plan_chunks(environment.contigs, environment.allowed, config.chunk_size, spans)
        write_plan(config.output, environment.contigs, config.chunk_size, config.command_line or "")
        try:
            path = Run(config, environment, models).call(chunks, final)
        except BaseException:
            with suppress(InputError):  # the first error is the one to tell
                remove_final_files(config.output)
            raise
        if config.remove_intermediate_dir:
            remove_intermediates(config.output / "tmp")
        logger.info("Total time of the run: %.2f s", time.monotonic() - began)
        logger.info("Finish calling, output file: %s", path)
        return path


def find_networks(config: CallingConfig) -> dict[str, Path]:
    """The file of each network; v2.0.2 asks for both with --pileup_only too. Raises InputError when one is missing."""
    prefixes = {PILEUP: config.pileup_model_prefix, FULL_ALIGNMENT: config.fa_model_prefix}
    return {kind: find_checkpoint(config.model_dir, kind, prefix) for kind, prefix in prefixes.items()}


def check_run_inputs(config: CallingConfig) -> RunInputs:
    """The checked inputs. Raises InputError."""
    environment = check_inputs(
        config.bam,
        config.reference,
        bed=config.bed,
        sites=config.sites,
        names=config.ctg_names,
        include_all=config.include_all_ctgs,
        min_contig_size=config.min_contig_size,
    )
    if config.dwell:
        check_moves(environment.alignments, environment.reference)
    return environment


@dataclass(frozen=True)
class Run:
    """One run whose inputs have been checked.

    models    the file of each kind of network
    unphased  contigs that could not be phased, with the reason, filled on the way (--allow_unphased_contigs)
    """

    config: CallingConfig
    environment: RunInputs
    models: dict[str, Path]
    unphased: dict[str, str] = field(default_factory=dict)

    def logged(self, name: str) -> AbstractContextManager[None]:
        """The log of one stage, under v2.0.2's name."""
        return log.stage_log(self.config.output / "log" / f"{name}.log")

    def call(self, chunks: list[Chunk], final: bool) -> Path:
        """Go through the stages; the path of the VCF the user asked for."""
        config = self.config
        self.header()  # text that no VCF can hold is refused before the work, not after it
        if not self.environment.contigs:
            logger.warning("No contig intersection found, output header only in %s", config.output / MERGED_VCF)
            logger.info("Exit in environment checking")
            return self.nothing_to_call(StageRecords(None, ()))
        with self.logged("1_call_var_bam_pileup"):
            rows = self.call_pileup(chunks)
        rule = OutputFilter(config.qual, config.print_ref_calls, config.haploid)
        if next(rows.all(), None) is None:
            logger.info("Exit in pileup variant calling")
            found, short_reads = self.environment, PLATFORMS[config.platform].short_reads
            least = config.candidates.min_mapq
            warn_of_uncounted_reads(found.alignments, found.reference, found.contigs, least, short_reads)
            return self.nothing_to_call(rows)
        self.write(PILEUP_VCF, MergedRecords(rows, rule) if config.pileup_only and final else rows)
        if config.pileup_only:
            logger.info("Only call pileup output with --pileup_only, output file: %s", config.output / PILEUP_VCF)
            return config.output / PILEUP_VCF
        with self.logged("5_select_candidate"):
            selected = self.select(rows)
        full = self.call_again(selected)
        with self.logged("7_merge_vcf"):
            logger.info("7/7 Merge pileup VCF and full-alignment VCF")
            merged = MergedRecords(rows, rule, full, self.full_alignment_only(selected, full))
            self.write(MERGED_VCF, merged, self.known_rows())
            if config.writes_gvcf:
                self.write_gvcf(merged, rows)
        with self.logged("8_phase_vcf_output"):
            self.phase_output(merged)
        if self.unphased:
            reasons = "; ".join(f"{contig} ({reason})" for contig, reason in self.unphased.items())
            logger.warning("--allow_unphased_contigs: contigs without phase: %s", reasons)
        return config.output / MERGED_VCF

    def nothing_to_call(self, stage: StageRecords) -> Path:
        """Header-only VCFs: an ordinary outcome, and v2.0.2 writes both then (spec/cli.md 6.1).

        The gVCF has the blocks that the evidence of the pileup stage gives.
        """
        nothing = StageRecords(None, ())
        self.write(PILEUP_VCF, nothing)
        self.write(MERGED_VCF, nothing, self.known_rows())
        if self.config.writes_gvcf:
            self.write_gvcf(nothing, stage)
        return self.config.output / (PILEUP_VCF if self.config.pileup_only else MERGED_VCF)

    def call_pileup(self, chunks: list[Chunk]) -> StageRecords:
        """The pileup stage."""
        config = self.config
        logger.info("1/7 Call variants using pileup model")
        ledger = self.ledger(PILEUP, config.candidates, config.decoding)
        with uninterrupted():
            stages = importlib.import_module(
                "clair3.calling.stages"
            )  # torch takes a second to load: not before the checks
        if not config.pileup_only:
            stages.load_full_alignment_network(config, self.models[FULL_ALIGNMENT])  # a wrong one is told now
        caller = stages.pileup_caller(config, self.environment, self.models[PILEUP], ledger)
        stages.call_tasks(caller, chunks, config.workers, config.resume)
        return StageRecords(ledger, chunks)

    def select(self, rows: StageRecords) -> dict[str, Selection]:
        """What is phased and what is called again, per contig in output order; cut-offs are over the whole run."""
        if self.config.selection.var_pct_phasing is None:
            logger.info("2/7 No phasing for full alignment calling")
        else:
            logger.info("2/7 Select heterozygous SNP variants for Whatshap phasing and haplotagging")
        counts = QualCounts()
        counts.add(row for _, row in rows.all())
        cutoffs = counts.cutoffs(self.config.selection)
        logger.info("5/7 Select candidates for full-alignment calling")
        return {contig: select(contig, rows.of(contig), cutoffs) for contig in rows.contigs}

    def blocks(self, selected: dict[str, Selection]) -> list[Block]:
        """What is called again, contig by contig."""
        short_reads = PLATFORMS[self.config.platform].short_reads
        return [block for contig, chosen in selected.items() for block in cut_blocks(contig, chosen.pos, short_reads)]

    def call_again(self, selected: dict[str, Selection]) -> StageRecords:
        """Phasing and the full-alignment stage, if there is anything to call again."""
        blocks = self.blocks(selected)
        if not blocks:
            logger.info("No Candidate found! Exit in selecting full-alignment candidates")
            return StageRecords(None, ())
        config = self.config
        with self.logged("3_phase"):
            snps = self.phase(selected)
        blocks = [replace(block, inputs=fingerprint(block, snps.get(block.contig))) for block in blocks]
        logger.info("6/7 Call low-quality variants using full-alignment model")
        ledger = self.ledger(FULL_ALIGNMENT, config.rows, config.decoding, config.conv_padding)
        stages = importlib.import_module("clair3.calling.stages")
        model = self.models[FULL_ALIGNMENT]
        caller = stages.full_alignment_caller(config, self.environment, model, ledger, snps, blocks)
        with self.logged("6_call_var_bam_full_alignment"):
            stages.call_tasks(caller, blocks, config.workers, config.resume)
        rows = StageRecords(ledger, blocks)
        self.write(FULL_ALIGNMENT_VCF, rows)
        return rows

    def full_alignment_only(self, selected: dict[str, Selection], full: StageRecords) -> dict[str, np.ndarray] | None:
        """Where the pileup rows of a contig do not count at all: with short reads (spec/calling.md 8.2).

        None: everywhere they count, also when full alignment has not a single row (spec/cli.md 6.1).
        """
        if not PLATFORMS[self.config.platform].short_reads or next(full.all(), None) is None:
            return None
        return {contig: within(realignment_bins(chosen.pos)) for contig, chosen in selected.items() if len(chosen.pos)}

    def phase(self, selected: dict[str, Selection]) -> dict[str, PhasedSnps]:
        """Phased SNPs of each contig that has any, for haplotagging; none when phasing is off."""
        config = self.config
        if config.selection.var_pct_phasing is None:
            return {}
        logger.info("3/7 Phase VCF file using %s", PROGRAM_NAMES[config.phaser])
        folder = self.fresh_folder("phase_output/phase_vcf", keep=config.resume)
        # one SNP alone has no phase
        snps = {contig: chosen.snps for contig, chosen in selected.items() if len(chosen.snps) > 1}
        return phase_snps(config, folder, self.header(), snps, self.unphased)

    def phase_output(self, merged: MergedRecords) -> None:
        """The phased VCF and the haplotagged BAM, if asked for (spec/calling.md 11). Raises PhasingError."""
        config, program = self.config, self.config.final_phaser
        if program is None:
            return
        logger.info("7/7 Phasing VCF output in parallel using %s", PROGRAM_NAMES[program])
        folder = self.fresh_folder("merge_output")
        phased = phase_rows(config, folder, self.header(), merged, self.unphased)
        self.write(PHASED_VCF, phased, header=phased.header() or self.header())
        if config.haplotag:
            logger.info("4/7 Haplotag input BAM file using Whatshap, need some time to finish!")
            whatshap = WhatsHap(find_whatshap(config.whatshap), config.bam, config.reference)
            path, began = config.output / PHASED_BAM, time.monotonic()
            whatshap.haplotag(config.output / PHASED_VCF, path, max(1, config.threads // 2))
            logger.info("%s in %.2f s", path, time.monotonic() - began)

    def write_gvcf(self, merged: Records, stage: StageRecords) -> None:
        """The gVCF: variants, and blocks from the evidence that the pileup stage left (spec/calling.md 6)."""
        config, reference, path = self.config, self.environment.reference, self.config.output / GVCF
        began = time.monotonic()
        listed = reference.lengths
        if not config.all_contigs_in_gvcf:
            called = {contig.name for contig in self.environment.contigs}
            listed = {name: length for name, length in listed.items() if name in called}
        header = vcf.header(config.sample_name, str(config.reference), listed.items(), config.command_line, gvcf=True)
        with pysam.FastaFile(str(reference.path)) as fasta, VcfWriter(path, header, listed.items()) as writer:
            for contig, tasks in stage.tasks.items():
                lines = self.gvcf_lines(contig, listed[contig], tasks, stage.ledger, merged, fasta)
                for text in lines:
                    writer.write_lines(contig, text)
        logger.info("%s in %.2f s", path, time.monotonic() - began)

    def gvcf_lines(self, contig: str, length: int, chunks: Sequence[Chunk], ledger: Ledger, merged: Records, fasta):
        """Pieces of a contig's gVCF, each whole lines."""
        cells = gvcf_cells(self.config, self.environment, contig, length)

        def blocks() -> Iterator[bytes]:
            found = Blocks(contig, length, cells, self.config.blocks)
            for chunk in chunks:
                evidence = ledger.read_evidence(chunk)
                yield found.feed(chunk.start, fasta.fetch(contig, chunk.start, chunk.end).encode(), *evidence)
            yield found.finish()

        letter = letter_reader(fasta, contig)
        return merge(merged.of(contig), blocks(), letter, haploid=self.config.haploid is not None)

    def fresh_folder(self, name: str, keep: bool = False) -> Path:
        """An empty folder of that name in tmp; with keep, what it holds stays."""
        folder = self.config.output / "tmp" / name
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def ledger(self, stage: str, *rules: object) -> Ledger:
        """The ledger of a network's stage, for this run's inputs, model, rules and version."""
        config = self.config
        values = {
            "version": VERSION,
            "inputs": [file_identity(config.bam), file_identity(config.reference)],
            "model": read_digest(self.models[stage]),
            "rules": [config.platform, *map(repr, rules)],
            "compute": config.compute.identity,
        }
        folder = config.output / "tmp" / f"{stage}_output"
        return Ledger(folder, stage, digest_values(values), evidence=config.writes_gvcf and stage == PILEUP)

    def header(self) -> str:
        """The header of this run's VCFs (spec/calling.md 5)."""
        return vcf.reference_header(self.environment.reference, self.config.sample_name, self.config.command_line)

    def known_rows(self) -> KnownSites | None:
        """The sites of --vcf_fn, each of which stands in the output; None without."""
        if self.config.sites is None or self.config.pileup_only:
            return None
        return read_known_sites(self.config.sites, self.environment.reference)

    def write(self, name: str, rows: Records, known: KnownSites | None = None, header: str | None = None) -> int:
        """Write rows under a final name, those of known sites only if such are given; the number written."""
        written, path = 0, self.config.output / name
        with VcfWriter(path, header or self.header(), self.environment.reference.lengths.items()) as writer:
            for contig, row in rows.all() if known is None else known.complete(rows):
                writer.write(contig, record_pos(row), row)
                written += 1
        logger.info("%d records in %s", written, path)
        return written


def fingerprint(block: Block, snps: PhasedSnps | None) -> str:
    """A short digest of what is a block's, and of the phased SNPs of its contig."""
    digest = hashlib.sha256(block.pos.tobytes() + repr(block.owned).encode())
    if snps is not None:
        for column in (snps.pos, snps.alt, snps.haplotype, snps.phase_set):
            digest.update(column.tobytes())
    return digest.hexdigest()[:16]


def gvcf_cells(config: CallingConfig, environment: RunInputs, contig: str, length: int) -> list[Cell]:
    """The stretches of a contig in which blocks are cut (spec/calling.md 6.1)."""
    if environment.targets is None:
        return cells_of_contig(length)
    targets = environment.targets[contig]
    if config.sites is not None:
        return cells_of_sites(length, targets)
    padded = pad(targets)
    return cells_of_contig(length, (int(padded[:, 0].min()), int(padded[:, 1].max())))


def gvcf_spans(config: CallingConfig, environment: RunInputs) -> dict[str, tuple[int, int]] | None:
    """What a gVCF run looks at where it is restricted, [start, end) per contig; None: everywhere.

    One base more than the cells at their end, and all allowed positions: a BED admits the base before it.
    """
    if not config.writes_gvcf or environment.targets is None:
        return None
    spans = {}
    for contig in environment.contigs:
        cells = gvcf_cells(config, environment, contig.name, contig.length)
        allowed = environment.allowed[contig.name].ravel().tolist()
        edges = [*allowed, *(edge for cell in cells for edge in (cell.start, cell.end + 1))]
        if edges:
            spans[contig.name] = min(edges), min(max(edges), contig.length)
    return spans
