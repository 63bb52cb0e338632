"""The test alignments: drawings, files, and random reads that go where the C core could stumble."""

import re
from dataclasses import replace

import numpy as np
import pysam
import pytest
from pileup_reference import Read, events_by_position, parse_cigar, reference_pileup
from random_reads import ALPHABET, draw, random_case, read_bam, write_case


def test_a_drawing_becomes_reads():
    ref, reads = draw("""
        = ACGTacgtAC
        >  ..A.
        < .**.   .
        + G      TT
        +  CA
    """)
    assert ref == "ACGTacgtAC"
    assert reads == [
        Read(1, "4M", "CGAA", name="r1"),
        Read(0, "1M1I1D2I1D1M3N1M2I", "AGCATTTT", 0x10, name="r2"),
    ]


@pytest.mark.parametrize("seed", range(25))
def test_letters_agree_with_htslib_and_reads_survive_files(tmp_path, seed):
    """Letters need none of B.2's rules about indels, so htslib's own pileup must find the same ones."""
    case = random_case(seed)
    # a read that is one D or N makes htslib read before its CIGAR
    defined = [read for read in case.reads if not re.fullmatch(r"\d+[DN]", read.cigar)]
    case = replace(case, reads=tuple(defined))
    bam, fasta = write_case(tmp_path, case)
    assert read_bam(bam, "chr1") == [replace(read, qual=None) for read in case.reads]
    with pysam.FastaFile(str(fasta)) as file:
        assert file.fetch("chr1") == case.ref

    def letter(shown):
        if shown.is_refskip:
            return " "
        return "*" if shown.is_del else shown.alignment.query_sequence[shown.query_position]

    columns = events_by_position(case.reads, 0, len(case.ref), min_mapq=0)
    with pysam.AlignmentFile(str(bam)) as file:
        options = {"flag_filter": 0xF04, "min_base_quality": 0, "ignore_overlaps": False, "max_depth": 10**6}
        found = file.pileup("chr1", stepper="all", **options)
        expected = {column.reference_pos: [letter(shown) for shown in column.pileups] for column in found}
    assert {pos: [event.letter for event in events] for pos, events in columns.items()} == expected


def everything(case):
    """Pileup of a case with each column of two reads a candidate."""
    options = {"min_mapq": 5, "min_coverage": 2, "snp_min_af": 0, "indel_min_af": 0, "max_indel_length": 50}
    reads = list(case.reads)
    return reference_pileup(case.ref, reads, case.start, case.end, **options, snp_only=False, head_and_tail=False)


def test_bulk_cases_reach_every_corner():
    bulk = [random_case(seed) for seed in range(150)]
    assert bulk[:5] == [random_case(seed) for seed in range(5)]
    reads = [read for case in bulk for read in case.reads]
    assert {op for read in reads for op, _ in parse_cigar(read.cigar)} == set("MIDNSHP=X")
    assert set(ALPHABET) == set("".join(read.seq for read in reads))
    assert {bit for bit in range(12) for read in reads if read.flag >> bit & 1} == set(range(12))
    assert any(read.qual is None for read in reads)
    results = [everything(case) for case in bulk]
    depths = [int(text.split("-")[0]) for result in results for text in result.alt_info]
    assert len(depths) > 2000
    assert max(depths) > 40
    gaps = [np.diff(np.flatnonzero(result.has_column)).max(initial=0) > 1 for result in results]
    assert 10 < sum(gaps) < 140
    assert max(text.count(" I") for result in results for text in result.alt_info) > 6  # the hash table has grown
