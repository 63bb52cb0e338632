"""Progress of a stage in the user's unit: a bar on a terminal, else a line now and then, which the log has too."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from tqdm import tqdm

logger = logging.getLogger(__name__)

LINE_SECONDS, LINE_SHARE = 30, 0.05
"""A line is logged when this time and this share of the stage have passed since the last one: none in a short stage,
at most twenty in one of a few hours."""

MAX_SILENCE_SECONDS = 1800
"""Time after which a line is logged however little was done."""

show_bars = True
"""Whether a terminal gets bars; not in a run of clair3.api, whose caller owns the terminal."""


@dataclass
class ProgressLines:
    """Logs a progress line now and then: `pileup calling: 12.4 of 64.4 Mb (19 %), about 0:03:20 left`.

    clock returns seconds; `done` counts units.
    """

    what: str
    total: float
    unit: str
    level: int = logging.INFO
    clock: Callable[[], float] = time.monotonic
    done: float = field(default=0, init=False)

    def __post_init__(self):
        self.began = self.logged_at = self.clock()
        self.logged_done = 0.0

    def update(self, count: float) -> None:
        """Add to what is done, and log a line when it is time."""
        self.done += count
        now = self.clock()
        seconds, share = now - self.logged_at, (self.done - self.logged_done) / (self.total or 1)
        if self.done >= self.total or seconds < LINE_SECONDS or (share < LINE_SHARE and seconds < MAX_SILENCE_SECONDS):
            return
        self.logged_at, self.logged_done = now, self.done
        left = timedelta(seconds=round((now - self.began) * (self.total - self.done) / self.done)) if self.done else "?"
        percent = 100 * self.done / self.total
        logger.log(
            self.level,
            "%s: %s of %s %s (%.0f %%), about %s left",
            *(self.what, format_amount(self.done), format_amount(self.total), self.unit, percent, left),
        )


def format_amount(number: float) -> str:
    """Format a count as it is, and megabases with one decimal."""
    return f"{number:,}" if isinstance(number, int) else f"{number:.1f}"


class Progress:
    """The bar and the lines of one stage; use it in a with-block."""

    def __init__(self, bar: tqdm, lines: ProgressLines):
        self.bar, self.lines = bar, lines

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception):
        self.bar.close()

    def update(self, count: float, **values: str) -> None:
        """Add to what is done, in the unit; `values` are shown at the end of the bar."""
        if values:
            self.bar.set_postfix(values, refresh=False)
        self.bar.update(count)
        self.lines.update(count)


def progress_bar(what: str, total: float, unit: str) -> Progress:
    """Show the progress of a stage of `total` units, e.g. "Mb": as a bar if stderr is a terminal, else as lines.

    Beside a bar, the lines go to the log of the stage only.
    """
    numbers = "{n:,}/{total:,}" if isinstance(total, int) else "{n:.1f}/{total:.1f}"
    terminal = show_bars and sys.stderr is not None and sys.stderr.isatty()
    bar = tqdm(
        total=round(total, 2),
        desc=what,
        unit=f" {unit}",
        disable=not terminal,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}% |{bar}| " + numbers + "{unit} "
        "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    )
    return Progress(bar, ProgressLines(what, total, unit, logging.DEBUG if terminal else logging.INFO))
