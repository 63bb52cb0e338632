"""From candidate tensors to class probabilities, in pieces of one fixed size.

The last bits of a matrix product may depend on the number of rows (small ones take another kernel), and SELU is
computed by another routine for the values left over when the vector units have taken theirs. The same candidate would
then get other probabilities when it travels in another batch, and the records would depend on the chunk size. So the
network always sees `piece` rows, the last piece filled up with zeros; with a multiple of 32 rows no head leaves values
over, and a row's probabilities are the same bits at every place of a piece (tests/test_inference.py).
"""

import numpy as np
import torch

from clair3.model import HEAD_SIZES
from shared.errors import ConfigError
from shared.param_p import RESCALE_ABOVE, RESCALE_DEPTH

PIECE = {"pileup": 64, "full_alignment": 32}
"""Rows per piece: the activations of these fit the caches (spec/performance.md 3), and few rows are wasted."""

PIECE_STEP = 32


class Predictor:
    """A network on a device: candidates in, probabilities out. Has no state, so threads may share it.

    Each call computes in the calling thread; how many threads torch uses inside one operation is set by the process.
    """

    def __init__(self, model: torch.nn.Module, device: str | torch.device = "cpu", piece: int | None = None):
        """Move the model (Clair3_P or Clair3_F) to the device, in eval mode.

        piece: rows per piece, a multiple of 32; None takes PIECE of the network's kind. Raises ConfigError for others.
        """
        self.piece = PIECE[model.kind] if piece is None else piece
        if self.piece < PIECE_STEP or self.piece % PIECE_STEP:
            raise ConfigError(f"inference in pieces of {self.piece} rows; expected a multiple of {PIECE_STEP}")
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.classes = sum(HEAD_SIZES[: model.heads])

    def __call__(self, tensors: np.ndarray) -> np.ndarray:
        """Probabilities of each head, side by side in the order of HEAD_SIZES.

        tensors  (n, 33, 18) int32 pileup, or (n, depth, 33, channels) int8 full alignment; n may be 0
        returns  (n, 24) float32 with two heads, (n, 90) with four
        """
        probabilities = np.empty((len(tensors), self.classes), np.float32)
        with torch.inference_mode():
            for start in range(0, len(tensors), self.piece):
                rows = tensors[start : start + self.piece]
                piece = np.zeros((self.piece, *rows.shape[1:]), rows.dtype)
                piece[: len(rows)] = rows
                predicted = self.model.predict(torch.from_numpy(piece).to(self.device))
                probabilities[start : start + len(rows)] = predicted[: len(rows)].cpu().numpy()
        return probabilities


def rescale_deep(tensors: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Bring pileup tensors of deep candidates to a depth that the network knows (spec/features.md B.10).

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
