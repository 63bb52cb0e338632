"""A model from reference sequence alone: the recipe is checked in full, its reads are made once, the steps are run."""

from pathlib import Path

import pysam
import pytest
import yaml

pytest.importorskip("h5py", reason="bins need h5py: pip install -e .[train]")

from clair3.cli.main import main as clair3
from clair3.cli.train_workflow import make_option_checks
from clair3.errors import ClairError
from clair3.models.registry import read_card
from clair3.training.workflow.simulated import Recipe, iter_steps, make_workflow_file
from clair3.training.workflow.simulated import read_recipe as read_checked

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recipe(tmp_path) -> dict:
    """Two runs of one small genome, validated on another."""
    quick = {"maxEpoch": 1, "batch_size": 20, "plots": False, "device": "cpu"}
    return {
        "output": str(tmp_path / "made"),
        "platform": "ont",
        "references": [{"contig": "one", "bases": 30000}, {"contig": "two", "bases": 20000}],
        "validation_references": [{"contig": "three", "bases": 20000}],
        "genomes": [{"seed": 1, "density": [0.005, 0.01]}, {"seed": 2, "density": [0.005, 0.005]}],
        "runs": [{"genome": 1, "depth": 12, "reads": ["profile=random", "vary"]}, {"genome": 1, "depth": 8}],
        "validation_runs": [{"genome": 2, "depth": 10}],
        "pileup": {"train": quick},
        "full_alignment": {"train": quick},
        "model": {"name": "small"},
    }


def read_recipe(path: Path) -> Recipe:
    """Read a recipe, checked as the command does."""
    return read_checked(path, make_option_checks())


def write(recipe: dict, folder: Path) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_what_a_recipe_makes(recipe, tmp_path):
    read = read_recipe(write(recipe, tmp_path))
    made = list(iter_steps(read))
    assert [step.name for step in made] == [
        *("genomes_train_1_one", "genomes_train_1_two", "genomes_validate_2_three"),
        *("reads_train_1_one", "reads_train_1_two", "reads_train_2_one", "reads_train_2_two"),
        "reads_validate_1_three",
    ]
    seeds = [next(word for word in step.commands[0] if word.startswith("--seed=")) for step in made]
    assert len(set(seeds[:3])) == 3 and len(set(seeds[3:])) == 3  # a run has one, on all its contigs
    assert {"--profile=random", "--vary"} <= set(made[3].commands[0])
    config = make_workflow_file(read)
    assert [sample["name"] for sample in config["samples"]] == [step.name.removeprefix("reads_") for step in made[3:]]
    assert ["contigs" in sample for sample in config["samples"]] == [True] * 4 + [False]
    assert config["samples"][4]["validation_contigs"] == ["three"]
    assert config["exclude_contigs"] == "none" and config["model"] == {"name": "small"}


def reads(*words: str) -> list[dict]:
    """A run with these options of its reads."""
    return [{"genome": 1, "depth": 12, "reads": list(words)}]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("references", [{"contig": "one"}], "references, number 1: give fasta, or bases"),
        ("references", [], "references is []; expected a list"),
        ("genomes", [{"seed": 1, "density": [0.1, 0.01]}], "density is [0.1, 0.01]; expected two numbers"),
        ("runs", [{"genome": 7, "depth": 12}], "runs, number 1: no genome has the seed 7"),
        ("runs", [{"genome": 1, "depth": 12, "colour": 1}], "unknown name colour"),
        ("runs", [{"genome": 1, "depth": 12, "networks": ["pile"]}], "runs, number 1: networks has pile"),
        ("runs", reads("profil=ont"), "runs, number 1, reads: unknown word profil=ont; known are adapters,"),
        ("runs", reads("profile"), "runs, number 1, reads: argument --profile: expected one argument"),
        ("runs", reads("profile=no.json"), "runs, number 1, reads: no.json: cannot be read"),
        ("runs", reads("profile=hifi"), "runs, number 1, reads: profile hifi is for hifi reads"),
        ("runs", reads("depth=30"), "runs, number 1, reads: depth=30: depth follows from the rest"),
        ("runs", reads("tagged=2"), "runs, number 1, reads: parameter --tagged=2.0 (maximum:1) out of range"),
        ("runs", reads("adapters=0.1"), "runs, number 1, reads: --adapters: only Illumina pairs"),
        ("validation_runs", reads("vary", "misplaced=3"), "validation_runs, number 1, reads: parameter --misplaced=3"),
        ("runs", reads("aligner=no_such"), "runs, number 1, reads: --aligner no_such: no such program"),
        ("references", [{"contig": "one", "bases": 9000}] * 2, "references, number 2: contig one is there twice"),
        ("genomes", [{"seed": 1, "density": [0, 0]}] * 2, "genomes, number 2: seed 1 is there twice"),
        ("platform", "clr", "platform is clr; expected one of ont"),
        ("sampels", [], "unknown name sampels"),
        ("samples", [{"name": "real", "bam": "no.bam"}], "no.bam: no such file"),
        ("pileup", {"train": {"colour": 1}}, "recipe.yaml, pileup, train: unknown name colour"),
        ("full_alignment", {"candidates": {"ref_pct_full": 2}}, "ref_pct_full is 2; expected"),
    ],
)
def test_the_recipe_is_checked(name, value, words, recipe, tmp_path):
    with pytest.raises(ClairError) as caught:
        read_recipe(write(recipe | {name: value}, tmp_path))
    assert words in str(caught.value)


@pytest.mark.parametrize("platform", ["ont", "hifi", "ilmn"])
def test_the_recipes_of_the_default_models(platform, shared_data, tmp_path):
    """Complete, and on nothing that is kept for evaluation: those windows are N in the reference."""
    text = (ROOT / "scripts" / "default_models" / f"{platform}.yaml").read_text()
    path = tmp_path / "recipe.yaml"
    path.write_text(text.replace("../shared/data", str(shared_data)))
    recipe = read_recipe(path)
    assert recipe.platform == platform and len({run.depth for run in recipe.runs}) >= 7
    chr20 = next(one for one in recipe.references if one.contig == "chr20")
    with pysam.FastaFile(str(chr20.fasta)) as fasta:
        for start, end in ((60_000, 185_000), (4_960_000, 5_110_000), (8_960_000, 9_130_000)):
            assert set(fasta.fetch("chr20", start, end)) == {"N"}


@pytest.mark.slow
def test_from_nothing_to_a_model(recipe, tmp_path, capsys):
    """With pairs of reads; tests/test_docs_training.py does the same with long reads."""
    path = write(recipe | {"platform": "ilmn"}, tmp_path)
    clair3(["train_simulated", str(path)])
    card = read_card(tmp_path / "made" / "workflow" / "model")
    assert (card.name, card.platform) == ("small", "ilmn")
    capsys.readouterr()
    clair3(["train_simulated", str(path), "--dry_run"])
    assert "0 of 8 steps are to be done" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made(recipe, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    path = write(recipe | {"output": str(tmp_path / "file" / "made")}, tmp_path)
    with pytest.raises(SystemExit):
        clair3(["train_simulated", str(path)])
    assert f"[ERROR] {tmp_path / 'file' / 'made'}: " in capsys.readouterr().err
