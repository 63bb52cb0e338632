"""The C core: golden tensors, agreement with the slow reference, and what only the core has."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pysam
import pytest
from core_pileup import EVERYWHERE, core_pileup
from examples import examples
from golden_runs import PARITY, read_records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from khash_reference import khash_order
from pileup_reference import Read, reference_pileup
from random_reads import Case, cases, random_case, read_bam, reference_span, rules, write_bam, write_case

from clair3 import core
from clair3.config import CandidateOptions
from clair3.errors import CoreError
from clair3.features.chunks import Chunk
from clair3.features.pileup import iter_pileup
from clair3.records import Region


@pytest.mark.parametrize(
    "keys, order",
    [
        ("T G C A", "A C T G"),
        ("GT A AA ACG TTT C CAC", "AA A C TTT ACG CAC GT"),
        ("AA TTT A GT CAC C ACG", "AA A C TTT CAC ACG GT"),
        ("", ""),
        ("A A A A A A A", "A"),
    ],
)
def test_order_of_insertions(keys, order):
    assert core.allele_order(keys.split()) == order.split()


def test_order_of_deletion_lengths():
    assert core.allele_order([12, 4, 8, 1, 3, 20, 36]) == [1, 3, 4, 20, 36, 8, 12]


@given(st.lists(st.text("ACGT", min_size=1, max_size=6), max_size=200))
def test_order_agrees_with_the_reference(keys):
    assert core.allele_order(keys) == khash_order(keys)


@pytest.mark.parametrize("seed", range(30))
def test_order_of_many_distinct_insertions(seed):
    """Enough keys to double the table several times, each doubling at its very limit."""
    rng = np.random.default_rng(seed)
    keys = ["".join(rng.choice(list("ACGT"), rng.integers(1, 9))) for _ in range(rng.integers(20, 150))]
    assert core.allele_order(keys) == khash_order(keys)
    lengths = rng.integers(1, 300, 100).tolist()
    assert core.allele_order(lengths) == khash_order(lengths)


GOLDEN = [
    ("ont_pileup", "sim/small/ont.bam", "chr20", 100_001, 200_000, 0.15),
    ("hifi_pileup", "sim/small/hifi.bam", "chr20", 100_001, 200_000, 0.08),
    ("deep_ont_chr21_pileup", "sim/deep/ont.bam", "chr21", 1, 15_000, 0.15),
    ("deep_ont_chr22_pileup", "sim/deep/ont.bam", "chr22", 1, 6_000, 0.15),
    ("deep_ont_chrX_pileup", "sim/deep/ont.bam", "chrX", 1, 8_000, 0.15),
    ("deep_hifi_chr21_pileup", "sim/deep/hifi.bam", "chr21", 1, 15_000, 0.08),
    ("deep_hifi_chr22_pileup", "sim/deep/hifi.bam", "chr22", 1, 6_000, 0.08),
    ("deep_hifi_chrX_pileup", "sim/deep/hifi.bam", "chrX", 1, 8_000, 0.08),
    ("ilmn_pileup_cimpl", "sim/small/ilmn.bam", "chr20", 100_001, 200_000, 0.08),
]


@pytest.mark.parametrize("name, bam, contig, start, end, indel_min_af", GOLDEN, ids=[row[0] for row in GOLDEN])
def test_golden_tensors(shared_data, name, bam, contig, start, end, indel_min_af):
    """The region of v2.0.2 for a chunk S..E (spec/features.md A.4): columns S - 35 .. E + 33, 0-based."""
    golden = np.load(shared_data / "golden" / "tensors" / f"{name}.npz")
    rule = CandidateOptions(indel_min_af=indel_min_af)
    with core.Source(shared_data / bam, (shared_data / bam).parent / "ref.fa") as source:
        batch = core.pileup(source, Region(contig, max(0, start - 35), end + 33), rule, EVERYWHERE).batch()
    np.testing.assert_array_equal(batch.pos + 1, golden["position"])
    np.testing.assert_array_equal(batch.tensors, golden["tensor"])
    text = [batch.support.text(i, chr(letter)) for i, letter in enumerate(batch.ref)]
    assert text == [line.rstrip() for line in golden["alt_info"].tolist()]


@pytest.mark.parametrize("contig", ["chr22", "scaffold_1"])
@pytest.mark.parametrize("platform, indel_min_af", [("ont", 0.15), ("hifi", 0.08)])
def test_tensors_of_the_parity_reads(platform, indel_min_af, contig):
    """Those of the slow reference, and for the candidates that v2.0.2 has in its pileup records."""
    bam, fasta = PARITY / "reads" / f"{platform}.bam", PARITY / "reads" / "ref.fa"
    with pysam.FastaFile(str(fasta)) as file:
        ref = file.fetch(contig)
    rule = {"min_mapq": 5, "min_coverage": 2, "snp_min_af": 0.08, "indel_min_af": indel_min_af}
    options = {"snp_only": False, "head_and_tail": False, "max_indel_length": 50}
    slow = reference_pileup(ref, read_bam(bam, contig), 0, len(ref), **rule, **options)
    with core.Source(bam, fasta) as source:
        batch = core.pileup(source, Region(contig, 0, len(ref)), CandidateOptions(**rule), EVERYWHERE).batch()
    np.testing.assert_array_equal(batch.tensors, slow.tensors)
    assert [batch.support.text(i, chr(letter)) for i, letter in enumerate(batch.ref)] == slow.alt_info
    records = [line.split("\t") for line in read_records(PARITY / "expected" / platform / "pileup.vcf.gz")]
    in_contig = [record for record in records if record[0] == contig]
    assert (batch.pos + 1).tolist() == [int(record[1]) for record in in_contig] != []
    assert batch.support.depth.tolist() == [int(record[9].split(":")[2]) for record in in_contig]


def test_missing_contig(sample_reads):
    with (
        core.Source(sample_reads / "reads.bam", sample_reads / "ref.fa") as source,
        pytest.raises(CoreError, match="no such contig"),
    ):
        core.pileup(source, Region("chr99", 0, 100), CandidateOptions(), EVERYWHERE)


def test_cancelled(sample_reads):
    flag = core.CancelFlag()
    flag.set()
    with core.Source(sample_reads / "reads.bam", sample_reads / "ref.fa") as source, pytest.raises(core.CancelledError):
        core.pileup(source, Region("chr20", 0, 60_000), CandidateOptions(), EVERYWHERE, cancel=flag)


@pytest.mark.parametrize("cut", [0, 1000, 5000])
def test_batches_are_rows_of_the_whole(sample_reads, cut):
    with core.Source(sample_reads / "reads.bam", sample_reads / "ref.fa") as source:
        pileup = core.pileup(source, Region("chr20", 0, 60_000), CandidateOptions(snp_min_af=0.03), EVERYWHERE)
    whole, part = pileup.batch(), pileup.batch(cut, cut + 7)
    assert len(part) == min(7, len(whole) - cut) > 0
    np.testing.assert_array_equal(part.tensors, whole.tensors[cut : cut + 7])
    for i in range(len(part)):
        assert list(part.support.items(i)) == list(whole.support.items(cut + i))


def assert_agrees(folder: Path, case: Case, rule: dict, allowed: list[tuple[int, int]] | None = None):
    """The core gives what the slow reference gives on a case."""
    end = max(case.end, len(case.ref)) if rule["head_and_tail"] else case.end  # the core looks beyond, see E-K1 below
    if case.start >= end:
        return
    region = case.ref, list(case.reads), case.start, end
    slow, fast = (
        pileup(*region, **rule, allowed=allowed) for pileup in (reference_pileup, partial(core_pileup, folder))
    )
    for name in ("columns", "n_ref", "n_total", "candidates", "tensors", "alt_info"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), rule=rules())
def test_agrees_with_the_reference(tmp_path, case, rule):
    assert_agrees(tmp_path, case, rule)


FUZZ_RULES = [
    {"min_mapq": 5, "min_coverage": 2, "snp_min_af": 0.08, "indel_min_af": 0.15},
    {"min_mapq": 20, "min_coverage": 4, "snp_min_af": 0.0, "indel_min_af": 0.0},
]


@pytest.mark.parametrize("seed", range(60))
def test_agrees_on_fuzzed_cases(tmp_path, seed):
    more = {"snp_only": seed % 3 == 0, "head_and_tail": seed % 2 == 0, "max_indel_length": (50, 3)[seed % 5 == 0]}
    allowed = None if seed % 4 else [(20, 60), (61, 62), (100, 10_000)]
    assert_agrees(tmp_path, random_case(seed), FUZZ_RULES[seed % 2] | more, allowed)


def test_windows_do_not_depend_on_where_the_region_ends(tmp_path):
    """E-K1 puts a letter outside ACGT into the last column of the run before, however far away that ends."""
    reads = [Read(0, "80M", "ACGT" * 20) for _ in range(4)] + [Read(300, "80M", "N" + "ACGTACG" + "ACGT" * 18)]
    case = Case("ACGT" * 150, tuple(reads), 0, 600)
    bam, fasta = write_case(tmp_path, case)
    rule = CandidateOptions(snp_min_af=0.0, head_and_tail=True)
    with core.Source(bam, fasta) as source:
        whole, short = (core.pileup(source, Region("chr1", 0, end), rule, [[0, 80]]).batch() for end in (600, 115))
    np.testing.assert_array_equal(short.pos, whole.pos)
    np.testing.assert_array_equal(short.tensors, whole.tensors)
    at = np.flatnonzero(whole.pos == 70)[0]
    assert whole.tensors[at, 16 + 9, 17] == 1  # column 79, the last of its run


ODD_FILES = [
    ("bam/1read.bam", "names/q.fa"),
    ("names/1:883884-887618.bam", "names/1:883884-887618.fa"),
    ("names/NA12878.chr22.tiny.bam", "names/q with spaces.fa"),
    ("names/NA12878.chr22.tiny.hla.bam", "names/hla.fa"),
    *[(f"sam/{name}.sam", "sam/mp.fa") for name in ("mp_D", "mp_DI", "mp_I", "mp_ID", "mp_N", "mp_N2", "mp_P")],
    *[(f"sam/{name}.sam", "sam/c1.fa") for name in ("c1#bounds", "c1#noseq", "c1#pad2", "c1#unknown")],
]


@pytest.mark.parametrize("reads, fasta", ODD_FILES)
@pytest.mark.parametrize("head_and_tail", [False, True])
def test_odd_files(shared_data, tmp_path, reads, fasta, head_and_tail):
    """Odd but valid reads agree with the slow reference, contig by contig."""
    odd = shared_data / "robustness"
    reference = tmp_path / "ref.fa"
    shutil.copy(odd / fasta, reference)
    pysam.faidx(str(reference))
    bam = tmp_path / "reads.bam"
    pysam.sort("-o", str(bam), str(odd / reads))
    pysam.index(str(bam))
    rule = {
        "min_mapq": 0,
        "min_coverage": 2,
        "snp_min_af": 0.0,
        "indel_min_af": 0.0,
        "snp_only": False,
        "head_and_tail": head_and_tail,
        "max_indel_length": 50,
    }
    with pysam.FastaFile(str(reference)) as contigs:
        names = [name for name in contigs.references if name in pysam.AlignmentFile(str(bam)).references]
        assert names
        for name in names:
            ref = contigs.fetch(name)
            kept = [read for read in read_bam(bam, name) if read.pos + reference_span(read.cigar) <= len(ref)]
            write_bam(bam, {name: len(ref)}, {name: kept})
            with_bases = [read for read in kept if read.seq]
            slow = reference_pileup(ref, with_bases, 0, len(ref), **rule)
            with core.Source(bam, reference) as source:
                fast = core.pileup(source, Region(name, 0, len(ref)), CandidateOptions(**rule), EVERYWHERE)
            np.testing.assert_array_equal(fast.columns(), slow.columns)
            assert fast.pos.tolist() == slow.candidates


def test_long_deletions_are_spelled_to_their_end(tmp_path):
    """v2.0.2 cuts the text of a deletion at the fetched reference, 1000 bases behind the region (E-B9, fixed)."""
    ref = "ACGT" * 1000
    reads = [Read(0, "60M3000D60M", ref[:60] + ref[3060:3120]) for _ in range(5)]
    rule = {"min_mapq": 5, "min_coverage": 2, "snp_min_af": 0.08, "indel_min_af": 0.15, "snp_only": False}
    found = core_pileup(tmp_path, ref, reads, 0, 200, **rule, head_and_tail=False, max_indel_length=100_000)
    assert (found.candidates, found.alt_info) == ([59], [f"5-D{ref[60:3060]} 5"])


def test_reads_beyond_the_contigs_end(tmp_path):
    """What such a read deletes cannot be spelled: it is counted, not listed."""
    ref = "ACGT" * 20
    reads = [Read(10, "60M30D2M", ref[10:70] + "AC") for _ in range(5)]
    rule = {"min_mapq": 5, "min_coverage": 2, "snp_min_af": 0.08, "indel_min_af": 0.15, "snp_only": False}
    found = core_pileup(tmp_path, ref, reads, 0, 120, **rule, head_and_tail=True, max_indel_length=50)
    assert (found.candidates, found.alt_info) == ([69], ["5-"])


def test_no_reference_behind_the_contig(tmp_path):
    """A region that starts where the contig ends has no letters: no candidate, and N at known sites."""
    ref, rule = "ACGT" * 20, {"snp_min_af": 0.08, "indel_min_af": 0.15, "snp_only": False, "head_and_tail": True}
    reads = [Read(60, "60M", "C" * 60)] * 5
    inside = core_pileup(tmp_path, ref, reads, 70, 130, **rule, min_mapq=5, min_coverage=2, max_indel_length=50)
    assert inside.candidates[-1] == 79
    found = core_pileup(tmp_path, ref, reads, 80, 130, **rule, min_mapq=5, min_coverage=2, max_indel_length=50)
    assert found.candidates == [] and found.has_column[:40].all()
    rule |= {"min_mapq": 5, "min_coverage": 2, "short_read_rules": True, "known_sites": True}
    bam, fasta = write_case(tmp_path, Case(ref, tuple(reads), 80, 130))
    with core.Source(bam, fasta) as source:
        sites = core.pileup(source, Region("chr1", 80, 130), CandidateOptions(**rule), EVERYWHERE)
    assert bytes(sites.ref) == b"N" * 40


def test_too_deep_regions_are_halved(sample_reads, monkeypatch):
    """The same candidates and site counts, in parts."""
    chunk, rule, kept = Chunk("chr20", 0, 0, 60_000), CandidateOptions(), []
    pile_up = core.pileup

    def little_room(source, region, *rest, **options):
        if region.end - region.start > 9_000:
            raise core.RegionTooLargeError("made to fail")
        return pile_up(source, region, *rest, **options)

    with core.Source(sample_reads / "reads.bam", sample_reads / "ref.fa") as source:
        whole = list(iter_pileup(source, chunk, rule, keep_site_counts=kept.append))
        monkeypatch.setattr(core, "pileup", little_room)
        parts = list(iter_pileup(source, chunk, rule, keep_site_counts=kept.append))
    np.testing.assert_array_equal(kept[0], kept[1])
    for name in ("pos", "tensors"):
        np.testing.assert_array_equal(*(np.concatenate([getattr(b, name) for b in run]) for run in (whole, parts)))


def test_misuse_is_refused(sample_reads):
    source = core.Source(sample_reads / "reads.bam", sample_reads / "ref.fa")
    found = core.pileup(source, Region("chr20", 0, 1000), CandidateOptions(), EVERYWHERE)
    with pytest.raises(CoreError, match="not asked for"):
        found.site_counts()
    source.close()
    with pytest.raises(CoreError, match="already closed"):
        core.pileup(source, Region("chr20", 0, 1000), CandidateOptions(), EVERYWHERE)
