#!/usr/bin/env python3
"""Call variants: the same as run_clair3.sh, started with a Python of your choice; installed as `run_clair3.py`."""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
if __package__ in (None, ""):  # started as a file: "clair3" must not mean the clair3.py beside this one
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]
    if (here.parent / "clair3" / "__init__.py").is_file():
        sys.path.insert(0, str(here.parent))

if __name__ == "__main__":
    from clair3.cli.main import main

    main(["run", *sys.argv[1:]])
