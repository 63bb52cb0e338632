"""The network to be trained: its first weights, and its training form."""

import logging
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clair3.genotype.classes import FULL_ALIGNMENT
from clair3.inference.checkpoint import find_tf_index, load_model
from clair3.model import LENGTH_LAYERS, NETWORKS, Clair3_F
from clair3.training.trainer.config import TrainingConfig
from clair3.training.trainer.optimizers import initialize_like_keras

logger = logging.getLogger(__name__)

AUTOCAST = {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}
RECOMPUTED = ("res_block1", "res_block2", "res_block3")


class TrainingForm(nn.Module):
    """A network as training runs it: tensors to the logits of each head, in the precision asked for.

    The module is what torch.compile and DistributedDataParallel wrap; the weights are those of the network itself.
    """

    def __init__(self, model: nn.Module, device: torch.device, precision: str):
        super().__init__()
        self.model = model
        self.autocast = partial(
            torch.autocast, device.type, dtype=AUTOCAST[precision] or torch.float32, enabled=precision != "none"
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Tensors of any integer or float dtype to the logits of each head, [(n, classes)]."""
        with self.autocast():
            return self.model.logits(x)


def make_network(config: TrainingConfig) -> nn.Module:
    """Make the network with its first weights, on the CPU, in training mode. Draws from torch's generator.

    The checkpoint to start from may be one of TensorFlow, and have the length heads though none are trained.
    Raises InputError when the checkpoint to start from cannot be used.
    """
    if config.start:
        network = load_model(
            config.start if config.start.is_file() else find_tf_index(config.start) or config.start,
            config.kind,
            heads=config.heads,
            channels=config.format.channels if config.kind == FULL_ALIGNMENT else None,
            conv_padding=config.conv_padding,
            depth=config.format.rows or None,
        )
        if network.heads > config.heads:
            drop_length_heads(network)
            logger.info("%s: its length heads are left out; --add_indel_length keeps them", config.start)
    else:
        options = {"heads": config.heads}
        if config.kind == FULL_ALIGNMENT:
            padding = "symmetric" if config.conv_padding == "auto" else config.conv_padding
            options |= {"channels": config.format.channels, "conv_padding": padding}
        network = NETWORKS[config.kind](**options)
        if config.initialization == "keras":
            initialize_like_keras(network)
    for layer in find_batch_norms(network):
        layer.momentum = config.batch_norm_momentum
    return network.train()


def drop_length_heads(network: nn.Module) -> None:
    """Drop the length heads of a network, which leaves two heads."""
    for name in LENGTH_LAYERS:
        delattr(network, name)
    network.heads = 2


def format_layers(network: nn.Module) -> list[str]:
    """Format a line for each layer that has weights: its name, how many they are, and what it is."""
    layers = [(name, layer, list(layer.parameters(recurse=False))) for name, layer in network.named_modules()]
    return [f"{name:24}{sum(p.numel() for p in own):>10,}  {layer}" for name, layer, own in layers if own]


def find_batch_norms(network: nn.Module) -> list[nn.BatchNorm2d | nn.SyncBatchNorm]:
    """Find the batch norms of a network, in order."""
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d | nn.SyncBatchNorm)]


def recompute_in_backward(network: nn.Module) -> None:
    """Keep no activations of the residual blocks; compute them a second time for the gradient (less memory)."""
    if not isinstance(network, Clair3_F):
        logger.info("--gradient-checkpointing has no effect on the pileup network: it has no residual blocks")
        return
    for name in RECOMPUTED:
        block = getattr(network, name)
        contexts = partial(_contexts, block)
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)


def _contexts(block: nn.Module):
    return nullcontext(), _frozen_statistics(block)


@contextmanager
def _frozen_statistics(block: nn.Module):
    """The second computation must not move the running means of the batch norms once more."""
    layers = find_batch_norms(block)
    kept = [
        (layer.running_mean.clone(), layer.running_var.clone(), layer.num_batches_tracked.clone()) for layer in layers
    ]
    try:
        yield
    finally:  # PyTorch leaves by an exception once it has what it needs
        for layer, (mean, variance, count) in zip(layers, kept, strict=True):
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
            layer.num_batches_tracked.copy_(count)


def compile_form(form: nn.Module, example: Tensor) -> nn.Module:
    """Compile the training form with torch.compile, or return the form itself, with a warning, where that does not
    work.

    example is a batch of the inputs: compiling is put off until the first call.
    """
    try:
        made = torch.compile(form)
        with torch.no_grad():
            made.eval()(example)
        made.train()
    except Exception as error:  # whatever the compilers on a machine raise: eager training gives the same
        logger.warning("--compile-model: not possible here (%s); going on without", str(error).partition("\n")[0])
        return form.train()
    return made
