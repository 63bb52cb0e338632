"""Rows on their way to the final files."""

import json

import numpy as np
import pytest
from golden_runs import PARITY, PARITY_RUNS, read_records
from hypothesis import given
from hypothesis import strategies as st

from clair3.calling.selection import QualCounts, cut_blocks, select, within
from clair3.calling.tasks import merge_rows
from clair3.config import OutputFilter, SelectionOptions
from clair3.io.vcf import filter_row
from clair3.platforms import PLATFORMS

positions = st.lists(st.integers(1, 60), unique=True).map(sorted)


@given(positions, positions)
def test_full_alignment_wins(pileup, full):
    merged = list(merge_rows([f"c\t{pos}\tP" for pos in pileup], [f"c\t{pos}\tF" for pos in full]))
    assert merged == [f"c\t{pos}\t{'F' if pos in full else 'P'}" for pos in sorted({*pileup, *full})]


@given(positions, positions, st.lists(st.integers(0, 70), unique=True, max_size=8).map(sorted))
def test_only_one_stage_counts_at_each_place_of_short_reads(pileup, full, edges):
    intervals = np.array(edges[: len(edges) // 2 * 2], np.int64).reshape(-1, 2)
    inside = {pos for start, end in intervals for pos in range(start + 1, end + 1)}
    merged = list(merge_rows([f"c\t{pos}\tP" for pos in pileup], [f"c\t{pos}\tF" for pos in full], intervals))
    kept = sorted([*({*pileup} - inside), *({*full} & inside)])
    assert merged == [f"c\t{pos}\t{'F' if pos in inside else 'P'}" for pos in kept]


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
    found = []
    for contig in dict.fromkeys(row.split("\t")[0] for row in pileup):
        own = [[row for row in rows if row.startswith(f"{contig}\t")] for rows in (pileup, full)]
        merging = merge_rows(*own, places(contig, pileup))
        found += [kept for row in merging if (kept := filter_row(row, rule)) is not None]
    return found, merged


@pytest.mark.parametrize("name", PARITY_RUNS)
def test_parity_runs(name):
    """The rows of both stages of v2.0.2 give its merged rows; where short reads are called again, pileup rows tell."""
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
        rows = [row for row in pileup if row.startswith(f"{contig}\t")]
        blocks = cut_blocks(contig, select(contig, rows, limits).pos, True)
        return within(np.concatenate([block.rows for block in blocks]))

    found, merged = merge_stages(PARITY / "expected" / name, run["options"], places)
    assert found == merged != []


def test_golden_runs(shared_data):
    """The rows of both stages of v2.0.2 give its merged rows."""
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
