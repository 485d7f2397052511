"""Measurements of what is known beforehand."""

import os
import time

import numpy as np
import pytest

from fcn.studies.measure import measured, time_in_turns

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
    found = measured(allocate, 200, 100)
    assert found.memory == pytest.approx(100 * MIB, abs=10 * MIB)
    assert found.result == 2
    assert 0 < found.seconds < 10


def test_a_call_that_fails_is_told():
    with pytest.raises(RuntimeError, match="ValueError: no such thing"):
        measured(fail)
    with pytest.raises(RuntimeError, match="exit code 7"):
        measured(end)


def test_times_are_taken_in_turns():
    order = []
    calls = {"slow": lambda: (order.append("slow"), time.sleep(0.03)), "fast": lambda: (order.append("fast"), time.sleep(0.003))}
    times = time_in_turns(calls, turns=3, warm=1)
    assert order == ["slow", "fast"] * 4
    assert times["fast"].median < times["slow"].median
    assert times["slow"].low <= times["slow"].median <= times["slow"].high
    assert time_in_turns(calls, turns=50, most=0.0)["slow"].spread == 0  # one turn
