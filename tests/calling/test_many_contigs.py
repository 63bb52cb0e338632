"""Assemblies: thousands of small contigs, and contigs with odd names."""

import gzip
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pysam
import pytest
from golden_runs import PARITY

from clair3.calling import pipeline, stages
from clair3.calling.tasks import file_name
from clair3.config import CallingConfig
from clair3.features.chunks import Chunk
from clair3.util import log

LENGTH, READS = 400, 8


def write_assembly(folder: Path, names: list[str], with_reads: int) -> None:
    """ref.fa and reads.bam; every with_reads-th contig has reads, half of them with three SNPs."""
    rng = np.random.default_rng(5)
    bases = {name: rng.choice(np.frombuffer(b"ACGT", np.uint8), LENGTH) for name in names}
    (folder / "ref.fa").write_text("".join(f">{name}\n{bases[name].tobytes().decode()}\n" for name in names))
    pysam.faidx(str(folder / "ref.fa"))
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": name, "LN": LENGTH} for name in names],
    }
    with pysam.AlignmentFile(str(folder / "reads.bam"), "wb", header=header) as file:
        for number, name in enumerate(names):
            for copy in range(READS if number % with_reads == 0 else 0):
                sequence = bases[name].copy()
                if copy % 2:
                    sequence[[100, 200, 300]] = [
                        {65: 67, 67: 71, 71: 84, 84: 65}[base] for base in sequence[[100, 200, 300]]
                    ]
                read = pysam.AlignedSegment(file.header)
                read.query_name, read.reference_id, read.reference_start = f"r{number}_{copy}", number, 0
                read.mapping_quality, read.cigarstring = 60, f"{LENGTH}M"
                read.query_sequence = sequence.tobytes().decode()
                read.query_qualities = pysam.qualitystring_to_array("I" * LENGTH)
                file.write(read)
    pysam.index(str(folder / "reads.bam"))


@pytest.fixture
def config(run_config) -> CallingConfig:
    """A run with a trained model, so that there is something to phase and to call again."""
    return replace(run_config, model_dir=PARITY / "models" / "ont")


@pytest.fixture
def assembly(config, tmp_path) -> CallingConfig:
    """A run on 240 contigs, of which 80 have reads, without phasing."""
    write_assembly(tmp_path, [f"ctg{number:03d}" for number in range(240)], with_reads=3)
    return replace(
        config,
        bam=tmp_path / "reads.bam",
        reference=tmp_path / "ref.fa",
        include_all_ctgs=True,
        gvcf=True,
        selection=replace(config.selection, var_pct_phasing=None),
    )


def call(config: CallingConfig, output: Path) -> dict[str, bytes]:
    """The final files of a run, by name, uncompressed."""
    output.mkdir()
    pipeline.call_variants(replace(config, output=output))
    return {path.name: gzip.decompress(path.read_bytes()) for path in output.glob("*.vcf.gz")} | {
        path.name: gzip.decompress(path.read_bytes()) for path in output.glob("*.gvcf.gz")
    }


def test_contigs_taken_together_give_the_same_bytes(assembly, tmp_path, monkeypatch):
    sizes, together = [], stages.group_small

    def noted(*args):
        for group in together(*args):
            sizes.append(len(group))
            yield group

    monkeypatch.setattr(stages, "group_small", noted)
    found = call(replace(assembly, threads=1), tmp_path / "together")
    assert "full_alignment.vcf.gz" in found and found["merge_output.vcf.gz"].count(b"\n") > 100
    assert sizes[0] == 10, "nothing was taken together"
    monkeypatch.setattr(stages, "group_small", lambda tasks, workers: ([task] for task in tasks))
    assert call(replace(assembly, threads=3), tmp_path / "alone") == found


@pytest.mark.parametrize(
    "count, size, workers", [(0, 100, 1), (3, 100, 1), (1000, 100, 2), (100, 150_000, 1), (64, 10, 8)]
)
def test_groups(count, size, workers):
    """Each task once, in order; none together when there are few for each worker or they are large."""
    tasks = [Chunk("chr1", number, number * size, (number + 1) * size) for number in range(count)]
    groups = list(stages.group_small(tasks, workers))
    assert [task for group in groups for task in group] == tasks
    assert all(
        len(group) == 1 or sum(task.end - task.start for task in group) <= stages.GROUP_BASES for group in groups
    )
    assert len(groups) >= min(count, stages.GROUPS_PER_WORKER * workers)
    if count == 1000:
        assert len(groups) < 20


def test_few_lines_for_many_contigs(assembly, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(log, "MAX_REPEATS", 20)
    log.setup()
    call(assembly, tmp_path / "out")
    lines = capfd.readouterr().err.splitlines()
    assert "[WARNING] 160 contigs provided but no mapped reads in BAM, skip: ctg001 ctg002 ctg004" in "\n".join(lines)
    kinds = [re.sub(r"ctg\d+|\d+", "#", line) for line in lines]
    assert max(kinds.count(kind) for kind in kinds) <= 2 * 20, "two networks"
    assert (tmp_path / "out/log/1_call_var_bam_pileup.log").read_text().count("Total processed positions in ctg") == 80


ODD = [
    "x" * 230,
    "x" * 230 + "y",
    "x" * 250 + "/" * 50,
    "a/b",
    "..",
    "$(touch gone)`ls`;&|'\"\\",
    "$HOME;&|!#~",
    "star*?[]",
    "100%",
    "a:1-9",
]


def test_names_of_files_are_distinct_and_short():
    near = ["a", "a%2Fb", "x" * 200, "x" * 201, "x" * 100 + "%~", "é" * 40, "é" * 100]
    names = [file_name(name) for name in (*ODD, *near)]
    assert len(set(names)) == len(ODD) + len(near)
    assert all(len(name.encode()) <= 200 and "/" not in name for name in names)


def test_odd_contig_names(config, tmp_path):
    """Long ones, and letters that mean something to a shell, a folder or a region text: through all stages."""
    names = [name for name in ODD if not set(name) & set("\"\\'`()[]")]  # SAM takes none of these
    write_assembly(tmp_path, names, with_reads=1)
    config = replace(config, bam=tmp_path / "reads.bam", reference=tmp_path / "ref.fa", include_all_ctgs=True)
    config = replace(config, gvcf=True, final_phaser="whatshap", print_ref_calls=True)
    found = call(config, tmp_path / "out")
    for file in ("pileup.vcf.gz", "merge_output.vcf.gz", "merge_output.gvcf.gz", "phased_merge_output.vcf.gz"):
        with pysam.VariantFile(str(tmp_path / "out" / file)) as records:
            assert {record.contig for record in records} == set(names), file
    assert not (tmp_path / "gone").exists() and len(found) == 5
    assert len(list((tmp_path / "out/tmp/phase_output/phase_vcf").glob("phased_*.vcf.gz"))) == len(names)
