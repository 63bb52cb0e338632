#!/usr/bin/env python3
"""The dispatcher of submodules, as `python scripts/clair3.py SUBMODULE options`; installed as `clair3` and `clair3.py`.

Beside the installed command `clair3` this file lies in front of the package of the same name; then the package takes
its place.
"""

import importlib
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
if __package__ in (None, ""):  # started as a file, or imported by the command beside it: "clair3" must be the package
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]
    if (here.parent / "clair3" / "__init__.py").is_file():
        sys.path.insert(0, str(here.parent))

if __name__ == "__main__":
    from clair3.cli.main import main

    main()
elif __name__ == "clair3":
    del sys.modules["clair3"]
    importlib.import_module("clair3")
