"""Progress on standard error: lines in a log, a bar on a terminal."""

import re

import pytest

from fcn.core import progress
from fcn.core.progress import Progress, clock, tell


@pytest.fixture
def clocked(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_takes_a_line_at_each_tenth_and_no_carriage_return(clocked, capfd):
    for number in Progress("labelling", 233, "images").over(range(233)):
        clocked[0] = number + 1.0
    lines = capfd.readouterr().err.splitlines(keepends=True)
    assert len(lines) == 10
    assert all(re.fullmatch(r"labelling: \d+ of 233 images \(\d+0 %\), \d+:\d\d left\n", line) for line in lines)
    assert lines[4] == "labelling: 117 of 233 images (50 %), 1:56 left\n"


@pytest.mark.parametrize(("seconds", "lines"), [(0.01, 0), (1.0, 2), (400.0, 10)])
def test_lines_are_neither_too_close_nor_too_rare(seconds, lines, clocked, capfd):
    for number in Progress("", 10, "steps").over(range(10)):
        clocked[0] = seconds * (number + 1)
    assert len(capfd.readouterr().err.splitlines()) == lines


def test_what_was_done_before_counts_for_the_share_alone(clocked, capfd):
    with Progress("training", 100, "steps", start=50) as bar:
        clocked[0] = 20.0
        bar.describe("epoch 2/3", "loss 0.1")
        bar.update(10)
    assert capfd.readouterr().err == "epoch 2/3: 60 of 100 steps (60 %), 1:20 left, loss 0.1\n"


def test_without_a_total_and_without_being_shown(clocked, capfd):
    with Progress("unpacking", None, "files") as bar, Progress("", 1, "files", shown=False) as hidden:
        for seconds in (100.0, 301.0):
            clocked[0] = seconds
            bar.update(1000)
            hidden.update()
    assert capfd.readouterr().err == "unpacking: 2,000 files\n"


def test_a_terminal_has_a_bar_and_lines_of_their_own(monkeypatch, capfd):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress("labelling", 2, "images") as bar:
        tell("skipped: a.png")
        bar.update()
    shown = capfd.readouterr().err
    assert "labelling   0% |" in shown
    assert any(line == "skipped: a.png" for line in shown.replace("\r", "\n").splitlines())


def test_clocks():
    assert [clock(seconds) for seconds in (7, 750, 11_100)] == ["0:07", "12:30", "3:05:00"]
