"""The configuration of a training run, checked where it is made."""

from dataclasses import dataclass
from pathlib import Path

from clair3.errors import ConfigError, check_range
from clair3.genotype.classes import FULL_ALIGNMENT, PILEUP
from clair3.io.bins import BinFormat
from clair3.model import CONV_PADDINGS
from clair3.platforms import PLATFORMS
from clair3.training.trainer.optimizers import KERAS_L2, L2, OPTIMIZERS, PLATEAU, SCHEDULES
from clair3.training.trainer.plan import CHUNK_ROWS, MODES

PRECISIONS = ("none", "bf16", "fp16")
AMP = "amp"
"""bf16 or fp16, whichever suits the device."""
PRELOADS = ("auto", "no", "ram", "device")
INITIALIZATIONS = ("keras", "pytorch")
UPSTREAM = "upstream"

OPTION_NAMES = {
    "epochs": "maxEpoch", "batch": "batch_size", "precision": "mixed_precision", "workers": "num_workers",
    "threads": "torch_num_threads",
}  # fmt: skip
"""Fields of TrainingConfig whose options are called otherwise."""


@dataclass(frozen=True)
class TrainingConfig:
    """A training run. Raises ConfigError when values are out of range or contradict each other.

    bins            folder of training bins
    prefix          of the checkpoints: PREFIX.01.pt ...; best_val_loss.pt and the logs lie in its folder
    start           checkpoint whose weights are the first ones
    validation      folder of bins that validate; or validation_mode of a tenth of the training rows; or neither
    heads           2, or 4 with the indel lengths
    batch           examples per step, of each process
    mini_epochs     parts of an epoch, each followed by validation and a checkpoint
    l2              weight decay; None: that of the recipe
    clip_grad_norm  largest norm of the gradient, 0: any
    patience        epochs without a better validation loss before the end
    keep_last       checkpoints of epochs that are kept, 0: all
    split           "rows", or "upstream" for v2.0.2's chunk arithmetic
    """

    platform: str
    bins: Path
    prefix: Path
    kind: str
    heads: int
    dwell: bool = False
    start: Path | None = None
    validation: Path | None = None
    validation_mode: str | None = None
    split: str = "rows"
    exclude_samples: tuple[str, ...] = ()
    exclude_contigs: tuple[str, ...] = ("20", "chr20")
    reuse_bin: bool = False
    epochs: int = 30
    mini_epochs: int = 1
    batch: int = 2000
    learning_rate: float = 1e-3
    scale_lr: bool = False
    optimizer: str = "radam"
    lookahead: bool = True
    schedule: str = "warmup_linear"
    l2: float | None = None
    initialization: str = "keras"
    batch_norm_momentum: float = 0.01
    conv_padding: str = "auto"
    class_weights: bool = False
    clip_grad_norm: float = 0.0
    patience: int = 10
    min_delta: float = 0.0
    keep_last: int = 0
    seed: int = 1
    deterministic: bool = False
    device: str = "auto"
    gpus: int = 1
    precision: str = "none"
    tf32: bool = False
    compile_model: bool = False
    channels_last: bool = False
    gradient_checkpointing: bool = False
    workers: int | None = None
    prefetch: int = 2
    preload: str = "auto"
    threads: int | None = None
    resume: bool = False
    tensorboard: bool = False
    wandb: bool = False
    plots: bool = True
    summary: bool = False
    command_line: str | None = None

    def __post_init__(self):
        choices = {
            "platform": PLATFORMS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": (*PRECISIONS, AMP),
            "preload": PRELOADS, "initialization": INITIALIZATIONS, "split": ("rows", UPSTREAM),
            "validation_mode": (None, *MODES), "conv_padding": ("auto", *CONV_PADDINGS), "kind": CHUNK_ROWS,
            "heads": (2, 4),
        }  # fmt: skip
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                known = ", ".join(str(one) for one in allowed if one is not None)
                raise ConfigError(f"--{OPTION_NAMES.get(name, name)}={value}: expected one of {known}")
        least = {
            "epochs": 1, "mini_epochs": 1, "batch": 1, "learning_rate": 0, "clip_grad_norm": 0, "patience": 1,
            "min_delta": 0, "keep_last": 0, "seed": 0, "gpus": 1, "prefetch": 1,
        }  # fmt: skip
        for name, minimum in least.items():
            check_range(OPTION_NAMES.get(name, name), getattr(self, name), minimum)
        check_range("batch_norm_momentum", self.batch_norm_momentum, 0, 1)
        for name in ("workers", "threads", "l2"):
            if (value := getattr(self, name)) is not None:
                check_range(OPTION_NAMES.get(name, name), value, 0)
        if self.validation and self.validation_mode:
            raise ConfigError("--validation_fn and --random_validation exclude each other; choose one")
        if self.schedule == PLATEAU and not (self.validation or self.validation_mode):
            raise ConfigError("--schedule=plateau looks at the validation loss: give --validation_fn, or another one")
        BinFormat.of(self.kind, self.platform, self.dwell)  # refuses --pileup with dwell time

    @property
    def format(self) -> BinFormat:
        """Format of the tensors that the network takes."""
        return BinFormat.of(self.kind, self.platform, self.dwell)

    @property
    def chunk(self) -> int:
        """Examples that are read together."""
        return CHUNK_ROWS[self.kind]

    @property
    def weight_decay(self) -> float:
        """Weight decay: v2.0.2's of this network with its optimiser, else TensorFlow's (spec/training.md C.4)."""
        if self.l2 is not None:
            return self.l2
        return L2[self.kind] if self.optimizer == "adamw" else KERAS_L2

    @property
    def folder(self) -> Path:
        """Folder of everything that the run writes."""
        return self.prefix.parent


def choose_kind(pileup: bool) -> str:
    """Choose the kind of network that --pileup or its absence asks for."""
    return PILEUP if pileup else FULL_ALIGNMENT
