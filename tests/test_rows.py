"""Rows on their way to the final files."""

import gzip
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clair3.rows import merge_rows
from clair3.selection import within
from clair3.vcf import FinalRule, filter_row

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


def rows_of(path):
    with gzip.open(path, "rt") as lines:
        return [line.rstrip("\n") for line in lines if not line.startswith("#")]


def test_golden_runs(shared_data):
    """The rows of both stages of v2.0.2 give its merged rows."""
    compared = 0
    for path in sorted(shared_data.glob("golden/runs/*/run.json")):
        run, folder = json.loads(path.read_text()), path.parent
        files = [folder / f"{name}.vcf.gz" for name in ("pileup", "full_alignment", "merge_output")]
        if not all(file.exists() for file in files) or "vcf_fn" in str(run["options"]):
            continue
        options = dict(option.removeprefix("--").partition("=")[::2] for option in run["options"])
        haploid = [mode for mode in ("precise", "sensitive") if f"haploid_{mode}" in options]
        rule = FinalRule(int(options.get("qual", 2)), "print_ref_calls" in options, haploid[0] if haploid else None)
        pileup, full, merged = map(rows_of, files)
        contigs = dict.fromkeys(row.split("\t")[0] for row in pileup)
        found = []
        for contig in contigs:
            own = ([row for row in rows if row.startswith(f"{contig}\t")] for rows in (pileup, full))
            places = windows_of(folder, contig) if run["platform"] == "ilmn" else None
            found += [kept for row in merge_rows(*own, places) if (kept := filter_row(row, rule)) is not None]
        assert found == merged, path
        compared += 1
    assert compared >= 42


def windows_of(folder, contig):
    """Where full alignment counts, by the candidate files of a golden run."""
    files = folder.glob(f"stages/candidate_bed/{contig}.*_*.bed")
    rows = [line.split("\t")[1:] for path in files for line in path.read_text().splitlines()]
    return within(np.array(rows, np.int64).reshape(-1, 2))
