"""Every command of the training pages runs, on less data and for fewer epochs."""

import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tf_writer
import yaml

pytest.importorskip("h5py", reason="bins need h5py: pip install -e .[train]")

from clair3.cli.main import COMMANDS
from clair3.cli.train_workflow import make_option_checks
from clair3.inference.checkpoint import read_checkpoint
from clair3.model import random_model
from clair3.training.workflow.config import read_config

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("training", "pileup_training", "full_alignment_training")

SMALLER = (
    (r"chr1=\d+,chr2=\d+,chr20=\d+", "chr1=24000,chr2=8000,chr20=6000"),
    (r"--maxEpoch=\d+", "--maxEpoch=1"),
    (r"--threads=\d+", "--threads=1"),
)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs" / f"{page}.md").read_text(), re.M | re.S)


def use_one_processor() -> None:
    """Let this process use one processor only, where the system can: others run tests beside it, and threads of torch
    that wait for each other would use several times the processor time."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})


def run_page(page: str, folder: Path) -> list[str]:
    """Run the commands of a page in a folder, block by block; return what each wrote to stdout."""
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    for name, words in (("python", [sys.executable]), ("clair3", [sys.executable, "-m", "clair3"])):
        (binaries / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (binaries / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}"}
    said = []
    for block in blocks(page, "sh"):
        for pattern, less in SMALLER:
            block = re.sub(pattern, less, block)
        done = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=folder, env=environment, text=True, capture_output=True, check=False, preexec_fn=use_one_processor,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stderr[-3000:]}"
        said.append(done.stdout)
    return said


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder that looks like the checkout to the commands; the example trains for fewer epochs."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train_multisample.py").symlink_to(ROOT / "scripts" / "train_multisample.py")
    example = re.sub(r"maxEpoch: \d+", "maxEpoch: 1", (ROOT / "scripts" / "train_example.yaml").read_text())
    (tmp_path / "scripts" / "train_example.yaml").write_text(example)
    (tmp_path / "run_clair3.sh").write_text('#!/bin/sh\nexec clair3 run "$@"\n')
    (tmp_path / "run_clair3.sh").chmod(0o755)
    return tmp_path


@pytest.mark.slow
def test_the_workflow_and_fine_tuning(checkout):
    for kind in ("pileup", "full_alignment"):
        tf_writer.write_checkpoint(checkout / "v1_model" / kind, tf_writer.keras_variables(random_model(kind, 1)))
    said = run_page("training", checkout)
    assert "pileup_model: to do" in said[0] and "F1" in said[0]
    _, meta = read_checkpoint(checkout / "tuned_v1" / "full_alignment" / "best_val_loss.pt")
    assert meta["conv_padding"] == "tf_same"
    assert (checkout / "tuned" / "model" / "model.json").exists()


@pytest.mark.slow
def test_step_by_step(checkout):
    run_page("pileup_training", checkout)
    said = run_page("full_alignment_training", checkout)
    assert any("F1" in words for words in said)
    assert (checkout / "step" / "model" / "full_alignment.pt").exists()


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_known(page):
    """Quick: each submodule that a page names is one, and links lead somewhere."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    named = set(re.findall(r"\bclair3 (\w+)", "\n".join(blocks(page, "sh"))))
    assert named and named <= set(COMMANDS)
    for target in re.findall(r"\]\(([\w.]+\.md)", text):
        assert (ROOT / "docs" / target).exists(), target


LOCAL = ("output", "reference", "contigs", "validation_contigs", "samples", "coverages")
"""Names whose values on the page are of nobody's machine."""


def test_configuration_files_on_the_page(sample, tmp_path):
    """What the YAML on the page and the example say is taken, with the sample in the place of the files."""
    files = {"bam": "reads.bam", "truth": "truth.vcf.gz", "bed": "confident.bed", "reference": "ref.fa"}
    toy = {"output": str(tmp_path / "out"), "contigs": ["chr21"], "samples": [{"name": "toy"}]}
    toy["samples"][0] |= {name: str(sample / file) for name, file in files.items()}
    example = (ROOT / "scripts" / "train_example.yaml").read_text()
    for text in [*blocks("training", "yaml"), example]:
        values = yaml.safe_load(text.replace("sup_v500/", f"{sample / 'model'}/"))
        assert all(set(one) <= {"name", *files} for one in values.get("samples", ()))
        (tmp_path / "workflow.yaml").write_text(
            yaml.safe_dump(toy | {name: value for name, value in values.items() if name not in LOCAL})
        )
        config = read_config(tmp_path / "workflow.yaml", make_option_checks())
        assert len(config.networks) == 2
