"""What one read shows around a candidate (spec/features.md C.4, C.7, C.10), asked of the slow reference."""

from dataclasses import replace

import numpy as np
import pytest
from full_alignment_reference import Cell, read_cells, reference_full_alignment
from pileup_reference import Read
from random_full_alignment import DEFAULTS, many, matching
from random_reads import REVERSE, read_bam, write_bam

REF, ALT, STRAND, MAPQ, QUALITY, FRACTION, INSERTED, HAPLOTYPE, DWELL = range(9)

REPEAT = "ACGT" * 20
"""REPEAT[20:24] is ACGT."""


@pytest.fixture
def cells_of():
    """cells_of(cigar, seq): row (33, 9) of a read that starts at 20, around candidate 36, by the slow reference.

    Its first column is the read's first base. Another read of A lies over it.
    """

    def run(cigar, seq, ref=REPEAT, **attributes):
        read = Read(20, cigar, seq, **attributes)
        options = DEFAULTS | {"rows": 2, "dwell": True}
        result = reference_full_alignment(ref, [matching(0, 70, name="other"), read], [36], **options)
        assert result.kept[1] == read
        return result.tensors[0][1]

    return run


# -- letters and indels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cigar, seq, ref_codes, alternatives, inserted",
    [
        ("4M", "ACGT", [100, 25, 75, 50], [0] * 4, [0] * 4),
        ("2=2X", "ACCG", [100, 25, 75, 50], [0, 0, 25, 75], [0] * 4),
        ("4M", "TGNR", [100, 25, 75, 50], [50, 75, 100, 0], [0] * 4),
        ("4M", "CDK=", [100, 25, 75, 50], [25, -100, 0, 0], [0] * 4),  # E-B8
        ("2M2D1M", "ACA", [100, 25, 0, 0, 100], [0, -100, 0, 0, 0], [0] * 5),
        ("2M1D2D1M", "ACC", [100, 25, 0, 0, 0, 25], [0, -100, 0, 0, 0, 0], [0] * 6),
        ("2M2I2M", "ACGTGT", [100, 25, 75, 50], [0, -50, 0, 0], [0, 75, 50, 0]),
        ("2M2I2M", "AGGTGT", [100, 25, 75, 50], [0, -50, 0, 0], [0, 75, 50, 0]),  # a mismatch below it
        ("1M3I3M", "AN=DCGT", [100, 25, 75, 50], [-50, 0, 0, 0], [100, 0, -100, 0]),
        ("2M2I3I1M", "ACAAGTGG", [100, 25, 75], [0, -50, 0], [0, 75, 50, 75, 0]),  # the last one stays
        ("2M2I2D1M", "ACGTA", [100, 25, 0, 0, 100], [0, -50, 0, 0, 0], [0, 75, 50, 0, 0]),
        ("2M2D2I1M", "ACGTA", [100, 25, 0, 0, 100], [0, -100, 0, 0, 0], [0] * 5),  # anchored on a deleted base
        ("1M3I1M3I2M", "ATTTCGGGGT", [100, 25, 75, 50], [-50, -50, 0, 0], [50, 75, 75, 75]),  # K20
        ("1M4I2D1M", "ATTGGT", [100, 0, 0, 50], [-50, 0, 0, 0], [50, 50, 75, 75]),  # K20: deleted columns
        ("1M3I", "ATGC", [100, 0, 0, 0], [-50, 0, 0, 0], [50, 75, 25, 0]),  # K20: uncovered columns
        ("2S2I2M2S", "GGTTACGG", [100, 25, 0, 0], [0] * 4, [0] * 4),
        ("2H2D1M", "G", [0, 0, 75], [0] * 3, [0] * 3),
        ("2I2M", "GGAC", [100, 25], [0] * 2, [0] * 2),
        ("1M1P1I1P1I1M", "AGTC", [100, 25, 0], [-50, 0, 0], [50, 0, 0]),
        ("1M1P1D1M", "AG", [100, 0, 75], [-100, 0, 0], [0] * 3),
        ("1M2N1M", "AT", [100, 25, 75, 50], [0] * 4, [0] * 4),  # E-B4
        ("1M2N2I1M", "AGGT", [100, 25, 75, 50], [0, 0, -50, 0], [0, 0, 75, 75]),
        ("1M2N1D1M", "AA", [100, 25, 75, 0, 100], [0, 0, -100, 0, 0], [0] * 5),
    ],
)
def test_cells(cells_of, cigar, seq, ref_codes, alternatives, inserted):
    row = cells_of(cigar, seq)
    width = len(inserted)
    assert row[:, REF].tolist() == ref_codes + [0] * (33 - len(ref_codes))
    assert row[:, ALT].tolist() == alternatives + [0] * (33 - len(alternatives))
    assert row[:, INSERTED].tolist() == inserted + [0] * (33 - width)
    covered = row[:, REF] != 0
    assert set(row[covered, STRAND]) == {100}
    assert set(row[covered, HAPLOTYPE]) == {60}
    assert not row[~covered][:, [STRAND, MAPQ, QUALITY, HAPLOTYPE, DWELL]].any()


def test_insertions_at_the_right_edge(cells_of):  # C.7: p < 32
    for length, columns in [(31, {30, 31, 32}), (32, {31, 32}), (33, set()), (34, set())]:
        row = cells_of(f"{length}M3I9M", "A" * length + "GGG" + "A" * 9)
        assert set(np.flatnonzero(row[:, INSERTED]).tolist()) == columns
    assert row[32, ALT] == 0
    assert cells_of("33M3I9M", "A" * 33 + "GGG" + "A" * 9)[32, ALT] == -50


def test_reference_codes(cells_of):
    """The letters of the reference, their cells and channel 5, which is written where the code is not 0."""
    ref = "A" * 20 + "ACGTNDRYSWKMBHVacgtnd" + "A" * 30
    row = cells_of("30M", "G" * 30, ref)
    assert row[:21, REF].tolist() == [100, 25, 75, 50, 100, -100, *[0] * 9, 100, 25, 75, 50, 100, -100]
    assert row[:30, ALT].tolist() == [75, 75, 0, *[75] * 14, 0, *[75] * 12]
    assert set(row[:30, STRAND]) == {100}
    assert (row[:, FRACTION] == np.where(row[:, REF] != 0, 50, 0)).all()
    letters = "ACGTNDRYSWKMBHV"
    assert not cells_of(f"{len(letters)}M", letters, ref)[:, ALT].any()


@pytest.mark.parametrize(
    "mapq, channel", [(5, 8), (7, 11), (20, 33), (29, 48), (58, 96), (59, 98), (60, 100), (61, 100), (255, 100)]
)
def test_mapping_quality(cells_of, mapq, channel):
    assert cells_of("4M", "ACGT", mapq=mapq)[:5, MAPQ].tolist() == [channel] * 4 + [0]


def test_base_quality_and_strand(cells_of):
    row = cells_of("2M2D2M2N2I1M", "ACGTGGA", qual=(0, 1, 39, 40, 93, 93, 7), flag=REVERSE)
    assert row[:, QUALITY].tolist() == [0, 2, 0, 0, 97, 100, 0, 0, 17] + [0] * 24
    assert row[:, STRAND].tolist() == [50, 50, 0, 0, 50, 50, 50, 50, 50] + [0] * 24
    assert cells_of("2M", "AC")[:2, QUALITY].tolist() == [100, 100]
    assert cells_of("2M", "AC", qual=(255, 255))[:2, QUALITY].tolist() == [100, 100]


def test_cells_outside_the_windows_are_not_kept():
    cells = read_cells(Read(3, "3M2I2D3M", "ACGTTACG"), {1, 2, 4, 5, 9, 11})
    assert cells == {
        4: Cell("C", 100),
        5: Cell("G", 100, 0, ["TT"], [2]),
        9: Cell("C", 100),
    }
    assert read_cells(Read(3, "3M2I2D3M", "ACGTTACG"), {6, 8}) == {6: Cell("*"), 8: Cell("A", 100)}


# -- dwell times, C.10 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moves, forward",
    [
        (None, [0, 0, 0, 0]),
        (6, [0, 0, 0, 0]),
        ((6,), [0, 0, 0, 0]),
        ((6, 0, 0), [0, 0, 0, 0]),
        ((6, 1, 0, 0, 1, 1, 0, 1), [3, 1, 2, 1]),
        ((0, 0, 0, 1, 0, 1), [2, 1, 0, 0]),  # blocks before the first base, and bases without any
        ((6, 1, 1, 1, 1, 0, 1, 0, 0), [1, 1, 1, 2]),  # more than the sequence has
        ((6, 2, 0, -1, 7, 1), [2, 1, 1, 1]),
        ((6, 1, *[0] * 129, 1, *[0] * 299, 1, *[0] * 126, 1, *[0] * 255), [-126, 44, 127, 0]),  # K9
    ],
)
def test_dwell(cells_of, moves, forward):
    assert cells_of("4M", "ACGT", mv=moves)[:, DWELL].tolist() == forward + [0] * 29
    assert cells_of("4M", "ACGT", mv=moves, flag=REVERSE)[:4, DWELL].tolist() == forward[::-1]


def test_dwell_of_insertions_and_clips(cells_of):
    moves = (6, 1, 0, 1, 0, 1, 0, 1)
    assert cells_of("1M2I1M", "ACCC", mv=moves)[:3, DWELL].tolist() == [6, 1, 0]  # C.12
    assert cells_of("1M1I1I1M", "ACCC", mv=moves)[:3, DWELL].tolist() == [6, 1, 0]
    assert cells_of("2S2M", "ACAC", mv=moves)[:3, DWELL].tolist() == [2, 1, 0]
    assert cells_of("2S2M", "ACAC", mv=moves, flag=REVERSE)[:3, DWELL].tolist() == [2, 2, 0]
    assert cells_of("5H2M", "AC", mv=moves)[:3, DWELL].tolist() == [2, 2, 0]
    assert cells_of("1M1D2I1M", "ACCC", mv=moves)[:3, DWELL].tolist() == [2, 0, 1]
    assert cells_of("1M1N2I1M", "ACCC", mv=moves)[:3, DWELL].tolist() == [2, 4, 1]


def test_move_tables_survive_files(tmp_path):
    tables = [None, 5, (5,), (5, 1, 0, 1), (5, 1, 0, 300), (-1, -200, 0)]
    reads = [replace(read, mv=table) for read, table in zip(many(len(tables)), tables, strict=True)]
    bam = write_bam(tmp_path / "reads.bam", {"chr1": 100}, {"chr1": reads})
    assert read_bam(bam, "chr1") == reads
    reads = [replace(read, qual=tuple(range(100))) if i % 2 else read for i, read in enumerate(reads)]
    bam = write_bam(tmp_path / "reads.bam", {"chr1": 100}, {"chr1": reads})
    assert read_bam(bam, "chr1", qualities=True) == reads
