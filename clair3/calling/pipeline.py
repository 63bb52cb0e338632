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
from collections.abc import Iterator
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
from clair3.calling.phasing import check_paths, phase_records, phase_snps
from clair3.calling.record_sources import GenotypedRecords, MergedRecords, RecordSource, StageRecords
from clair3.calling.selection import Block, QualCounts, Selection, cut_blocks, select, within
from clair3.calling.tasks import Ledger, digest_values
from clair3.config import PROGRAM_NAMES, CallingConfig, OutputFilter
from clair3.errors import InputError
from clair3.features.chunks import Chunk, plan_chunks
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.inference.checkpoint import find_checkpoint, read_digest
from clair3.inference.compute import take_devices
from clair3.io import vcf
from clair3.io.bed import pad, realignment_bins
from clair3.io.first_reads import check_moves, warn_of_uncounted_reads
from clair3.io.gvcf import Blocks, Cell, cells_of_contig, cells_of_sites, letter_reader, merge_blocks
from clair3.io.input_files import InputChangedError, InputSnapshot, file_identity
from clair3.io.inputs import RunInputs, check_inputs
from clair3.io.vcf import VcfWriter
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
    check_paths(config)
    with alone_in(config.output):
        log.append_to(config.output / output_folder.LOG_FILE)
        config = replace(config, compute=take_devices(config.compute))
        for line in iter_banner(config):
            logger.info(line)
        models = find_networks(config)
        snapshot = InputSnapshot([config.bam, config.reference, config.bed, config.sites, *models.values()])
        inputs = check_run_inputs(config)
        snapshot.add([inputs.alignments.index, inputs.reference.index, inputs.reference.block_index])
        remove_final_files(config.output)
        spans = gvcf_spans(config, inputs)
        chunks = plan_chunks(inputs.contigs, inputs.allowed, config.chunk_size, spans)
        write_plan(config.output, inputs.contigs, config.chunk_size, config.command_line or "")
        try:
            path = CallingRun(config, inputs, models, snapshot).call(chunks, final)
        except BaseException as error:
            with suppress(InputError):  # the first error is the one to tell
                remove_final_files(config.output)
            if isinstance(error, InputChangedError):  # who restores the file must not take up what was made of another
                remove_intermediates(config.output / "tmp")
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
    """Check the inputs of the run and return what was learnt about them. Raises InputError."""
    inputs = check_inputs(
        config.bam,
        config.reference,
        bed=config.bed,
        sites=config.sites,
        names=config.ctg_names,
        include_all=config.include_all_ctgs,
        min_contig_size=config.min_contig_size,
    )
    if config.dwell:
        check_moves(inputs.alignments, inputs.reference)
    return inputs


@dataclass(frozen=True)
class CallingRun:
    """One run whose inputs have been checked.

    models    the file of each kind of network
    snapshot  the input files as they were at the start; no final file is written from others
    unphased  contigs that could not be phased, with the reason, filled on the way (--allow_unphased_contigs)
    """

    config: CallingConfig
    inputs: RunInputs
    models: dict[str, Path]
    snapshot: InputSnapshot
    unphased: dict[str, str] = field(default_factory=dict)

    def call(self, chunks: list[Chunk], final: bool) -> Path:
        """Go through the stages and return the path of the VCF that the user asked for."""
        config = self.config
        self.header()  # text that no VCF can hold is refused before the work, not after it
        if not self.inputs.contigs:
            logger.warning("No contig intersection found, output header only in %s", config.output / MERGED_VCF)
            logger.info("Exit in environment checking")
            return self.write_nothing_called(StageRecords())
        with self.stage_log("1_call_var_bam_pileup"):
            pileup = self.call_pileup(chunks)
        if pileup.is_empty():
            logger.info("Exit in pileup variant calling")
            self.warn_of_uncounted_reads()
            return self.write_nothing_called(pileup)
        output_filter = OutputFilter(config.qual, config.print_ref_calls, config.haploid)
        if config.pileup_only:
            self.write_vcf(PILEUP_VCF, MergedRecords(pileup, output_filter) if final else pileup)
            logger.info("Only call pileup output with --pileup_only, output file: %s", config.output / PILEUP_VCF)
            return config.output / PILEUP_VCF
        self.write_vcf(PILEUP_VCF, pileup)
        with self.stage_log("5_select_candidate"):
            selected = self.select(pileup)
        full_alignment = self.call_full_alignment(selected)
        with self.stage_log("7_merge_vcf"):
            logger.info("7/7 Merge pileup VCF and full-alignment VCF")
            within = self.full_alignment_intervals(selected, full_alignment)
            merged = MergedRecords(pileup, output_filter, full_alignment, within)
            self.write_vcf(MERGED_VCF, self.genotype_known_sites(merged))
            if config.writes_gvcf:
                self.write_gvcf(merged, pileup)
        with self.stage_log("8_phase_vcf_output"):
            self.phase_output(merged)
        if self.unphased:
            reasons = "; ".join(f"{contig} ({reason})" for contig, reason in self.unphased.items())
            logger.warning("--allow_unphased_contigs: contigs without phase: %s", reasons)
        return config.output / MERGED_VCF

    def call_pileup(self, chunks: list[Chunk]) -> StageRecords:
        """Call all chunks with the pileup network."""
        config = self.config
        logger.info("1/7 Call variants using pileup model")
        ledger = self.make_ledger(PILEUP, config.candidates, config.decoding)
        with uninterrupted():
            # torch takes a second to load: not before the checks
            stages = importlib.import_module("clair3.calling.stages")
        if not config.pileup_only:
            stages.load_full_alignment_network(config, self.models[FULL_ALIGNMENT])  # a wrong one is told now
        index_checks = importlib.import_module("clair3.calling.index_checks")
        promised = index_checks.check_index(self.inputs, chunks, config.workers)
        caller = stages.pileup_caller(config, self.inputs, self.models[PILEUP], ledger)
        stages.call_tasks(caller, chunks, config.workers, config.resume)
        index_checks.check_read_counts(self.inputs, chunks, ledger, promised)
        return StageRecords(ledger, chunks)

    def select(self, pileup: StageRecords) -> dict[str, Selection]:
        """Choose what is phased and what is called again, per contig; the cut-offs are those of the whole run."""
        if self.config.selection.var_pct_phasing is None:
            logger.info("2/7 No phasing for full alignment calling")
        else:
            logger.info("2/7 Select heterozygous SNP variants for Whatshap phasing and haplotagging")
        counts = QualCounts()
        counts.add(pileup.iter_all())
        cutoffs = counts.cutoffs(self.config.selection)
        logger.info("5/7 Select candidates for full-alignment calling")
        return {contig: select(contig, pileup.iter_contig(contig), cutoffs) for contig in pileup.contigs}

    def call_full_alignment(self, selected: dict[str, Selection]) -> StageRecords:
        """Phase, and call the selected candidates with the full-alignment network; no records without candidates."""
        config, short_reads = self.config, PLATFORMS[self.config.platform].short_reads
        blocks = [block for contig, chosen in selected.items() for block in cut_blocks(contig, chosen.pos, short_reads)]
        if not blocks:
            logger.info("No Candidate found! Exit in selecting full-alignment candidates")
            return StageRecords()
        with self.stage_log("3_phase"):
            snps = self.phase(selected)
        blocks = [replace(block, inputs=fingerprint(block, snps.get(block.contig))) for block in blocks]
        logger.info("6/7 Call low-quality variants using full-alignment model")
        ledger = self.make_ledger(FULL_ALIGNMENT, config.rows, config.decoding, config.conv_padding)
        stages = importlib.import_module("clair3.calling.stages")
        model = self.models[FULL_ALIGNMENT]
        caller = stages.full_alignment_caller(config, self.inputs, model, ledger, snps, blocks)
        with self.stage_log("6_call_var_bam_full_alignment"):
            stages.call_tasks(caller, blocks, config.workers, config.resume)
        full_alignment = StageRecords(ledger, blocks)
        self.write_vcf(FULL_ALIGNMENT_VCF, full_alignment)
        return full_alignment

    def phase(self, selected: dict[str, Selection]) -> dict[str, PhasedSnps]:
        """Phase the SNPs of each contig that has any, for haplotagging; no contigs when phasing is off."""
        config = self.config
        if config.selection.var_pct_phasing is None:
            return {}
        logger.info("3/7 Phase VCF file using %s", PROGRAM_NAMES[config.phaser])
        folder = self.make_folder("phase_output/phase_vcf", keep=config.resume)
        # one SNP alone has no phase
        snps = {contig: chosen.snps for contig, chosen in selected.items() if len(chosen.snps) > 1}
        return phase_snps(config, folder, self.header(), snps, self.unphased)

    def full_alignment_intervals(
        self, selected: dict[str, Selection], full_alignment: StageRecords
    ) -> dict[str, np.ndarray] | None:
        """Where the pileup records of a contig do not count at all: with short reads (spec/calling.md 8.2).

        None: everywhere they count, also when full alignment has not a single record (spec/cli.md 6.1).
        """
        if not PLATFORMS[self.config.platform].short_reads or full_alignment.is_empty():
            return None
        return {contig: within(realignment_bins(chosen.pos)) for contig, chosen in selected.items() if len(chosen.pos)}

    def genotype_known_sites(self, called: RecordSource) -> RecordSource:
        """The records called, or with --vcf_fn one for each known site."""
        config, known = self.config, self.inputs.known
        if known is None or config.pileup_only:
            return called
        return GenotypedRecords(called, known, haploid=config.haploid is not None)

    def write_nothing_called(self, pileup: StageRecords) -> Path:
        """Write header-only VCFs: an ordinary outcome, and v2.0.2 writes both then (spec/cli.md 6.1).

        The gVCF has the blocks that the site counts of the pileup stage give.
        """
        self.write_vcf(PILEUP_VCF, StageRecords())
        self.write_vcf(MERGED_VCF, self.genotype_known_sites(StageRecords()))
        if self.config.writes_gvcf:
            self.write_gvcf(StageRecords(), pileup)
        return self.config.output / (PILEUP_VCF if self.config.pileup_only else MERGED_VCF)

    def warn_of_uncounted_reads(self) -> None:
        """Warn when the reads are there but none of them counts."""
        inputs, min_mapq = self.inputs, self.config.candidates.min_mapq
        short_reads = PLATFORMS[self.config.platform].short_reads
        warn_of_uncounted_reads(inputs.alignments, inputs.reference, inputs.contigs, min_mapq, short_reads)

    def write_vcf(self, name: str, records: RecordSource, header: str | None = None) -> None:
        """Write records under a final name."""
        written, path = 0, self.config.output / name
        with VcfWriter(path, header or self.header(), self.inputs.reference.lengths.items()) as writer:
            for record in records.iter_all():
                writer.write(record)
                written += 1
            self.snapshot.check()
        logger.info("%d records in %s", written, path)

    def write_gvcf(self, merged: RecordSource, pileup: StageRecords) -> None:
        """Write the gVCF: variants, and blocks from the site counts of the pileup stage (spec/calling.md 6)."""
        config, reference, path = self.config, self.inputs.reference, self.config.output / GVCF
        began = time.monotonic()
        listed = reference.lengths
        if not config.all_contigs_in_gvcf:
            called = {contig.name for contig in self.inputs.contigs}
            listed = {name: length for name, length in listed.items() if name in called}
        header = vcf.header(config.sample_name, str(config.reference), listed.items(), config.command_line, gvcf=True)
        with pysam.FastaFile(str(reference.path)) as fasta, VcfWriter(path, header, listed.items()) as writer:
            for contig in pileup.contigs:
                blocks = self.iter_blocks(contig, listed[contig], pileup, fasta)
                variants, letter = merged.iter_contig(contig), letter_reader(fasta, contig)
                for text in merge_blocks(variants, blocks, letter, haploid=config.haploid is not None):
                    writer.write_text(contig, text)
            self.snapshot.check()
        logger.info("%s in %.2f s", path, time.monotonic() - began)

    def iter_blocks(self, contig: str, length: int, pileup: StageRecords, fasta: pysam.FastaFile) -> Iterator[bytes]:
        """Yield the gVCF blocks of a contig in pieces, each whole lines."""
        cells = gvcf_cells(self.config, self.inputs, contig, length)
        blocks = Blocks(contig, length, cells, self.config.blocks)
        for chunk in pileup.tasks[contig]:
            n_ref, n_total = pileup.ledger.read_site_counts(chunk)
            yield blocks.feed(chunk.start, fasta.fetch(contig, chunk.start, chunk.end).encode(), n_ref, n_total)
        yield blocks.finish()

    def phase_output(self, merged: MergedRecords) -> None:
        """Write the phased VCF and the haplotagged BAM, if asked for (spec/calling.md 11). Raises PhasingError."""
        config, program = self.config, self.config.final_phaser
        if program is None:
            return
        logger.info("7/7 Phasing VCF output in parallel using %s", PROGRAM_NAMES[program])
        folder = self.make_folder("merge_output")
        phased = phase_records(config, folder, self.header(), merged, self.unphased)
        self.write_vcf(PHASED_VCF, phased, phased.header())
        if config.haplotag:
            logger.info("4/7 Haplotag input BAM file using Whatshap, need some time to finish!")
            whatshap = WhatsHap(find_whatshap(config.whatshap), config.bam, config.reference)
            path, began = config.output / PHASED_BAM, time.monotonic()
            threads = max(1, config.threads // 2)
            whatshap.haplotag(config.output / PHASED_VCF, path, threads, check=self.snapshot.check)
            logger.info("%s in %.2f s", path, time.monotonic() - began)

    def header(self) -> str:
        """The header of this run's VCFs (spec/calling.md 5)."""
        return vcf.reference_header(self.inputs.reference, self.config.sample_name, self.config.command_line)

    def make_ledger(self, stage: str, *options: object) -> Ledger:
        """The ledger of a network's stage, for this run's inputs, model, options and version."""
        config = self.config
        values = {
            "version": VERSION,
            "inputs": [file_identity(config.bam), file_identity(config.reference)],
            "model": read_digest(self.models[stage]),
            "rules": [config.platform, *map(repr, options)],
            "compute": config.compute.identity,
        }
        folder = config.output / "tmp" / f"{stage}_output"
        return Ledger(folder, stage, digest_values(values), site_counts=config.writes_gvcf and stage == PILEUP)

    def make_folder(self, name: str, keep: bool = False) -> Path:
        """Make an empty folder of that name in tmp and return its path; with keep, what it holds stays."""
        folder = self.config.output / "tmp" / name
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def stage_log(self, name: str) -> AbstractContextManager[None]:
        """Open the log file of one stage, under v2.0.2's name."""
        return log.stage_log(self.config.output / "log" / f"{name}.log")


def fingerprint(block: Block, snps: PhasedSnps | None) -> str:
    """A short digest of a block's candidates and of the phased SNPs of its contig."""
    digest = hashlib.sha256(block.pos.tobytes() + repr(block.owned).encode())
    if snps is not None:
        for column in (snps.pos, snps.alt, snps.haplotype, snps.phase_set):
            digest.update(column.tobytes())
    return digest.hexdigest()[:16]


def gvcf_cells(config: CallingConfig, inputs: RunInputs, contig: str, length: int) -> list[Cell]:
    """The cells of a contig, in which gVCF blocks are cut (spec/calling.md 6.1)."""
    if inputs.targets is None:
        return cells_of_contig(length)
    targets = inputs.targets[contig]
    if config.sites is not None:
        return cells_of_sites(length, targets)
    padded = pad(targets)
    return cells_of_contig(length, (int(padded[:, 0].min()), int(padded[:, 1].max())))


def gvcf_spans(config: CallingConfig, inputs: RunInputs) -> dict[str, tuple[int, int]] | None:
    """The span of each contig that a gVCF run looks at, 0-based [start, end); None: the whole contigs.

    One base more than the cells at their end, and all allowed positions: a BED admits the base before it.
    """
    if not config.writes_gvcf or inputs.targets is None:
        return None
    spans = {}
    for contig in inputs.contigs:
        cells = gvcf_cells(config, inputs, contig.name, contig.length)
        allowed = inputs.allowed[contig.name].ravel().tolist()
        edges = [*allowed, *(edge for cell in cells for edge in (cell.start, cell.end + 1))]
        if edges:
            spans[contig.name] = min(edges), min(max(edges), contig.length)
    return spans
