"""Prediction: from candidate tensors to class probabilities, in pieces of one fixed size.

The last bits of a matrix product may depend on the number of rows (small ones take another kernel), and SELU is
computed by another routine for the values left over when the vector units have taken theirs. The same candidate would
then get other probabilities in another batch, and the records would depend on the chunk size. So the
network always sees `piece` rows, the last piece padded with zeros; with a multiple of 32 rows no head leaves values
over, and a row's probabilities are the same bits at every place of a piece (tests/inference/test_predictor.py).

On a CPU the convolutions of the full-alignment network skip the empty rows (FilledRows), in small pieces of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clair3.errors import ConfigError
from clair3.model import HEAD_SIZES, POOL_BINS, Clair3_F, pool
from clair3.tensor_shapes import RESCALE_ABOVE, RESCALE_DEPTH

PIECE = {"pileup": 64, "full_alignment": 32}
"""Rows per piece: the activations of these fit the caches (spec/performance.md 3), and few rows are wasted."""

PIECE_STEP = 32
"""Every size of a piece is a multiple of this."""

REACHES = (4, 10, 16, 20)
"""Largest distance from the middle row that reads of a class of candidates reach; a further class reaches all rows.

More classes leave more pieces unfilled. A reach beyond a quarter of the depth saves too little to be a class of its
own: three convolution stages carry the data to nearly every row of the last, largest ones.
"""

TALL = 64
"""Rows from which skipping the empty ones pays: at 55 the data soon reach every row of the small maps."""

CONVOLUTION_PIECE = 8
"""Candidates of one class per piece: few, for a batch of 256 leaves one unfilled piece in each class."""


class Predictor:
    """Predicts class probabilities of candidates with a network on a device. It has no state, so threads may share it.

    Each call computes in the calling thread; how many threads torch uses inside one operation is set by the process.
    """

    def __init__(self, model: torch.nn.Module, device: str | torch.device = "cpu", piece: int | None = None):
        """Move the model (Clair3_P or Clair3_F) to the device, in eval mode.

        piece is the number of rows per piece, a multiple of 32; None takes PIECE of the network's kind. Raises
        ConfigError for other numbers.
        """
        self.piece = PIECE[model.kind] if piece is None else piece
        if self.piece < PIECE_STEP or self.piece % PIECE_STEP:
            raise ConfigError(f"inference in pieces of {self.piece} rows; expected a multiple of {PIECE_STEP}")
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.classes = sum(HEAD_SIZES[: model.heads])
        skips = self.device.type == "cpu" and isinstance(model, Clair3_F)
        self.skip_empty_rows = FilledRows(model) if skips else None

    def __call__(self, tensors: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray:
        """Predict the probabilities of each head, side by side in the order of HEAD_SIZES.

        tensors  (n, 33, 18) int32 pileup, or (n, depth, 33, channels) int8 full alignment; n may be 0. Many at a time
                 are faster for full alignment: each class of FilledRows leaves one piece unfilled
        check    is called before each piece and may raise, to end the work
        returns  (n, 24) float32 with two heads, (n, 90) with four
        """
        probabilities = np.empty((len(tensors), self.classes), np.float32)
        with torch.inference_mode():
            if self.skip_empty_rows and tensors.shape[1] >= TALL:
                tensors = self.skip_empty_rows(tensors, check)
            for start in range(0, len(tensors), self.piece):
                check()
                rows = tensors[start : start + self.piece]
                piece = np.zeros((self.piece, *rows.shape[1:]), rows.dtype)
                piece[: len(rows)] = rows
                predicted = self.model.predict(torch.from_numpy(piece).to(self.device))
                probabilities[start : start + len(rows)] = predicted[: len(rows)].cpu().numpy()
        return probabilities


class FilledRows:
    """The convolutions of Clair3_F on the filled rows of each candidate only (spec/performance.md 4, empty rows).

    At 30x a third of the 89 rows hold a read, those in the middle; the others are zero. The output of a layer for them
    does not depend on the data, so it is computed once for each depth and class, and a layer only computes the
    rows that the data can reach, between rows of that output (Frame). oneDNN gives the same bits as for the whole
    tensor, since what it adds up for a cell, and in which order, does not depend on the height of the map.

    A candidate's class depends on its own tensor only, and each class has its own pieces of one shape: so its
    features are the same bits in any batch, also where a library's sums depend on the height. Threads may share it.
    """

    def __init__(self, model: Clair3_F):
        """Take a network in eval mode on the CPU. Its weights become channels-last, which packs them faster."""
        self.model = model.to(memory_format=torch.channels_last)
        self.dtype = model.conv1.conv.weight.dtype  # type of the maps; not float32 with a lower precision
        blocks = (model.conv1, model.res_block1), (model.conv3, model.res_block2), (model.conv5, model.res_block3)
        self.stages = [(down, residual[0]) for down, residual in blocks]
        self.frames: dict[tuple[int, int], list] = {}  # by depth and reach; two threads may make the same ones

    def __call__(self, tensors: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray:
        """Compute the inputs of the dense layers, within torch.inference_mode.

        tensors  (n, depth, 33, channels)  int8; any rows may be filled, those in the middle are fast
        check    is called before each piece, see Predictor
        returns  (n, 3584)                 float32
        Raises InputError for a depth that the network does not serve.
        """
        depth, middle = tensors.shape[1], tensors.shape[1] // 2
        filled = tensors.any(axis=(2, 3))
        farthest = np.where(filled, abs(np.arange(depth) - middle), 0).max(axis=1, initial=0)
        reaches = np.array([reach for reach in REACHES if 4 * reach <= depth] + [depth])  # the last: all rows
        classes = reaches[np.searchsorted(reaches, farthest)]
        features = np.empty((len(tensors), self.model.L4.in_features), np.float32)
        for reach in np.unique(classes):
            members = np.flatnonzero(classes == reach)
            rows = slice(max(0, middle - reach), middle + reach + 1)
            for start in range(0, len(members), CONVOLUTION_PIECE):
                check()
                chosen = members[start : start + CONVOLUTION_PIECE]
                piece = np.zeros((CONVOLUTION_PIECE, *tensors[0, rows].shape), np.float32)
                piece[: len(chosen)] = tensors[chosen, rows]
                computed = self.features(torch.from_numpy(piece), depth, int(reach))
                features[chosen] = computed[: len(chosen)].float().numpy()
        return features

    def features(self, x: Tensor, depth: int, reach: int) -> Tensor:
        """Compute the features of a piece of one class.

        x        (CONVOLUTION_PIECE, rows, 33, channels) float32
        returns  (CONVOLUTION_PIECE, 3584)
        """
        if reach == depth:
            return self.model.features(x)
        if (depth, reach) not in self.frames:
            self.frames[depth, reach] = self.make_frames(depth, reach)
        *stages, last = self.frames[depth, reach]
        x = (x.permute(0, 3, 1, 2) / 100).to(self.dtype)
        for (down, residual), frames in zip(self.stages, stages, strict=True):
            x = apply_blocks(x, down, residual, *frames) if frames else residual(down(x))
        if last:
            x = last.enclose(x)
        return torch.cat([pool(x, bins) for bins in POOL_BINS], dim=1)

    def make_frames(self, depth: int, reach: int) -> list:
        """Compute three frames for each stage, or None where data reach every row, and the frame of the last map."""
        empty = torch.zeros(
            CONVOLUTION_PIECE, depth, 33, self.model.channels
        )  # as many as in a piece: another number gives other bits
        self.model.features(empty)  # raises InputError for depths that the network does not serve
        empty = empty.permute(0, 3, 1, 2).to(self.dtype)
        reached, frames = range(depth // 2 - reach, depth // 2 + reach + 1), []
        for down, residual in self.stages:
            if len(reached) == empty.shape[2]:
                frames.append(None)
                empty = residual(down(empty))
                reached = range(empty.shape[2])
                continue
            # TensorFlow's padding puts no row before an even axis (clair3.model.DownBlock)
            before = int(down.conv_padding == "symmetric" or empty.shape[2] % 2)
            first = convolution_frame(empty, reached, 2, before)
            empty = down(empty)
            second = convolution_frame(empty, first.reached, 1, 1)
            between = F.relu(residual.bn1(residual.conv1(empty)))
            third = convolution_frame(between, second.reached, 1, 1)
            empty = residual(empty)
            reached = third.reached
            frames.append((first, second, third))
        whole = len(reached) == empty.shape[2]
        return [*frames, None if whole else Frame(channels_last(empty[:1]), 0, reached, reached)]


@dataclass(frozen=True)
class Frame:
    """The input of a convolution around the rows that data reach: outputs for an empty tensor, zeros past its edges.

    empty    (1, C, rows, W) float32, all rows that the convolution reads
    top      row of the map that is the first of them; -1 at the upper edge
    inner    rows of the map that the data reach
    reached  rows of the convolution's output that the data reach
    """

    empty: Tensor
    top: int
    inner: range
    reached: range

    def enclose(self, x: Tensor) -> Tensor:
        """Put the rows computed from data into the frame: (N, C, len(inner), W) to (N, C, rows, W)."""
        framed = self.empty.expand(len(x), -1, -1, -1).clone(memory_format=torch.channels_last)
        framed[:, :, self.inner.start - self.top : self.inner.stop - self.top] = x
        return framed


def convolution_frame(empty: Tensor, inner: range, stride: int, before: int) -> Frame:
    """Make the frame of a convolution over 3 rows: output row j reads the three from j * stride - before.

    empty (N, C, height, W) is its input for an empty tensor; data reach the rows `inner`; `before` rows of zeros come
    before the map.
    """
    height = empty.shape[2]
    start = max(0, -(-(inner.start - 2 + before) // stride))
    stop = min(-(-height // stride), (inner.stop - 1 + before) // stride + 1)
    top, bottom = start * stride - before, (stop - 1) * stride - before + 3
    rows = F.pad(empty[:1], (0, 0, 1, 1))[:, :, top + 1 : bottom + 1]  # the map's row -1 is row 0 here
    return Frame(channels_last(rows), top, inner, range(start, stop))


def apply_blocks(x: Tensor, down: nn.Module, residual: nn.Module, first: Frame, second: Frame, third: Frame) -> Tensor:
    """Apply a DownBlock and a ResidualBlock (clair3.model) to rows first.inner; return rows third.reached."""
    x = second.enclose(F.relu(down.bn(convolve_rows(down.conv, first.enclose(x), stride=2)), inplace=True))
    y = third.enclose(F.relu(residual.bn1(convolve_rows(residual.conv1, x, stride=1)), inplace=True))
    kept = x[:, :, third.reached.start - second.top : third.reached.stop - second.top]
    return F.relu(kept + residual.bn2(convolve_rows(residual.conv2, y, stride=1)), inplace=True)


def convolve_rows(conv: nn.Conv2d, x: Tensor, stride: int) -> Tensor:
    """Apply a 3x3 convolution that pads columns only: the frame has the rows of zeros."""
    return F.conv2d(x, conv.weight, conv.bias, stride, padding=(0, 1))


def channels_last(x: Tensor) -> Tensor:
    """Return the map in the memory order that oneDNN takes without a copy."""
    return x.contiguous(memory_format=torch.channels_last)


def rescale_deep(tensors: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Scale pileup tensors of deep candidates down to a depth that the network knows (spec/features.md B.10).

    tensors  (n, 33, 18)  int32
    depth    (n,)         int32  reads at the candidate (SupportBatch.depth)
    returns  (n, 33, 18)  int32  where depth > 216: each count divided by depth / 144, rounded towards zero;
                                 the input itself when no candidate is that deep
    """
    deep = depth > RESCALE_ABOVE
    if not deep.any():
        return tensors
    scaled = tensors.copy()
    factor = depth[deep] / float(RESCALE_DEPTH)
    scaled[deep] = np.trunc(tensors[deep] / factor[:, None, None])
    return scaled
