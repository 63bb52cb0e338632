"""The small tools of the training workflow: parts of the reads, the truth phased by them, networks as a model
folder."""

import json
from pathlib import Path

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_genome import write_fasta, write_reads

from clair3.cli.main import main as clair3
from clair3.errors import ConfigError, InputError
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.inference.checkpoint import save_model
from clair3.model import random_model
from clair3.models.assemble import assemble
from clair3.models.registry import ModelCard, check_digest, read_card, write_card
from clair3.phasing.phasers import read_phased
from clair3.training.data.phase_truth import iter_phased_records, iter_unphased_records
from clair3.training.data.subsample import NameSampler, subsample


def refusal(capsys, *words: str) -> str:
    """The last line of a command that must fail."""
    with pytest.raises(SystemExit) as stopped:
        clair3(list(words))
    assert stopped.value.code == 1
    return capsys.readouterr().err.splitlines()[-1]


# Reads


def alignments(path: Path) -> list[tuple]:
    with pysam.AlignmentFile(str(path)) as file:
        return [(read.query_name, read.flag, read.reference_name, read.reference_start) for read in file]


def test_a_fraction_of_the_reads(sample_reads, tmp_path):
    reads, fasta = sample_reads / "reads.bam", sample_reads / "ref.fa"
    everything = alignments(reads)
    assert subsample(reads, fasta, tmp_path / "half.bam", 0.5) == len(half := alignments(tmp_path / "half.bam"))
    assert 0.35 * len(everything) < len(half) < 0.65 * len(everything)
    assert half == [read for read in everything if read in set(half)]  # in order, and a part
    with pysam.AlignmentFile(str(tmp_path / "half.bam")) as file:  # indexed
        assert sum(1 for _ in file.fetch("chr21")) == sum(read[2] == "chr21" for read in half)
    subsample(reads, fasta, tmp_path / "again.bam", 0.5)
    assert (tmp_path / "again.bam").read_bytes() == (tmp_path / "half.bam").read_bytes()
    subsample(reads, fasta, tmp_path / "other.bam", 0.5, seed=2)
    assert set(alignments(tmp_path / "other.bam")) != set(half)
    subsample(reads, fasta, tmp_path / "chr21.bam", 1.0, ["chr21"])
    assert alignments(tmp_path / "chr21.bam") == [read for read in everything if read[2] == "chr21"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bai"] * 4 + [".bam"] * 4


def test_cram(tmp_path):
    fasta = write_fasta(tmp_path / "ref.fa")
    places = [("chr1", 10 * i) for i in range(30)] + [("chr2", 7 * i) for i in range(30)]
    cram = write_reads(tmp_path / "reads.cram", places, fasta=fasta)
    assert subsample(cram, fasta, tmp_path / "half.bam", 0.5, ["chr2"]) == len(
        half := alignments(tmp_path / "half.bam")
    )
    assert 0 < len(half) < 30 and {read[2] for read in half} == {"chr2"}


@given(st.floats(0.01, 1), st.integers(0, 1000))
def test_reads_of_one_name_stay_together_and_all_is_all(fraction, seed):
    sampler = NameSampler(fraction, seed)
    kept = [name for name in map(str, range(300)) if sampler.keeps(name)]
    assert kept == [name for name in map(str, range(300)) if NameSampler(fraction, seed).keeps(name)]
    assert abs(len(kept) / 300 - fraction) < 0.2
    assert NameSampler(1.0, seed).keeps("any")


def test_fractions_are_drawn_independently():
    """As in v2.0.2: a read of the smaller part is no likelier in the larger one."""
    small, large = NameSampler(0.3, 1), NameSampler(0.6, 1)
    names = [str(i) for i in range(3000) if small.keeps(str(i))]
    assert 0.5 < sum(map(large.keeps, names)) / len(names) < 0.7


def test_subsample_refuses(sample_reads, tmp_path, capsys):
    reads, fasta = sample_reads / "reads.bam", sample_reads / "ref.fa"
    for fraction in (0, -1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="fraction"):
            subsample(reads, fasta, tmp_path / "out.bam", fraction)
    with pytest.raises(ConfigError, match="is the input"):
        subsample(reads, fasta, reads, 0.5)
    with pytest.raises(InputError, match="no contig chr3"):
        subsample(reads, fasta, tmp_path / "out.bam", 0.5, ["chr3"])
    files = (f"--bam_fn={reads}", f"--ref_fn={fasta}")
    assert "no/out.bam: cannot be written" in refusal(capsys, "subsample", *files, f"--output_fn={tmp_path}/no/out.bam")
    assert not list(tmp_path.iterdir())


def test_damage_in_the_middle_of_the_reads(sample_reads, tmp_path):
    """The index and the ends are whole, a block between is not: no output, a line."""
    data = bytearray((sample_reads / "reads.bam").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    (tmp_path / "reads.bam").write_bytes(data)
    (tmp_path / "reads.bam.bai").write_bytes((sample_reads / "reads.bam.bai").read_bytes())
    with pytest.raises(InputError, match=r"reads.bam: .*damaged"):
        subsample(tmp_path / "reads.bam", sample_reads / "ref.fa", tmp_path / "out.bam", 0.5)
    assert not list(tmp_path.glob("*out.bam*"))


# Truth


def test_the_truth_is_phased_by_the_reads(sample_reads, tmp_path):
    """The sample's truth is phased: what WhatsHap finds agrees with it, or with its mirror image."""
    files = (f"--bam_fn={sample_reads / 'reads.bam'}", f"--ref_fn={sample_reads / 'ref.fa'}", "--ctgName=chr21")
    phased, tagged = tmp_path / "phased.vcf.gz", tmp_path / "tagged.bam"
    truth = f"--vcf_fn={sample_reads / 'truth.vcf.gz'}"
    clair3(["phase_truth", *files, truth, f"--output_fn={phased}", f"--tagged_bam_fn={tagged}"])
    with pysam.VariantFile(str(sample_reads / "truth.vcf.gz")) as rows:
        known = {row.pos - 1: row.samples[0]["GT"] for row in rows.fetch("chr21") if len(row.ref) == len(row.alts[0])}
    snps = read_phased(phased, "chr21", heterozygous=True)
    sides = {
        (known[pos] == (0, 1)) == (side == 1)
        for pos, side in zip(snps.pos.tolist(), snps.haplotype.tolist(), strict=True)
    }
    assert len(snps) >= 5 and len(set(snps.phase_set.tolist())) == 1 and len(sides) == 1
    with pysam.AlignmentFile(str(tagged)) as file:
        tags = [read.get_tag("HP") for read in file.fetch("chr21") if read.has_tag("HP")]
    assert set(tags) == {1, 2}


def test_a_known_phase_is_kept(sample_reads, tmp_path):
    files = (f"--bam_fn={sample_reads / 'reads.bam'}", f"--ref_fn={sample_reads / 'ref.fa'}", "--ctgName=chr21")
    truth, phased = sample_reads / "truth.vcf.gz", tmp_path / "phased.vcf.gz"
    clair3(["phase_truth", *files, f"--vcf_fn={truth}", f"--output_fn={phased}", "--keep_phase"])
    with pysam.VariantFile(str(truth)) as rows:
        known = {row.pos - 1: row.samples[0]["GT"] for row in rows.fetch("chr21")}
    snps = read_phased(phased, "chr21", heterozygous=True)
    sides = [known[pos] for pos in snps.pos.tolist()]
    assert len(snps) >= 5 and set(snps.phase_set.tolist()) == {1}
    assert sides == [(0, 1) if side == 1 else (1, 0) for side in snps.haplotype.tolist()]


def test_phase_that_is_not_there_cannot_be_kept(tmp_path, caplog):
    rows = ["chr1\t5\t.\tA\tC\t.\t.\t.\tGT\t0|1\t0/1", "chr1\t9\t.\tA\tC\t.\t.\t.\tGT\t0/1\t0|1"]
    (tmp_path / "truth.vcf").write_text("\n".join(rows) + "\n")
    assert list(iter_phased_records(tmp_path / "truth.vcf", "chr1")) == ["chr1\t5\t.\tA\tC\t.\t.\t.\tGT:PS\t0|1:1"]
    assert "left out 1 genotypes on contig chr1" in caplog.text
    (tmp_path / "truth.vcf").write_text(rows[1] + "\n")
    with pytest.raises(InputError, match=r"truth.vcf: no genotype on contig chr1 has a phase"):
        list(iter_phased_records(tmp_path / "truth.vcf", "chr1"))


def test_phase_and_odd_records_of_the_truth_are_left_out(tmp_path):
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"
    rows = (
        ("chr1", 5, "A", "C", "1|0:9"),
        ("chr1", 9, "A", "C,G", "2|1:9"),
        ("chr1", 12, "A", "<DEL>", "0/1:."),
        ("chr1", 15, "A", "C", "0/0:."),
        ("chr1", 18, "A", "T", "1:."),
        ("chr2", 5, "A", "C", "0/1:."),
    )
    lines = (f"{contig}\t{pos}\t.\t{ref}\t{alt}\t50\tPASS\t.\tGT:PS\t{gt}\n" for contig, pos, ref, alt, gt in rows)
    (tmp_path / "truth.vcf").write_text(head + "".join(lines))
    found = [line.split("\t") for line in iter_unphased_records(tmp_path / "truth.vcf", "chr1")]
    assert [(row[1], row[4], row[9]) for row in found] == [("5", "C", "0/1"), ("9", "C,G", "1/2"), ("18", "T", "1/1")]
    assert all(len(row) == 10 and row[8] == "GT" for row in found)
    with pytest.raises(InputError, match="has no contig 1 but chr1"):
        list(iter_unphased_records(tmp_path / "truth.vcf", "1"))


def test_phase_truth_refuses(sample_reads, tmp_path, capsys):
    files = (f"--bam_fn={sample_reads / 'reads.bam'}", f"--ref_fn={sample_reads / 'ref.fa'}")
    truth, output = f"--vcf_fn={sample_reads / 'truth.vcf.gz'}", f"--output_fn={tmp_path / 'out.vcf.gz'}"
    assert "no contig chr3" in refusal(capsys, "phase_truth", *files, truth, output, "--ctgName=chr3")
    assert "no.vcf" in refusal(capsys, "phase_truth", *files, "--vcf_fn=no.vcf", output, "--ctgName=chr21")
    for name, there in (("output_fn", []), ("tagged_bam_fn", [output])):
        words = [*files, truth, *there, "--ctgName=chr21", f"--{name}={tmp_path / 'none' / 'file'}"]
        told = refusal(capsys, "phase_truth", *words)
        assert told == f"[ERROR] {tmp_path / 'none' / 'file'}: cannot be written, " + (
            f"there is no folder {tmp_path / 'none'}; make it, or choose another"
        )
    assert not list(tmp_path.iterdir())


# Model folders


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> dict[str, Path]:
    """A checkpoint of each kind in a folder of its own, with the card that training leaves."""
    found = {}
    for kind in (PILEUP, FULL_ALIGNMENT):
        folder = tmp_path_factory.mktemp(kind)
        save_model(random_model(kind, 1), folder / "best_val_loss.pt")
        card = ModelCard(kind, "ont", metrics={"f1": 0.5}, training={"epoch": 3}, training_data="bin_a")
        write_card(folder, card)
        found[kind] = folder / "best_val_loss.pt"
    return found


def test_a_model_folder(networks, tmp_path):
    files = (f"--pileup_fn={networks[PILEUP]}", f"--fa_fn={networks[FULL_ALIGNMENT]}")
    clair3(["assemble_model", *files, f"--output_dir={tmp_path / 'mine'}", "--basecall_models=a@v1,b@v2"])
    card = read_card(tmp_path / "mine")
    assert (card.name, card.platform, card.dwell, card.training_data) == ("mine", "ont", None, "bin_a")
    assert card.basecall_models == ("a@v1", "b@v2") and set(card.digest) == {"pileup.pt", "full_alignment.pt"}
    assert card.metrics == {kind: {"f1": 0.5} for kind in networks} and set(card.training) == set(networks)
    check_digest(tmp_path / "mine", card)
    assert (tmp_path / "mine" / "pileup.pt").read_bytes() == networks[PILEUP].read_bytes()
    assert not list((tmp_path / "mine").glob(".*"))


def test_assemble_model_refuses(networks, tmp_path):
    pileup, full_alignment = networks[PILEUP], networks[FULL_ALIGNMENT]
    with pytest.raises(InputError, match="holds a full-alignment network"):
        assemble(full_alignment, full_alignment, tmp_path / "model", None, {})
    with pytest.raises(ConfigError, match="--platform: hifi and ont"):
        assemble(pileup, full_alignment, tmp_path / "model", "hifi", {})
    alone = tmp_path / "alone"
    alone.mkdir()
    for path, name in ((pileup, "p.pt"), (full_alignment, "f.pt")):
        (alone / name).write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match="--platform: not known"):
        assemble(alone / "p.pt", alone / "f.pt", tmp_path / "model", None, {})
    with pytest.raises(InputError, match="name is 'a b'"):
        assemble(pileup, full_alignment, tmp_path / "model", None, {"name": "a b"})
    assert not (tmp_path / "model").exists()
    card = assemble(alone / "p.pt", alone / "f.pt", tmp_path / "model", "ont", {})
    assert json.loads((tmp_path / "model" / "model.json").read_text())["platform"] == card.platform == "ont"
