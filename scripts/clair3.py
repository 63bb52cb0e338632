"""The dispatcher of submodules, as `python scripts/clair3.py SUBMODULE options`; installed as `clair3`."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # started as `python scripts/clair3.py`; "clair3" must not mean this file
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from clair3.cli.main import main

if __name__ == "__main__":
    main()
