"""How many examples the property-based tests draw: fewer under sanitizers, where each takes several times longer."""

import os

EXAMPLES_DIVISOR = "CLAIR3_EXAMPLES_DIVISOR"
"""Environment variable: one in so many of the usual examples."""


def examples(usual: int) -> int:
    """Return the number of examples, at least 5, where `usual` is that of an ordinary run."""
    return max(5, usual // int(os.environ.get(EXAMPLES_DIVISOR, 1)))
