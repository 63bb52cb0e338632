"""Export the networks for other runtimes: TorchScript, ONNX, a model repository of Triton."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/model_export.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3 import export
from shared import cli

if __name__ == "__main__":
    cli.run(export, __doc__)
