"""The training workflow: its file is checked in full, steps are done once, and what depends on a change again."""

import json
import sys
import threading
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("h5py", reason="bins need h5py: pip install -e .[train]")


from clair3.cli import arguments
from clair3.cli.train_workflow import TrainMultisample, make_option_checks
from clair3.errors import ClairError, InputError
from clair3.inference.checkpoint import read_checkpoint
from clair3.io.bins import Bin
from clair3.training.trainer import journal
from clair3.training.workflow import steps as stepping
from clair3.training.workflow.config import WorkflowConfig
from clair3.training.workflow.config import read_config as read_checked
from clair3.training.workflow.plan import plan
from clair3.training.workflow.steps import BEGUN, CHANGED, DONE, TO_DO, Step, StepError, Workflow
from clair3.util.process import run_program

HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"


# The file


@pytest.fixture
def values(sample_reads, tmp_path) -> dict:
    """A workflow of one depth on the README's sample."""
    return {
        "output": str(tmp_path / "workflow"),
        "threads": 2,
        "reference": str(sample_reads / "ref.fa"),
        "exclude_contigs": "none",
        "contigs": ["chr20"],
        "validation_contigs": ["chr21"],
        "samples": [
            {
                "name": "toy",
                "bam": str(sample_reads / "reads.bam"),
                "truth": str(sample_reads / "truth.vcf.gz"),
                "bed": str(sample_reads / "confident.bed"),
            }
        ],
    }


def write(values: dict, path: Path) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def read_config(path: Path) -> WorkflowConfig:
    """Read a configuration, checked as the command does."""
    return read_checked(path, make_option_checks())


@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
def test_what_is_nested_too_deeply(tmp_path, name):
    """Python's reader of YAML goes one call deeper for each bracket."""
    (tmp_path / name).write_text("[" * 100_000)
    with pytest.raises(InputError, match=rf"^{tmp_path / name}: nested too deeply; this is no configuration$"):
        read_config(tmp_path / name)


def changed(values: dict, where: str, value) -> dict:
    """The values with one changed; where is a path of names and numbers: `samples.0.name`."""
    copy = json.loads(json.dumps(values))
    place = copy
    *path, last = [int(word) if word.isdigit() else word for word in where.split(".")]
    for word in path:
        place = place.setdefault(word, {}) if isinstance(place, dict) else place[word]
    place[last] = value
    return copy


@pytest.mark.parametrize(
    "where, value, words",
    [
        ("thread", 2, "unknown name thread"),
        ("samples.0.bamm", "x", "samples, number 1: unknown name bamm"),
        ("samples.0.name", None, "name is missing"),
        ("samples.0.name", "a/b", "name is 'a/b'"),
        ("samples.0.bam", "no.bam", "no.bam: no such file"),
        ("samples.0.platform", "pacbio", "platform is 'pacbio'; expected one of ont, hifi, ilmn"),
        ("samples.0.contigs", ["chr3"], "ref.fa: nothing on contig chr3"),
        ("samples.0.contigs", ["20"], "ref.fa: nothing on contig 20; it calls it chr20"),
        ("samples.0.contigs", ["chr21"], "chr21 is in contigs and in validation_contigs"),
        ("samples.0.contigs", ["chr20", "chr20"], "expected each of them once"),
        ("samples.0.fractions", [0.5, 2], "expected different numbers above 0, up to 1"),
        ("samples.0.coverages", [90], "coverage 90 is wanted"),
        ("samples.0.bed", 7, "7: no such file"),
        ("samples", [], "expected a list with at least one entry"),
        ("exclude_contigs", ["chr20"], "chr20 is in contigs, but held out for tests by exclude_contigs"),
        ("contigs", None, "no sample has contigs to train pileup on"),
        ("dwell", True, "reads.bam: Dwell time is enabled but no valid 'mv' tag was found"),
        ("threads", 0, "threads is 0; expected a whole number from 1"),
        ("unify", "maybe", "unify is 'maybe'; expected yes or no"),
        ("pileup.train.learningrate", 1, "pileup, train: unknown name learningrate"),
        ("pileup.train.maxEpoch", "many", "pileup, train: argument --maxEpoch/--max_epochs: invalid int value"),
        ("pileup.train.maxEpoch", 0, "pileup, train: parameter --maxEpoch=0"),
        ("pileup.train.bin_fn", "x", "bin_fn follows from the rest of the file"),
        ("pileup.train.chkpnt_fn", "no.pt", "no.pt: no such file"),
        ("full_alignment.tensors.bed_fn", "x", "full_alignment, tensors: unknown name bed_fn"),
        ("full_alignment.tensors.snp_min_af", 2, "snp_min_af"),
        ("full_alignment.candidates.ref_pct_full", 2, "candidates: ref_pct_full is 2"),
        ("full_alignment.candidate_model", "no.pt", "no.pt: no such file"),
        ("model.colour", "red", "model: unknown name colour"),
    ],
)
def test_the_file_is_checked(values, where, value, words, tmp_path):
    with pytest.raises(ClairError) as refusal:
        read_config(write(changed(values, where, value), tmp_path / "workflow.yaml"))
    assert words in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "workflow").exists()


def test_logs_that_want_a_package(values, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "find_spec", lambda name: None)
    for name in ("tensorboard", "wandb"):
        with pytest.raises(ClairError, match=f"pileup, train: {name} needs {name}"):
            read_config(write(changed(values, f"pileup.train.{name}", True), tmp_path / "workflow.yaml"))


def test_networks_of_samples(values, tmp_path):
    values["samples"][0]["networks"] = ["pileup"]
    with pytest.raises(ClairError, match="no sample has contigs to train full_alignment on"):
        read_config(write(values, tmp_path / "workflow.yaml"))
    values["samples"][0]["networks"] = ["pile_up"]
    with pytest.raises(ClairError, match="networks has pile_up; known are pileup, full_alignment"):
        read_config(write(values, tmp_path / "workflow.yaml"))


def test_two_samples_of_one_name_or_two_platforms(values, tmp_path):
    for change, words in (({}, "two samples are called toy"), ({"name": "b", "platform": "hifi"}, "hifi and ont")):
        twice = changed(values, "samples", [values["samples"][0], values["samples"][0] | change])
        with pytest.raises(ClairError, match=words):
            read_config(write(twice, tmp_path / "workflow.yaml"))


def test_files_of_other_contigs(values, tmp_path):
    (tmp_path / "other.bed").write_text("chr20\t0\t100\n")
    with pytest.raises(ClairError, match="other.bed: nothing on contig chr21"):
        read_config(write(changed(values, "samples.0.bed", str(tmp_path / "other.bed")), tmp_path / "workflow.yaml"))
    rows = HEAD + "20\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1\n"
    (tmp_path / "other.vcf").write_text(rows)
    with pytest.raises(ClairError, match="other.vcf: nothing on contig chr20; it calls it 20"):
        read_config(write(changed(values, "samples.0.truth", str(tmp_path / "other.vcf")), tmp_path / "workflow.yaml"))
    (tmp_path / "other.vcf").write_text(rows.replace("\tFORMAT\tS", "").replace("\tGT\t0/1", ""))
    with pytest.raises(ClairError, match="no genotype"):
        read_config(write(changed(values, "samples.0.truth", str(tmp_path / "other.vcf")), tmp_path / "workflow.yaml"))


def test_coverages_become_fractions(values, tmp_path):
    """The sample is made 30 deep on reads that lose a percent of their bases and end at the contigs' ends."""
    (depth,) = read_config(write(changed(values, "coverages", [15]), tmp_path / "workflow.yaml")).samples[0].depths
    assert depth.label == "15x" and 0.45 < depth.fraction < 0.6
    both = changed(changed(values, "coverages", [15]), "samples.0.fractions", [0.5, 1])
    depths = read_config(write(both, tmp_path / "workflow.yaml")).samples[0].depths
    assert [(one.label, one.fraction) for one in depths] == [("500", 0.5), ("1000", 1.0)]


# The plan


def names(steps: list[Step], stage: str) -> list[str]:
    return [step.name for step in steps if step.stage == stage]


def test_the_plan(values, tmp_path):
    values = changed(values, "fractions", [1, 0.5])
    steps = plan(read_config(write(values, tmp_path / "workflow.yaml")))
    assert names(steps, "reads") == ["reads_toy_500_chr20", "reads_toy_500_chr21"]
    assert names(steps, "truth") == ["truth_var_toy_chr20", "truth_var_toy_chr21"]
    assert len(names(steps, "full_alignment_tensors")) == 4 and not names(steps, "pileup_bins")
    training = next(step for step in steps if step.stage == "pileup_model")
    assert {path.name for path in training.inputs} == {
        f"bin_toy_{label}_{contig}" for label in (500, 1000) for contig in ("chr20", "chr21")
    }
    made = set()
    for step in steps:  # in order, and every file has one maker
        assert all(path in made or path.exists() for path in step.inputs)
        assert not made.intersection(step.outputs)
        made.update(step.outputs)
    split = plan(
        read_config(write(changed(values, "chunk_size", 25_000) | {"unify": True}, tmp_path / "workflow.yaml"))
    )
    assert len(names(split, "unification")) == len(names(split, "pileup_tensors")) == 2 * (3 + 1)
    assert len(names(split, "reads")) == 4  # all are tagged, so all are copied
    assert names(split, "pileup_bins") == ["pileup_bins_toy_1000_chr20", "pileup_bins_toy_500_chr20"]


def test_a_sample_of_one_network(values, tmp_path):
    """It makes no tensors of the other one, and nothing that only the other one needs."""
    values["samples"].append(values["samples"][0] | {"name": "noisy", "networks": ["pileup"]})
    steps = plan(read_config(write(values, tmp_path / "workflow.yaml")))
    noisy = {step.stage for step in steps if "noisy" in step.name}
    assert noisy == {"truth", "pileup_tensors"}
    training = next(step for step in steps if step.name == "full_alignment_model")
    assert training.inputs and not any("noisy" in str(path) for path in training.inputs)


def test_seeds_of_a_part_do_not_depend_on_others(values, tmp_path):
    one = plan(read_config(write(values, tmp_path / "workflow.yaml")))
    two = plan(read_config(write(changed(values, "fractions", [0.5, 1]), tmp_path / "workflow.yaml")))
    commands = [{step.name: step.commands for step in steps if step.stage.endswith("tensors")} for steps in (one, two)]
    assert commands[0].items() <= commands[1].items()
    seeds = [word for step in commands[1].values() for word in step[0] if word.startswith("--seed=")]
    assert len(set(seeds)) == len(seeds)


# Steps


class Commands:
    """Stands for the programs: `join OUT IN... [WORD]` writes the files and words into OUT. What was run is kept."""

    def __init__(self, monkeypatch):
        self.run: list[tuple[str, ...]] = []
        self.failing = None
        self.lock = threading.Lock()
        monkeypatch.setattr(stepping, "run_program", self)

    def __call__(self, words, cancelled, log):
        _, output, *inputs = words[words.index("clair3") + 1 :]
        with self.lock:
            self.run.append((Path(output).name, *inputs))
        if Path(output).name == self.failing:
            log.write("[INFO] so far so good\n[ERROR] the disk is on fire\n[WARNING] bye\n")
            log.flush()
            return 1, ""
        texts = [Path(word).read_text() if word.startswith("/") else word for word in inputs]
        Path(output).write_text("+".join(texts))
        return 0, ""

    def taken(self) -> set[str]:
        """Names of the outputs made since the last time."""
        made, self.run = {run[0] for run in self.run}, []
        return made


@pytest.fixture
def commands(monkeypatch) -> Commands:
    return Commands(monkeypatch)


def join(root: Path, name: str, *inputs: Path, word: str = "x", stage: str | None = None, **more) -> Step:
    output = root / "files" / name
    command = ("join", str(output), *map(str, inputs), word)
    return Step(stage or name, name, (command,), inputs, (output,), **more)


def chain(folder: Path, words: list[str], parents: list[list[int]], source: Path) -> list[Step]:
    """Steps that read the outputs of earlier ones, or the source."""
    steps = []
    for number, (word, numbers) in enumerate(zip(words, parents, strict=True)):
        inputs = [steps[i].outputs[0] for i in numbers] or [source]
        steps.append(join(folder, f"step{number}", *inputs, word=word))
    return steps


@given(st.data())
@settings(max_examples=25)
def test_a_change_redoes_what_depends_on_it_and_nothing_else(tmp_path_factory, data):
    folder, source = tmp_path_factory.mktemp("steps"), tmp_path_factory.mktemp("source") / "source"
    source.write_text("s")
    count = data.draw(st.integers(1, 6))
    parents = [sorted(data.draw(st.sets(st.integers(0, i - 1), max_size=2))) if i else [] for i in range(count)]
    words = ["a"] * count
    with pytest.MonkeyPatch.context() as patch:
        commands = Commands(patch)
        workflow = Workflow(chain(folder, words, parents, source), folder / "ledger")
        assert {workflow.state(step) for step in workflow.steps} == {TO_DO}
        assert workflow.run(2) == count and commands.taken() == {f"step{i}" for i in range(count)}
        assert Workflow(chain(folder, words, parents, source), folder / "ledger").run(2) == 0 and not commands.taken()
        altered = data.draw(st.integers(0, count - 1))
        words[altered] = "b"
        workflow = Workflow(chain(folder, words, parents, source), folder / "ledger")
        depending = {altered}
        for i in range(count):
            if depending.intersection(parents[i]):
                depending.add(i)
        assert {step.name for step in workflow.select_steps()} == {f"step{i}" for i in depending}
        assert {workflow.state(workflow.steps[i]) for i in depending} == {CHANGED}
        workflow.run(2)
        assert commands.taken() == {f"step{i}" for i in depending}
        assert "b" in (folder / "files" / f"step{altered}").read_text()


def test_a_changed_file_of_the_user_redoes_everything(tmp_path, commands):
    source = tmp_path / "source"
    source.write_text("one")
    Workflow(chain(tmp_path, ["a", "b"], [[], [0]], source), tmp_path / "ledger").run(1)
    source.write_text("another")
    assert Workflow(chain(tmp_path, ["a", "b"], [[], [0]], source), tmp_path / "ledger").run(1) == 2
    assert (tmp_path / "files" / "step1").read_text() == "another+a+b"


def test_threads_change_no_result(values, tmp_path):
    one, two = (
        Workflow(
            plan(read_config(write(changed(values, "threads", threads), tmp_path / "workflow.yaml"))),
            tmp_path / "ledger",
        )
        for threads in (1, 2)
    )
    assert one.digests == two.digests
    assert [step.lines for step in one.steps] != [step.lines for step in two.steps]


def test_what_nobody_needs_is_not_made_again(tmp_path, commands):
    source = tmp_path / "source"
    source.write_text("one")
    part = join(tmp_path, "part", source)
    whole = join(tmp_path, "whole", part.outputs[0], spent=part.outputs)
    Workflow([part, whole], tmp_path / "ledger").run(1)
    assert not part.outputs[0].exists() and whole.outputs[0].read_text() == "one+x+x"
    commands.taken()
    assert Workflow([part, whole], tmp_path / "ledger").run(1) == 0
    whole.outputs[0].unlink()
    assert Workflow([part, whole], tmp_path / "ledger").run(1) == 2
    whole.outputs[0].write_text("cut")
    assert Workflow([part, whole], tmp_path / "ledger").state(whole) == TO_DO


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"digest": 1}'])
def test_a_damaged_ledger_is_an_empty_one(damage, tmp_path, commands):
    (tmp_path / "source").write_text("one")
    workflow = Workflow([join(tmp_path, "step", tmp_path / "source")], tmp_path / "ledger")
    workflow.run(1)
    (tmp_path / "ledger" / "step.json").write_text(damage)
    assert workflow.state(workflow.steps[0]) == TO_DO and workflow.run(1) == 1
    assert workflow.state(workflow.steps[0]) == DONE


def test_a_failure_names_the_step_and_keeps_what_is_done(tmp_path, commands):
    source = tmp_path / "source"
    source.write_text("one")
    steps = chain(tmp_path, ["a", "b", "c"], [[], [0], [1]], source)
    commands.failing = "step1"
    with pytest.raises(StepError) as failure:
        Workflow(steps, tmp_path / "ledger").run(2)
    assert str(failure.value) == f"step step1 failed: the disk is on fire ({tmp_path / 'ledger' / 'step1.log'})"
    assert commands.taken() == {"step0", "step1"}
    commands.failing = None
    assert Workflow(steps, tmp_path / "ledger").run(2) == 2 and commands.taken() == {"step1", "step2"}


def test_a_command_that_makes_nothing_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(stepping, "run_program", lambda *_: (0, ""))
    (tmp_path / "source").write_text("one")
    workflow = Workflow([join(tmp_path, "step", tmp_path / "source")], tmp_path / "ledger")
    with pytest.raises(StepError, match="step step failed: it made no .*files/step"):
        workflow.run(1)
    assert workflow.state(workflow.steps[0]) == BEGUN


def test_only_what_was_begun_with_the_same_options_goes_on(tmp_path, commands):
    source = tmp_path / "source"
    source.write_text("one")

    def workflow(word: str) -> Workflow:
        step = join(tmp_path, "step", source, word=word, resumable=True, folder=tmp_path / "files")
        return Workflow([step], tmp_path / "ledger")

    commands.failing = "step"
    for word, expected in (("a", []), ("a", ["--resume"]), ("b", []), ("b", ["--resume"])):
        left_over = tmp_path / "files" / "left"
        left_over.parent.mkdir(exist_ok=True)
        left_over.touch()
        with pytest.raises(StepError):
            workflow(word).run(1)
        assert list(commands.run[-1][3:]) == expected
        assert left_over.exists() == bool(expected)


def test_warnings_of_a_training_are_passed_on(tmp_path, monkeypatch, caplog):
    def warn(words, cancelled, log):
        log.write("[INFO] an epoch\n[WARNING] it finds next to no variant\n")
        log.flush()
        Path(words[words.index("join") + 1]).touch()
        return 0, ""

    monkeypatch.setattr(stepping, "run_program", warn)
    (tmp_path / "source").write_text("one")
    steps = [join(tmp_path, name, tmp_path / "source", resumable=name == "model") for name in ("bins", "model")]
    Workflow(steps, tmp_path / "ledger").run(1)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["step model: it finds next to no variant"]


def test_bins_of_other_configurations_are_removed_and_those_of_others_refused(tmp_path, commands, caplog):
    source = tmp_path / "source"
    source.write_text("one")
    old, new = (join(tmp_path, name, source, stage="bins") for name in ("old", "new"))
    folder = old.outputs[0].parent

    def training(*inputs: Step) -> Step:
        command = ("join", str(tmp_path / "model" / "net"), "x")
        return Step(
            "train",
            "train",
            (command,),
            tuple(step.outputs[0] for step in inputs),
            (tmp_path / "model" / "net",),
            bins=(folder,),
        )

    Workflow([old, new, training(old, new)], tmp_path / "ledger").run(1)
    workflow = Workflow([new, training(new)], tmp_path / "ledger")
    assert [step.name for step in workflow.select_steps()] == ["train"]
    workflow.run(1)
    assert [path.name for path in folder.iterdir()] == ["new"] and "earlier configuration" in caplog.text
    (folder / "mine").touch()
    with pytest.raises(StepError, match="mine is not of this workflow"):
        Workflow([new, training(new, new)], tmp_path / "ledger").run(1)
    assert (folder / "mine").exists()


def test_words_of_a_program_go_to_the_log_as_they_come(tmp_path):
    script = "import os, sys; print('dropped'); print('one', file=sys.stderr); sys.exit(3)"
    with open(tmp_path / "log", "w") as log:
        assert run_program([sys.executable, "-c", script], log=log) == (3, "")
    assert (tmp_path / "log").read_text() == "one\n"


# The command


def start(path: Path, *options: str) -> None:
    parser = arguments.make_parser(TrainMultisample, "")
    TrainMultisample.run(parser.parse_args([str(path), *options]))


def test_dry_run_and_until(values, tmp_path, capsys):
    path = write(values, tmp_path / "workflow.yaml")
    start(path, "--dry_run")
    told = capsys.readouterr().out
    assert "  pileup_model: to do\n    clair3 Train --platform=ont" in told and "steps are to be done" in told
    assert not (tmp_path / "workflow").exists()
    start(path, "--until=truth")
    start(path, "--until", "truth", "--dry_run")
    told = capsys.readouterr().out
    assert "  truth_var_toy_chr20: done\n" in told and told.endswith("0 of 4 steps are to be done\n")
    assert "clair3" not in told
    with pytest.raises(ClairError, match="--until=unification: this workflow has no such steps"):
        start(path, "--until=unification")


def test_a_step_that_fails_is_one_line(values, tmp_path):
    values = changed(values, "samples.0.truth", str(tmp_path / "truth.vcf"))
    rows = "".join(
        f"{contig}\t500\t.\tA\tC\t.\t.\t.\tGT\t{gt}\n" for contig, gt in (("chr20", "0/1"), ("chr21", "9/9"))
    )
    (tmp_path / "truth.vcf").write_text(HEAD + rows)
    (tmp_path / "truth.vcf.tbi").touch()
    with pytest.raises(ClairError) as failure:
        start(write(values, tmp_path / "workflow.yaml"))
    assert "'9/9'" in str(failure.value) and "\n" not in str(failure.value)


SMALL = {"maxEpoch": 2, "batch_size": 40, "plots": False}


@pytest.mark.slow
def test_from_reads_to_calls_also_when_interrupted(values, sample_reads, tmp_path, monkeypatch):
    """Interrupted in a training and between steps, the workflow gives the same networks; calling takes them."""
    values = changed(changed(values, "pileup.train", SMALL), "full_alignment.train", SMALL | {"maxEpoch": 1})
    values = changed(values, "pileup.tensors.maximum_non_variant_ratio", 1)
    values["model"] = {"name": "small", "basecall_models": ["made_up@v1"]}
    whole, cut = (
        write(changed(values, "output", str(tmp_path / name)), tmp_path / f"{name}.yaml") for name in ("whole", "cut")
    )
    start(whole)
    state = tmp_path / "cut" / "pileup" / "model" / "pileup.state.pt"

    def stop_in_training(argv, cancelled, log):
        return run_program(argv, state.exists, log)

    monkeypatch.setattr(stepping, "run_program", stop_in_training)
    with pytest.raises(StepError, match="step pileup_model failed: ended by signal 9"):
        start(cut)

    def stop_at_calls(argv, cancelled, log):
        if "CallVariantsFromCffi" in argv:
            raise KeyboardInterrupt
        return run_program(argv, cancelled, log)

    monkeypatch.setattr(stepping, "run_program", stop_at_calls)
    with pytest.raises(KeyboardInterrupt):
        start(cut)
    assert "Going on after epoch" in (tmp_path / "cut" / "steps" / "pileup_model.log").read_text()
    monkeypatch.setattr(stepping, "run_program", run_program)
    start(cut)
    start(cut)
    for name in ("pileup.pt", "full_alignment.pt"):
        one, two = (read_checkpoint(tmp_path / folder / "model" / name)[0] for folder in ("whole", "cut"))
        assert all(torch.equal(one[key], two[key]) for key in one)
    card = json.loads((tmp_path / "whole" / "model" / "model.json").read_text())
    assert card["name"] == "small" and card["basecall_models"] == ["made_up@v1"] and card["platform"] == "ont"
    assert set(card["training"]) == {"pileup", "full_alignment"}
    code, said = run_program(
        [
            *(sys.executable, "-m", "clair3", "run", f"--bam_fn={sample_reads / 'reads.bam'}", "--threads=1"),
            *(f"--ref_fn={sample_reads / 'ref.fa'}", f"--model_path={tmp_path / 'cut' / 'model'}", "--platform=ont"),
            *("--ctg_name=chr21", f"--output={tmp_path / 'calls'}"),
        ]
    )
    assert code == 0, said
    assert (tmp_path / "calls" / "merge_output.vcf.gz").exists()


@pytest.mark.slow
def test_unified_and_in_parts(values, tmp_path):
    """The workflow through unification, contigs in parts and bins merged; another cut makes the same rows."""
    values |= {"unify": True, "chunk_size": 25_000, "fractions": [0.7]}
    values = changed(values, "pileup.tensors.maximum_non_variant_ratio", 1000)  # nothing is drawn
    start(write(values, tmp_path / "workflow.yaml"), "--until=pileup_bins")
    output = tmp_path / "workflow"
    parts = sorted(path.name for path in (output / "unified" / "toy_700_chr20" / "parts_3").iterdir())
    assert parts == [f"toy_700_chr20_{k}.vcf" for k in (1, 2, 3)]
    assert not list((output / "pileup" / "tensors").iterdir())  # spent
    positions = positions_of(output)
    start(write(values | {"chunk_size": 100_000}, tmp_path / "workflow.yaml"), "--until=pileup_tensors")
    assert len(positions) > 30 and positions == positions_of(output)


def positions_of(output: Path) -> list[bytes]:
    with Bin(output / "pileup" / "bins" / "bin_toy_700_chr20") as rows:
        return sorted(rows.rows(0, len(rows), ["position"])["position"].tolist())
