"""First steps of a newcomer: the sample, the demo scripts, the notebooks, and the README's commands as they stand."""

import gzip
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pysam
import pytest
import small_sample
from test_install import copy_of_checkout

from clair3 import platforms
from clair3.models.registry import BUNDLED, ModelCard, write_card
from scripts.make_sample import PLATFORMS, make_sample

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "data" / "sample"
MAX_BYTES = 8_000_000
"""Of the sample: it lies in git."""


# The sample


def test_the_sample_is_what_its_script_makes(tmp_path):
    """Renew it with `python scripts/make_sample.py tests/data/sample` when the simulator has changed."""
    make_sample(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in SAMPLE.iterdir())
    for name in ("ref.fa", "ref.fa.fai", "confident.bed"):
        assert (tmp_path / name).read_text() == (SAMPLE / name).read_text()
    found, kept = (gzip.decompress((folder / "truth.vcf.gz").read_bytes()) for folder in (tmp_path, SAMPLE))
    assert found == kept
    for platform in PLATFORMS:
        assert reads(tmp_path / f"{platform}.bam") == reads(SAMPLE / f"{platform}.bam")


def reads(path: Path) -> list[str]:
    with pysam.AlignmentFile(str(path)) as file:
        return [read.to_string() for read in file]


def test_the_sample_is_small_and_of_our_own_making():
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < MAX_BYTES
    for platform in PLATFORMS:
        with pysam.AlignmentFile(str(SAMPLE / f"{platform}.bam")) as file:
            assert {group["DS"] for group in file.header["RG"]} == {"simulated reads"}


# Words that are run


def notebook(platform: str) -> Path:
    return ROOT / "docs" / "colab" / f"clair3_{platform}_quick_demo.ipynb"


def code_lines(path: Path) -> list[str]:
    """The lines of a notebook's code cells; those that end in a backslash with the next."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    return [line for cell in cells for line in re.sub(r"\\\n\s*", "", "".join(cell["source"])).splitlines()]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_notebooks_are_clean(platform):
    content = json.loads(notebook(platform).read_text())
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    for cell in content["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    lines = code_lines(notebook(platform))
    assert all(line.startswith(("!", "%cd ")) for line in lines)
    assert [re.sub(rf"\b{platform}\b", "ont", line) for line in lines] == code_lines(notebook("ont"))


def readme_blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


def test_the_first_command_of_the_readme():
    assert readme_blocks()[0] == "bash scripts/quick_demo.sh\n"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_one_implementation_of_the_demo(platform):
    script = (ROOT / "scripts" / f"clair3_{platform}_quick_demo.sh").read_text()
    assert script.splitlines()[-1] == f'exec bash "$(dirname "$0")/quick_demo.sh" {platform}'


def test_a_platform_without_reads_is_refused():
    """Before anything is installed."""
    done = subprocess.run(["bash", ROOT / "scripts/quick_demo.sh", "nope"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("[ERROR]") and "give ont, hifi or ilmn" in done.stderr


# From a clean checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the checkout with a virtual environment that sees the packages of this one, so that pip has little to
    fetch. A default model that the package lacks has random weights."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("newcomer") / "clair3-torch")
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    (site,) = (folder / ".venv").glob("lib/python*/site-packages")
    (site / "outer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    for platform in PLATFORMS:
        model = folder / BUNDLED.relative_to(ROOT) / platforms.PLATFORMS[platform].default_model
        if not model.exists():
            small_sample.make_model(model)
            write_card(model, ModelCard(model.name, platform, origin="a test"))
    return folder


def start(command: str, folder: Path) -> str:
    """What a shell command prints in the checkout, with its environment in use."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PATH"] = f"{folder / '.venv' / 'bin'}:{environment['PATH']}"
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def check_results(folder: Path, platform: str) -> None:
    """The calls are there, and good when they come from a model that was trained."""
    with pysam.VariantFile(str(folder / "demo" / platform / "merge_output.vcf.gz")) as vcf:
        assert set(vcf.header.contigs) == {"chr20"} and all(len(record.samples) == 1 for record in vcf)
    kinds = json.loads((folder / "demo" / platform / "figures.json").read_text())["strata"]["type"]
    assert kinds["SNP"]["tp_truth"] + kinds["SNP"]["fn"] > 150
    if (BUNDLED / platforms.PLATFORMS[platform].default_model).exists():
        assert kinds["SNP"]["f1"] > 0.95 and kinds["indel"]["f1"] > 0.75


@pytest.fixture(scope="module")
def first_command(checkout) -> str:
    """What the README's first command prints."""
    return start(readme_blocks()[0], checkout)


@pytest.mark.slow
def test_demo(checkout, first_command):
    said = first_command.splitlines()
    assert said[-2] == "calls:   demo/ont/merge_output.vcf.gz"
    assert said[-1] == "figures: demo/ont/figures.txt, demo/ont/figures.json"
    assert [line.split()[0] for line in said[-6:-2]] == ["type", "SNP", "indel", "all"]
    assert (checkout / "demo" / "ont" / "figures.txt").read_text().startswith("\n".join(said[-6:-2]))
    check_results(checkout, "ont")


@pytest.mark.slow
@pytest.mark.parametrize("platform", [platform for platform in PLATFORMS if platform != "ont"])
def test_notebook(checkout, platform):
    """Line by line as Jupyter runs them: `!` in a shell, `%cd` moves. That of ONT differs in names only, and runs what
    the demo does."""
    folder = checkout / notebook(platform).parent.relative_to(ROOT)
    for line in code_lines(notebook(platform)):
        if line.startswith("%cd "):
            folder = (folder / line.removeprefix("%cd ")).resolve()
        else:
            start(line.removeprefix("!"), folder)
    assert folder == checkout.resolve()
    check_results(checkout, platform)


@pytest.mark.slow
def test_own_reads(checkout, first_command, tmp_path):
    """The README's command for one's own reads, with the sample in their place."""
    (block,) = [block for block in readme_blocks() if block.startswith("./run_clair3.sh")]
    for word, place in (
        ("reads.bam", SAMPLE / "ont.bam"),
        ("reference.fa", SAMPLE / "ref.fa"),
        ("/data/calls", tmp_path),
    ):
        assert word in block
        block = block.replace(word, str(place))
    start(block, checkout)
    assert (tmp_path / "merge_output.vcf.gz").exists()
