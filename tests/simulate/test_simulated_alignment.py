"""clair3 simulate reads --aligner: reads aligned by minimap2 (docs/simulate.md)."""

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pysam
import pytest
from program import clair3
from simulated import make_genome

from clair3.simulate.aligner import choose_preset, estimate_error_rate, iter_fastq
from clair3.simulate.profile_choice import load_profile
from clair3.simulate.read_plan import ReadOptions
from clair3.simulate.reads import simulate_reads

needs_minimap2 = pytest.mark.skipif(not shutil.which("minimap2"), reason="minimap2 is not installed")


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    options = ("--density", 0.001, 0.002, "--seed", 5)
    return make_genome(tmp_path_factory.mktemp("genome"), "chr20=40000,chr21=20000", *options)


def simulated(genome: Path, output: Path, platform: str, *options):
    files = ("--ref_fn", genome / "ref.fa", "--truth", genome / "truth.vcf.gz", "--output", output)
    return clair3("simulate", "reads", *files, "--platform", platform, "--depth", 8, *options)


@needs_minimap2
@pytest.mark.parametrize("platform", ["ont", "hifi", "ilmn"])
def test_the_aligner_finds_the_places(genome, tmp_path, platform):
    options = ("--tagged", 1, *(("--moves",) if platform == "ont" else ()))
    done = simulated(genome, tmp_path / "own.bam", platform, *options)
    assert done.returncode == 0, done.stderr
    done = simulated(genome, tmp_path / "aligned.bam", platform, *options, "--aligner", "minimap2")
    assert done.returncode == 0, done.stderr
    own = {}
    with pysam.AlignmentFile(str(tmp_path / "own.bam")) as file:
        for read in file:
            if not read.is_supplementary:
                own[read.query_name, read.is_read2] = read
    seen, near = Counter(), 0
    with pysam.AlignmentFile(str(tmp_path / "aligned.bam")) as file:
        assert file.has_index() and file.header["HD"]["SO"] == "coordinate"
        assert f"preset {choose_preset(platform, (2, 24), 0.1)}" in file.header["PG"][-1]["DS"]
        for read in file.fetch(until_eof=True):
            if read.is_secondary or read.is_supplementary:
                continue
            old = own[read.query_name, read.is_read2]
            seen[read.is_unmapped] += 1
            assert read.get_forward_sequence() == old.get_forward_sequence()
            assert read.get_forward_qualities() == old.get_forward_qualities()
            for tag in ("HP", "PS", "RG", "mv"):
                assert read.has_tag(tag) == old.has_tag(tag)
                if read.has_tag(tag):
                    assert read.get_tag(tag) == old.get_tag(tag)
            near += read.reference_name == old.reference_name and abs(read.reference_start - old.reference_start) < 50
            assert read.is_paired == old.is_paired == (platform == "ilmn")
    assert seen.total() == len(own) and near > 0.9 * seen.total()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("aligned.bam", "aligned.bam.bai", "own.bam", "own.bam.bai")
    ]


@needs_minimap2
@pytest.mark.slow
def test_the_same_bytes_for_any_number_of_threads(genome, tmp_path):
    for threads in (1, 2):
        done = simulated(genome, tmp_path / f"{threads}.bam", "ont", "--aligner", "minimap2", "--threads", threads)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "1.bam").read_bytes() == (tmp_path / "2.bam").read_bytes()


def test_presets():
    assert [choose_preset(name, (2, 24), 0.01) for name in ("ont", "hifi", "ilmn")] == ["map-ont", "map-hifi", "sr"]
    assert [choose_preset("ont", (2, 30), error) for error in (0.01, 0.05)] == ["lr:hq", "map-ont"]
    rates = [
        estimate_error_rate(load_profile(name, name, np.random.default_rng(0))) for name in ("ilmn", "hifi", "ont")
    ]
    assert 0 < rates[0] < 0.01 and 0 < rates[1] < rates[2] < 0.05


def test_fastq_holds_reads_as_sequenced(genome, tmp_path):
    profile = load_profile("ilmn", "ilmn", np.random.default_rng(0))
    simulate_reads(genome / "ref.fa", genome / "truth.vcf.gz", tmp_path / "r.bam", profile, ReadOptions(2), seed=1)
    lines = "".join(iter_fastq(tmp_path / "r.bam")).splitlines()
    names = [line.split("\t")[0][1:] for line in lines[::4]]
    assert len(names) > 100 and names[::2] == names[1::2] and len(set(names)) == len(names) // 2  # mates follow
    assert all(len(one) == len(two) for one, two in zip(lines[1::4], lines[3::4], strict=True))


def failing(folder: Path, text: str) -> Path:
    program = folder / "minimap2"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "no such program; install minimap2"),
        ("echo bwa", "is no minimap2"),
        ('[ "$1" = --version ] && echo 2.28-r1209 || { echo "[ERROR] no memory" >&2; exit 1; }', "no memory"),
        ('[ "$1" = --version ] && echo 2.28-r1209 || { printf "@SQ\\tSN:x\\tLN:9\\n"; }', "contigs"),
        ('[ "$1" = --version ] && echo 2.28-r1209 || kill -9 $$', "failed"),
    ],
)
def test_an_aligner_that_fails_is_one_line(genome, tmp_path, text, words):
    program = failing(tmp_path, text) if text else tmp_path / "none"
    (tmp_path / "out").mkdir()
    done = simulated(genome, tmp_path / "out" / "r.bam", "hifi", "--aligner", program)
    errors = [line for line in done.stderr.splitlines() if not re.match(r"\[INFO\]", line)]
    assert done.returncode == 1 and len(errors) == 1 and words in errors[0], done.stderr
    assert not list((tmp_path / "out").iterdir())
