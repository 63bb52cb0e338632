"""The output folder of a run: its plan, the same whichever command writes it, and what must not be in its way."""

import os
from dataclasses import replace

import pytest

from clair3.calling import pipeline
from clair3.calling.output_folder import alone_in, write_plan
from clair3.cli.main import main as clair3
from clair3.errors import InputError
from clair3.io.fasta import Contig


@pytest.mark.parametrize(
    "length, chunk_size, lines",
    [
        (12_000_000, 5_000_000, ["a 1 3", "a 2 3", "a 3 3"]),
        (10_000_000, 5_000_000, ["a 1 2", "a 2 2"]),
        (10_000_001, 5_000_000, ["a 1 3", "a 2 3", "a 3 3"]),
        (1, 5_000_000, ["a 1 1"]),
    ],
)
def test_chunks_of_a_contig(tmp_path, length, chunk_size, lines):
    """spec/cli.md 5.1"""
    write_plan(tmp_path, [Contig("a", length), Contig("b", 1)], chunk_size)
    assert (tmp_path / "tmp" / "CHUNK_LIST").read_text() == "".join(f"{line}\n" for line in [*lines, "b 1 1"])
    assert (tmp_path / "tmp" / "CONTIGS").read_text() == "a\nb"
    assert not (tmp_path / "tmp" / "CMD").exists()


@pytest.mark.parametrize("name", [".clair3.lock", "run_clair3.log", "log/3_phase.log", "tmp/CMD", "tmp/phase_output/x"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_planted_in_the_folder(tmp_path, name, kind):
    """A link would be written through, a pipe would wait for ever."""
    target, path = tmp_path / "precious", tmp_path / "out" / name
    target.write_text("all of it")
    path.parent.mkdir(parents=True)
    if kind == "link":
        path.symlink_to(target)
    else:
        os.mkfifo(path)
    with pytest.raises(InputError, match=f"{name}: a link, pipe or device"), alone_in(tmp_path / "out"):
        pass
    assert target.read_text() == "all of it"


def test_a_folder_may_be_a_link(tmp_path):
    """tmp/ on a fast disk, say."""
    for name in ("out", "disk/pileup_output"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "out" / "tmp").symlink_to(tmp_path / "disk")
    with alone_in(tmp_path / "out"):
        pass


def test_a_run_and_check_envs_write_the_same_plan(run_config, tmp_path):
    config = replace(run_config, chunk_size=25_000, pileup_only=True)
    config.output.mkdir()
    pipeline.call_variants(config)
    inputs = f"--bam_fn={config.bam}", f"--ref_fn={config.reference}"
    clair3(["CheckEnvs", *inputs, f"--output_fn_prefix={tmp_path / 'other'}", "--chunk_size=25000"])
    plans = [
        [(folder / "tmp" / name).read_bytes() for name in ("CONTIGS", "CHUNK_LIST")]
        for folder in (config.output, tmp_path / "other")
    ]
    assert plans[0] == plans[1]
    assert plans[0][1].count(b"\n") >= 3
    assert (config.output / "tmp" / "CMD").read_text() == config.command_line
