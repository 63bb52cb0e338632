"""What a row of a training bin is (spec/training.md A.8)."""

from dataclasses import dataclass, fields

import numpy as np

from clair3.task.main import FULL_ALIGNMENT, PILEUP, WIDTH
from shared import param_f, param_p
from shared.errors import ConfigError
from shared.platforms import PLATFORMS
from shared.records import TrainingRows

COLUMNS = tuple(field.name for field in fields(TrainingRows))
"""The datasets."""

LABELS = WIDTH[FULL_ALIGNMENT]
TEXTS = {"position": np.dtype("S83"), "alt_info": np.dtype("S5000")}
"""Widths of the texts; longer ones are cut."""


@dataclass(frozen=True)
class BinFormat:
    """What one row of a bin is.

    kind      PILEUP or FULL_ALIGNMENT
    rows      height of a full-alignment tensor, 0 for pileup
    channels  18 for pileup, else 8, or 9 with dwell time
    """

    kind: str
    rows: int
    channels: int

    @classmethod
    def of(cls, kind: str, platform: str, dwell: bool = False) -> "BinFormat":
        """Raises ConfigError for a pileup with dwell time."""
        if kind == PILEUP:
            if dwell:
                raise ConfigError("--enable_dwell_time is for full alignment; leave it or --pileup out")
            return cls(PILEUP, 0, param_p.CHANNEL_COUNT)
        return cls(FULL_ALIGNMENT, PLATFORMS[platform].rows, param_f.CHANNEL_COUNT + dwell)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one tensor."""
        return (self.rows, param_p.WINDOW, self.channels) if self.rows else (param_p.WINDOW, self.channels)

    @property
    def dtype(self) -> np.dtype:
        """Of tensors and labels."""
        return np.dtype(np.int32 if self.kind == PILEUP else np.int8)

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms whose tensors look like this."""
        return tuple(name for name, platform in PLATFORMS.items() if self.rows in (0, platform.rows))

    def __str__(self):
        what = "full-alignment" if self.kind == FULL_ALIGNMENT else self.kind
        return f"{what} tensors of {' x '.join(map(str, self.shape))}"


FORMATS = {
    made.shape: made
    for made in (
        BinFormat.of(PILEUP, "ont"),
        *(BinFormat.of(FULL_ALIGNMENT, name, dwell) for name in PLATFORMS for dwell in (False, True)),
    )
}
"""Every kind of tensor by its shape."""
