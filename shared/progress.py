"""A progress bar for people: on a terminal only, in the user's unit."""

import sys

from tqdm import tqdm


def progress_bar(what: str, total: float, unit: str) -> tqdm:
    """A bar on stderr with rate and time left, to be used in a with-block; silent when stderr is no terminal."""
    return tqdm(
        total=round(total, 2),
        desc=what,
        unit=f" {unit}",
        disable=not sys.stderr.isatty(),
        leave=False,
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f}{unit} [{elapsed}<{remaining}, {rate_fmt}]",
    )
