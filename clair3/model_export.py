"""Export the networks for other runtimes: TorchScript, ONNX, a model repository of Triton."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python clair3/model_export.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import run_script

if __name__ == "__main__":
    run_script("export")
