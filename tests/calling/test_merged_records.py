"""Records on their way to the final files."""

import json

import numpy as np
import pytest
from golden_runs import PARITY, PARITY_RUNS, read_records
from hypothesis import given
from hypothesis import strategies as st

from clair3.calling.record_sources import filter_record, merge_records
from clair3.calling.selection import QualCounts, cut_blocks, select, within
from clair3.config import OutputFilter, SelectionOptions
from clair3.errors import ConfigError
from clair3.io.vcf import VcfRecord, format_record, parse_record
from clair3.platforms import PLATFORMS


def call(pos=1000, alt="G", qual="21.31", kind="PASS", genotype="0/1", info="P", likelihoods=""):
    """A record; pos is 1-based."""
    return parse_record(
        f"c\t{pos}\t.\tA\t{alt}\t{qual}\t{kind}\t{info}\tGT:GQ{likelihoods and ':PL'}\t{genotype}:21{likelihoods}"
    )


REFERENCE_CALL = call(alt=".", qual="6.90", kind="RefCall", genotype="0/0")


def stages(pileup: list[int], full_alignment: list[int]) -> list[list[VcfRecord]]:
    """Records of both stages at these 1-based positions; INFO tells the stage."""
    return [[call(pos, info=info) for pos in stage] for stage, info in ((pileup, "P"), (full_alignment, "F"))]


def texts(records) -> list[str]:
    """Position and stage of each record."""
    return [record.pos_text + record.info for record in records]


positions = st.lists(st.integers(1, 60), unique=True).map(sorted)


@given(positions, positions)
def test_full_alignment_wins(pileup, full):
    merged = merge_records(*stages(pileup, full))
    assert texts(merged) == [f"{pos}{'F' if pos in full else 'P'}" for pos in sorted({*pileup, *full})]


@given(positions, positions, st.lists(st.integers(0, 70), unique=True, max_size=8).map(sorted))
def test_only_one_stage_counts_at_each_place_of_short_reads(pileup, full, edges):
    intervals = np.array(edges[: len(edges) // 2 * 2], np.int64).reshape(-1, 2)
    inside = {pos for start, end in intervals for pos in range(start + 1, end + 1)}
    merged = merge_records(*stages(pileup, full), intervals)
    kept = sorted([*({*pileup} - inside), *({*full} & inside)])
    assert texts(merged) == [f"{pos}{'F' if pos in inside else 'P'}" for pos in kept]


def merge_stages(folder, options, places):
    """Return the records of both stages of a run, merged, and the merged ones of v2.0.2.

    places(contig, pileup records) gives the intervals in which full alignment counts, None where it counts everywhere.
    """
    options = dict(option.removeprefix("--").partition("=")[::2] for option in options)
    haploid = [mode for mode in ("precise", "sensitive") if f"haploid_{mode}" in options]
    rule = OutputFilter(int(options.get("qual", 2)), "print_ref_calls" in options, haploid[0] if haploid else None)
    pileup, full, merged = (
        read_records(folder / f"{name}.vcf.gz") for name in ("pileup", "full_alignment", "merge_output")
    )
    pileup, full = (list(map(parse_record, lines)) for lines in (pileup, full))
    written = []
    for contig in dict.fromkeys(record.contig for record in pileup):
        own = [[record for record in records if record.contig == contig] for records in (pileup, full)]
        merging = merge_records(*own, places(contig, pileup))
        written += [format_record(kept) for record in merging if (kept := filter_record(record, rule)) is not None]
    return written, merged


@pytest.mark.parametrize("name", PARITY_RUNS)
def test_parity_runs(name):
    """The records of both stages of v2.0.2 give its merged ones; with short reads the pileup tells where."""
    run = PARITY_RUNS[name]
    platform = PLATFORMS[run["platform"]]

    def places(contig, pileup):
        if not platform.short_reads:
            return None
        counts = QualCounts()
        counts.add(pileup)
        limits = counts.cutoffs(
            SelectionOptions(platform.var_pct_full, platform.ref_pct_full, platform.var_pct_phasing)
        )
        records = [record for record in pileup if record.contig == contig]
        blocks = cut_blocks(contig, select(contig, records, limits).pos, True)
        return within(np.concatenate([block.rows for block in blocks]))

    found, merged = merge_stages(PARITY / "expected" / name, run["options"], places)
    assert found == merged != []


def test_golden_runs(shared_data):
    """The records of both stages of v2.0.2 give its merged ones."""
    compared = 0
    for path in sorted(shared_data.glob("golden/runs/*/run.json")):
        run, folder = json.loads(path.read_text()), path.parent
        files = [folder / f"{name}.vcf.gz" for name in ("pileup", "full_alignment", "merge_output")]
        if not all(file.exists() for file in files) or "vcf_fn" in str(run["options"]):
            continue

        def places(contig, pileup, folder=folder, short_reads=run["platform"] == "ilmn"):
            return windows_of(folder, contig) if short_reads else None

        found, merged = merge_stages(folder, run["options"], places)
        assert found == merged, path
        compared += 1
    assert compared >= 42


def windows_of(folder, contig):
    """Where full alignment counts, by the candidate files of a golden run."""
    files = folder.glob(f"stages/candidate_bed/{contig}.*_*.bed")
    rows = [line.split("\t")[1:] for path in files for line in path.read_text().splitlines()]
    return within(np.array(rows, np.int64).reshape(-1, 2))


# --- the filters of the user --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record, limit, kind",
    [
        (call(), 0, "PASS"),
        (call(), 2, "PASS"),
        (call(qual="2.00"), 2, "LowQual"),  # C2
        (call(qual="2.01"), 2, "PASS"),
        (call(), 30, "LowQual"),
        (call(qual="1.50", kind="LowQual"), 1, "LowQual"),  # C1
        (call(qual="1.50", kind="LowQual"), 0, "LowQual"),
    ],
)
def test_quality_limit_of_the_user(record, limit, kind):
    assert filter_record(record, OutputFilter(qual=limit)) == record._replace(filter=kind)


def test_reference_calls_are_shown_on_demand():
    assert filter_record(REFERENCE_CALL, OutputFilter()) is None
    assert filter_record(REFERENCE_CALL, OutputFilter(print_ref_calls=True, qual=50)) == REFERENCE_CALL


@pytest.mark.parametrize(
    "genotype, alt, precise, sensitive",
    [("0/0", ".", "0", "0"), ("0/1", "G", None, "1"), ("1/1", "G", "1", "1"), ("1/2", "G,T", None, None)],
)
def test_haploid_modes(genotype, alt, precise, sensitive):
    record = call(genotype=genotype, alt=alt, likelihoods=":1,2,3")
    for mode, want in (("precise", precise), ("sensitive", sensitive)):
        kept = filter_record(record, OutputFilter(print_ref_calls=True, haploid=mode))
        assert kept == (want and record._replace(sample=f"{want}:21:0,2"))


@pytest.mark.parametrize("options", [{"qual": -1}, {"haploid": "both"}])
def test_output_filter_is_checked(options):
    with pytest.raises(ConfigError):
        OutputFilter(**options)
