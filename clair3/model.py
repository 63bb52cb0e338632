"""The two networks: Clair3_P on pileup counts, Clair3_F on full alignments (spec/models.md 1-4 and 8).

The attribute names are the published state-dict keys of Clair3 v2 (`LSTM1`, `res_block1.0.conv1`, `Y_gt21_logits`),
and the order in which the layers are made is the order of the entries in its files: keep both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clair3 import tensor_shapes
from clair3.errors import ConfigError, InputError

HEAD_SIZES = (21, 3, 33, 33)
"""Classes of the heads in output order: gt21, genotype, variant length 1, variant length 2."""

LENGTH_LAYERS = ("L5_3", "L5_4", "Y_indel_length_logits_1", "Y_indel_length_logits_2")
"""Layers that a network of two heads does not have."""

CONV_PADDINGS = tensor_shapes.CONV_PADDINGS
POOL_BINS = (3, 2, 1)
"""Tiles per axis of each level of the pyramid pooling."""
BN_EPS = 1e-3
"""Epsilon of the batch norms, as in Keras."""


class _Clair3(nn.Module):
    """Base of both networks: the dense layers, from flattened features to a probability per class.

    kind   "pileup" or "full_alignment"
    body   names of the layers before the dense ones; the first one identifies the kind in a checkpoint
    heads  2 or 4, as many of HEAD_SIZES
    """

    kind: str
    body: tuple[str, ...]
    heads: int

    def add_dense(self, features: int, width: int) -> None:
        """Make the dense layers, for `features` inputs; call it last, for the order of the keys.

        The layers of the two length heads come after those of the first two heads, as in the files.
        """
        self.L4 = nn.Linear(features, width)
        self.L5_1 = nn.Linear(width, 128)
        self.L5_2 = nn.Linear(width, 128)
        self.Y_gt21_logits = nn.Linear(128, HEAD_SIZES[0])
        self.Y_genotype_logits = nn.Linear(128, HEAD_SIZES[1])
        if self.heads == 4:
            self.L5_3 = nn.Linear(width, 128)
            self.L5_4 = nn.Linear(width, 128)
            self.Y_indel_length_logits_1 = nn.Linear(128, HEAD_SIZES[2])
            self.Y_indel_length_logits_2 = nn.Linear(128, HEAD_SIZES[3])

    def features(self, x: Tensor) -> Tensor:
        """Apply the layers before the dense ones: a batch of tensors to (N, features)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map tensors of any integer or float dtype to the probabilities of each head, a list of (N, classes)."""
        return [F.softmax(logits, dim=1) for logits in self.logits(x)]

    def logits(self, x: Tensor) -> list[Tensor]:
        """Return the logits of each head, a list of (N, classes).

        Every dense layer is followed by SELU, also the last ones: logits are never below -1.7581.
        """
        x = self.features(x.to(self.L4.weight.dtype))
        x = F.dropout(x, 0.2, self.training)
        x = F.dropout(F.selu(self.L4(x)), 0.5, self.training)
        branches = [(self.L5_1, self.Y_gt21_logits), (self.L5_2, self.Y_genotype_logits)]
        if self.heads == 4:
            branches += [(self.L5_3, self.Y_indel_length_logits_1), (self.L5_4, self.Y_indel_length_logits_2)]
        hidden = [F.dropout(F.selu(dense(x)), 0.2, self.training) for dense, _ in branches]
        return [F.selu(head(h)) for h, (_, head) in zip(hidden, branches, strict=True)]

    def predict(self, x: Tensor) -> Tensor:
        """Return the probabilities of all heads side by side, (N, 24) with two heads and (N, 90) with four."""
        return torch.cat(self(x), dim=1)


class Clair3_P(_Clair3):
    """The pileup network: two bidirectional LSTMs over the 33 columns of raw counts (spec/models.md 2).

    Input (N, 33, 18), not normalised.
    """

    kind = "pileup"
    body = ("LSTM1", "LSTM2")

    def __init__(self, heads: int = 2):
        super().__init__()
        self.heads = _checked_heads(heads)
        self.LSTM1 = nn.LSTM(tensor_shapes.PILEUP_CHANNEL_COUNT, 128, batch_first=True, bidirectional=True)
        self.LSTM2 = nn.LSTM(2 * 128, 160, batch_first=True, bidirectional=True)
        self.add_dense(tensor_shapes.WINDOW * 2 * 160, 128)

    def features(self, x: Tensor) -> Tensor:
        x, _ = self.LSTM1(x)  # (N, 33, 256)
        x, _ = self.LSTM2(x)  # (N, 33, 320)
        return x.flatten(1)  # (N, 10560), position-major


class Clair3_F(_Clair3):
    """The full-alignment network: a small residual network over the read rows (spec/models.md 3, 4 and 8).

    Input (N, depth, 33, channels), which it divides by 100; (N, channels, depth, 33) is accepted, too.
    One network serves any depth of 17-24 or at least 33 rows; others raise InputError.
    channels is 8, or 9 with dwell time. conv_padding is the padding of the stride-2 convolutions:
    "symmetric" as Clair3 v2 trains, or "tf_same" for weights that were trained in TensorFlow.
    """

    kind = "full_alignment"
    body = ("conv1", "res_block1", "conv3", "res_block2", "conv5", "res_block3")

    def __init__(
        self,
        channels: int = tensor_shapes.FULL_ALIGNMENT_CHANNEL_COUNT,
        heads: int = 4,
        conv_padding: str = "symmetric",
    ):
        super().__init__()
        if conv_padding not in CONV_PADDINGS:
            raise ConfigError(f"convolution padding {conv_padding!r}; expected one of {', '.join(CONV_PADDINGS)}")
        self.heads = _checked_heads(heads)
        self.channels = channels
        self.conv_padding = conv_padding
        self.conv1 = DownBlock(channels, 64, conv_padding)
        self.res_block1 = nn.Sequential(ResidualBlock(64))
        self.conv3 = DownBlock(64, 128, conv_padding)
        self.res_block2 = nn.Sequential(ResidualBlock(128))
        self.conv5 = DownBlock(128, 256, conv_padding)
        self.res_block3 = nn.Sequential(ResidualBlock(256))
        self.add_dense(256 * sum(bins * bins for bins in POOL_BINS), 256)

    def features(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return x  # these are features already, from clair3.inference.predictor.FilledRows
        if x.shape[-1] == self.channels:
            x = x.permute(0, 3, 1, 2)  # a view in channels-last memory, in which convolutions are fastest
        depth = x.shape[2]
        x = x / 100  # (N, channels, 89, 33)
        x = self.res_block1(self.conv1(x))  # (N, 64, 45, 17)
        x = self.res_block2(self.conv3(x))  # (N, 128, 23, 9)
        x = self.res_block3(self.conv5(x))  # (N, 256, 12, 5)
        x = torch.cat([pool(x, bins) for bins in POOL_BINS], dim=1)  # (N, 3584)
        if x.shape[1] != self.L4.in_features:
            raise InputError(f"full-alignment tensors of {depth} rows; the network needs 17-24 or at least 33")
        return x


class DownBlock(nn.Module):
    """Halve height and width, rounding up: convolution 3x3 with stride 2, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, conv_padding: str):
        super().__init__()
        self.conv_padding = conv_padding
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(outputs, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.convolve(x)), inplace=True)

    def convolve(self, x: Tensor) -> Tensor:
        """Apply the convolution with the configured padding."""
        height, width = (int(size) for size in x.shape[2:])
        if self.conv_padding == "symmetric" or (height % 2 and width % 2):
            return self.conv(x)
        # TensorFlow's "same" puts no cell before an even axis, so the sampling grid is shifted by one (section 8)
        x = F.pad(x, (width % 2, 1, height % 2, 1))
        return F.conv2d(x, self.conv.weight, self.conv.bias, stride=2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels, eps=BN_EPS)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(x + self.bn2(self.conv2(y)), inplace=True)


def pool(x: Tensor, bins: int) -> Tensor:
    """Take the maximum of bins x bins tiles of a map: (N, C, h, w) to (N, bins * bins * C), channel fastest.

    Tiles are ceil(size / bins) wide; the cells that are missing are split between both ends, the odd one at the end.
    `ceil_mode` adds that odd one; max_pool2d ignores missing cells, which for a map without negative values is the
    same as the zeros of v2. Maps of height 1, 2 or 4 give fewer tiles.
    """
    sizes = [int(size) for size in x.shape[2:]]  # plain numbers also while the network is traced (clair3.export)
    tile = [-(-size // bins) for size in sizes]
    before = [-size % t // 2 for size, t in zip(sizes, tile, strict=True)]
    tiles = F.max_pool2d(x, tile, stride=tile, padding=before, ceil_mode=True)
    return tiles.permute(0, 2, 3, 1).flatten(1)


def paddings_differ(depth: int) -> bool:
    """Return whether the two convolution paddings differ for tensors of `depth` rows (55: yes, 89: no)."""
    heights = depth, -(-depth // 2), -(-depth // 4)
    return any(height % 2 == 0 for height in heights)


NETWORKS = {network.kind: network for network in (Clair3_P, Clair3_F)}
"""Networks by kind."""


def random_model(kind: str, seed: int, **options) -> _Clair3:
    """Make a network of seeded random weights in eval mode, for demonstrations and tests: its calls are meaningless.

    kind is "pileup" or "full_alignment"; options go to Clair3_P or Clair3_F. No other thread may draw random numbers of
    torch meanwhile, whose seed is set during the call.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NETWORKS[kind](**options).eval()
        noise = torch.randint(-100, 101, (64, 33, 18) if kind == "pileup" else (64, 33, 33, model.channels))
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    dense = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    hooks = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
    hooks += [layer.register_forward_hook(_centre) for layer in dense]
    with torch.no_grad():
        model.predict(noise)
    for hook in hooks:
        hook.remove()
    return model


def _take_statistics(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Set the running statistics of a batch norm to those of its input."""
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.num_batches_tracked.fill_(1)


def _centre(layer: nn.Linear, _, output: Tensor) -> Tensor:
    """Centre and scale a dense layer on a batch; a random network would predict nearly the same for all candidates."""
    spread, mean = torch.std_mean(output, dim=0)
    if layer.out_features in HEAD_SIZES:
        spread = spread / 4  # logits far apart, so that QUAL is not 0
    layer.weight.div_(spread[:, None])
    layer.bias.sub_(mean).div_(spread)
    return (output - mean) / spread


def _checked_heads(heads: int) -> int:
    """Return the number of heads. Raises ConfigError unless it is 2 or 4."""
    if heads not in (2, 4):
        raise ConfigError(f"a network of {heads} heads; expected 2 or 4")
    return heads
