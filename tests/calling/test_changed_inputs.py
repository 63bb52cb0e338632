"""Inputs that change while a run reads them: the run fails, leaves no results, and nothing that was made of others."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pysam
import pytest

from clair3.calling import pipeline, stages
from clair3.config import CallingConfig
from clair3.io.input_files import InputChangedError
from clair3.phasing.phasers import find_whatshap


@pytest.fixture
def config(run_config, tmp_path) -> CallingConfig:
    """A run on files of its own, with a BED."""
    folder = tmp_path / "inputs"
    shutil.copytree(run_config.bam.parent, folder)
    run_config.output.mkdir()
    (folder / "regions.bed").write_text("chr20\t10000\t20000\nchr21\t5000\t9000\n")
    return replace(
        run_config,
        bam=folder / "reads.bam",
        reference=folder / "ref.fa",
        model_dir=folder / "model",
        bed=folder / "regions.bed",
    )


def after(monkeypatch, stage: int, change: Callable[[], object]) -> None:
    """Have something happen when the tasks of a stage are done: 1, pileup; 2, full alignment."""
    calls, call_tasks = [], stages.call_tasks

    def call_and_change(*arguments):
        call_tasks(*arguments)
        calls.append(arguments)
        if len(calls) == stage:
            change()

    monkeypatch.setattr(stages, "call_tasks", call_and_change)


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


def left_in(output: Path) -> list[str]:
    """Final files and intermediates that are in the folder."""
    tmp = output / "tmp"
    return [path.name for path in (*output.glob("*.vcf.gz*"), *output.glob("*.bam*"), *tmp.glob("*_output"))]


@pytest.mark.parametrize(
    "name", ["reads.bam", "reads.bam.bai", "ref.fa", "ref.fa.fai", "regions.bed", "pileup.pt", "full_alignment.pt"]
)
def test_every_input_is_watched(config, monkeypatch, name):
    path = next(config.bam.parent.rglob(name))
    after(monkeypatch, 1, lambda: touch(path))
    with pytest.raises(InputChangedError, match=f"^{path}: was changed or replaced while it was in use"):
        pipeline.call_variants(replace(config, pileup_only=True))
    assert left_in(config.output) == []


def test_known_sites_are_watched(config, monkeypatch):
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    sites = config.bam.with_name("sites.vcf")
    with pysam.FastaFile(str(config.reference)) as fasta:
        ref = fasta.fetch("chr20", 9_999, 10_000)
    sites.write_text(f"{header}chr20\t10000\t.\t{ref}\t{'A' if ref != 'A' else 'C'}\t.\t.\t.\n")
    after(monkeypatch, 1, sites.unlink)
    with pytest.raises(InputChangedError, match=f"^{sites}: was removed while it was in use"):
        pipeline.call_variants(replace(config, bed=None, sites=sites))
    assert left_in(config.output) == []


def test_a_change_behind_the_first_results(config, monkeypatch):
    """What the pileup stage had written is removed too, and the file put back gives the calls of a new run."""
    expected = pipeline.call_variants(config).read_bytes()
    shutil.copy2(config.bam, kept := config.bam.with_name("kept.bam"))
    with monkeypatch.context() as patch:
        after(patch, 2, lambda: config.bam.write_bytes(b"something else"))
        with pytest.raises(InputChangedError, match=f"^{config.bam}: was changed"):
            pipeline.call_variants(config)
    assert left_in(config.output) == []
    kept.replace(config.bam)
    assert pipeline.call_variants(replace(config, resume=True)).read_bytes() == expected


@pytest.mark.parametrize("when", ["merge_output.gvcf.gz", "phased_output.bam"])
def test_a_change_while_the_last_files_are_written(config, monkeypatch, program, when):
    if when.endswith(".bam"):
        text = f"import subprocess\nif args[0] == 'haplotag': os.utime({str(config.bam)!r}, (1, 1))\n"
        text += f"sys.exit(subprocess.run([*{find_whatshap()!r}, *args]).returncode)"
        config = replace(config, whatshap=str(program("whatshap", text)), final_phaser="whatshap", haplotag=True)
    else:
        config, write_gvcf = replace(config, gvcf=True), pipeline.merge_blocks

        def merge_blocks(*arguments, **options):
            touch(config.bam)
            yield from write_gvcf(*arguments, **options)

        monkeypatch.setattr(pipeline, "merge_blocks", merge_blocks)
    with pytest.raises(InputChangedError, match=f"^{config.bam}: was changed"):
        pipeline.call_variants(config)
    assert left_in(config.output) == []


def write_uncompressed(source: Path, target: Path, step: int) -> None:
    """The reads of a BAM, every so-manieth of quality 0; the size of the file does not tell how many those are."""
    with pysam.AlignmentFile(str(source)) as reads, pysam.AlignmentFile(str(target), "wb0", template=reads) as made:
        for number, read in enumerate(reads):
            read.mapping_quality = 0 if number % step == 0 else read.mapping_quality
            made.write(read)
    pysam.index(str(target))


def test_resume_tells_reads_of_the_same_size_and_time(config):
    """Tasks that were done with other reads are done again."""
    config = replace(config, pileup_only=True)
    original = shutil.copy2(config.bam, config.bam.with_name("original.bam"))
    write_uncompressed(original, config.bam, 2)
    before = config.bam.stat()
    first = pipeline.call_variants(config).read_bytes()
    write_uncompressed(original, config.bam, 3)
    os.utime(config.bam, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert config.bam.stat().st_size == before.st_size
    resumed = pipeline.call_variants(replace(config, resume=True)).read_bytes()
    assert resumed == pipeline.call_variants(config).read_bytes() != first
