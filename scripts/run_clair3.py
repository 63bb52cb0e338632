"""Call variants: the same as run_clair3.sh, started with a Python of your choice."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python scripts/run_clair3.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
