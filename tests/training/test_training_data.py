"""Training bins made from reads and truth through the command line: the tensors are those of calling."""

import gzip
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pysam
import pytest

pytest.importorskip("h5py", reason="bins need h5py: pip install -e .[train]")


from clair3 import core
from clair3.calling.selection import cut_blocks
from clair3.cli.main import main as clair3
from clair3.config import CandidateOptions, ReadFeatureOptions
from clair3.errors import ConfigError
from clair3.genotype import labels
from clair3.genotype.classes import LABELS
from clair3.io.bins import COLUMNS, Bin
from clair3.io.candidate_files import read_candidates
from clair3.legacy.tensor_text import iter_lines
from clair3.phasing.phasers import read_phased
from clair3.records import Region
from clair3.training.data.examples import HAPLOTYPE, PHASED, Candidates
from clair3.training.data.make_bins import TensorJob

CONTIG, LENGTH = "chr20", 60_000


@pytest.fixture(scope="module")
def made(sample_reads, tmp_path_factory) -> Path:
    """A folder with the sample's truth simplified, its SNPs phased, and candidates for full alignment."""
    folder = tmp_path_factory.mktemp("training")
    clair3(
        ["GetTruth", f"--vcf_fn={sample_reads / 'truth.vcf.gz'}", f"--ctgName={CONTIG}", f"--var_fn={folder / 'var'}"]
    )
    (folder / "bed").write_text(f"{CONTIG}\t1000\t20000\n{CONTIG}\t25000\t59000\n")
    options = [f"--bed_fn={folder / 'bed'}", f"--ctgName={CONTIG}", f"--output_fn={folder / 'extended'}"]
    clair3(["SplitExtendBed", *options])
    with pysam.VariantFile(str(sample_reads / "truth.vcf.gz")) as vcf, open(folder / "phased.vcf", "w") as phased:
        for record in vcf:
            genotype = "|".join(map(str, record.samples[0]["GT"]))
            alleles = f"{record.pos}\t.\t{record.ref}\t{record.alts[0]}"
            phased.write(f"{record.contig}\t{alleles}\t9\tPASS\t.\tGT:PS\t{genotype}:7\n")
    pos = np.array(sorted({*truth_of(folder), *range(700, 58_000, 500)}))
    (folder / "regions").write_text(cut_blocks(CONTIG, pos)[0].bed())
    return folder


def truth_of(folder: Path) -> dict[int, str]:
    """Lines of the sample's truth by 0-based position."""
    lines = gzip.decompress((folder / "var").read_bytes()).decode().splitlines()
    return {int(line.split()[1]) - 1: line for line in lines}


def start(name: str, reads: Path, made: Path, output: Path, *options) -> dict[str, np.ndarray]:
    """Run a submodule on the sample, and read the bin that it made."""
    files = [f"--bam_fn={reads / 'reads.bam'}", f"--ref_fn={reads / 'ref.fa'}", f"--ctgName={CONTIG}"]
    clair3([name, *files, f"--var_fn={made / 'var'}", f"--bin_fn={output}", *map(str, options)])
    with Bin(output) as one:
        return one.rows(0, len(one), COLUMNS)


def record_pos(rows: dict[str, np.ndarray]) -> np.ndarray:
    """0-based positions of rows."""
    return np.array([int(text.split(b":")[1]) - 1 for text in rows["position"].tolist()], np.int64)


def by_position(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    order = np.argsort(record_pos(rows), kind="stable")
    return {name: values[order] for name, values in rows.items()}


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]):
    for name in COLUMNS:
        assert first[name].shape == second[name].shape and (first[name] == second[name]).all(), name


PILEUP_OPTIONS = ("--pileup", "--snp_min_af=0.08", "--indel_min_af=0.15")


# Pileup


@pytest.fixture(scope="module")
def pileup_bin(sample_reads, made) -> dict[str, np.ndarray]:
    options = (*PILEUP_OPTIONS, f"--bed_fn={made / 'bed'}", f"--extend_bed={made / 'extended'}")
    return start("CreateTrainingTensorDirect", sample_reads, made, made / "pileup", *options)


def test_pileup_rows_are_those_of_calling_with_labels(pileup_bin, sample_reads, made):
    rows, truth = by_position(pileup_bin), truth_of(made)
    pos = record_pos(rows)
    allowed = np.array([[1000, 20_000], [25_000, 59_000]])
    with core.Source(sample_reads / "reads.bam", sample_reads / "ref.fa") as source:
        found = core.pileup(source, Region(CONTIG, 0, LENGTH), CandidateOptions(), allowed)
        batch = found.batch()
    kept = np.isin(batch.pos, pos)
    assert (batch.pos[kept] == pos).all() and (batch.tensors[kept] == rows["position_matrix"]).all()
    unseen = set(batch.pos[~kept].tolist())  # candidates at true variants that the reads do not show
    assert unseen <= truth.keys() and len(unseen) < 0.1 * len(truth)
    with pysam.FastaFile(str(sample_reads / "ref.fa")) as fasta:
        for i, (at, text) in enumerate(zip(pos.tolist(), rows["position"].tolist(), strict=True)):
            assert text.decode() == f"{CONTIG}:{at + 1}:{fasta.fetch(CONTIG, at - 16, at + 17)}"
            assert rows["alt_info"][i].decode() == batch.support.text(
                int(np.flatnonzero(batch.pos == at)[0]), chr(text[-17])
            )
    variant = labels.is_variant(rows["label"])
    assert set(pos[variant].tolist()) == truth.keys() & set(pos.tolist()) and variant.sum() > 40
    for at, classes in zip(pos.tolist(), labels.labels_to_classes(rows["label"]).tolist(), strict=True):
        _, _, ref, alt, *genotype = truth.get(at, "- - - - 0 0").split()
        change = len(alt) - len(ref)
        lengths = [0 if number == "0" else change for number in genotype]
        assert [classes[2] - 16, classes[3] - 16] == sorted(lengths)
        assert classes[1] == {"00": 0, "11": 1, "01": 2}["".join(genotype)]
        if change == 0 and genotype == ["0", "1"]:
            assert LABELS[classes[0]] == "".join(sorted((ref, alt)))


@pytest.mark.parametrize("chunks", [2, 5])
@pytest.mark.parametrize("extended", [True, False])
def test_the_parts_together_are_the_whole(chunks, extended, pileup_bin, sample_reads, made, tmp_path):
    options = [*PILEUP_OPTIONS, f"--bed_fn={made / 'bed'}", f"--chunk_num={chunks}"]
    options += [f"--extend_bed={made / 'extended'}"] * extended
    for k in range(1, chunks + 1):
        output = tmp_path / f"t_{k}"
        start("CreateTrainingTensorDirect", sample_reads, made, output, *options, f"--chunk_id={k}")
    merged = tmp_path / "merged"
    clair3(["MergeBin", *(str(tmp_path / f"t_{k}") for k in range(1, chunks + 1)), f"--out_fn={merged}", "--pileup"])
    with Bin(merged) as one:
        assert_same(by_position(one.rows(0, len(one), COLUMNS)), by_position(pileup_bin))


def test_the_older_ways_give_the_same_bin(pileup_bin, sample_reads, made, tmp_path, capsys, monkeypatch):
    """CreateTrainingTensor, and tensors as text through Tensor2Bin."""
    bed = f"--bed_fn={made / 'bed'}"
    legacy = start("CreateTrainingTensor", sample_reads, made, tmp_path / "legacy", *PILEUP_OPTIONS, bed)
    assert_same(legacy, pileup_bin)
    files = [f"--bam_fn={sample_reads / 'reads.bam'}", f"--ref_fn={sample_reads / 'ref.fa'}", f"--ctgName={CONTIG}"]
    clair3(["CreateTensorPileup", *files, f"--tensor_can_fn={tmp_path / 'tensors'}"])
    capsys.readouterr()
    clair3(["CreateTensorPileupFromCffi", *files])
    text = capsys.readouterr().out
    assert text == (tmp_path / "tensors").read_text()
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    for source in ("PIPE", tmp_path / "tensors"):
        output = tmp_path / "bin"
        options = [f"--var_fn={made / 'var'}", f"--bin_fn={output}", bed, "--pileup"]
        clair3(["Tensor2Bin", *options, f"--tensor_fn={source}"])
        with Bin(output) as one:
            assert_same(one.rows(0, len(one), COLUMNS), pileup_bin)


def test_sampling_and_order_repeat_with_the_seed(pileup_bin, sample_reads, made, tmp_path):
    options = (*PILEUP_OPTIONS, f"--bed_fn={made / 'bed'}", "--maximum_non_variant_ratio=1", "--shuffle")
    found = [
        start("CreateTrainingTensorDirect", sample_reads, made, tmp_path / "bin", *options, f"--seed={seed}")
        for seed in (3, 3, 4)
    ]
    assert_same(found[0], found[1])
    variants = [labels.is_variant(rows["label"]) for rows in (*found, pileup_bin)]
    assert len({int(variant.sum()) for variant in variants}) == 1
    assert abs((~variants[0]).sum() - variants[0].sum()) < 4 * variants[0].sum() ** 0.5
    assert found[0]["position"].tolist() != found[2]["position"].tolist()
    assert Bin(tmp_path / "bin").attributes["seed"] == 4


def test_positions_and_ranges_that_are_asked_for(pileup_bin, sample_reads, made, tmp_path):
    pos = record_pos(by_position(pileup_bin))
    options = (*PILEUP_OPTIONS, f"--bed_fn={made / 'bed'}")
    span = (*options, "--ctgStart=2001", "--ctgEnd=9000")
    span = start("CreateTrainingTensorDirect", sample_reads, made, tmp_path / "span", *span)
    assert sorted(record_pos(span).tolist()) == pos[(pos >= 2000) & (pos < 9000)].tolist()
    wanted = [int(pos[3]), int(pos[40]), int(pos[40]) + 1]
    (tmp_path / "vcf").write_text("".join(f"{CONTIG}\t{at + 1}\n" for at in wanted))
    sites = start(
        "CreateTrainingTensor", sample_reads, made, tmp_path / "bin", *options, f"--vcf_fn={tmp_path / 'vcf'}"
    )
    assert sorted(record_pos(sites).tolist()) == sorted(set(wanted) & set(pos.tolist()))


def test_a_part_without_candidates_is_an_empty_bin(sample_reads, made, tmp_path):
    options = (*PILEUP_OPTIONS, "--ctgStart=1", "--ctgEnd=10", "--maximum_non_variant_ratio=5", "--shuffle")
    rows = start("CreateTrainingTensorDirect", sample_reads, made, tmp_path / "bin", *options)
    assert len(rows["label"]) == 0 and rows["position_matrix"].shape == (0, 33, 18)


# Full alignment


def full_alignment(reads: Path, made: Path, output: Path, *options, name: str = "CreateTrainingTensorDirect"):
    regions = f"--full_aln_regions={made / 'regions'}"
    return start(name, reads, made, output, regions, *options)


def test_full_alignment_rows_are_those_of_calling(sample_reads, made, tmp_path):
    rows = full_alignment(sample_reads, made, tmp_path / "bin", f"--phased_vcf_fn={made / 'phased.vcf'}")
    rows = by_position(rows)
    pos = record_pos(rows)
    assert len(set(pos.tolist())) == len(pos) and len(pos) > 150
    every = np.array(sorted({*truth_of(made), *range(700, 58_000, 500)}))
    snps = read_phased(made / "phased.vcf", CONTIG, heterozygous=True)
    with core.Source(sample_reads / "reads.bam", sample_reads / "ref.fa") as source:
        batch = core.full_alignment(source, CONTIG, every, ReadFeatureOptions(89), snps).batch()
    kept = np.isin(every, pos)
    assert (batch.tensors[kept] == rows["position_matrix"]).all() and rows["position_matrix"].dtype == np.int8
    assert set(every[~kept].tolist()) <= truth_of(made).keys()
    assert set(pos[labels.is_variant(rows["label"])].tolist()) == truth_of(made).keys() & set(pos.tolist())


def test_unphased_copies(sample_reads, made, tmp_path):
    """Beside each candidate with a phased read, what calling makes of it without phasing (F 7)."""
    phased = f"--phased_vcf_fn={made / 'phased.vcf'}"
    plain = by_position(full_alignment(sample_reads, made, tmp_path / "plain", "--no_phasing_for_fa", phased))
    once = by_position(full_alignment(sample_reads, made, tmp_path / "once", phased))
    both = full_alignment(sample_reads, made, tmp_path / "both", phased, "--add_no_phasing_data_training")
    assert set(np.unique(plain["position_matrix"][..., HAPLOTYPE]).tolist()) == {0, 60}
    has_phased = np.isin(once["position_matrix"][..., HAPLOTYPE], PHASED).any(axis=(1, 2))
    assert has_phased.sum() > 50
    assert len(both["label"]) == len(once["label"]) + has_phased.sum()
    copy = ~np.isin(both["position_matrix"][..., HAPLOTYPE], PHASED).any(axis=(1, 2))
    found = by_position({name: values[~copy] for name, values in both.items()})
    assert_same(found, {name: values[has_phased] for name, values in once.items()})
    found = by_position({name: values[copy] for name, values in both.items()})
    assert_same(found, plain)  # those without phased reads came once, the others as copies
    copies = "--add_no_phasing_data_training"
    dropped = full_alignment(sample_reads, made, tmp_path / "old", phased, copies, name="CreateTrainingTensor")
    assert_same(by_position(dropped), once)  # the older way keeps them with --allow_duplicate_chr_pos only
    options = (phased, copies, "--allow_duplicate_chr_pos")
    assert_same(full_alignment(sample_reads, made, tmp_path / "kept", *options, name="CreateTrainingTensor"), both)


def test_haplotypes_of_the_reads_tags(sample_reads, made, tmp_path, caplog):
    """Tagged as the phased SNPs tell, reads give the same tensors; a phased VCF wins over tags."""
    snps = read_phased(made / "phased.vcf", CONTIG, heterozygous=True)
    every = np.arange(0, LENGTH, 20)
    with core.Source(sample_reads / "reads.bam", sample_reads / "ref.fa") as source:
        haplotypes = iter(core.full_alignment(source, CONTIG, every, ReadFeatureOptions(89), snps).haplotypes.tolist())
    (tmp_path / "ref.fa").symlink_to(sample_reads / "ref.fa")
    (tmp_path / "ref.fa.fai").symlink_to(sample_reads / "ref.fa.fai")
    with (
        pysam.AlignmentFile(str(sample_reads / "reads.bam")) as reads,
        pysam.AlignmentFile(str(tmp_path / "reads.bam"), "wb", template=reads) as tagged,
    ):
        for read in reads:
            if read.reference_name == CONTIG:
                haplotype = next(haplotypes)
                # no tag, and any other value than 1 or 2, mean no haplotype
                read.set_tag("HP", haplotype or 3, "i" if haplotype else "C")
                if read.query_name.endswith("7") and not haplotype:
                    read.set_tag("HP", None)
            tagged.write(read)
    assert next(haplotypes, None) is None
    pysam.index(str(tmp_path / "reads.bam"))
    phased = f"--phased_vcf_fn={made / 'phased.vcf'}"
    expected = full_alignment(sample_reads, made, tmp_path / "phased", phased)
    found = full_alignment(tmp_path, made, tmp_path / "tags", "--phasing_info_in_bam")
    assert_same(found, expected)
    plain = full_alignment(tmp_path, made, tmp_path / "plain", "--phasing_info_in_bam", "--no_phasing_for_fa")
    assert (plain["position_matrix"] != expected["position_matrix"]).any()
    caplog.clear()
    assert_same(full_alignment(sample_reads, made, tmp_path / "two", phased, "--phasing_info_in_bam"), expected)
    assert "not from the HP tags" in caplog.text


def test_haplotypes_are_those_of_heterozygous_snps(tmp_path):
    """Calling takes every phased record, as v2.0.2 does; training those that tell haplotypes apart (A.2)."""
    genotypes = ("0|1", "1|0", "1|1", "1|2", "0/1")
    rows = (f"chr1\t{pos}\t.\tA\tC\t9\tPASS\t.\tGT:PS\t{genotype}:7\n" for pos, genotype in enumerate(genotypes, 1))
    (tmp_path / "vcf").write_text("".join(rows))
    assert read_phased(tmp_path / "vcf", "chr1").haplotype.tolist() == [1, 2, 2, 2]
    snps = read_phased(tmp_path / "vcf", "chr1", heterozygous=True)
    assert (snps.pos.tolist(), snps.haplotype.tolist()) == ([0, 1], [1, 2])


def test_full_alignment_candidates_by_the_rule_of_pileup(pileup_bin, sample_reads, made, tmp_path):
    """Without a file of candidates they are those of the pileup; also as text."""
    options = ("--indel_min_af=0.15", "--snp_min_af=0.08", f"--bed_fn={made / 'bed'}", "--ctgStart=1", "--ctgEnd=9000")
    rows = start("CreateTrainingTensorDirect", sample_reads, made, tmp_path / "bin", *options)
    expected = record_pos(pileup_bin)
    missing = set(expected[expected < 9000].tolist()) ^ set(record_pos(rows).tolist())
    assert missing <= truth_of(made).keys() and len(missing) < 3  # insertions are told from each other differently
    text = tmp_path / "tensors"
    files = [f"--bam_fn={sample_reads / 'reads.bam'}", f"--ref_fn={sample_reads / 'ref.fa'}", f"--ctgName={CONTIG}"]
    clair3(["CreateTensorFullAlignment", *files, *options, f"--tensor_can_fn={text}"])
    clair3(["Tensor2Bin", f"--tensor_fn={text}", f"--var_fn={made / 'var'}", f"--bin_fn={tmp_path / 'second'}"])
    with Bin(tmp_path / "second") as one:
        assert_same(one.rows(0, len(one), COLUMNS), rows)


def test_a_phased_vcf_without_phased_snps_is_told_of(sample_reads, made, tmp_path, caplog):
    """The sample's truth has no phase sets."""
    rows = full_alignment(sample_reads, made, tmp_path / "bin", f"--phased_vcf_fn={sample_reads / 'truth.vcf.gz'}")
    assert "no phased SNP on chr20" in caplog.text
    assert not np.isin(rows["position_matrix"][..., HAPLOTYPE], PHASED).any()


# Golden tensors


def test_golden_pileup_tensors(shared_data, tmp_path):
    """v2.0.2's tensors of sim/small; of the candidates in the window only those that its neighbours do not see."""
    data, golden = shared_data / "sim" / "small", np.load(shared_data / "golden" / "tensors" / "ont_pileup.npz")
    clair3(["GetTruth", f"--vcf_fn={data / 'truth.vcf.gz'}", "--ctgName=chr20", f"--var_fn={tmp_path / 'var'}"])
    files = [f"--bam_fn={data / 'ont.bam'}", f"--ref_fn={data / 'ref.fa'}", "--ctgName=chr20"]
    output = [f"--var_fn={tmp_path / 'var'}", f"--bin_fn={tmp_path / 'bin'}", "--ctgStart=100001", "--ctgEnd=200000"]
    clair3(["CreateTrainingTensorDirect", *files, *output, *PILEUP_OPTIONS])
    check_golden(tmp_path, golden, least=0.95)


@pytest.mark.parametrize("name, platform", [("ont_full_alignment", "ont"), ("hifi_full_alignment_all", "hifi")])
def test_golden_full_alignment_tensors(name, platform, shared_data, tmp_path):
    data, tensors = shared_data / "sim" / "small", shared_data / "golden" / "tensors"
    stages = shared_data / "golden" / "runs" / f"{platform}_default" / "stages" / "phase_vcf"
    clair3(["GetTruth", f"--vcf_fn={data / 'truth.vcf.gz'}", "--ctgName=chr20", f"--var_fn={tmp_path / 'var'}"])
    files = [f"--bam_fn={data / f'{platform}.bam'}", f"--ref_fn={data / 'ref.fa'}", "--ctgName=chr20"]
    regions = [f"--full_aln_regions={tensors / f'{name}.bed'}", f"--phased_vcf_fn={stages / 'phased_chr20.vcf.gz'}"]
    output = [f"--var_fn={tmp_path / 'var'}", f"--bin_fn={tmp_path / 'bin'}", f"--platform={platform}"]
    clair3(["CreateTrainingTensorDirect", *files, *regions, *output])
    check_golden(tmp_path, np.load(tensors / f"{name}.npz"), least=0.9)


def check_golden(folder: Path, golden, least: float):
    """The rows of a bin have the tensors and support of v2.0.2, and are nearly all of its candidates: missing are those
    of true variants that no read shows."""
    with Bin(folder / "bin") as one:
        rows = by_position(one.rows(0, len(one), COLUMNS))
    pos = record_pos(rows)
    kept = np.isin(golden["position"] - 1, pos)
    inside = np.isin(pos + 1, golden["position"])
    assert kept.sum() == inside.sum() >= least * len(golden["position"]) and inside.mean() > 0.99
    assert (golden["tensor"][kept] == rows["position_matrix"][inside]).all()
    expected = [text.rstrip() for text in golden["alt_info"][kept].tolist()]
    assert [text.decode() for text in rows["alt_info"][inside].tolist()] == expected
    assert set((golden["position"][~kept] - 1).tolist()) <= truth_of(folder).keys()


def test_dwell_time(shared_data, tmp_path):
    """Nine channels from move tables, on the real reads that have them."""
    name = "hg002_ont_r104_hac5_chr20_5.00M"
    data, tensors = shared_data / "real" / name, shared_data / "golden" / "tensors"
    golden = np.load(tensors / "dwell_hac5_full_alignment_nophase.npz")
    (tmp_path / "var").write_text("")
    (bam,) = data.glob("*.bam")
    reference = shared_data / "real" / "ref_chr20_0-10M.fa.gz"
    files = [f"--bam_fn={bam}", f"--ref_fn={reference}", "--ctgName=chr20", f"--var_fn={tmp_path / 'var'}"]
    options = ["--enable_dwell_time", f"--full_aln_regions={tensors / 'dwell_hac5_full_alignment.bed'}"]
    clair3(["CreateTrainingTensorDirect", *files, *options, f"--bin_fn={tmp_path / 'bin'}"])
    with Bin(tmp_path / "bin") as one:
        rows = by_position(one.rows(0, len(one), COLUMNS))
        assert one.channels == 9
    assert (rows["position_matrix"] == golden["tensor"]).all()


# Candidates for full alignment from the pileup calls


def write_calls(path: Path, *calls: tuple[int, str, float], contig: str = "chr20") -> Path:
    """A pileup VCF of (1-based position, ALT, QUAL); REF is A."""
    rows = (f"{contig}\t{pos}\t.\tA\t{alt}\t{qual}\tPASS\t.\tGT\t0/1\n" for pos, alt, qual in calls)
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"
    path.write_text(header + "".join(rows))
    return path


def select(vcf: Path, folder: Path, *options: str) -> None:
    clair3(["SelectHetSnp", f"--alt_fn={vcf}", f"--split_folder={folder}", "--phase", *options])


def test_candidates_of_lowest_quality(tmp_path):
    """floor(share x n) of either kind, sorted, in nearly equal parts; each read back as it was (A.6, G 11)."""
    variants = [(100 * i + 5, "G", 30 - i) for i in range(11)]
    reference = [(100 * i + 50, "." if i % 2 else "A", float(i)) for i in range(15)]
    vcf = write_calls(tmp_path / "vcf", *sorted([*variants, *reference]))
    options = ("--ctgName=chr20", "--sampleName=s", "--depth=900", "--phasing_info_in_bam", "--chunk_num=3")
    select(vcf, tmp_path / "out", *options, "--ref_pct_full=0.2", "--var_pct_full=0.5")
    files = [tmp_path / "out" / f"s_900_20_{k}" for k in (1, 2, 3)]
    assert sorted((tmp_path / "out").iterdir()) == files
    expected = sorted([*(pos for pos, _, _ in variants[-5:]), *(pos for pos, _, _ in reference[:3])])
    parts = [(read_candidates(path, "chr20") + 1).tolist() for path in files]
    assert parts == [expected[:3], expected[3:6], expected[6:]]
    assert files[2].read_text().splitlines()[0] == f"chr20\t{expected[6] - 17}\t{expected[6] + 17}"
    select(vcf, tmp_path / "all", *options[:3], "--var_pct_full=1", "--ref_pct_full=1")
    everything = sorted(pos for pos, _, _ in [*variants, *reference])
    assert (read_candidates(tmp_path / "all" / "s_900_20_1", "chr20") + 1).tolist() == everything


def test_candidates_at_the_start_of_a_contig(tmp_path):
    vcf = write_calls(tmp_path / "vcf", *((pos, "G", 1.0) for pos in (1, 16, 17, 18, 19)))
    select(vcf, tmp_path / "out", "--ctgName=chr20", "--var_pct_full=1")
    path = tmp_path / "out" / "_1000_20_1"
    assert path.read_text().splitlines()[:3] == [f"chr20\t0\t{end}" for end in (18, 33, 34)]
    assert (read_candidates(path, "chr20") + 1).tolist() == [1, 16, 17, 18, 19]


def test_parts_without_candidates_and_other_contig_names(tmp_path, caplog):
    vcf = write_calls(tmp_path / "vcf", (100, "G", 1.0), contig="scaffold_1")
    select(vcf, tmp_path, "--ctgName=scaffold_1", "--sampleName=s", "--var_pct_full=1", "--chunk_num=2")
    assert (tmp_path / "s_1000_scaffold_1_2").read_text() == "\n"
    assert read_candidates(tmp_path / "s_1000_scaffold_1_2", "scaffold_1").tolist() == []
    select(vcf, tmp_path, "--ctgName=chr3", "--sampleName=s")
    assert "no calls on contig chr3" in caplog.text and (tmp_path / "s_1000_3_1").read_text() == "\n"


def test_rows_of_other_widths_and_of_four_columns(tmp_path):
    (tmp_path / "bed").write_text("chr20 100 134\nchr20 200 211\nchr20 300 334 7\n")
    assert (read_candidates(tmp_path / "bed", "chr20") + 1).tolist() == [117, 205]


def true_variant(text: str) -> tuple[str, str]:
    """REF and ALT of a golden row: what its reads show, at the middle of its window."""
    position, alt_info = text.split("\t")
    allele, ref = alt_info.partition("-")[2].split()[0], position[-17]
    if allele[0] == "D":
        return ref + allele[1:], ref
    return ref, allele[1:]


@pytest.mark.parametrize(
    "name, options",
    [
        ("pileup_random_600.bin", ("--pileup",)),
        ("full_alignment_hifi_random_24.bin", ("--platform=hifi",)),
        ("full_alignment_ont_random_12.bin", ()),
        ("full_alignment_ont_dwell_random_6.bin", ("--enable_dwell_time",)),
    ],
)
def test_golden_bins_are_made_again_from_text(name, options, shared_data, tmp_path):
    """Their rows as text in another order, with the truth that their labels tell: v2.0.2's bins, dataset by dataset."""
    with Bin(shared_data / "golden" / "bins" / name) as one:
        golden = one.rows(0, len(one), COLUMNS)
    texts = [b"\t".join(pair).decode() for pair in zip(golden["position"], golden["alt_info"], strict=True)]
    truth, found = [], []
    for tensor, classes, text in zip(
        golden["position_matrix"], labels.labels_to_classes(golden["label"]).tolist(), texts, strict=True
    ):
        contig, pos, window = text.split("\t")[0].split(":")
        if classes[1]:
            ref, alt = true_variant(text)
            truth.append(f"{contig} {pos} {ref} {alt} {'1 1' if classes[1] == 1 else '0 1'}")
        one = Candidates(contig, np.array([int(pos) - 1]), [window], tensor[None], [text.split("\t")[1]])
        found += iter_lines(one)
    (tmp_path / "var").write_text("".join(f"{line}\n" for line in truth))
    for k, part in enumerate((found[1::2], found[::2])):
        (tmp_path / f"t_{k}").write_text("".join(f"{line}\n" for line in part))
    output = [f"--var_fn={tmp_path / 'var'}", f"--bin_fn={tmp_path / 'bin'}", f"--tensor_fn={tmp_path / 't'}"]
    clair3(["Tensor2Bin", *output, *options])
    with Bin(tmp_path / "bin") as one:
        assert_same(one.rows(0, len(one), COLUMNS), golden)


# The documentation


@pytest.mark.slow
def test_the_commands_of_the_documentation(tmp_path, monkeypatch, capsys):
    """Each line of docs/training_data.md, in order."""
    page = (Path(__file__).parents[2] / "docs" / "training_data.md").read_text()
    lines = [line for block in re.findall("```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(lines) > 10
    monkeypatch.chdir(tmp_path)
    for line in lines:
        program, *words = shlex.split(line)
        if program == "clair3":
            clair3(words)
        elif program == "whatshap":
            subprocess.run([sys.executable, "-m", "whatshap", *words], check=True, capture_output=True)
        else:
            subprocess.run(line, shell=True, check=True)
    assert "zygosity" in capsys.readouterr().out
    with Bin(tmp_path / "train" / "bins" / "bin_s_1000_20") as pileup:
        assert pileup.kind == "pileup" and len(pileup) > 100
    with Bin(tmp_path / "train" / "tensors" / "full_s_1000_20_1") as full:
        tensors = full.rows(0, len(full))["position_matrix"]
    assert np.isin(tensors[..., HAPLOTYPE], PHASED).any()


# What cannot be done


@pytest.mark.parametrize(
    "options, words",
    [
        (("--ctgName=chr9", "--var_fn={folder}/empty"), "ref.fa: no contig chr9; it has chr20"),
        (("--ctgName=chr9",), "true variants of chr20 but none of chr9"),
        (("--var_fn={folder}/none",), "none: cannot be read"),
        (("--var_fn={folder}/other_truth",), "true variants of chr1 but none of chr20"),
        (("--var_fn={folder}/renamed_truth",), "has no contig chr20 but 20; rename it"),
        (("--var_fn={reads}/truth.vcf.gz",), "make the file with GetTruth"),
        (("--bed_fn={folder}/renamed_bed",), "has no contig chr20 but 20; rename it"),
        (("--bed_fn={folder}/none",), "--bed_fn={folder}/none: no such file"),
        (("--extend_bed={folder}/renamed_bed",), "has no contig chr20 but 20"),
        (("--chunk_id=1",), "--chunk_id and --chunk_num go together"),
        (("--chunk_id=3", "--chunk_num=2"), "--chunk_id=3"),
        (("--ctgStart=5",), "--ctgStart and --ctgEnd go together"),
        (("--ctgStart=9", "--ctgEnd=5"), "--ctgStart=9 --ctgEnd=5"),
        (("--maximum_non_variant_ratio=-1",), "--maximum_non_variant_ratio=-1.0"),
        (("--output_variant_matrix",), "--output_variant_matrix is not in this version"),
        (("--pileup", "--enable_dwell_time"), "leave it or --pileup out"),
        (("--pileup", "--phased_vcf_fn={made}/phased.vcf"), "leave these options or --pileup out"),
        (("--phased_vcf_fn={made}/none",), "--phased_vcf_fn={made}/none: no such file"),
        (("--phased_vcf_fn={made}/bed",), "not a VCF record of 10 columns"),
        (("--full_aln_regions={made}/var",), "var: row 1"),
        (("--enable_dwell_time",), "no valid 'mv' tag"),
        (("--bam_fn={reads}/ref.fa",), "ref.fa"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(options, words, sample_reads, made, tmp_path, capsys):
    (tmp_path / "other_truth").write_text("chr1 5 A C 0 1\n")
    (tmp_path / "renamed_truth").write_text("20 5 A C 0 1\n")
    (tmp_path / "renamed_bed").write_text("20 5 9\n")
    (tmp_path / "empty").write_text("")
    names = {"folder": tmp_path, "reads": sample_reads, "made": made}
    files = [f"--bam_fn={sample_reads / 'reads.bam'}", f"--ref_fn={sample_reads / 'ref.fa'}", f"--ctgName={CONTIG}"]
    before = sorted(path.name for path in tmp_path.iterdir())
    output = [f"--var_fn={made / 'var'}", f"--bin_fn={tmp_path / 'bin'}"]
    with pytest.raises(SystemExit) as stopped:
        clair3(["CreateTrainingTensorDirect", *files, *output, *(option.format(**names) for option in options)])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code in (1, 2) and error.startswith("[ERROR] ") and words.format(**names) in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_alignments_without_the_contig(sample_reads, made, tmp_path, capsys):
    header = pysam.AlignmentHeader.from_dict({"HD": {"SO": "coordinate"}, "SQ": [{"SN": "chr21", "LN": 20_000}]})
    with pysam.AlignmentFile(str(tmp_path / "reads.bam"), "wb", header=header):
        pass
    pysam.index(str(tmp_path / "reads.bam"))
    options = [f"--ref_fn={sample_reads / 'ref.fa'}", f"--ctgName={CONTIG}", f"--var_fn={made / 'var'}"]
    with pytest.raises(SystemExit):
        clair3(
            ["CreateTrainingTensorDirect", f"--bam_fn={tmp_path / 'reads.bam'}", *options, f"--bin_fn={tmp_path / 'b'}"]
        )
    assert "reads.bam: no contig chr20 (--ctgName) in the header; it has chr21" in capsys.readouterr().err


def test_a_job_for_pileup_knows_no_phasing():
    files = (Path("a"), Path("b"), CONTIG, "ont", "pileup")
    assert TensorJob(*files).format.shape == (33, 18)
    with pytest.raises(ConfigError, match="leave these options or --pileup out"):
        TensorJob(*files, haplotype_tags=True)
