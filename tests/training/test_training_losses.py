"""Focal loss and optimisers against the golden cases and against other ways to write them."""

import copy
import json
import math

import pytest
import torch

from clair3.model import HEAD_SIZES, random_model
from clair3.training.trainer.losses import class_weights, focal_loss, focal_loss_of_probabilities, head_losses
from clair3.training.trainer.network import make_network
from clair3.training.trainer.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    Lookahead,
    RectifiedAdam,
    is_kernel,
    make_optimizer,
    rectification,
    warm_up_then_decay,
)


@pytest.fixture(scope="module")
def golden(shared_data):
    def read(name):
        return json.loads((shared_data / "golden" / name).read_text())

    return read


def test_golden_focal_loss(golden):
    weights = class_weights(torch.tensor([37 * (i + 1) for i in range(90)]))
    for case in golden("focal_loss_cases.json")["cases"]:
        p, labels = torch.tensor(case["pred"], dtype=torch.float64), torch.tensor(case["labels"])
        weight = weights[case["task"]].double()
        for p_weight, name in ((None, "loss_per_row"), (weight, "loss_per_row_class_weighted")):
            expected = torch.tensor(case[name], dtype=torch.float64)
            found = focal_loss_of_probabilities(p, labels, p_weight)
            torch.testing.assert_close(found, expected, rtol=2e-6, atol=2e-6)
            # the logarithm of probabilities that sum to 1 is a logit vector; the golden ones are rounded
            logits = (p / p.sum(dim=1, keepdim=True)).clamp(min=1e-30).log()
            torch.testing.assert_close(focal_loss(logits, labels, p_weight), expected, rtol=1e-4, atol=1e-4)


def test_golden_class_weights(golden):
    example = golden("focal_loss_cases.json")["class_weight_example"]
    counts = torch.zeros(24, dtype=torch.int64)
    counts[21:] = torch.tensor(example["counts"])
    torch.testing.assert_close(
        class_weights(counts)[1].double(), torch.tensor(example["weights"]).double(), rtol=1e-6, atol=0
    )


def test_gradient_is_that_of_the_probability_form():
    torch.manual_seed(1)
    logits = (3 * torch.randn(50, 21, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, 21, (50,))
    (ours,) = torch.autograd.grad(focal_loss(logits, labels).sum(), logits)
    (theirs,) = torch.autograd.grad(focal_loss_of_probabilities(logits.softmax(dim=1), labels).sum(), logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_loss_is_finite_for_certain_mistakes(dtype):
    logits = torch.tensor([[200.0, 0, -1.7], [0, 0, 0]], dtype=dtype, requires_grad=True)
    losses = focal_loss(logits, torch.tensor([1, 0]))
    assert losses.dtype == torch.float32
    assert losses[0].item() == pytest.approx(-math.log(1e-9), rel=1e-5)
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("kind, shape", [("pileup", (33, 18)), ("full_alignment", (55, 33, 8))])
def test_empty_tensors_give_finite_gradients(kind, shape):
    model = random_model(kind, 1, heads=4).train()
    losses = head_losses(model.logits(torch.zeros(4, *shape)), torch.zeros(4, 4, dtype=torch.int64))
    losses.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    "name, warm, lookahead",
    [("radam", False, False), ("radam_warm", True, False), ("radam_warm_lookahead", True, True)],
)
def test_golden_optimizer_traces(golden, name, warm, lookahead):
    w = torch.tensor([1, -2, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = RectifiedAdam([w], lr=0.01)
    stepper = Lookahead(optimizer) if lookahead else optimizer
    expected = {row["step"]: row for row in golden("optimizer_traces.json")[name]}
    for step in range(1, max(expected) + 1):
        if warm:
            optimizer.param_groups[0]["lr"] = 0.01 * warm_up_then_decay(step, 100)
        slope, wave = (
            torch.tensor([1, 0.1, 10], dtype=torch.float64),
            torch.tensor([0.3, -0.1, 0.2], dtype=torch.float64),
        )
        w.grad = (2 * w * slope + wave * math.cos(step)).detach()
        stepper.step()
        if step in expected:
            assert optimizer.param_groups[0]["lr"] == pytest.approx(expected[step]["lr"], rel=1e-12)
            assert w.tolist() == pytest.approx(expected[step]["w"], rel=1e-9)


def test_rectification_starts_at_step_six():
    assert [rectification(step, 0.999) is None for step in (1, 5, 6, 7)] == [True, True, False, False]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_within_the_rate(name):
    shares = [SCHEDULES[name](step, 37) for step in range(1, 60)]
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("lookahead", [False, True])
def test_every_optimizer_learns_and_its_state_goes_on(name, lookahead):
    def steps(model, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            loss = (model.weight**2).sum() + model.bias.sum() ** 2
            loss.backward()
            optimizer.step()
        return loss.item()

    torch.manual_seed(1)
    model = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(model, name, 0.01, 0, lookahead)
    first = steps(model, optimizer, 1)
    steps(model, optimizer, 7)
    again = torch.nn.Linear(3, 2)
    again.load_state_dict(model.state_dict())
    other = make_optimizer(again, name, 0.01, 0, lookahead)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert steps(model, optimizer, 10) == steps(again, other, 10) < first
    assert torch.equal(model.weight, again.weight)


def test_only_kernels_are_regularised():
    names = [key for key, p in random_model("pileup", 1).named_parameters() if is_kernel(key, p)]
    assert "LSTM1.weight_ih_l0_reverse" in names and "L4.weight" in names
    assert not [key for key in names if "bias" in key or "weight_hh" in key]
    names = [key for key, p in random_model("full_alignment", 1).named_parameters() if is_kernel(key, p)]
    assert "res_block1.0.conv2.weight" in names and not [key for key in names if ".bn" in key]


def test_l2_is_that_of_the_sum_of_squares():
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 3)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = make_optimizer(model, "sgd", 0.1, 0.05, False)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    stepped = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(start)
    optimizer = make_optimizer(model, "sgd", 0.1, 0, False)
    optimizer.zero_grad()
    (model(torch.ones(1, 4)).sum() + 0.05 * (model.weight**2).sum()).backward()
    optimizer.step()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, stepped[key])


def test_keras_initialization(training_config):
    network = make_network(training_config())
    lstm = network.LSTM1
    assert torch.equal(lstm.bias_ih_l0[128:256], torch.ones(128)) and not lstm.bias_hh_l0.any()
    recurrent = lstm.weight_hh_l0.double()
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(128, dtype=torch.float64), rtol=0, atol=1e-4)
    limit = math.sqrt(6 / (sum(network.L4.weight.shape)))
    assert network.L4.weight.abs().max() <= limit
    assert [head.out_features for head in (network.Y_gt21_logits, network.Y_genotype_logits)] == list(HEAD_SIZES[:2])
