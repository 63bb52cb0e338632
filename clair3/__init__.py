"""Call germline SNPs and indels, evaluate calls, load networks: the Python API (docs/api.md).

Importing this loads neither NumPy nor torch; the first use of a function does.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from clair3 import errors
from clair3.version import VERSION as __version__

if TYPE_CHECKING:
    from clair3.api.calling import CallResult, call
    from clair3.api.evaluation import Evaluation, evaluate
    from clair3.api.networks import Model, load_model

__all__ = ["CallResult", "Evaluation", "Model", "__version__", "call", "errors", "evaluate", "load_model"]

MODULES = {
    **dict.fromkeys(("call", "CallResult"), "clair3.api.calling"),
    **dict.fromkeys(("evaluate", "Evaluation"), "clair3.api.evaluation"),
    **dict.fromkeys(("load_model", "Model"), "clair3.api.networks"),
}
"""Where the names of the API are defined; __getattr__ loads a module when one of its names is first used."""

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent in a program that has set up no logging


def __getattr__(name: str) -> Any:
    """The functions and classes of the API, imported when they are first used (PEP 562)."""
    if name in MODULES:
        return getattr(import_module(MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
