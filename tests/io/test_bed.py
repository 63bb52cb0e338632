"""BED and known sites, and the chunks of a run."""

import gzip
import time
from itertools import pairwise

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clair3.errors import ConfigError, InputError
from clair3.features.chunks import MAX_GAP, SEEK_BASES, TASK_BASES, group_near, plan_chunks
from clair3.io.bed import allowed_at_sites, allowed_in_bed, merge, pad, pad_sites, read_bed
from clair3.io.fasta import Contig
from clair3.io.known_sites import iter_known_sites, read_known_sites, site_positions
from clair3.records import Region


def write(path, text):
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        file.write(text.encode())
    return path


# Reading


@pytest.mark.parametrize("name", ["x.bed", "x.bed.gz"])
@pytest.mark.parametrize(
    "text",
    [
        "chr1\t5\t9\nchr2\t0\t3\nchr1\t1\t1\n",
        "chr1\t5\t9\r\nchr2\t0\t3\r\nchr1\t1\t1",
        "# x\ntrack name=a\nbrowser position chr1\n\nchr1 5 9 name + extra\n  \nchr2  0\t3\n#\nchr1 1 1\n",
    ],
)
def test_bed(tmp_path, name, text):
    bed = read_bed(write(tmp_path / name, text))
    assert {contig: rows.tolist() for contig, rows in bed.items()} == {"chr1": [[5, 9], [1, 1]], "chr2": [[0, 3]]}
    assert all(rows.dtype == np.int64 for rows in bed.values())


def test_empty_bed(tmp_path):
    assert read_bed(write(tmp_path / "x.bed", "")) == {}


def test_a_contig_may_be_called_track(tmp_path):
    assert list(read_bed(write(tmp_path / "x.bed", "track\t1\t2\n"))) == ["track"]


@pytest.mark.parametrize(
    "row",
    ["chr1 500 100", "chr1 -5 20", "chr1 x y", "chr1 10", "chr1", "chr1 1.5 2", "chr1 1_0 20", "chr1 1 " + "9" * 19],
)
def test_bed_rows_that_are_refused(tmp_path, row):
    path = write(tmp_path / "x.bed", f"# c\nchr1 1 2\n{row} name\n" if row.count(" ") == 2 else f"#\n\n{row}\n")
    with pytest.raises(InputError) as error:
        read_bed(path)
    assert str(error.value).startswith(f"Invalid bed input in 3-th row {row} of {path}: ")


def read_site_rows(path):
    return list(iter_known_sites(path))


@pytest.mark.parametrize("read", [read_bed, read_site_rows])
def test_cut_files_are_refused(tmp_path, read):
    text = "".join(f"chr1\t{pos}\t{pos + 1}\n" for pos in range(10_000))
    path = write(tmp_path / "x.gz", text)
    whole = path.read_bytes()
    for damaged in (whole[:-500], whole[:-8] + bytes(4) + whole[-4:]):  # cut; another checksum
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be decompressed"):
            read(path)
    with pysam.BGZFile(str(path), "w") as file:
        file.write(text.encode())
    path.write_bytes(path.read_bytes()[:-28])
    with pytest.raises(InputError, match="the end of the file is missing"):
        read(path)
    with pytest.raises(InputError, match="cannot be read, No such file"):
        read(tmp_path / "absent")


def test_odd_files_end_in_a_sentence(shared_data):
    folder = shared_data / "robustness"
    beds = dict.fromkeys([*folder.glob("bed/*"), *folder.glob("made/*.bed")], read_bed)
    vcfs = dict.fromkeys([*folder.glob("vcf*/*.vcf*"), folder / "made/known_cut.vcf.gz"], read_site_rows)
    refused = set()
    for path, read in (beds | vcfs).items():
        if path.suffix not in (".tbi", ".csi"):
            try:
                read(path)
            except InputError as error:
                assert str(path) in str(error)
                refused.add(path.name)
    assert refused == {
        "malformed.bed",
        "pileup_with_header.bed",
        "bad_intervals.bed",
        "malformed.vcf",
        "failed_body_pos_000.vcf",
        "failed_body_pos_001.vcf",
        "failed_body_pos_002.vcf",
        "known_cut.vcf.gz",
    }


# Allowed positions


def test_padding_is_that_of_v2_0_2(shared_data):
    bed = read_bed(shared_data / "sim/small/regions.bed")
    sites = site_positions(read_known_sites(shared_data / "sim/small/known.vcf.gz", dict.fromkeys(bed, 10**6)))
    for run, padded in (("ont_bed", {c: pad(rows) for c, rows in bed.items()}),
                        ("ont_vcf", {c: pad_sites(rows) for c, rows in sites.items()})):  # fmt: skip
        for contig, rows in padded.items():
            golden = (shared_data / f"golden/runs/{run}/stages/split_beds/{contig}").read_text().splitlines()
            assert {f"{contig} {start} {end}" for start, end in rows.tolist()} == set(golden)


intervals = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 60)).map(lambda pair: (pair[0], sum(pair))), max_size=8
).map(lambda rows: np.array(rows, np.int64).reshape(-1, 2))


@given(intervals, st.integers(1, 350))
def test_allowed_in_bed_is_the_overlap_rule(bed, length):
    """spec/features.md A.6, written as it stands there."""
    expected = [
        pos1 - 1
        for pos1 in range(1, length + 1)
        if any(s < pos1 + 1 and e > pos1 - 1 for s, e in np.maximum(bed + np.array([-33, 33]), 0).tolist())
    ]
    assert positions(allowed_in_bed(bed, length)) == expected


@given(st.lists(st.integers(0, 300), max_size=12, unique=True).map(sorted), st.integers(1, 350))
def test_allowed_at_sites_are_sites_inside_their_rows(sites, length):
    """spec/features.md A.7: a site at POS <= 33 has no row, and is called only inside the row of another site."""
    rows = [(p - 33, p + 34) for p in sites if p >= 33]
    expected = [p for p in sites if p < length and any(s < p + 2 and e > p for s, e in rows)]
    assert positions(allowed_at_sites(np.array(sites, np.int64), length)) == expected


@given(intervals)
def test_merge(rows):
    merged = merge(rows)
    assert positions(merged) == sorted({p for start, end in rows.tolist() for p in range(start, end)})
    assert (merged[1:, 0] > merged[:-1, 1]).all() and (merged[:, 0] < merged[:, 1]).all()


def positions(rows):
    return [p for start, end in rows.tolist() for p in range(start, end)]


# The plan


@given(st.lists(st.integers(0, 500), max_size=4), st.integers(1, 600))
def test_chunks_cover_every_position_once(lengths, size):
    contigs = [Contig(f"c{i}", length) for i, length in enumerate(lengths)]
    chunks = plan_chunks(contigs, None, size)
    owned = [(chunk.contig, p) for chunk in chunks for p in range(chunk.start, chunk.end)]
    assert owned == [(contig.name, p) for contig in contigs for p in range(contig.length)]
    assert all(0 < chunk.end - chunk.start <= size and chunk.intervals is None for chunk in chunks)
    for contig in contigs:
        spans = [c.end - c.start for c in chunks if c.contig == contig.name]
        assert not spans or max(spans) - min(spans) <= 1
        assert [c.index for c in chunks if c.contig == contig.name] == list(range(len(spans)))


far_apart = st.lists(st.tuples(st.integers(1, 2 * MAX_GAP), st.integers(1, 60)), max_size=8).map(
    lambda pairs: np.cumsum(np.array(pairs, np.int64).reshape(-1, 2).reshape(-1)).reshape(-1, 2)
)


@given(far_apart, st.integers(1, 40_000))
def test_chunks_cover_the_allowed_positions_once(allowed, size):
    chunks = plan_chunks([Contig("a", 10**6), Contig("b", 10**6)], {"a": allowed}, size)
    assert [p for chunk in chunks for p in positions(chunk.intervals)] == positions(allowed)
    for chunk in chunks:
        assert chunk.contig == "a"
        assert (chunk.start, chunk.end) == (chunk.intervals[0, 0], chunk.intervals[-1, 1])
        parts = [allowed for _, _, allowed in chunk.parts()]
        np.testing.assert_array_equal(np.concatenate(parts), chunk.intervals)
        for part in parts:
            assert part[-1, 1] - part[0, 0] <= TASK_BASES
            assert (part[1:, 0] - part[:-1, 1] <= MAX_GAP).all()
    for before, after in pairwise(chunks):
        assert before.end <= after.start
        assert to_read(before.intervals, size) + to_read(after.intervals, size) > size


@given(far_apart, st.integers(200, 40_000), st.integers(0, 100))
def test_chunks_of_a_gvcf_leave_no_gap(allowed, size, more):
    if not len(allowed):
        return
    span = max(0, int(allowed[0, 0]) - more), int(allowed[-1, 1]) + more
    chunks = plan_chunks([Contig("a", 10**6), Contig("b", 10)], {"a": allowed}, size, {"a": span})
    assert [chunk.start for chunk in chunks] + [span[1]] == [span[0]] + [chunk.end for chunk in chunks]
    assert [p for chunk in chunks for p in positions(chunk.intervals)] == positions(allowed)
    for chunk in chunks:
        ((start, end, inside),) = chunk.parts()
        assert (start, end) == (chunk.start, chunk.end) and inside is chunk.intervals


def to_read(intervals, size):
    return sum(int(group[-1, 1] - group[0, 0]) + SEEK_BASES for group in group_near(intervals, size))


def test_a_chunk_is_never_larger_than_a_task():
    chunks = plan_chunks([Contig("a", 3 * TASK_BASES + 1)], None, 5_000_000)
    assert [chunk.end - chunk.start for chunk in chunks] == [375_000, 375_000, 375_000, 375_001]
    assert str(chunks[1].region) == str(Region("a", 375_000, 750_000))


@pytest.mark.parametrize("size", [0, -5])
def test_chunk_size_must_be_positive(size):
    with pytest.raises(ConfigError, match=rf"--chunk_size={size} \(minimum:1\) out of range"):
        plan_chunks([Contig("a", 10)], None, size)


def test_an_exome_is_planned_at_once():
    rng = np.random.default_rng(1)
    genes = np.sort(rng.integers(0, 240_000_000, 20_000))
    starts = np.sort(
        (genes[:, None] + np.cumsum(rng.exponential(3_000, (20_000, 10)), axis=1)).astype(np.int64).ravel()
    )
    exons = np.stack([starts, starts + rng.integers(80, 300, len(starts))], axis=1)
    began = time.perf_counter()
    chunks = plan_chunks([Contig("chr1", 250_000_000)], {"chr1": allowed_in_bed(exons, 250_000_000)}, 5_000_000)
    assert time.perf_counter() - began < 2
    assert len(chunks) < 2 * 250_000_000 / TASK_BASES
    assert max(to_read(chunk.intervals, TASK_BASES) for chunk in chunks) <= TASK_BASES + SEEK_BASES
    assert sum(len(chunk.intervals) for chunk in chunks) <= len(exons) + len(chunks)
