"""Training runs: what they write, that they can be repeated, resumed and shared among processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from program import ROOT
from training_bins import write_bin

from clair3.cli import train as train_command
from clair3.cli.arguments import TerminatedError, make_parser
from clair3.cli.main import main as clair3
from clair3.errors import ConfigError, InputError
from clair3.genotype.decode import quality
from clair3.genotype.labels import labels_to_classes
from clair3.inference.checkpoint import load_model, read_checkpoint, save_model
from clair3.io.bins import Bin
from clair3.model import random_model
from clair3.models.registry import check_digest, read_card
from clair3.training.trainer import data, distributed, loop, plots, session
from clair3.training.trainer.data import Batches, Examples, ExamplesInMemory
from clair3.training.trainer.distributed import Ranks
from clair3.training.trainer.journal import Journal, read_epochs
from clair3.training.trainer.losses import EpochMetrics
from clair3.training.trainer.network import TrainingForm, make_network, recompute_in_backward
from clair3.training.trainer.plan import Split, plan_batches


@pytest.fixture
def bins(tmp_path):
    """Two bins of pileup tensors, one large enough to validate with a part of it."""
    write_bin(tmp_path / "bins" / "bin_s_1000_7", 760, seed=1)
    write_bin(tmp_path / "bins" / "bin_s_1000_8", 140, seed=2, contig="chr8")
    return tmp_path / "bins"


@pytest.fixture
def few(tmp_path):
    """Two bins of few rows, for runs that need not learn."""
    write_bin(tmp_path / "bins" / "bin_s_1000_7", 60, seed=1)
    write_bin(tmp_path / "bins" / "bin_s_1000_8", 41, seed=2, contig="chr8")
    return tmp_path / "bins"


@pytest.fixture
def held(tmp_path):
    """A folder with a bin that validates."""
    return write_bin(tmp_path / "held" / "a", 101, seed=3, contig="chr9").parent


def weights(path):
    return read_checkpoint(path)[0]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_a_run_learns_and_says_so(bins, training_config):
    config = training_config(epochs=4, batch=30, validation_mode="end", exclude_contigs=())
    best = session.train(config)
    table = (config.folder / "training.log").read_text().splitlines()
    assert table[0] == "epoch\tloss\tval_loss"
    losses = [[float(value) for value in line.split("\t")] for line in table[1:]]
    assert [row[0] for row in losses] == [1, 2, 3, 4]
    assert losses[-1][1] < losses[0][1] / 2
    assert min(row[2] for row in losses) < losses[0][2]
    epochs = read_epochs(config.folder)
    assert {"loss/gt21", "loss/zygosity", "f1/gt21", "precision/variant"} <= epochs[0]["validation"].keys()
    # the first bin has three chunks: the last validates, with the rows behind it, and one before it is left out
    assert epochs[0]["train"]["rows"] == 250 + 140 and epochs[0]["validation"]["rows"] == 260
    assert all((config.folder / f"small.{epoch:02d}.pt").is_file() for epoch in range(1, 5))
    chosen = 1 + int(np.argmin([row[2] for row in losses]))
    assert same(weights(best), weights(config.folder / f"small.{chosen:02d}.pt"))
    card = read_card(config.folder)
    check_digest(config.folder, card)
    assert card.training["epoch"] == chosen and set(card.training["bins"]) == {"bin_s_1000_7", "bin_s_1000_8"}
    assert load_model(best, "pileup").heads == 2  # calling reads it as it is


def test_same_seed_same_weights(few, training_config, tmp_path):
    found = {}
    for name, values in {
        "plain": {"preload": "no"}, "workers": {"preload": "no", "workers": 2}, "memory": {"preload": "ram"},
        "seed": {"seed": 5},
    }.items():  # fmt: skip
        found[name] = weights(session.train(training_config(epochs=1, prefix=tmp_path / name / "x", **values)))
    assert same(found["plain"], found["workers"]) and same(found["plain"], found["memory"])
    assert not same(found["plain"], found["seed"])


@pytest.mark.parametrize("lookahead", [True, False])
def test_resumed_run_equals_a_whole_one(few, held, training_config, tmp_path, monkeypatch, lookahead):
    """Broken off in the third of four mini-epochs, in the middle of a step."""
    values = {"epochs": 2, "mini_epochs": 2, "batch": 12, "lookahead": lookahead, "validation": held}
    whole = training_config(**values, prefix=tmp_path / "whole" / "x")
    session.train(whole)
    broken = training_config(**values, prefix=tmp_path / "broken" / "x", resume=True)
    train = loop.Trainer.train

    def train_until(self, batches):
        if self.progress.epoch == 2:
            raise KeyboardInterrupt
        return train(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "train", train_until)
        with pytest.raises(KeyboardInterrupt):
            session.train(broken)
    (broken.folder / "training.jsonl").open("a").write('{"epoch": 3, "cut')
    session.train(broken)
    assert same(weights(broken.folder / "x.04.pt"), weights(whole.folder / "x.04.pt"))
    assert (broken.folder / "training.log").read_text() == (whole.folder / "training.log").read_text()
    assert [one["epoch"] for one in read_epochs(broken.folder)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "part, appeared", [("small.02.pt", False), ("small.state.pt", False), ("small.state.pt", True)]
)
def test_a_run_killed_while_it_saves_misses_nothing(few, training_config, monkeypatch, part, appeared):
    config = training_config(epochs=3, batch=60, resume=True)
    replace = Path.replace

    def killed(self, target):
        fatal = target.name == part and read_epochs(config.folder)[-1]["epoch"] == 2
        if appeared or not fatal:
            replace(self, target)
        if fatal:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            session.train(config)
    session.train(config)
    table = (config.folder / "training.log").read_text().splitlines()
    assert [line.split("\t")[0] for line in table] == ["epoch", "1", "2", "3"]
    assert [one["epoch"] for one in read_epochs(config.folder)] == [1, 2, 3]


def test_resume_says_when_there_is_nothing_to_resume(few, training_config, caplog):
    with caplog.at_level("INFO"):
        session.train(training_config(epochs=1, resume=True))
    assert "small.state.pt: not there, so this run starts from the beginning" in caplog.text


def test_resume_refuses_other_rows(few, training_config):
    session.train(training_config(epochs=1))
    write_bin(few / "more", 10)
    with pytest.raises(InputError, match="training rows=101, now 111"):
        session.train(training_config(epochs=1, resume=True))


def test_resume_refuses_another_recipe(few, training_config):
    session.train(training_config(epochs=1))
    with pytest.raises(InputError, match="optimizer=radam, now sgd"):
        session.train(training_config(epochs=1, optimizer="sgd", resume=True))


def test_resume_refuses_another_pytorch(few, training_config, monkeypatch):
    session.train(training_config(epochs=1))
    monkeypatch.setattr(torch, "__version__", "1.0")
    with pytest.raises(InputError, match=r"torch=.*, now 1\.0"):
        session.train(training_config(epochs=1, resume=True))


@pytest.mark.parametrize(
    "name, value",
    [("batch_norm_momentum", 0.5), ("initialization", "pytorch"), ("conv_padding", "tf_same")],
)
def test_resume_refuses_another_network(few, training_config, name, value):
    session.train(training_config(epochs=1))
    with pytest.raises(InputError, match=f"{name}=.*, now {value}"):
        session.train(training_config(epochs=1, resume=True, **{name: value}))


def test_resume_refuses_other_bins_of_as_many_rows(few, training_config):
    session.train(training_config(epochs=1))
    write_bin(few / "bin_s_1000_7", 60, seed=9)
    with pytest.raises(InputError, match="training bins=bin_s_1000_7 "):
        session.train(training_config(epochs=1, resume=True))


def test_a_finished_run_may_be_prolonged(few, training_config):
    session.train(training_config(epochs=1))
    session.train(training_config(epochs=2, resume=True))
    assert [one["epoch"] for one in read_epochs(training_config().folder)] == [1, 2]


def test_a_run_does_not_overwrite_another_one(few, training_config, tmp_path):
    best = session.train(training_config(epochs=2))
    before = best.read_bytes()
    again = "go on with it by --resume, or "
    for prefix, words in (("other", "give --ochk_prefix"), ("small", f"{again}give --ochk_prefix")):
        with pytest.raises(InputError, match=rf"small\.state\.pt: of a training run in this folder; {words}"):
            session.train(training_config(epochs=1, prefix=tmp_path / "out" / prefix))
    (tmp_path / "out" / "small.state.pt").unlink()
    with pytest.raises(InputError, match=r"best_val_loss\.pt: of a training run in this folder; give --ochk_prefix"):
        session.train(training_config(epochs=1))  # it may be what the user starts from
    assert best.read_bytes() == before


def test_what_an_unfinished_first_epoch_left_goes(few, training_config, tmp_path):
    folder = tmp_path / "out"
    events = folder / "tensorboard" / "train" / "events.out.tfevents.1"
    events.parent.mkdir(parents=True)
    for path in (events, folder / "small.07.pt", folder / "other.07.pt"):
        path.write_bytes(b"")
    session.train(training_config(epochs=1))
    assert sorted(path.name for path in folder.glob("*.0?.pt")) == ["other.07.pt", "small.01.pt"]
    assert not events.exists()


@pytest.mark.parametrize("recall, told", [(0.0, True), (0.009, True), (0.3, False)])
def test_a_network_that_finds_nothing_is_told(few, training_config, monkeypatch, caplog, recall, told):
    read = session.read_epochs
    known = lambda folder: [one | {"train": one["train"] | {"recall/variant": recall}} for one in read(folder)]  # noqa: E731
    monkeypatch.setattr(session, "read_epochs", known)
    session.train(training_config(epochs=1))
    assert ("best_val_loss.pt finds next to no variant" in caplog.text) == told


def test_a_plateau_lowers_the_rate(few, training_config, held, monkeypatch):
    """After every third epoch without a better validation loss, also across an interruption."""
    config = training_config(
        epochs=8,
        patience=9,
        min_delta=100.0,
        validation=held,
        schedule="plateau",
        learning_rate=1e-3,
        resume=True,
    )
    train = loop.Trainer.train

    def train_until(self, batches):
        if self.progress.epoch == 5:
            raise KeyboardInterrupt
        return train(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "train", train_until)
        with pytest.raises(KeyboardInterrupt):
            session.train(config)
    session.train(config)
    assert [one["learning_rate"] for one in read_epochs(config.folder)] == [1e-3] * 4 + [5e-4] * 3 + [2.5e-4]


def test_a_plateau_is_one_of_the_validation_loss(training_config):
    with pytest.raises(ConfigError, match="plateau looks at the validation loss"):
        training_config(schedule="plateau")


def test_early_end(few, training_config, held):
    config = training_config(
        epochs=9,
        patience=2,
        min_delta=100.0,
        validation=held,
    )
    best = session.train(config)
    assert len(read_epochs(config.folder)) == 3
    assert same(weights(best), weights(config.folder / "small.01.pt"))


def test_a_validation_may_be_smaller_than_a_batch(few, training_config, held):
    config = training_config(epochs=1, batch=1000, validation=held)
    session.train(config)
    (epoch,) = read_epochs(config.folder)
    assert epoch["validation"]["rows"] == 101 and epoch["validation"]["loss/total"] > 0


def test_keep_last(few, training_config):
    config = training_config(epochs=3, keep_last=2)
    best = session.train(config)
    assert sorted(path.name for path in config.folder.glob("small.0*")) == ["small.02.pt", "small.03.pt"]
    assert same(weights(best), weights(config.folder / "small.03.pt"))  # without validation the last one is best


@pytest.mark.parametrize(
    "values",
    [
        {"precision": "bf16"}, {"class_weights": True}, {"clip_grad_norm": 1.0},
        {"optimizer": "adamw", "schedule": "cosine"},
        {"optimizer": "sgd", "lookahead": False, "initialization": "pytorch"},
        {"heads": 4, "scale_lr": True, "deterministic": True},
    ],
    ids=str,
)  # fmt: skip
def test_every_choice_trains(few, training_config, values):
    try:
        best = session.train(training_config(**{"epochs": 1} | values))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.isfinite(value).all() for value in weights(best).values())


@pytest.mark.slow
def test_full_alignment_with_plots(tmp_path, training_config):
    write_bin(tmp_path / "bins" / "a", 700, kind="full_alignment")
    config = training_config(
        kind="full_alignment",
        heads=4,
        epochs=1,
        plots=True,
        validation_mode="end",
        gradient_checkpointing=True,
        start=None,
    )
    best = session.train(config)
    assert load_model(best, "full_alignment", heads=4, channels=8).conv_padding == "symmetric"
    drawn = {path.name for path in (config.folder / "plots").iterdir()}
    names = ("loss", "gt21", "zygosity", "calibration", "precision_recall", "length_error")
    assert drawn == {f"{name}.png" for name in names}


def test_calibration_and_recall_by_hand():
    """Right, right and less sure, wrong and as sure as that, missed, and no variant."""
    called = [(1, 1, 0.99), (2, 2, 0.8), (1, 1, 0.8), (0, 0, 0.9), (0, 0, 0.9)]
    labels = np.array([(1, 1), (2, 2), (3, 1), (1, 1), (0, 0)])
    probabilities = np.zeros((5, 24), np.float32)
    for row, (genotype, zygosity, probability) in zip(probabilities, called, strict=True):
        row[[genotype, 21 + zygosity]] = probability, 1
    found = plots.Predictions(probabilities, labels)
    sure, unsure = (float(quality(np.array([p], np.float32))[0]) for p in (0.99, 0.8))
    assert [(count, right) for _, count, right in plots.compute_calibration(found)] == [(2, 1), (1, 1)]
    assert plots.compute_precision_recall(found).ravel() == pytest.approx([sure, 1, 1 / 4, unsure, 2 / 3, 2 / 4])
    nothing = plots.Predictions(probabilities[3:], labels[3:])
    assert plots.compute_precision_recall(nothing).shape == (0, 3) and plots.compute_calibration(nothing) == []


def test_channels_last_learns_the_same(tmp_path, training_config, monkeypatch):
    """Up to rounding; the files hold the weights in their usual order."""
    write_bin(tmp_path / "bins" / "a", 20, kind="full_alignment")
    found, formats = [], []
    describe = session.describe

    def note(config, bins, split, trainer, device):
        weight = trainer.network.res_block1[0].conv1.weight
        formats.append(weight.is_contiguous(memory_format=torch.channels_last))
        describe(config, bins, split, trainer, device)

    monkeypatch.setattr(session, "describe", note)
    for channels_last in (False, True):
        config = training_config(
            kind="full_alignment", heads=4, epochs=1, batch=10, optimizer="sgd", channels_last=channels_last,
            prefix=tmp_path / str(channels_last) / "x",
        )  # fmt: skip
        found.append(weights(session.train(config)))
    assert formats == [False, True]
    assert all(value.is_contiguous() for value in found[1].values())
    for key, value in found[1].items():
        torch.testing.assert_close(value, found[0][key], rtol=1e-3, atol=1e-5)


def test_summary(few, training_config, caplog):
    with caplog.at_level("INFO"):
        session.train(training_config(epochs=1, summary=True))
    rows = [line.split() for line in caplog.messages if line.startswith(("LSTM", "L4", "L5", "Y_"))]
    assert rows[0][:3] == ["LSTM1", "151,552", "LSTM(18,"]
    assert sum(int(count.replace(",", "")) for _, count, *_ in rows) == 2_074_520  # spec/training.md C.5


def test_gradient_checkpointing_changes_nothing(training_config):
    x, found = torch.randint(-100, 100, (3, 55, 33, 8)), []
    for recompute in (False, True):
        torch.manual_seed(1)
        network = make_network(training_config(kind="full_alignment", heads=4))
        if recompute:
            recompute_in_backward(network)
        torch.manual_seed(2)
        sum(head.sum() for head in network.logits(x)).backward()
        found.append(([p.grad for p in network.parameters()], list(network.buffers())))
    for plain, recomputed in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


def test_fine_tuning_starts_from_the_checkpoint(few, training_config, tmp_path):
    first = session.train(training_config(epochs=1))
    config = training_config(start=first, prefix=tmp_path / "fine" / "x", epochs=1, learning_rate=1e-12)
    for key, value in weights(session.train(config)).items():
        torch.testing.assert_close(value, weights(first)[key], rtol=0, atol=1e-6)


def test_four_heads_into_two(few, training_config, tmp_path, caplog):
    full = random_model("pileup", 1, heads=4)
    save_model(full, tmp_path / "four.pt")
    with caplog.at_level("INFO"):
        network = make_network(training_config(start=tmp_path / "four.pt"))
    assert "its length heads are left out" in caplog.text
    assert list(network.state_dict()) == list(random_model("pileup", 1).state_dict())
    assert all(torch.equal(value, full.state_dict()[key]) for key, value in network.state_dict().items())
    assert len(network.logits(torch.zeros(2, 33, 18))) == 2
    with pytest.raises(InputError, match="a network of 2 heads, but 4 are needed"):
        save_model(network, tmp_path / "two.pt")
        make_network(training_config(start=tmp_path / "two.pt", heads=4))


def test_fine_tuning_from_tensorflow(shared_data, training_config):
    config = training_config(
        kind="full_alignment", heads=4, start=shared_data / "golden" / "tf" / "hifi" / "full_alignment"
    )
    assert make_network(config).conv_padding == "tf_same"


def test_bf16_learns_as_float32(few, training_config, tmp_path):
    """Losses of a toy run differ by less than 2 %."""
    found = []
    for precision in ("none", "bf16"):
        config = training_config(epochs=3, batch=20, precision=precision, prefix=tmp_path / precision / "x")
        session.train(config)
        found.append(read_epochs(config.folder)[-1]["train"]["loss/total"])
    assert found[1] == pytest.approx(found[0], rel=0.02) and found[0] != found[1]


@pytest.mark.parametrize("mini_epochs, batch", [(1, 101), (2, 30)])
def test_the_last_step_has_the_least_rate(few, training_config, mini_epochs, batch):
    config = training_config(epochs=2, batch=batch, mini_epochs=mini_epochs)
    session.train(config)
    last = read_epochs(config.folder)[-1]
    assert last["learning_rate"] == pytest.approx(0.75e-3) and last["step"] == 2 * -(-101 // batch)


def test_metrics_by_hand():
    random = np.random.default_rng(1)
    labels = np.stack([random.integers(0, 4, 50), random.integers(0, 3, 50)], axis=1)
    called = np.where(random.random((50, 2)) < 0.6, labels, random.integers(0, 3, (50, 2)))
    metrics = EpochMetrics(2, torch.device("cpu"))
    for rows in (slice(0, 20), slice(20, 50)):
        logits = [torch.eye(size)[called[rows, head]] for head, size in enumerate((21, 3))]
        metrics.update(torch.tensor([1.0, 2.0]), logits, torch.from_numpy(labels[rows]))
    found = metrics.compute()
    for head, name in enumerate(("gt21", "zygosity")):
        true, said = labels[:, head], called[:, head]
        pairs = [((true == c) & (said == c), true == c, said == c) for c in sorted({*true, *said})]
        counts = [(right.sum(), is_true.sum(), is_said.sum()) for right, is_true, is_said in pairs]
        assert found[f"precision/{name}"] == pytest.approx(np.mean([r / max(s, 1) for r, _, s in counts]))
        assert found[f"recall/{name}"] == pytest.approx(np.mean([r / max(t, 1) for r, t, _ in counts]))
        assert found[f"f1/{name}"] == pytest.approx(np.mean([2 * r / (t + s) for r, t, s in counts]))
        assert found[f"accuracy/{name}"] == pytest.approx((true == said).mean())
    right = ((labels == called).all(axis=1) & (labels[:, 1] > 0)).sum()
    assert found["precision/variant"] == pytest.approx(right / (called[:, 1] > 0).sum())
    assert found["recall/variant"] == pytest.approx(right / (labels[:, 1] > 0).sum())
    assert (found["loss/gt21"], found["loss/total"], found["rows"]) == pytest.approx((2 / 50, 6 / 50, 50))


def trainer(config, bins, ranks, network):
    opened = [Bin(path) for path in sorted(bins.iterdir())]
    rows = Examples(opened, config.heads, 18)
    split = Split([(i, 0, len(one)) for i, one in enumerate(opened)], [])
    device = torch.device("cpu")
    form = TrainingForm(network, device, "none")
    return loop.Trainer(config, network, form, device, split, Batches(rows, 0, 2, device), None, ranks)


def test_infinite_gradients_are_left_out_and_then_end_the_run(few, training_config, monkeypatch, caplog):
    torch.manual_seed(1)
    config = training_config(batch=5)
    network = make_network(config)
    one = trainer(config, few, Ranks(), network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    monkeypatch.setattr(loop, "head_losses", lambda logits, *_: torch.stack([x.sum() for x in logits]) * float("nan"))
    with pytest.raises(InputError, match="20 steps in a row"):
        one.train(one.plan_epoch(0))
    assert same(before, network.state_dict())
    assert "gradient not finite" in caplog.text


def test_a_lost_step_leaves_the_running_means(training_config):
    """A forward pass that overflows would make them infinite for good."""
    torch.manual_seed(1)
    config = training_config(kind="full_alignment", heads=4, batch=2)
    network = make_network(config)
    device = torch.device("cpu")
    one = loop.Trainer(
        config, network, TrainingForm(network, device, "none"), device, Split([(0, 0, 2)], []), None, None, Ranks()
    )
    before = [buffer.clone() for buffer in network.buffers()]
    metrics = EpochMetrics(4, device)
    labels = torch.zeros(2, 4, dtype=torch.int64)
    one.train_step(torch.full((2, 55, 33, 8), torch.inf), labels, 2, metrics)
    assert one.lost_steps == 1
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))
    one.train_step(torch.ones(2, 55, 33, 8), labels, 2, metrics)
    assert not all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))


def test_processes_end_with_the_run_that_started_them(tmp_path, monkeypatch):
    """torchrun must be asked to end: killed, it would leave the processes that it started behind."""
    launcher = tmp_path / "python"
    launcher.write_text(
        f"#!/bin/sh\ntrap 'echo asked > {tmp_path}/asked; exit 0' TERM\necho > {tmp_path}/began\n"
        "while :; do sleep 0.05; done\n"
    )
    launcher.chmod(0o755)
    monkeypatch.setattr(distributed.sys, "executable", str(launcher))

    def terminate(*_):
        raise TerminatedError

    before = signal.signal(signal.SIGALRM, terminate)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        with pytest.raises(TerminatedError):
            distributed.launch(2, [])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "began").exists() and (tmp_path / "asked").exists()


def test_environment_of_half_a_launcher(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="WORLD_SIZE is 2 but RANK is not set"):
        distributed.join("cpu")


def test_each_process_has_a_gpu_of_its_own():
    ranks = [Ranks(rank, 3, rank) for rank in range(3)]
    found = [session.select_device("cuda", (2, 5), rank) for rank in ranks[:2]]
    assert found == [torch.device("cuda:2"), torch.device("cuda:5")]
    with pytest.raises(ConfigError, match="process 3 on this host has no GPU, there are 2"):
        session.select_device("cuda", (2, 5), ranks[2])


WORKER = """
import sys, torch
sys.path[:0] = ["tests/training", "tests/helpers"]
from pathlib import Path
from clair3.training.trainer.config import TrainingConfig
from clair3.training.trainer.distributed import join, leave
from clair3.training.trainer.network import make_network
import torch.nn.functional as F
F.dropout = lambda x, *_, **__: x
from test_training import trainer
folder = Path(sys.argv[1])
torch.set_num_threads(1)
ranks = join("cpu")
config = TrainingConfig(platform="hifi", bins=folder / "bins", prefix=folder / "out" / "x", kind="pileup", heads=2,
                        epochs=1, batch=int(sys.argv[2]), optimizer="sgd", lookahead=False, schedule="constant", seed=3)
torch.manual_seed(1)
network = make_network(config)
one = trainer(config, folder / "bins", ranks, network)
figures = one.train(one.plan_epoch(0))
torch.save([network.state_dict(), figures], folder / f"ranks{ranks.count}.{ranks.rank}.pt")
leave(ranks)
"""


@pytest.mark.slow
def test_two_processes_step_as_one(few, tmp_path):
    """Each step's averaged gradient is that of the joint batch, also where the ranks' shares differ in rows."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for command, batch in ((launcher, "15"), ([sys.executable], "30")):
        subprocess.run(
            [*command, str(script), str(tmp_path), batch], check=True, cwd=ROOT, env=environment, timeout=300
        )
    one, figures = torch.load(tmp_path / "ranks1.0.pt", weights_only=False)
    for rank in (0, 1):
        shared, theirs = torch.load(tmp_path / f"ranks2.{rank}.pt", weights_only=False)
        for key, value in one.items():
            torch.testing.assert_close(shared[key], value, rtol=1e-4, atol=2e-6)
        assert theirs["rows"] == figures["rows"] == 101
        assert theirs == pytest.approx(figures, rel=1e-3)


@pytest.mark.slow
def test_gpus_starts_processes(bins, tmp_path):
    command = [
        *(sys.executable, "clair3/Train.py", "--bin_fn", bins, "--ochk_prefix", tmp_path / "two" / "p", "--pileup"),
        *("--platform", "hifi", "--gpus", "2", "--device", "cpu", "--batch_size", "100", "--maxEpoch", "1"),
        *("--torch_num_threads", "1", "--random_validation", "--plots", "no"),
    ]
    ended = subprocess.run(list(map(str, command)), cwd=ROOT, text=True, capture_output=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    for words in ("batch size 100 x 2", "rows train", "Best validation loss", "Best checkpoint"):
        assert ended.stderr.count(words) == 1  # only one process speaks
    (epoch,) = read_epochs(tmp_path / "two")
    assert epoch["train"]["rows"] == 390 and epoch["validation"]["rows"] == 260


# ---- data --------------------------------------------------------------------------------------------------------


def test_classes_of_labels():
    labels = np.zeros((2, 90), np.int8)
    labels[0, [3, 21 + 2, 24 + 16, 57 + 20]] = 1
    labels[1, [20, 21, 24, 57 + 32]] = 1
    assert labels_to_classes(labels, 4).tolist() == [[3, 2, 16, 20], [20, 0, 0, 32]]
    assert labels_to_classes(labels, 2).tolist() == [[3, 2], [20, 0]]


def test_rows_in_memory_are_the_rows(few):
    opened = [Bin(path) for path in sorted(few.iterdir())]
    read, held = Examples(opened, 2, 18), ExamplesInMemory(opened, 2, 18)
    for spans in plan_batches([(0, 0, 60), (1, 10, 41)], 7, 20, 1, 0):
        (a, a_classes), (b, b_classes) = read[spans], held[spans]
        assert torch.equal(a, b.to(a.dtype)) and torch.equal(a_classes, b_classes)


@pytest.mark.parametrize("excluded, left", [("20,chr20", 2), ("none", 3), ("chr7", 2)])
def test_hold_out(few, training_config, excluded, left):
    write_bin(few / "bin_s_20_1", 300, seed=3, contig="chr20")
    exclude = () if excluded == "none" else tuple(excluded.split(","))
    opened, _ = data.open_training_bins(training_config(exclude_contigs=exclude))
    assert len(opened) == left


def test_rows_of_a_site_that_validates_do_not_train(tmp_path, training_config, caplog):
    """Also when copies of a candidate lie anywhere in the bin, or in another one."""
    for count in (900, 1200, 1600):  # the same sites, of which each bin holds others back
        write_bin(tmp_path / "bins" / f"bin_{count}", count)
    opened, _ = data.open_training_bins(training_config())
    split = data.make_split(training_config(validation_mode="random"), opened, [])
    sites = data.read_sites(opened)
    trained, validated = (
        {site for index, start, stop in part for site in sites[index][start:stop]}
        for part in (split.train, split.validation)
    )
    assert trained and validated and not trained & validated
    assert "training rows are left out: their sites validate" in caplog.text


def test_common_sites_of_validation_are_told(tmp_path, training_config, caplog):
    write_bin(tmp_path / "bins" / "a", 60, seed=1)
    write_bin(tmp_path / "held" / "b", 20, seed=2)
    config = training_config(validation=tmp_path / "held")
    data.make_split(config, *data.open_training_bins(config))
    assert "20 training rows lie on sites of --validation_fn" in caplog.text


def test_a_bin_does_not_train_and_validate(tmp_path, training_config):
    path = write_bin(tmp_path / "bins" / "a", 30)
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "b").write_bytes(path.read_bytes())
    for folder in ("bins", "held"):
        with pytest.raises(InputError, match="is the same as .*a, which trains"):
            data.open_training_bins(training_config(validation=tmp_path / folder))


@pytest.mark.parametrize(
    "column, change, message",
    [
        ("label", lambda values: values[5].fill(0), "row 6: the label is not one-hot"),
        ("label", lambda values: values[5].__setitem__(0, 2), "row 6: the label is not one-hot"),
        (
            "position_matrix",
            lambda values: values[5].fill(40_000),
            "row 6: values in the tensor beyond -32768",
        ),
    ],
)
@pytest.mark.parametrize("preload", ["ram", "no"])
def test_rows_that_cannot_be_are_refused(tmp_path, training_config, capsys, column, change, message, preload):
    path = write_bin(tmp_path / "bins" / "a", 30)
    with h5py.File(path, "r+") as file:
        values = file[column][:]
        change(values)
        file[column][:] = values
    with pytest.raises(InputError, match=message):
        session.train(training_config(epochs=1, preload=preload))
    with pytest.raises(SystemExit):
        clair3(["inspect", str(path), "--check"])
    assert message in capsys.readouterr().err


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, values, message",
    [
        (lambda folder: folder.mkdir(), {}, "no training bins in it"),
        (lambda folder: None, {}, "no such folder"),
        (lambda folder: write_bin(folder / "a", 10), {"kind": "full_alignment", "heads": 4}, "pileup"),
        (lambda folder: write_bin(folder / "a", 10, platform="ont"), {}, "platform=ont"),
        (lambda folder: write_bin(folder / "a", 10, contig="chr20"), {}, "exclude_contigs"),
        (lambda folder: write_bin(folder / "a", 100), {"validation_mode": "end"}, "none would validate"),
        (lambda folder: write_bin(folder / "a", 100), {"split": "upstream"}, "no row is left"),
        (lambda folder: write_bin(folder / "a", 700), {"split": "upstream", "batch": 300}, "250 rows .* are 0 batches"),
        (lambda folder: write_bin(folder / "a", 100), {"mini_epochs": 3, "batch": 50}, "100 rows .* are 2 batches"),
    ],
)
def test_bad_bins(tmp_path, training_config, make, values, message):
    make(tmp_path / "bins")
    with pytest.raises(InputError, match=message):
        session.train(training_config(**values))


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_rows_are_named(tmp_path, training_config, workers):
    path = write_bin(tmp_path / "bins" / "a", 520)
    with h5py.File(path) as file:
        chunk = file["position_matrix"].id.get_chunk_info(1)
    packed = bytearray(path.read_bytes())
    packed[chunk.byte_offset + 16 : chunk.byte_offset + chunk.size] = b"\xff" * (chunk.size - 16)
    path.write_bytes(packed)
    with pytest.raises(InputError, match=r"^.*/bins/a: rows \d+ to \d+ are damaged; make the bin again$"):
        session.train(training_config(preload="no", workers=workers, batch=520))


def test_full_log_is_named(tmp_path):
    journal = Journal(tmp_path, False)
    (tmp_path / "training.log").unlink()
    (tmp_path / "training.log").mkdir()
    with pytest.raises(InputError, match=r"training\.log: cannot be written"):
        journal.write(1, 1, {"train": {"loss/total": 1.0}}, {})


def test_full_disk_keeps_the_last_checkpoint(few, training_config, monkeypatch):
    config = training_config(epochs=3)
    save = session.checkpoints.save_epoch

    def full(prefix, epoch, *rest):
        if epoch == 2:
            (config.folder / ".small.02.pt.partial").mkdir()  # cannot be written, as on a full disk
        save(prefix, epoch, *rest)

    monkeypatch.setattr(session.checkpoints, "save_epoch", full)
    with pytest.raises((InputError, OSError)):
        session.train(config)
    assert load_model(config.folder / "best_val_loss.pt", "pileup")
    assert session.checkpoints.read_state(config.prefix, {})["epoch"] == 1


def parse(*words):
    args = make_parser(train_command, "", "Train").parse_args([*words])
    args.command_line, args.arguments = "Train", [*words]
    return train_command.make_config(args)


def test_config_file(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "bin_fn: a\nochk_prefix: b/c\nlearning_rate: 0.01\npileup: true\nexclude-contigs: [1, chr2]\nuse_gpu: false\n"
    )
    config = parse("--config", str(tmp_path / "c.yaml"), "--learning_rate", "0.5")
    assert (config.learning_rate, config.kind, config.exclude_contigs) == (0.5, "pileup", ("1", "chr2"))
    (tmp_path / "c.json").write_text(json.dumps({"bin_fn": "a", "ochk_prefix": "b", "maxEpoch": 3}))
    assert parse("--config", str(tmp_path / "c.json")).epochs == 3


def test_the_command_line_wins(tmp_path, caplog):
    """Also where it says what the default is, and wherever --config stands."""
    (tmp_path / "c.yaml").write_text("bin_fn: a\nochk_prefix: b\nbatch_size: 100\nlookahead: no\nuse_gpu: no\n")
    words = ["--batch_size", "2000", "--config", str(tmp_path / "c.yaml")]
    for order in (words, words[2:] + words[:2]):
        config = parse(*order)
        assert (config.batch, config.lookahead) == (2000, False)
    assert "use_gpu means nothing here" in caplog.text


@pytest.mark.parametrize(
    "text, message",
    [
        ("bin_fun: a", "unknown option bin_fun"),
        ("- a", "by name"),
        ("{", "not YAML"),
        ("config: x", "unknown option config"),
    ],
)
def test_bad_config_file(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises((ConfigError, InputError), match=message):
        parse("--config", str(tmp_path / "c.yaml"))


@pytest.mark.parametrize(
    "words, message",
    [
        (["--bin_fn", "a"], "--ochk_prefix is required"),
        (["--bin_fn", "a", "--ochk_prefix", "b", "--pileup", "--enable_dwell_time"], "full alignment"),
        (["--bin_fn", "a", "--ochk_prefix", "b", "--batch_size", "0"], "batch"),
        (["--bin_fn", "a", "--ochk_prefix", "b", "--learning_rate", "-1"], "learning_rate"),
        (["--bin_fn", "a", "--ochk_prefix", "b", "--amp", "--mixed-precision", "bf16"], "exclude each other"),
    ],
)
def test_bad_options(words, message):
    with pytest.raises(ConfigError, match=message):
        parse(*words)


def test_zero_learning_rate_is_the_default():
    assert parse("--bin_fn", "a", "--ochk_prefix", "b", "--learning_rate", "0").learning_rate == 1e-3
