"""Training runs: what they write, that they can be repeated, resumed and shared among processes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from program import ROOT
from training_bins import write_bin

from clair3.bins import Bin
from clair3.checkpoint import load_model, read_checkpoint
from clair3.model_card import check_digest, read_card
from clair3.training import inputs, loop, options, session
from clair3.training.data import Batches, Rows, RowsInMemory, classes_of
from clair3.training.distributed import Ranks
from clair3.training.journal import read_epochs
from clair3.training.network import TrainingForm, make_network, recompute_in_backward
from clair3.training.plan import Split, epoch_batches
from shared.cli import make_parser
from shared.errors import ConfigError, InputError


@pytest.fixture
def bins(tmp_path):
    """Two bins of pileup tensors."""
    write_bin(tmp_path / "bins" / "bin_s_1000_7", 900, seed=1)
    write_bin(tmp_path / "bins" / "bin_s_1000_8", 700, seed=2, contig="chr8")
    return tmp_path / "bins"


def weights(path):
    return read_checkpoint(path)[0]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_learns_and_says_so(bins, training_config):
    config = training_config(epochs=4, validation_mode="end", exclude_contigs=())
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
    assert epochs[0]["train"]["rows"] == 250 + 700 and epochs[0]["validation"]["rows"] == 400
    assert all((config.folder / f"small.{epoch:02d}.pt").is_file() for epoch in range(1, 5))
    chosen = 1 + int(np.argmin([row[2] for row in losses]))
    assert same(weights(best), weights(config.folder / f"small.{chosen:02d}.pt"))
    card = read_card(config.folder)
    check_digest(config.folder, card)
    assert card.training["epoch"] == chosen and set(card.training["bins"]) == {"bin_s_1000_7", "bin_s_1000_8"}
    assert load_model(best, "pileup").heads == 2  # calling reads it as it is


def test_same_seed_same_weights(bins, training_config, tmp_path):
    found = {}
    for name, values in {
        "plain": {"preload": "no"}, "workers": {"preload": "no", "workers": 2}, "memory": {"preload": "ram"},
        "seed": {"seed": 5},
    }.items():  # fmt: skip
        found[name] = weights(session.train(training_config(epochs=1, prefix=tmp_path / name / "x", **values)))
    assert same(found["plain"], found["workers"]) and same(found["plain"], found["memory"])
    assert not same(found["plain"], found["seed"])


@pytest.mark.parametrize("lookahead", [True, False])
def test_resumed_run_equals_a_whole_one(bins, training_config, tmp_path, monkeypatch, lookahead):
    """Broken off in the third of four mini-epochs, in the middle of a step."""
    values = {"epochs": 2, "mini_epochs": 2, "lookahead": lookahead, "validation_mode": "random"}
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


def test_resume_refuses_another_recipe(bins, training_config):
    session.train(training_config(epochs=1))
    with pytest.raises(InputError, match="optimizer=radam, now sgd"):
        session.train(training_config(epochs=1, optimizer="sgd", resume=True))


def test_early_end(bins, training_config):
    config = training_config(epochs=9, patience=2, min_delta=100.0, validation_mode="end")
    best = session.train(config)
    assert len(read_epochs(config.folder)) == 3
    assert same(weights(best), weights(config.folder / "small.01.pt"))


def test_keep_last(bins, training_config):
    config = training_config(epochs=3, keep_last=2)
    best = session.train(config)
    assert sorted(path.name for path in config.folder.glob("small.0*")) == ["small.02.pt", "small.03.pt"]
    assert same(weights(best), weights(config.folder / "small.03.pt"))  # without validation the last one is best


@pytest.mark.parametrize(
    "values",
    [
        {"precision": "bf16"}, {"class_weights": True}, {"clip_grad_norm": 1.0},
        {"optimizer": "adamw", "schedule": "cosine"},
        {"optimizer": "sgd", "lookahead": False, "initialization": "pytorch"}, {"split": "upstream", "batch": 250},
        {"heads": 4, "scale_lr": True, "deterministic": True},
    ],
    ids=str,
)  # fmt: skip
def test_every_choice_trains(bins, training_config, values):
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
    assert drawn == {"loss.png", "gt21.png", "zygosity.png", "calibration.png", "length_error.png"}


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


def test_fine_tuning_starts_from_the_checkpoint(bins, training_config, tmp_path):
    first = session.train(training_config(epochs=1))
    config = training_config(start=first, prefix=tmp_path / "fine" / "x", epochs=1, learning_rate=1e-12)
    for key, value in weights(session.train(config)).items():
        torch.testing.assert_close(value, weights(first)[key], rtol=0, atol=1e-6)


def trainer(config, bins, ranks, network):
    opened = [Bin(path) for path in sorted(bins.iterdir())]
    rows = Rows(opened, config.heads, 18)
    split = Split([(i, 0, len(one)) for i, one in enumerate(opened)], [])
    device = torch.device("cpu")
    form = TrainingForm(network, device, "none")
    return loop.Trainer(config, network, form, device, split, Batches(rows, 0, 2, device), None, ranks)


def test_infinite_gradients_are_left_out_and_then_end_the_run(bins, training_config, monkeypatch, caplog):
    torch.manual_seed(1)
    config = training_config(batch=50)
    network = make_network(config)
    one = trainer(config, bins, Ranks(), network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    monkeypatch.setattr(loop, "head_losses", lambda logits, *_: torch.stack([x.sum() for x in logits]) * float("nan"))
    with pytest.raises(InputError, match="20 steps in a row"):
        one.train(one.batches_of(0))
    assert same(before, network.state_dict())
    assert "gradient not finite" in caplog.text


WORKER = """
import sys, torch
sys.path[:0] = ["tests"]
from pathlib import Path
from clair3.training.config import TrainingConfig
from clair3.training.distributed import join, leave
from clair3.training.network import make_network
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
figures = one.train(one.batches_of(0))
torch.save([network.state_dict(), figures], folder / f"ranks{ranks.count}.{ranks.rank}.pt")
leave(ranks)
"""


@pytest.mark.slow
def test_two_processes_step_as_one(bins, tmp_path):
    """Each step's averaged gradient is that of the joint batch, also where the ranks' shares differ in rows."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for command, batch in ((launcher, "75"), ([sys.executable], "150")):
        subprocess.run(
            [*command, str(script), str(tmp_path), batch], check=True, cwd=ROOT, env=environment, timeout=300
        )
    one, figures = torch.load(tmp_path / "ranks1.0.pt", weights_only=False)
    for rank in (0, 1):
        shared, theirs = torch.load(tmp_path / f"ranks2.{rank}.pt", weights_only=False)
        for key, value in one.items():
            torch.testing.assert_close(shared[key], value, rtol=1e-4, atol=2e-6)
        assert theirs["rows"] == figures["rows"] == 1600
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
    assert "batch size 100 x 2" in ended.stderr and ended.stderr.count("Best checkpoint") == 1
    (epoch,) = read_epochs(tmp_path / "two")
    assert epoch["train"]["rows"] == 950 and epoch["validation"]["rows"] == 400


# ---- data --------------------------------------------------------------------------------------------------------


def test_classes_of_labels():
    labels = np.zeros((2, 90), np.int8)
    labels[0, [3, 21 + 2, 24 + 16, 57 + 20]] = 1
    labels[1, [20, 21, 24, 57 + 32]] = 1
    assert classes_of(labels, 4).tolist() == [[3, 2, 16, 20], [20, 0, 0, 32]]
    assert classes_of(labels, 2).tolist() == [[3, 2], [20, 0]]


def test_rows_in_memory_are_the_rows(bins):
    opened = [Bin(path) for path in sorted(bins.iterdir())]
    read, held = Rows(opened, 2, 18), RowsInMemory(opened, 2, 18)
    for spans in epoch_batches([(0, 0, 900), (1, 10, 700)], 40, 300, 1, 0):
        (a, a_classes), (b, b_classes) = read[spans], held[spans]
        assert torch.equal(a, b.to(a.dtype)) and torch.equal(a_classes, b_classes)


@pytest.mark.parametrize("excluded, left", [("20,chr20", 2), ("none", 3), ("chr7", 2)])
def test_hold_out(bins, training_config, excluded, left):
    write_bin(bins / "bin_s_20_1", 300, seed=3, contig="chr20")
    exclude = () if excluded == "none" else tuple(excluded.split(","))
    opened, _ = inputs.open_all(training_config(exclude_contigs=exclude))
    assert len(opened) == left


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
    ],
)
def test_bad_bins(tmp_path, training_config, make, values, message):
    make(tmp_path / "bins")
    with pytest.raises(InputError, match=message):
        session.train(training_config(**values))


def test_full_disk_keeps_the_last_checkpoint(bins, training_config, monkeypatch):
    config = training_config(epochs=3)
    save = session.saving.save_epoch

    def full(prefix, epoch, *rest):
        if epoch == 2:
            (config.folder / "small.02.pt.tmp").mkdir()  # cannot be written, as on a full disk
        save(prefix, epoch, *rest)

    monkeypatch.setattr(session.saving, "save_epoch", full)
    with pytest.raises((InputError, OSError)):
        session.train(config)
    assert load_model(config.folder / "best_val_loss.pt", "pileup")
    assert session.saving.read_state(config.prefix, session.made_with(config))["epoch"] == 1


def parse(*words):
    args = make_parser(session, "", "Train").parse_args([*words])
    args.command_line = "Train"
    return options.config_from(args)


def test_config_file(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "bin_fn: a\nochk_prefix: b/c\nlearning_rate: 0.01\npileup: true\nexclude-contigs: [1, chr2]\nuse_gpu: false\n"
    )
    config = parse("--config", str(tmp_path / "c.yaml"), "--learning_rate", "0.5")
    assert (config.learning_rate, config.kind, config.exclude_contigs) == (0.5, "pileup", ("1", "chr2"))
    (tmp_path / "c.json").write_text(json.dumps({"bin_fn": "a", "ochk_prefix": "b", "maxEpoch": 3}))
    assert parse("--config", str(tmp_path / "c.json")).epochs == 3


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
