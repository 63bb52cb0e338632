"""Full-alignment features of the C core: agreement with the slow reference, and golden tensors."""

import os

import numpy as np
import pysam
import pytest
from core_full_alignment import core_full_alignment
from examples import examples
from full_alignment_reference import reference_full_alignment
from golden_runs import PARITY, read_records
from haplotag_reference import read_phased_snps
from hypothesis import HealthCheck, given, settings
from pileup_reference import Read
from random_full_alignment import full_alignment_cases, random_full_alignment_case
from random_reads import Case, read_bam, write_case

from clair3 import core
from clair3.config import ReadFeatureOptions
from clair3.errors import CoreError
from clair3.features.full_alignment import BATCH, iter_full_alignment
from clair3.phasing.phasers import read_phased


def test_letters_behind_the_contig_are_n(tmp_path):
    """Reads that hang over the contig's end, where the codes are that of N, 100, and that of the last letter, T, 50."""
    ref = "ACGT" * 20
    reads = [Read(start, "40M", "C" * 40, name=str(start)) for start in (50, 60, 62, 70)]
    found = core_full_alignment(tmp_path, ref, reads, [78], rows=55)
    rows = found.tensors[0][found.tensors[0].any(axis=(1, 2))]
    assert len(rows) == 4
    assert (rows[:, 18:28, 0] == 100).all() and (rows[:, 17, 0] == 50).all()


def test_a_reference_cut_short_is_an_error(tmp_path):
    """Damage further on than what is read first."""
    ref = "ACGT" * 75_000
    reads = [Read(start, "40M", "C" * 40) for start in (100, 250_000)]
    bam, fasta = write_case(tmp_path, Case(ref, tuple(reads), 0, len(ref)))
    os.truncate(fasta, 180_000)
    with core.Source(bam, fasta) as source:
        assert len(core.full_alignment(source, "chr1", np.array([110]), ReadFeatureOptions(55))) == 1
        with pytest.raises(CoreError, match="reference cannot be read here"):
            core.full_alignment(source, "chr1", np.array([110, 250_010]), ReadFeatureOptions(55))


def test_drawing_of_rows():
    assert core.first_shuffle(5) == [4, 2, 0, 1, 3]
    assert sorted(core.first_shuffle(100)[89:]) == [3, 4, 28, 31, 47, 62, 63, 79, 81, 87, 90]


def assert_agrees(folder, case):
    slow = case.reference()
    fast = core_full_alignment(folder, case.ref, list(case.reads), list(case.candidates), **case.options)
    assert fast.haplotypes == list(slow.haplotypes)
    assert fast.depth == list(slow.depth)
    assert fast.alt_info == list(slow.alt_info)
    np.testing.assert_array_equal(fast.tensors, np.asarray(slow.tensors))


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=full_alignment_cases())
def test_agrees_with_the_reference(tmp_path, case):
    assert_agrees(tmp_path, case)


@pytest.mark.parametrize("seed", range(60))
def test_agrees_on_fuzzed_cases(tmp_path, seed):
    assert_agrees(tmp_path, random_full_alignment_case(seed))


def golden():
    """Name of the tensors, reads, contig, run with the phased SNPs, rows, dwell time."""
    for platform, rows in (("ont", 89), ("hifi", 55)):
        for suffix in ("", "_nophase", "_all"):
            name = f"{platform}_full_alignment{suffix}"
            yield name, f"sim/small/{platform}.bam", "chr20", f"{platform}_default", rows, False
        for contig in ("chr21", "chr22", "chrX"):
            for suffix in ("", "_all"):
                name = f"deep_{platform}_{contig}_full_alignment{suffix}"
                yield name, f"sim/deep/{platform}.bam", contig, f"deep_{platform}", rows, False
    for suffix in ("", "_nophase"):
        bam = "real/hg002_ont_r104_hac5_chr20_5.00M/reads.bam"
        yield f"dwell_hac5_full_alignment{suffix}", bam, "chr20", "real_ont_hac5_dwell", 89, True


@pytest.mark.parametrize("name, bam, contig, run, rows, dwell", list(golden()))
def test_golden_tensors(shared_data, name, bam, contig, run, rows, dwell):
    expected = np.load(shared_data / "golden" / "tensors" / f"{name}.npz")
    phased = shared_data / "golden" / "runs" / run / "stages" / "phase_vcf" / f"phased_{contig}.vcf.gz"
    snps = None if name.endswith("_nophase") else read_phased(phased, contig)
    reads = shared_data / bam
    fasta = reads.parent.parent / "ref_chr20_0-10M.fa.gz" if bam.startswith("real") else reads.parent / "ref.fa"
    rule, pos = ReadFeatureOptions(rows, dwell=dwell), expected["position"] - 1
    with core.Source(reads, fasta) as source:
        batches = list(iter_full_alignment(source, contig, pos, rule, snps))
    assert [len(batch) for batch in batches] == [min(BATCH, len(pos) - i) for i in range(0, len(pos), BATCH)]
    if not batches:
        return
    np.testing.assert_array_equal(np.concatenate([batch.tensors for batch in batches]), expected["tensor"])
    texts = [batch.support.text(i, chr(letter)) for batch in batches for i, letter in enumerate(batch.ref)]
    assert texts == [text.rstrip() for text in expected["alt_info"].tolist()]


@pytest.mark.parametrize("platform, rows", [("ont", 89), ("hifi", 55)])
def test_tensors_of_the_parity_reads(platform, rows):
    """Those of the slow reference, without phasing, for the candidates that v2.0.2 called again."""
    bam, fasta, contig = PARITY / "reads" / f"{platform}.bam", PARITY / "reads" / "ref.fa", "scaffold_1"
    with pysam.FastaFile(str(fasta)) as file:
        ref = file.fetch(contig)
    records = [line.split("\t") for line in read_records(PARITY / "expected" / platform / "full_alignment.vcf.gz")]
    in_contig = [record for record in records if record[0] == contig]
    pos = np.array([int(record[1]) - 1 for record in in_contig])
    reads = read_bam(bam, contig, qualities=True)
    options = {"snps": None, "rows": rows, "min_mapq": 5, "max_indel_length": 50, "dwell": False}
    slow = reference_full_alignment(ref, reads, pos.tolist(), **options)
    with core.Source(bam, fasta) as source:
        [batch] = iter_full_alignment(source, contig, pos, ReadFeatureOptions(rows), None)
    np.testing.assert_array_equal(batch.tensors, slow.tensors)
    assert [batch.support.text(i, chr(letter)) for i, letter in enumerate(batch.ref)] == slow.alt_info
    assert batch.support.depth.tolist() == [int(record[9].split(":")[2]) for record in in_contig] != []


def test_phased_snps_are_read_alike(shared_data):
    """The product's reader and that of the slow reference."""
    path = shared_data / "golden" / "runs" / "ont_default" / "stages" / "phase_vcf" / "phased_chr20.vcf.gz"
    ours, theirs = read_phased(path, "chr20"), read_phased_snps(path, "chr20")
    assert len(ours) == len(theirs) > 100
    assert [(s.pos, ord(s.alt), s.hap, s.phase_set) for s in theirs] == list(
        zip(*(column.tolist() for column in (ours.pos, ours.alt, ours.haplotype, ours.phase_set)), strict=True)
    )
