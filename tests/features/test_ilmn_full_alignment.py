"""Full-alignment features of realigned short reads: agreement with the slow reference, and golden tensors."""

import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pysam
import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ilmn_full_alignment_reference import ShortCandidate, reference_short_reads
from pileup_reference import Read, parse_cigar
from random_reads import aligned_segment, cases, draw, random_case, write_fasta
from test_full_alignment import hundred_reads

from clair3 import core
from clair3.cli.main import main as clair3
from clair3.config import ReadFeatureOptions
from clair3.core.phasing import haplotypes
from clair3.core.short_reads import iter_short_reads, window_reads
from clair3.errors import CoreError
from clair3.features.full_alignment import drawn_rows, iter_realigned
from clair3.io.bed import merge, realignment_bins
from clair3.legacy.tensor_text import read_files
from clair3.phasing.phasers import read_phased
from clair3.records import TensorBatch
from clair3.training.data.examples import fetch_window, iter_realigned_candidates

UNREALIGNED = 19
"""Reads of no better mapping quality than this are no evidence: they stay where they are (spec/features.md D.2)."""


@dataclass(frozen=True)
class ShortReadCase:
    """A contig, its reads in the order of a sorted file with their haplotypes, and the candidates of a block."""

    ref: str
    reads: tuple[Read, ...]
    haplotypes: tuple[int, ...]
    pos: tuple[int, ...]
    rows: int = 55
    min_mapq: int = 5
    min_coverage: int = 2

    def reference(self) -> list[ShortCandidate]:
        """What the slow reference makes of it: of the reads near the bins that the realigner passes on (D.1)."""
        bins = realignment_bins(np.array(self.pos, np.int64)).tolist()
        whole = min(bins)[0], max(end for _, end in bins) + 1
        kept = [i for i, read in enumerate(self.reads) if is_passed_on(read, bins, whole)]
        return reference_short_reads(
            self.ref,
            [self.reads[i] for i in kept],
            [self.haplotypes[i] for i in kept],
            whole,
            rows=self.rows,
            min_mapq=self.min_mapq,
            min_coverage=self.min_coverage,
        )

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The case as (BAM, FASTA) in a folder."""
        header = pysam.AlignmentHeader.from_references(["chr1"], [len(self.ref)])
        with pysam.AlignmentFile(str(folder / "reads.bam"), "wb", header=header) as bam:
            for read, haplotype in zip(self.reads, self.haplotypes, strict=True):
                segment = aligned_segment(read, 0, header)
                if haplotype:
                    segment.set_tag("HP", haplotype)
                bam.write(segment)
        pysam.index(str(folder / "reads.bam"))
        return folder / "reads.bam", write_fasta(folder / "ref.fa", {"chr1": self.ref})

    @property
    def rule(self) -> ReadFeatureOptions:
        return ReadFeatureOptions(self.rows, self.min_mapq, haplotype_tags=True, min_coverage=self.min_coverage)

    def core(self, folder: Path) -> TensorBatch | None:
        """What the C core makes of it; None for no candidates at all."""
        with core.Source(*self.write(folder)) as source:
            batches = list(iter_realigned(source, "chr1", np.array(sorted(self.pos), np.int64), self.rule))
        return TensorBatch.concatenate(batches) if batches else None

    def check(self, folder: Path) -> TensorBatch | None:
        """Reference and core agree; what they found."""
        slow, fast = self.reference(), self.core(folder)
        if fast is None:
            assert slow == []
            return None
        assert fast.pos.tolist() == [one.pos for one in slow]
        assert texts(fast) == [one.alt_info for one in slow]
        np.testing.assert_array_equal(fast.tensors, np.stack([one.tensor for one in slow]))
        return fast


def texts(batch: TensorBatch) -> list[str]:
    return [batch.support.text(i, chr(letter)) for i, letter in enumerate(batch.ref.tolist())]


def is_passed_on(read: Read, bins: list[list[int]], whole: tuple[int, int]) -> bool:
    ops = parse_cigar(read.cigar)
    total, clipped = sum(n for _, n in ops), sum(n for op, n in ops if op == "S")
    end = read.pos + max(1, sum(n for op, n in ops if op in "M=XDN"))
    in_region = read.pos < whole[1] + 1000 and end > whole[0] - 1000
    in_bin = any(read.pos < stop and end > start for start, stop in bins)
    return bool(ops and in_region and in_bin and read.mapq >= 5 and 1 - clipped / (total + 1) >= 0.55)


def plain(read: Read, letters: bool, rng: np.random.Generator) -> Read:
    """The read as short reads mostly are: no skips, only letters of bases."""
    cigar = read.cigar if rng.random() < 0.1 else read.cigar.replace("N", "D")
    kept = letters or rng.random() < 0.05
    seq = read.seq if kept else "".join(c if c in "ACGTN" else "A" for c in read.seq)
    if cigar != read.cigar and not seq:
        cigar = read.cigar
    return replace(read, cigar=cigar, seq=seq)


def random_short_case(seed: int, longest: int = 300, most_reads: int = 120) -> ShortReadCase:
    """A whole case for bulk fuzzing, the same for the same arguments."""
    rng = np.random.default_rng([seed, 7])
    case = random_case(seed, longest, most_reads)
    odd_flags = rng.choice([0, 0.2])
    reads = [
        replace(
            plain(read, seed % 7 == 0, rng),
            flag=int(rng.choice([0x41, 0x9, 0x200, 0x400, 0x100, 0x800])) if rng.random() < odd_flags
            else int(rng.choice([0, 0x3, 0x10, 0x13])),
            mapq=int(rng.choice([UNREALIGNED, UNREALIGNED, 12, 5, 4])),
            name=f"read{i}",
            qual=read.qual or None,
        )
        for i, read in enumerate(case.reads)
        if read.seq
    ]  # fmt: skip
    return ShortReadCase(
        case.ref,
        tuple(reads),
        tuple(rng.integers(0, 3, len(reads)).tolist()),
        tuple(sorted({int(pos) for pos in rng.integers(0, len(case.ref), 4)})),
        int(rng.choice([1, 3, 10, 55])),
        int(rng.choice([5, 5, 12])),
        int(rng.choice([2, 2, 5])),
    )


@pytest.mark.parametrize("seed", range(30))
def test_agrees_on_fuzzed_cases(tmp_path, seed):
    random_short_case(seed).check(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_agrees_on_contigs_of_many_bins(tmp_path, seed):
    random_short_case(1000 + seed, 20_000, 900).check(tmp_path)


@st.composite
def short_read_cases(pick) -> ShortReadCase:
    """A small case."""
    case = pick(cases())
    flags = st.sampled_from([0, 0x10, 0x3, 0x13, 0x1, 0x9, 0x400])
    reads = [
        replace(read, name=str(i), flag=pick(flags), mapq=pick(st.sampled_from([4, 5, UNREALIGNED])))
        for i, read in enumerate(case.reads)
        if read.seq
    ]
    haplotypes = pick(st.lists(st.integers(0, 2), min_size=len(reads), max_size=len(reads)))
    pos = pick(st.integers(0, len(case.ref) - 1))
    return ShortReadCase(case.ref, tuple(reads), tuple(haplotypes), (pos,), pick(st.sampled_from([1, 2, 55])))


@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=short_read_cases())
def test_agrees_with_the_reference(tmp_path, case):
    case.check(tmp_path)


@pytest.mark.parametrize("batch_span", [1, 200])
def test_the_batch_span_changes_no_result(tmp_path, batch_span):
    case = random_short_case(3001, 1500, 200)
    whole = case.core(tmp_path)
    bins = merge(realignment_bins(np.array(case.pos, np.int64)))
    with core.Source(*case.write(tmp_path)) as source:
        parts = list(iter_short_reads(source, "chr1", bins, case.rule, batch_span=batch_span))
        batches = [part.batch(drawn=drawn_rows(window_reads(part), case.rows)) for part in parts]
    joined = TensorBatch.concatenate(batches)
    assert len(parts) > 1
    assert joined.pos.tolist() == whole.pos.tolist()
    assert texts(joined) == texts(whole)
    np.testing.assert_array_equal(joined.tensors, whole.tensors)


def test_stretches_bound_what_gaps_and_skips_hold(tmp_path):
    """No batch is longer than its span where reads skip far, or lie far apart."""
    spliced, plain_read = Read(100, "50M2000N50M", "C" * 100), Read(2700, "40M", "C" * 40)
    case = replace(short([spliced] * 3 + [plain_read] * 3, "A" * 3000, 0), pos=(100, 2500))
    bins = merge(realignment_bins(np.array(case.pos, np.int64)))
    with core.Source(*case.write(tmp_path)) as source:
        parts = [part.pos for part in iter_short_reads(source, "chr1", bins, case.rule, batch_span=60)]
    found = np.concatenate(parts).tolist()
    assert found == case.core(tmp_path).pos.tolist() == [*range(100, 150), *range(2150, 2200), *range(2700, 2740)]
    assert all(pos[-1] - pos[0] < 60 for pos in parts if len(pos))


def test_no_candidate_lies_behind_the_contig(tmp_path):
    case = short([Read(10, "60M", "C" * 60)] * 3, "A" * 40, 0)
    with core.Source(*case.write(tmp_path)) as source:
        parts = list(iter_short_reads(source, "chr1", np.array([[0, 1032]]), case.rule, batch_span=7))
    assert np.concatenate([part.pos for part in parts]).tolist() == [*range(16, 40)]


# -- rules -------------------------------------------------------------------------------------------


def short(reads: list[Read], ref: str, pos: int, **options) -> ShortReadCase:
    """A case of reads that are not realigned and have no haplotypes."""
    plain_reads = (replace(read, mapq=UNREALIGNED, name=str(i)) for i, read in enumerate(reads))
    return ShortReadCase(ref, tuple(plain_reads), (0,) * len(reads), (pos,), **options)


def test_columns_beside_the_candidates_are_zero(tmp_path):
    """Windows reach columns before the 17th and behind the last where candidates may lie; those stay empty (C.13.9)."""
    reads = [Read(start, "40M1960D60M", "C" * 100) for start in (4, 4, 12, 12)]
    found = short(reads, "A" * 3000, 0).check(tmp_path)
    first, last = found.pos[0], found.pos[-1]
    assert (first, last) == (16, 2017)
    assert found.tensors[0].any(axis=(0, 2)).tolist() == [False] * 16 + [True] * 17
    assert found.tensors[-1].any(axis=(0, 2)).tolist() == [False] * 3 + [True] * 14 + [False] * 16


def test_hundred_reads(tmp_path):  # the example of C.13.7, and 29 of 100 is 28 in double precision (C.13.6)
    ref, reads = hundred_reads()
    reads.insert(35, reads.pop(29))  # the letter N after the indels
    found = short(reads, ref, 50, rows=100).check(tmp_path)
    at = found.pos.tolist().index(50)
    assert texts(found)[at] == "100-XA 29 ITGG 2 IGGG 1 DCCA 3 XN 1 RT 64"
    assert sorted(set(found.tensors[at][:, 16, 5].tolist())) == [0, 1, 2, 3, 28]


def test_a_letter_that_is_no_base_blanks_its_column(tmp_path):  # C.13.2
    ref, reads = draw("""
        = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
        > ....................C.....CC......
        > ....................C.....CC......
        > ....................R.....C.......
        > ....................C.... C.......
    """)
    letter = short(reads[:3], ref, 0).check(tmp_path)
    assert letter.pos.tolist() == [26, 27]
    assert [np.flatnonzero(~tensor.any(axis=(0, 2))).tolist() for tensor in letter.tensors] == [
        [*range(6), 10, *range(24, 33)],  # columns before 16 of a contig show nothing (C.13.9)
        [*range(5), 9, *range(23, 33)],
    ]
    skip = short([*reads[:2], reads[3]], ref, 0).check(tmp_path)
    assert skip.pos.tolist() == [20, 26, 27]


def test_only_the_last_indel_behind_a_base_counts(tmp_path):  # C.13.2, B.12.3
    cigars = ["20M2I3D10M", "20M2I3D10M", "20M1P2I10M", "20M1I1P1I10M", "20M1D2I10M"]
    reads = [Read(0, cigar, "A" * query_length(cigar)) for cigar in cigars]
    found = short(reads, "A" * 60, 0).check(tmp_path)
    assert texts(found) == ["5-DAAA 2 IA*AA 1 IAA*A 1 DA 1", "5-I*AA 1 RA 2"]


def test_odd_letters_in_an_insertion(tmp_path):  # E-B11
    reads = [Read(0, "20M5I20M", "A" * 20 + "RCD=N" + "A" * 20)] * 3
    found = short(reads, "A" * 40, 0).check(tmp_path)
    assert texts(found) == ["3-IARCD=N 3"]
    assert found.tensors[0][27, 16:21, 6].tolist() == [0, 25, 0, 0, 100]


@pytest.mark.parametrize("pads", [1, 9])
def test_no_more_than_1000_pads_are_written(tmp_path, pads):  # nine such are more than 32 bits count
    reads = [Read(0, "20M" + "268435455P" * pads + "1I20M", "A" * 41)] * 3
    assert texts(short(reads, "A" * 40, 0).core(tmp_path)) == ["3-IA" + "*" * 1000 + "A 3"]


def query_length(cigar: str) -> int:
    return sum(length for op, length in parse_cigar(cigar) if op in "M=XIS")


def test_no_more_than_8000_reads_lie_over_a_base(tmp_path):  # A.2: mpileup takes the first read of each start, always
    reads = [Read(start, "40M", "C" * 40) for start, n in ((20, 8003), (25, 3), (65, 2)) for _ in range(n)]
    case = short(reads, "A" * 120, 0, min_coverage=1)
    depths = dict(zip((found := case.core(tmp_path)).pos.tolist(), found.support.depth.tolist(), strict=True))
    assert [depths[pos] for pos in (24, 25, 60, 64, 65, 104)] == [8000, 8001, 1, 1, 2, 2]


def test_what_cannot_be_done(tmp_path):
    """An unknown contig, a run that was told to stop; no candidates at all are none."""
    case = random_short_case(1)
    with core.Source(*case.write(tmp_path)) as source:
        assert list(iter_realigned(source, "chr1", np.empty(0, np.int64), case.rule)) == []
        with pytest.raises(CoreError, match="chr9:1-1033: .*no such contig"):
            list(iter_realigned(source, "chr9", np.array([7]), case.rule))
        flag = core.CancelFlag()
        flag.set()
        with pytest.raises(core.CancelledError):
            list(iter_realigned(source, "chr1", np.array([7]), case.rule, cancel=flag))
        stream = iter_short_reads(source, "chr1", np.array([[0, 1032]]), case.rule)
        next(stream)
    with pytest.raises(CoreError, match="already closed"):
        next(stream)


def test_rows_that_nobody_drew_are_the_first(tmp_path):
    case = short([Read(0, "40M", "A" * 20 + "C" + "A" * 19)] * 60, "A" * 40, 0)
    with core.Source(*case.write(tmp_path)) as source:
        (part,) = [part for part in iter_short_reads(source, "chr1", np.array([[0, 1032]]), case.rule) if len(part)]
        first = part.batch(drawn=np.arange(55, dtype=np.int32)[None])
        np.testing.assert_array_equal(part.batch().tensors, first.tensors)


@pytest.mark.parametrize(
    "pos, row", [(0, (0, 1032)), (998, (0, 1032)), (999, (966, 2032)), (100_381, (99_966, 101_032))]
)
def test_bins(pos, row):  # A.10
    assert realignment_bins(np.array([pos])).tolist() == [list(row)]


# -- v2.0.2 ------------------------------------------------------------------------------------------


def golden_candidates(folder: Path, contig: str) -> np.ndarray:
    """A position in each bin of a candidate file, ascending."""
    rows = [line.split() for line in (folder / f"{contig}.0_1.bed").read_text().splitlines()]
    return np.array(sorted(max(int(end) - 1032, 0) + 500 for name, _, end in rows if name == contig))


def test_golden_tensors(shared_data):
    """Reads realigned, haplotypes from the phased SNPs of the run, candidates found anew: all as v2.0.2 had them."""
    golden, small = shared_data / "golden", shared_data / "sim" / "small"
    expected, stages = np.load(golden / "tensors" / "ilmn_full_alignment.npz"), golden / "runs/ilmn_default/stages"
    snps = read_phased(stages / "phase_vcf" / "phased_chr20.vcf.gz", "chr20", heterozygous=True)
    with core.Source(small / "ilmn.bam", small / "ref.fa") as source:
        tagged = haplotypes(source, "chr20", snps)
        pos = golden_candidates(stages / "candidate_bed", "chr20")
        batches = list(iter_realigned(source, "chr20", pos, ReadFeatureOptions(55), tagged))
    found = TensorBatch.concatenate(batches)
    first, last = np.searchsorted(found.pos, [100_000, 200_000])
    assert (found.pos[first:last] + 1).tolist() == expected["position"].tolist()
    assert texts(found)[first:last] == expected["alt_info"].tolist()
    np.testing.assert_array_equal(found.tensors[first:last], expected["tensor"])
    rows = np.load(golden / "tensors" / "ilmn_full_alignment_rows.npy")
    assert found.tensors[first:last, :, :, 2].any(axis=2).sum(axis=1).max() == rows.max()
    with pysam.FastaFile(str(small / "ref.fa")) as fasta:
        windows = [f"chr20:{p + 1}:{fetch_window(fasta, 'chr20', p)}" for p in found.pos[first:last].tolist()]
    assert windows == expected["position_info"].tolist()


def test_golden_tensors_through_the_command_line(shared_data, tmp_path):
    """The file of candidates and the phased SNPs of the run, as options."""
    golden, small = shared_data / "golden", shared_data / "sim" / "small"
    expected, stages = np.load(golden / "tensors" / "ilmn_full_alignment.npz"), golden / "runs/ilmn_default/stages"
    files = {
        "bam_fn": small / "ilmn.bam",
        "ref_fn": small / "ref.fa",
        "full_aln_regions": stages / "candidate_bed" / "chr20.0_1.bed",
        "phased_vcf_fn": stages / "phase_vcf" / "phased_chr20.vcf.gz",
        "tensor_can_fn": tmp_path / "tensors",
    }
    options = ["--platform=ilmn", "--ctgName=chr20", "--ctgStart=100001", "--ctgEnd=200000", "--need_realignment"]
    clair3(["CreateTensorFullAlignment", *options, *(f"--{name}={path}" for name, path in files.items())])
    found = list(read_files([tmp_path / "tensors"], (55, 33, 8), np.dtype(np.int8)))
    assert np.concatenate([part.pos for part in found]).tolist() == (expected["position"] - 1).tolist()
    assert [text for part in found for text in part.alt_info] == expected["alt_info"].tolist()
    np.testing.assert_array_equal(np.concatenate([part.tensors for part in found]), expected["tensor"])


def test_unphased_copies(shared_data):
    """Candidates with a read of a haplotype come again as they look without."""
    small, stages = shared_data / "sim" / "small", shared_data / "golden/runs/ilmn_default/stages"
    snps = read_phased(stages / "phase_vcf" / "phased_chr21.vcf.gz", "chr21", heterozygous=True)
    pos = golden_candidates(stages / "candidate_bed", "chr21")
    allowed = np.array([[0, 30_000]])
    with pysam.FastaFile(str(small / "ref.fa")) as fasta, core.Source(small / "ilmn.bam", small / "ref.fa") as source:
        tagged = haplotypes(source, "chr21", snps)
        found = list(
            iter_realigned_candidates(source, fasta, "chr21", pos, ReadFeatureOptions(55), tagged, allowed, True)
        )
        plain = list(iter_realigned_candidates(source, fasta, "chr21", pos, ReadFeatureOptions(55), None, allowed))
    where = np.concatenate([part.pos for part in found])
    tensors = np.concatenate([part.tensors for part in found])
    assert len(plain) == 1
    without = dict(zip(plain[0].pos.tolist(), plain[0].tensors, strict=True))
    n = len(without)
    phased = np.isin(tensors[:n, :, :, 7], (30, 90)).any(axis=(1, 2))
    assert len(where) - n > 5
    assert where[:n][phased].tolist() == where[n:].tolist()
    assert max(where) < 30_000
    np.testing.assert_array_equal(tensors[n:], np.stack([without[pos] for pos in where[n:].tolist()]))


def test_training_bin(shared_data, tmp_path):
    """Realigned reads make labelled rows, most true variants among them."""
    bins = pytest.importorskip("clair3.io.bins", reason="bins need h5py: pip install -e .[train]")
    small, var, made = shared_data / "sim" / "small", tmp_path / "var", tmp_path / "bin"
    clair3(["GetTruth", f"--vcf_fn={small / 'truth.vcf.gz'}", "--ctgName=chr21", f"--var_fn={var}"])
    files = {"bam_fn": small / "ilmn.bam", "ref_fn": small / "ref.fa", "var_fn": var, "bin_fn": made}
    options = ["--platform=ilmn", "--ctgName=chr21", "--ctgStart=5001", "--ctgEnd=35000"]
    clair3(["CreateTrainingTensorDirect", *options, *(f"--{name}={path}" for name, path in files.items())])
    with bins.Bin(made) as written:
        rows = written.rows(0, len(written), ("position_matrix", "position"))
    pos = [int(position.split(b":")[1]) for position in rows["position"]]
    true = [int(line.split()[1]) for line in gzip.decompress(var.read_bytes()).decode().splitlines()]
    inside = {one for one in true if 5000 < one <= 35_000}
    assert rows["position_matrix"].shape[1:] == (55, 33, 8)
    assert 5000 < min(pos) <= max(pos) <= 35_000
    assert len(inside & set(pos)) > 0.9 * len(inside) > 10


@pytest.mark.parametrize(
    "run, bam, contig",
    [
        ("ilmn_default", "sim/small/ilmn.bam", "chr20"),
        ("ilmn_default", "sim/small/ilmn.bam", "chr21"),
        ("deep_ilmn", "sim/deep/ilmn.bam", "chrX"),
        ("real_ilmn_na12878", "real/na12878_ilmn_chr22_16.57M/reads.bam", "chr22"),
    ],
)
def test_golden_candidates(shared_data, run, bam, contig):
    """Every candidate of a run, with its depth."""
    folder = shared_data / "golden" / "runs" / run
    with gzip.open(folder / "full_alignment.vcf.gz", "rt") as lines:
        rows = [line.split("\t") for line in lines if line.startswith(f"{contig}\t")]
    expected = {int(row[1]): int(row[9].split(":")[2]) for row in rows}
    reads = shared_data / bam
    with core.Source(reads, reads.parent / "ref.fa") as source:
        pos = golden_candidates(folder / "stages" / "candidate_bed", contig)
        found = TensorBatch.concatenate(list(iter_realigned(source, contig, pos, ReadFeatureOptions(55))))
    assert dict(zip((found.pos + 1).tolist(), found.support.depth.tolist(), strict=True)) == expected
