"""Which SNPs are phased and which candidates are called again: the rules, and every run of v2.0.2."""

import gzip
import json
import logging
import math
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from golden_runs import PARITY, PARITY_RUNS, read_records
from hypothesis import given
from hypothesis import strategies as st

from clair3.calling.selection import (
    BLOCK_SIZE,
    Block,
    Cutoffs,
    QualCounts,
    cut_blocks,
    select,
    within,
)
from clair3.config import SelectionOptions
from clair3.errors import ConfigError
from clair3.io.vcf import VcfRecord, format_record, parse_record
from clair3.platforms import PLATFORMS
from clair3.records import Region

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "golden" / "runs"


def record(pos, qual, genotype="0/1", ref="A", alt="G", contig="chr1", keys="GT:GQ:DP:AD:AF", values="9:9:4,5:0.5"):
    """A record of the pileup stage; pos is 1-based, qual a number or the text itself."""
    qual = qual if isinstance(qual, str) else f"{qual:.2f}"
    return VcfRecord(contig, str(pos), ".", ref, alt, qual, "PASS", "P", keys, f"{genotype}:{values}")


def reference_call(pos, qual):
    return record(pos, qual, "0/0", alt=".")


def cutoffs(records, var_pct_full=0.7, ref_pct_full=0.1, var_pct_phasing=0.7, genotyping=False) -> Cutoffs:
    counts = QualCounts()
    counts.add(records)
    return counts.cutoffs(SelectionOptions(var_pct_full, ref_pct_full, var_pct_phasing, genotyping))


def numbered(quals: list[float], fraction: float) -> float:
    """The rule in its own words: QUAL number int(fraction * n) of the sorted list, counted from 1, or 0.0."""
    number = int(fraction * len(quals))
    return sorted(quals)[number - 1] if number else 0.0


kinds = st.sampled_from(
    [
        ("0/0", "A", "."),
        ("0/1", "A", "G"),
        ("1/1", "A", "G"),
        ("0/1", "AC", "A"),
        ("0/1", "A", "AC"),
        ("1/2", "A", "C,G"),
        ("1/0", "A", "T"),
        ("0|1", "A", "T"),
    ]
)
fractions = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0])


@given(st.lists(st.tuples(kinds, st.integers(0, 11_000))), fractions, fractions, fractions)
def test_counting_gives_the_cutoffs_of_sorting(rows, var_pct_full, ref_pct_full, var_pct_phasing):
    rows = [(kind, centi / 100) for kind, centi in rows]
    lines = [record(pos + 1, qual, *kind) for pos, (kind, qual) in enumerate(rows)]
    found = cutoffs(lines, var_pct_full, ref_pct_full, var_pct_phasing)
    variants = [qual for (genotype, _, _), qual in rows if genotype != "0/0"]
    het_snps = [qual for (genotype, ref, alt), qual in rows if genotype == "0/1" and len(ref) == len(alt) == 1]
    reference = [qual for (genotype, _, _), qual in rows if genotype == "0/0"]
    assert found.variant == numbered(variants, var_pct_full)
    assert found.reference == numbered(reference, ref_pct_full or var_pct_full)
    assert found.phasing == numbered(het_snps, 1 - var_pct_phasing)


@given(st.lists(st.tuples(kinds, st.integers(0, 300))), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_what_is_chosen(rows, variant, reference, phasing):
    limits = Cutoffs(variant / 100, reference / 100, phasing / 100)
    lines = [record(10 * i + 1, centi / 100, *kind) for i, (kind, centi) in enumerate(rows)]
    found = select("chr1", lines, limits)
    below = [
        10 * i
        for i, ((genotype, _, _), centi) in enumerate(rows)
        if centi < (reference if genotype == "0/0" else variant)
    ]
    assert found.pos.dtype == np.int64 and found.pos.tolist() == below
    snps = [
        format_record(line)
        for line, ((genotype, ref, alt), centi) in zip(lines, rows, strict=True)
        if centi >= phasing and genotype in ("0/1", "1/0", "0|1") and len(ref) == len(alt) == 1
    ]
    assert found.snps == snps
    assert not select("chr1", lines, Cutoffs(1.0, 1.0, None)).snps


def test_a_share_is_taken_in_double_arithmetic():
    lines = [record(pos, pos) for pos in range(1, 11)]
    assert cutoffs(lines, var_pct_phasing=0.9).phasing == 0.0  # int(0.99999...)
    assert cutoffs(lines, var_pct_phasing=0.7).phasing == 3.0
    assert cutoffs(lines, var_pct_full=0.7).variant == 7.0


def test_rows_of_the_cutoff_itself_stay(caplog):
    equal = [record(pos, 5) for pos in range(1, 11)]
    limits = cutoffs(equal, var_pct_full=1.0)
    assert limits == Cutoffs(5.0, 0.0, 5.0)
    found = select("chr1", equal, limits)
    assert found.pos.shape == (0,) and found.pos.dtype == np.int64
    assert len(found.snps) == 10
    assert "Cannot find any low-quality 0/0, 0/1 or 1/1 variant in pileup output in contig chr1" in caplog.text


@pytest.mark.parametrize("genotyping, expected", [(False, 8.0), (True, 0.0)])
def test_no_share_of_reference_calls(genotyping, expected):
    lines = [reference_call(pos, pos) for pos in range(1, 11)]
    assert cutoffs(lines, var_pct_full=0.8, ref_pct_full=0.0, genotyping=genotyping).reference == expected


def test_too_few_rows_are_told(caplog):
    assert cutoffs([], var_pct_full=0.3) == Cutoffs(0.0, 0.0, 0.0)
    phasing, low, *_, reference, last = [record.getMessage() for record in caplog.records]
    assert phasing == (
        "Cannot find any 0/1 variant in pileup output using variant quality cut-off proportion: 0.30000000000000004, "
        "total heterozygous variants: 0"
    )
    assert low == "Set low variant quality score cut-off to 0.0"
    assert reference == (
        "Cannot find any low-quality 0/0 reference calls in pileup output using reference quality cut-off proportion: "
        "0.1, total reference calls: 0"
    )
    assert last == "Set low reference quality score cut-off to 0.0"
    caplog.clear()
    assert cutoffs([record(1, 3), reference_call(2, 3)] * 10, var_pct_phasing=None).phasing is None
    assert not caplog.records


def test_likelihoods_are_not_phased_with():
    limits = Cutoffs(0.0, 0.0, 0.0)
    line = record(7, 12.5, keys="GT:GQ:DP:AD:AF:PL", values="12:9:4,5:0.5556:20,0,30")
    assert select("chr1", [line], limits).snps == [format_record(record(7, 12.5, values="12:9:4,5:0.5556"))]


def test_selected_snps_are_counted_in_the_log(caplog):
    with caplog.at_level(logging.INFO):
        select("chr1", [record(1, 3), record(2, 4)], Cutoffs(9.0, 0.0, 0.0))
    assert caplog.messages == ["Total heterozygous SNP positions selected: chr1: 2"]


def test_positions_are_sorted_and_unique():
    lines = [record(pos, 1) for pos in (9, 3, 9)]
    assert select("chr1", lines, Cutoffs(2.0, 0.0, None)).pos.tolist() == [2, 8]


@pytest.mark.parametrize("count", [0, 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE])
def test_blocks(count):
    pos = np.arange(count) * 3
    blocks = cut_blocks("chr1", pos)
    assert len(blocks) == math.ceil(count / 10_000)
    assert [block.pos.tolist() for block in blocks] == [
        pos[start : start + 10_000].tolist() for start in range(0, count, 10_000)
    ]
    assert [block.name for block in blocks] == [f"chr1.{i}_{len(blocks)}" for i in range(len(blocks))]
    for block in blocks:
        assert (block.region.start, block.region.end) == (block.pos[0], block.pos[-1] + 1)


def test_candidates_near_the_start_keep_their_place():
    assert cut_blocks("c", np.array([0, 16, 17]))[0].bed() == "c\t0\t18\nc\t0\t34\nc\t1\t35\n"


def test_bins_of_short_reads():
    """P of bin b stands for [b - 33, b + 1032] in text; full alignment counts from b - 1 to b + 998 (A.10, C8)."""
    (block,) = cut_blocks("c", np.array([0, 998, 999, 1998, 1999]), short_reads=True)
    assert block.bed() == "c\t0\t1032\n" * 2 + "c\t966\t2032\n" * 2 + "c\t1966\t3032\n"
    assert block.region == Region("c", 0, 3032)
    assert within(Block("c", 0, 1, np.array([5, 1500, 4200]), True).rows).tolist() == [[32, 1998], [3998, 4998]]


def test_blocks_of_short_reads_share_nothing():
    """Every position is of one block, with its bin; a bin of two blocks is the second's."""
    pos = np.concatenate([np.arange(0, 20_000, 2) + 2, [20_001, 25_000]])
    blocks = cut_blocks("c", pos, short_reads=True)
    assert [len(block.pos) for block in blocks] == [10_000, 2] and blocks[1].pos[0] == 20_001
    assert [block.owned for block in blocks] == [(0, 19_998), (19_998, sys.maxsize)]
    assert blocks[0].pos[-1] == 20_000


@pytest.mark.parametrize("name", ["var_pct_full", "ref_pct_full", "var_pct_phasing"])
def test_fractions_out_of_range(name):
    given = {"var_pct_full": 0.7, "ref_pct_full": 0.1, "var_pct_phasing": 0.7}
    for value in (-0.1, 1.5, math.nan):
        with pytest.raises(ConfigError, match=f"--{name}="):
            SelectionOptions(**{**given, name: value})


# --- the runs of v2.0.2 ------------------------------------------------------------------------------------------


def runs():
    """Names of the runs that kept the files of this step."""
    for path in sorted(GOLDEN.glob("*/stages/candidate_bed/qual")):
        yield path.parents[2].name


def read_lines(path: Path) -> tuple[str, list[str]]:
    """Header and records of a VCF."""
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines(keepends=True)
    split = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[:split]), [line.rstrip("\n") for line in lines[split:]]


def unify_options(run: dict) -> SelectionOptions:
    """The rule that the options of a golden run make, with the platform's defaults."""
    options = dict(option.removeprefix("--").partition("=")[::2] for option in run["options"])
    platform = PLATFORMS[run["platform"]]
    names = ("var_pct_full", "ref_pct_full", "var_pct_phasing")
    given = {name: float(options.get(name, 0)) or getattr(platform, name) for name in names}
    if "no_phasing_for_fa" in options:
        given["var_pct_phasing"] = None
    return SelectionOptions(**given, genotyping="vcf_fn" in options)


@pytest.mark.parametrize("name", list(runs()))
def test_golden_run(shared_data, tmp_path, name):
    folder = shared_data / "golden" / "runs" / name
    beds, phase_vcf = folder / "stages" / "candidate_bed", folder / "stages" / "phase_vcf"
    _, lines = read_lines(folder / "pileup.vcf.gz")
    records = list(map(parse_record, lines))
    run = json.loads((folder / "run.json").read_text())
    rule, short_reads = unify_options(run), PLATFORMS[run["platform"]].short_reads
    counts = QualCounts()
    counts.add(records)
    limits = counts.cutoffs(rule)
    assert f"{limits.variant} {limits.reference}" == (beds / "qual").read_text()
    assert (phase_vcf / "phase_qual").exists() == (limits.phasing is not None)
    if limits.phasing is not None:
        assert str(limits.phasing) == (phase_vcf / "phase_qual").read_text()
    found_vcfs, found_beds = set(), {}
    for contig, own in groupby(records, key=lambda record: record.contig):
        selection = select(contig, own, limits)
        blocks = cut_blocks(contig, selection.pos, short_reads)
        found_beds |= {f"{block.name}.bed": block.bed() for block in blocks}
        if short_reads and blocks:  # v2.0.2 has the rows of all blocks in one file, too
            found_beds[f"full_aln_regions_{contig}.bed"] = "".join(block.bed() for block in blocks)
        if limits.phasing is not None:
            assert selection.snps == read_lines(phase_vcf / f"{contig}.vcf.gz")[1]
            found_vcfs.add(f"{contig}.vcf.gz")
    assert found_beds == {path.name: path.read_text() for path in beds.glob("*.bed")}
    kept = {path.name for path in phase_vcf.glob("*.vcf.gz")}
    assert found_vcfs == {name for name in kept if not name.startswith("phased_")}


@pytest.mark.parametrize("name", [name for name in PARITY_RUNS if name != "ilmn"])
def test_parity_run(name):
    """The candidates that v2.0.2 called again are those that its pileup records and the cut-offs give."""
    run, folder = PARITY_RUNS[name], PARITY / "expected" / name
    records = list(map(parse_record, read_records(folder / "pileup.vcf.gz")))
    counts = QualCounts()
    counts.add(records)
    limits = counts.cutoffs(unify_options(run))
    found = {
        f"{contig}\t{pos + 1}"
        for contig, own in groupby(records, key=lambda record: record.contig)
        for pos in select(contig, own, limits).pos.tolist()
    }
    called_again = {"\t".join(line.split("\t")[:2]) for line in read_records(folder / "full_alignment.vcf.gz")}
    assert found == called_again and len(found) > 50


def test_every_run_is_here(shared_data):
    assert len(list(runs())) >= 42
