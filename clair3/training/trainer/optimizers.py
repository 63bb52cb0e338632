"""Optimisers, learning-rate schedules and initial weights (spec/training.md C.4).

The default is the recipe of Clair3's TensorFlow models: RectifiedAdam inside Lookahead, a warm-up, a slow linear decay
and Keras' initial weights. docs/differences.md has the options for v2.0.2's.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

WARM_UP = 0.1
"""Share of all steps in which the learning rate rises."""
LEAST_RATE = 0.75
"""Share of the learning rate that the linear decay ends at."""

LOOKAHEAD_STEPS, LOOKAHEAD_SHARE = 6, 0.5


class RectifiedAdam(torch.optim.Optimizer):
    """Adam without its adaptive step while the variance is known badly, as TensorFlow Addons defines it.

    PyTorch's RAdam adds eps before the bias correction of the variance, which is another step size.
    weight_decay is an L2 term: the gradient of weight_decay / 2 * w^2 is added.
    """

    def __init__(self, params: Iterable, lr: float = 1e-3, betas=(0.9, 0.999), eps: float = 1e-7, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        """One step on every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step(group, params)
        return loss

    def _step(self, group: dict, params: list[Tensor]) -> None:
        for p in params:
            if not self.state[p]:
                self.state[p].update(step=0, mean=torch.zeros_like(p), variance=torch.zeros_like(p))
            self.state[p]["step"] += 1
        means = [self.state[p]["mean"] for p in params]
        variances = [self.state[p]["variance"] for p in params]
        gradients = [p.grad for p in params]
        if group["weight_decay"]:
            gradients = torch._foreach_add(gradients, params, alpha=group["weight_decay"])
        beta1, beta2 = group["betas"]
        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, gradients, alpha=1 - beta1)
        torch._foreach_mul_(variances, beta2)
        torch._foreach_addcmul_(variances, gradients, gradients, value=1 - beta2)

        t = self.state[params[0]]["step"]
        rate = group["lr"] / (1 - beta1**t)
        rectified = rectification(t, beta2)
        if rectified is None:
            torch._foreach_add_(params, means, alpha=-rate)
            return
        scales = torch._foreach_div(variances, 1 - beta2**t)
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, group["eps"])
        torch._foreach_addcdiv_(params, means, scales, value=-rate * rectified)


def rectification(t: int, beta2: float) -> float | None:
    """How far the adaptive step of step t (from 1) is trusted; None: not at all yet."""
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length < 5:
        return None
    return math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))


class Lookahead:
    """Every 6 steps of an optimiser, go half the way from where the last six began, and start there again.

    A wrapper: step, zero_grad, param_groups and the state are those of an optimiser. The slow weights start as the
    weights that the optimiser was made with, and are part of the state.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer
        self.steps = 0
        self.slow = [p.detach().clone() for p in self._params()]

    def _params(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def param_groups(self) -> list[dict]:
        return self.optimizer.param_groups

    def zero_grad(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self) -> None:
        self.optimizer.step()
        self.steps += 1
        if self.steps % LOOKAHEAD_STEPS == 0:
            fast = self._params()
            torch._foreach_lerp_(self.slow, fast, LOOKAHEAD_SHARE)
            torch._foreach_copy_(fast, self.slow)

    def state_dict(self) -> dict:
        return {"optimizer": self.optimizer.state_dict(), "steps": self.steps, "slow": self.slow}

    def load_state_dict(self, state: dict) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        torch._foreach_copy_(self.slow, state["slow"])


OPTIMIZERS: dict[str, Callable] = {
    "radam": RectifiedAdam,
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}

L2 = {"pileup": 1e-4, "full_alignment": 1e-7}
"""v2.0.2's weight decay of each network."""
KERAS_L2 = 1e-7
"""The weight of the sum of squares that TensorFlow's training adds to the loss, of both networks."""


def make_optimizer(
    model: nn.Module, name: str, rate: float, l2: float, lookahead: bool
) -> Lookahead | torch.optim.Optimizer:
    """The optimiser of a network's parameters.

    name  of OPTIMIZERS. adamw decays every parameter by l2 per unit of the rate, as v2.0.2 does; the others add
          l2 times the sum of squares of the kernels to the loss, as TensorFlow does
    """
    if name == "adamw":
        groups = [{"params": list(model.parameters()), "weight_decay": l2}]
    else:
        kernels, others = [], []
        for key, parameter in model.named_parameters():
            (kernels if is_kernel(key, parameter) else others).append(parameter)
        groups = [{"params": kernels, "weight_decay": 2 * l2}, {"params": others, "weight_decay": 0.0}]
    optimizer = OPTIMIZERS[name](groups, lr=rate)
    return Lookahead(optimizer) if lookahead else optimizer


def is_kernel(key: str, parameter: Tensor) -> bool:
    """Whether Keras regularises this parameter of the state dict: input, dense and convolution kernels; no biases,
    recurrent kernels or batch norms."""
    return parameter.dim() > 1 and "weight_hh" not in key


def warm_up_then_decay(step: int, steps: int) -> float:
    """TensorFlow's: linear to 1 in the first tenth, then linear to 0.75 at the last step, constant after it."""
    warm_up = WARM_UP * steps
    if step <= warm_up:
        return step / warm_up
    return max(LEAST_RATE, 1 - (1 - LEAST_RATE) * (step - warm_up) / (steps - warm_up))


def cosine(step: int, steps: int) -> float:
    """Linear to 1 in the first tenth, then half a cosine to 0 at the last step."""
    warm_up = WARM_UP * steps
    if step <= warm_up:
        return step / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / (steps - warm_up))))


def constant(step: int, steps: int) -> float:
    return 1.0


PLATEAU = "plateau"
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "warmup_linear": warm_up_then_decay,
    "cosine": cosine,
    "constant": constant,
    PLATEAU: constant,
}
"""Share of the learning rate at a step (from 1) of a number of steps; on a plateau of the validation loss it is lowered
besides."""

PLATEAU_EPOCHS, PLATEAU_SHARE = 3, 0.5
"""Epochs in a row without a better validation loss after which the learning rate is lowered, and to which share."""


def initialize_like_keras(model: nn.Module) -> None:
    """Glorot-uniform kernels, orthogonal recurrent kernels of each gate, biases 0, forget gates 1. Draws from torch."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LSTM):
            for key, parameter in layer.named_parameters():
                size = layer.hidden_size
                if "weight_ih" in key:
                    nn.init.xavier_uniform_(parameter)
                elif "weight_hh" in key:
                    # Keras draws one orthogonal matrix for the four gates side by side
                    nn.init.orthogonal_(parameter)
                else:
                    nn.init.zeros_(parameter)
                    if "bias_ih" in key:
                        parameter.data[size : 2 * size] = 1
