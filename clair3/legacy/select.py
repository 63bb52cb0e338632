"""Selection between the networks file by file, as the sub-commands of v2.0.2 do it, by calling.selection's rules."""

import logging
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from clair3 import errors
from clair3.calling.selection import BLOCK_SIZE, Block, Cutoffs, QualCounts, cut_blocks, select
from clair3.calling.tasks import file_name
from clair3.config import SelectionOptions
from clair3.errors import InputError, UsageError
from clair3.io.atomic import make_folder, write_lines
from clair3.io.vcf import VcfRecord, iter_records, iter_stdin, read_header
from clair3.legacy import options
from clair3.platforms import PLATFORMS

logger = logging.getLogger(__name__)

PHASE_QUAL, QUAL = "phase_qual", "qual"
"""Files of the cut-offs in their folders (spec/calling.md 7.1, 7.3)."""

ALL_ROWS = "full_aln_regions"
"""Files with the candidates of a contig of short reads: <ALL_ROWS>_<contig>, v2.0.2's --bed_fn_prefix."""


def compute_cutoffs(records: Iterable[VcfRecord], selection: SelectionOptions) -> Cutoffs:
    """The cut-offs over these records of the pileup stage, in any order."""
    counts = QualCounts()
    counts.add(records)
    return counts.cutoffs(selection)


def write_cutoffs(records: Iterable[VcfRecord], selection: SelectionOptions, path: Path) -> None:
    """Write the phasing cut-off, or without phasing those for full alignment. Raises InputError when it cannot."""
    cutoffs = compute_cutoffs(records, selection)
    numbers = [cutoffs.variant, cutoffs.reference] if cutoffs.phasing is None else [cutoffs.phasing]
    write_lines(path, [" ".join(map(str, numbers))])


def read_cutoffs(path: Path, count: int) -> list[float] | None:
    """The numbers that write_cutoffs left, None without the file. Raises InputError when it holds something else."""
    if not path.is_file():
        return None
    text = path.read_text(errors="replace")
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or any(map(math.isnan, numbers)):
        raise InputError(f"{path}: {text[:80]!r} found, {count} quality cut-offs expected; run SelectQual again")
    return numbers


def select_snps(vcf: Path, contig: str, folder: Path, qual: Path, dropped: float) -> Path:
    """Write `<folder>/<contig>.vcf`, the heterozygous SNPs to phase (spec/calling.md 7.1), and return its path.

    qual is the file of the cut-off; without it the fraction `dropped` of lowest QUAL in the contig is left out.
    Raises InputError when a file cannot be read or written.
    """
    records = sorted(iter_records(vcf, contig), key=lambda record: record.pos)
    numbers = read_cutoffs(qual, 1)
    phasing = numbers[0] if numbers else compute_cutoffs(records, SelectionOptions(1, 1, 1 - dropped)).phasing
    chosen = select(contig, records, Cutoffs(math.inf, math.inf, phasing))
    path = folder / f"{file_name(contig)}.vcf"
    write_lines(path, [*read_header(vcf), *chosen.snps])
    return path


def select_candidates(
    vcf: Path, contig: str, folder: Path, qual: Path, selection: SelectionOptions, short_reads: bool = False
) -> list[Path]:
    """Write the candidates for full alignment, `<folder>/<contig>.<i>_<n>`, and the list of these files,
    `FULL_ALN_FILE_<contig>`, none for no candidates (spec/calling.md 7.3); the paths of the files. With short reads
    also all their rows in `full_aln_regions_<contig>`, for the merge.

    qual is the file of the cut-offs; without it they are taken over the contig, by the fractions of the selection.
    Files of an earlier selection of the contig go first. Raises InputError when a file cannot be read or written.
    """
    name = file_name(contig)
    listing, together = folder / f"FULL_ALN_FILE_{name}", folder / f"{ALL_ROWS}_{name}"
    for stale in (listing, together, *(path for path in folder.glob("*_*") if is_block_file(name, path.name))):
        stale.unlink(missing_ok=True)
    numbers = read_cutoffs(qual, 2)
    cutoffs = Cutoffs(*numbers, None) if numbers else compute_cutoffs(iter_records(vcf, contig), selection)
    blocks = cut_blocks(contig, select(contig, iter_records(vcf, contig), cutoffs).pos, short_reads)
    paths = [folder / f"{name}.{block.index}_{block.count}" for block in blocks]
    for path, block in zip(paths, blocks, strict=True):
        write_lines(path, block.bed().splitlines())
    if paths:
        write_lines(listing, map(str, paths))
    if short_reads:  # also without rows, so that a missing file is an error
        write_lines(together, (row for block in blocks for row in block.bed().splitlines()))
    return paths


def select_training_candidates(
    vcf: Path, contig: str, prefix: Path, chunks: int, var_pct: float, ref_pct: float
) -> list[Path]:
    """Write the candidates for full-alignment training, `<prefix>_<k>` with k from 1 to chunks, and return the paths.

    They are the fractions of lowest QUAL of the contig's variants and reference calls, together cut into nearly equal
    parts (spec/training.md A.6); a part without any is a file of one empty row. Rows are as SelectCandidates writes
    them. Raises InputError when a file cannot be read or written.
    """
    kinds: dict[bool, list[tuple[float, int]]] = {False: [], True: []}
    for record in iter_records(vcf, contig):
        try:
            kinds[record.alt_text not in (".", record.ref)].append((record.qual, record.pos))
        except ValueError:
            place = f"{vcf}: {contig}:{record.pos_text}"
            raise InputError(f"{place} has the QUAL {record.qual_text!r}, not a number") from None
    if not any(kinds.values()):
        logger.warning("%s: no calls on contig %s", vcf, contig)
    chosen = []
    for is_variant, fraction in ((False, ref_pct), (True, var_pct)):
        calls = sorted(kinds[is_variant], key=lambda call: call[0])
        lowest = calls[: int(fraction * len(calls))]
        logger.info("%s: %d of %d %s", contig, len(lowest), len(calls), "variants" if is_variant else "reference calls")
        chosen += [pos for _, pos in lowest]
    pos = np.unique(np.array(chosen, np.int64))
    size, paths = -(-len(pos) // chunks), []
    for k in range(chunks):
        part = pos[size * k : size * (k + 1)]
        paths.append(prefix.with_name(f"{prefix.name}_{k + 1}"))
        write_lines(paths[-1], Block(contig, k, chunks, part).bed().splitlines() or [""])
    return paths


def without_prefix(contig: str, prefix: str) -> str:
    """A contig's name without chr, or what else contigs begin with here; names that do not begin so stay."""
    return contig.removeprefix(prefix) or contig


def is_block_file(contig: str, name: str) -> bool:
    """Whether a file name is `<contig>.<i>_<n>`."""
    before, _, numbers = name.rpartition(".")
    return before == contig and all(word.isdigit() for word in numbers.split("_"))


class SelectQual:
    """Write the quality cut-offs of a pileup VCF on stdin, for phasing (--phase) or for full alignment."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--output_fn", required=True, metavar="DIR", help="folder of the cut-off file")
        parser.add_argument("--phase", action="store_true", help="cut-off of the SNPs for phasing")
        options.add_shares(parser, "var_pct_full", text="share of variants called again")
        options.add_shares(parser, "ref_pct_full", text="share of reference calls called again")
        options.add_shares(parser, "var_pct_phasing", text="share of SNPs for phasing")
        parser.add_argument("--qual_fn", metavar="NAME", help=options.HIDDEN)
        options.add_platform(parser)
        options.add_texts(parser, "vcf_fn")

    @staticmethod
    def run(args):
        options.refuse(args)
        selection = SelectionOptions(args.var_pct_full, args.ref_pct_full, None, genotyping=bool(args.vcf_fn))
        if args.phase:
            selection = SelectionOptions(1, 1, args.var_pct_phasing)
        name = args.qual_fn or (PHASE_QUAL if args.phase else QUAL)
        records = (line for line in iter_stdin() if isinstance(line, VcfRecord))
        write_cutoffs(records, selection, make_folder(args.output_fn) / name)


class SelectHetSnp:
    """Choose a contig's heterozygous SNPs for phasing, or candidates for full-alignment training."""

    @staticmethod
    def add_arguments(parser):
        options.add_texts(parser, "vcf_fn", "alt_fn")
        parser.add_argument("--split_folder", required=True, metavar="DIR", help="where the result is written")
        parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
        parser.add_argument(
            "--phase", action="store_false", help="choose candidates for training from --alt_fn instead"
        )
        options.add_shares(parser, "var_pct_full", text="share left out (no cut-off file), or chosen")
        parser.add_argument(
            "--ref_pct_full", type=float, help="of reference calls, for training (default: --var_pct_full)"
        )
        parser.add_argument("--qual_fn", default=PHASE_QUAL, metavar="NAME", help="the cut-off file in --split_folder")
        parser.add_argument("--chunk_num", type=int, default=1, metavar="N", help="files of candidates for training")
        for name, default in (("sampleName", ""), ("depth", "1000"), ("chr_prefix", "chr")):
            parser.add_argument(f"--{name}", default=default, metavar="TEXT", help="in the names of these files")
        options.add_accepted(parser, "split_bed_size", "split_region_size", "calling", flags=("phasing_info_in_bam",))
        options.add_refused(parser, "all_alt_fn", "realign_window_size", "chunk_id")

    @staticmethod
    def run(args):
        options.refuse(args)
        ref_pct = args.var_pct_full if args.ref_pct_full is None else args.ref_pct_full
        errors.check_range("var_pct_full", args.var_pct_full, 0, 1)
        errors.check_range("ref_pct_full", ref_pct, 0, 1)
        errors.check_range("chunk_num", args.chunk_num, 1)
        options.require(args, "vcf_fn" if args.phase else "alt_fn")
        if args.phase and args.alt_fn:
            raise UsageError("--alt_fn is for training; add --phase, or leave it out")
        folder = make_folder(args.split_folder)
        if args.phase:
            select_snps(Path(args.vcf_fn), args.ctgName, folder, folder / args.qual_fn, args.var_pct_full)
            return
        prefix = folder / f"{args.sampleName}_{args.depth}_{without_prefix(args.ctgName, args.chr_prefix)}"
        select_training_candidates(Path(args.alt_fn), args.ctgName, prefix, args.chunk_num, args.var_pct_full, ref_pct)


class SelectCandidates:
    """Choose the candidates of one contig for full alignment from the pileup VCF."""

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--pileup_vcf_fn", required=True, metavar="VCF", help="the pileup VCF")
        parser.add_argument("--split_folder", required=True, metavar="DIR", help="where <contig>.<i>_<n> are written")
        parser.add_argument("--ctgName", required=True, metavar="NAME", help="the contig")
        options.add_shares(parser, "var_pct_full", "ref_pct_full", text="without a cut-off file")
        parser.add_argument("--qual_fn", default=QUAL, metavar="NAME", help="the cut-off file in --split_folder")
        parser.add_argument("--split_bed_size", type=int, default=BLOCK_SIZE, help="candidates of a file")
        parser.add_argument("--phasing_info_in_bam", action="store_true", help="no effect")
        options.add_platform(parser)
        options.add_accepted(parser, "ref_fn", "samtools", "phased_vcf_fn", "chr_prefix", "seq_entropy_pro")
        options.add_refused(parser, "all_alt_fn", flags=("call_low_seq_entropy",))

    @staticmethod
    def run(args):
        options.refuse(args)
        if args.split_bed_size != BLOCK_SIZE:
            raise UsageError(f"--split_bed_size is {BLOCK_SIZE} in this version: the calls depend on it")
        folder, rule = make_folder(args.split_folder), SelectionOptions(args.var_pct_full, args.ref_pct_full, None)
        short_reads = PLATFORMS[args.platform].short_reads
        select_candidates(Path(args.pileup_vcf_fn), args.ctgName, folder, folder / args.qual_fn, rule, short_reads)
