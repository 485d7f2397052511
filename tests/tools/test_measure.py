"""Measurements of what is known beforehand."""

import os
import time

import numpy as np
import pytest

from fcn.tools.measure import Timing, measured, time_in_turns

MIB = 2**20


def allocate(before: int, during: int):
    kept = np.ones(before * MIB, np.uint8)

    def call():
        return int(kept[0]) + int(np.ones(during * MIB, np.uint8)[-1])

    return call


def fail():
    raise ValueError("no such thing")


def end():
    return lambda: os._exit(7)


def test_memory_is_what_the_call_takes_beyond_what_was_there():
    found = measured({"much": (allocate, (200, 100)), "little": (allocate, (300, 20))}, turns=2, least=0.0)
    assert found["much"].memory == pytest.approx(100 * MIB, abs=10 * MIB)
    assert found["little"].memory == pytest.approx(20 * MIB, abs=10 * MIB)
    assert all(0 < each.timing.median < 10 and len(each.timing.seconds) == 2 for each in found.values())


def test_a_call_that_fails_is_told_and_harms_no_other():
    found = measured({"error": (fail, ()), "dead": (end, ()), "fine": (allocate, (1, 1))}, turns=1)
    assert str(found["error"]) == "could not be measured: ValueError: no such thing"
    assert "exit code 7" in str(found["dead"])
    assert len(found["fine"].timing.seconds) == 1


def test_short_calls_are_measured_more_often_and_the_first_time_does_not_count():
    found = measured({"": (allocate, (1, 1))}, turns=2, least=2.0)[""]
    assert len(found.timing.seconds) > 2


def test_the_spread_is_half_the_distance_of_the_quartiles():
    assert Timing((1.0, 2.0, 3.0, 4.0, 50.0)).spread == pytest.approx(1 / 3)
    assert Timing((2.0,)).spread is None


def test_times_are_taken_in_turns():
    order = []
    calls = {"slow": lambda: (order.append("slow"), time.sleep(0.03)), "fast": lambda: (order.append("fast"), time.sleep(0.003))}
    times = time_in_turns(calls, turns=3, warm=1)
    assert order == ["slow", "fast"] * 4
    assert times["fast"].median < times["slow"].median
    assert times["slow"].low <= times["slow"].median
    assert time_in_turns(calls, turns=50, most=0.0)["slow"].spread is None  # one turn
