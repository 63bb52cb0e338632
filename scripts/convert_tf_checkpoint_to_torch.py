"""Convert Clair3 v1's TensorFlow checkpoints to .pt files; installed as `clair3-convert-tf`. Needs no TensorFlow."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python scripts/convert_tf_checkpoint_to_torch.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import convert_tf

if __name__ == "__main__":
    convert_tf()
