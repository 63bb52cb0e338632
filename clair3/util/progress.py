"""How far a stage is, in the user's unit: a bar on a terminal, a plain line now and then elsewhere and in the log."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from tqdm import tqdm

logger = logging.getLogger(__name__)

LINE_SECONDS, LINE_SHARE = 30, 0.05
"""A line comes when both this time and this share of the stage have passed since the last one: none in a short stage,
twenty at most in one of a few hours."""

LONG_SILENCE = 1800
"""Seconds after which a line comes whatever was done meanwhile."""

show_bars = True
"""Whether a terminal gets bars; not in a run of clair3.api, whose caller owns the terminal."""


@dataclass
class Lines:
    """A progress line in the log, now and then: `pileup calling: 12.4 of 64.4 Mb (19 %), about 0:03:20 left`.

    clock gives seconds; done and the moment of the last line are kept here.
    """

    what: str
    total: float
    unit: str
    level: int = logging.INFO
    clock: Callable[[], float] = time.monotonic
    done: float = field(default=0, init=False)

    def __post_init__(self):
        self.began = self.said = self.clock()
        self.said_done = 0.0

    def update(self, count: float) -> None:
        """So much more is done; says so when it is time."""
        self.done += count
        now = self.clock()
        silent, share = now - self.said, (self.done - self.said_done) / (self.total or 1)
        if self.done >= self.total or silent < LINE_SECONDS or (share < LINE_SHARE and silent < LONG_SILENCE):
            return
        self.said, self.said_done = now, self.done
        left = timedelta(seconds=round((now - self.began) * (self.total - self.done) / self.done)) if self.done else "?"
        percent = 100 * self.done / self.total
        logger.log(
            self.level,
            "%s: %s of %s %s (%.0f %%), about %s left",
            *(self.what, amount(self.done), amount(self.total), self.unit, percent, left),
        )


def amount(number: float) -> str:
    """A count as it is, megabases with a decimal."""
    return f"{number:,}" if isinstance(number, int) else f"{number:.1f}"


class Progress:
    """The bar and the lines of one stage, to be used in a with-block."""

    def __init__(self, bar: tqdm, lines: Lines):
        self.bar, self.lines = bar, lines

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception):
        self.bar.close()

    def update(self, count: float, **values: str) -> None:
        """So much more is done, in the unit. values: what else the bar shows at its end."""
        if values:
            self.bar.set_postfix(values, refresh=False)
        self.bar.update(count)
        self.lines.update(count)


def progress_bar(what: str, total: float, unit: str) -> Progress:
    """The progress of a stage of `total` units, e.g. "Mb": a bar on stderr if that is a terminal, else lines.

    Beside a bar the lines go to the log of the stage only.
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
    return Progress(bar, Lines(what, total, unit, logging.DEBUG if terminal else logging.INFO))
