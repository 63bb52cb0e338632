"""Progress without a terminal: lines now and then, none in a short stage."""

import logging

import pytest

from clair3.util.progress import LINE_SECONDS, ProgressLines, progress_bar


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(caplog, steps: int, seconds: float, step: float = 1.0) -> list[str]:
    """What a stage of so many steps, each of so much work, says when each takes so many seconds."""
    clock = Clock()
    lines = ProgressLines("calling", steps * step, "Mb" if isinstance(step, float) else "candidates", clock=clock)
    with caplog.at_level(logging.INFO):
        for _ in range(steps):
            clock.now += seconds
            lines.update(step)
    return caplog.messages


@pytest.mark.parametrize("steps, seconds", [(1, 500), (10, 0.1), (20, 1.4)])
def test_a_short_stage_says_nothing(caplog, steps, seconds):
    assert lines_of(caplog, steps, seconds) == []


def test_a_stage_of_minutes(caplog):
    messages = lines_of(caplog, 100, 3)
    assert len(messages) == 100 * 3 // LINE_SECONDS - 1
    assert messages[0] == "calling: 10.0 of 100.0 Mb (10 %), about 0:04:30 left"


def test_candidates_are_whole(caplog):
    messages = lines_of(caplog, 100, 30, step=250)
    assert messages[0] == "calling: 1,250 of 25,000 candidates (5 %), about 0:47:30 left"


def test_a_stage_of_hours_says_twenty_lines_at_most(caplog):
    assert 15 <= len(lines_of(caplog, 6000, 3)) < 20


def test_a_stage_of_days_is_never_long_silent(caplog):
    assert len(lines_of(caplog, 200, 2000)) == 199


def test_no_bar_where_there_is_no_terminal(capfd, caplog):
    with caplog.at_level(logging.INFO), progress_bar("pileup calling", 3, "Mb") as bar:
        bar.update(3)
    assert capfd.readouterr() == ("", "") and caplog.messages == []
