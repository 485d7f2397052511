"""Trainings and predictions that are killed (SIGKILL) and go on: at their end, bit for bit what an uninterrupted one leaves.

Half are killed at a random moment, half at a random file operation on their output, so that the moments between a file's first byte and
its final name are met as well. Some are killed a second time.
"""

import time
from pathlib import Path
from random import Random
from shutil import copytree
from typing import Any

import pytest

from tests.faults.children import attempt, begin, command, finish, kill, killed_at
from tests.faults.outcomes import ELSE, RIGHT, SEED, Outcome
from tests.faults.results import left, said
from tests.faults.subjects import TRAIN, photo

TRAININGS = {
    "plain": (*TRAIN, "save_seconds=0"),
    "average": (*TRAIN, "ema=0.8", "accumulate=2", "schedule=cosine"),
}
PREDICTION = ("predict", "checkpoint=run/best.pt", "input=pictures", "confidence=true", "device=cpu")
CALLS = {**TRAININGS, "prediction": PREDICTION}
COUNTS = {"plain": 16, "average": 14, "prediction": 20}
ITEMS = [
    pytest.param(name, ("moment", "operation")[number % 2], number, id=f"{name}-{('moment', 'operation')[number % 2]}-{number}")
    for name, count in COUNTS.items()
    for number in range(count)
]
PICTURES = 8
OUTPUT = "killed"


@pytest.fixture(scope="session")
def table(tmp_path_factory, run_folder: Path) -> Path:
    """A checkpoint and pictures to label."""
    folder = tmp_path_factory.mktemp("table")
    copytree(run_folder, folder / "run")
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        photo().rotate(15 * number).resize((160 + number, 120)).save(folder / "pictures" / f"{number}.png")
    return folder


@pytest.mark.faults
@pytest.mark.parametrize(("name", "how", "number"), ITEMS)
def test_what_was_killed_goes_on_to_the_same_end(name: str, how: str, number: int, table: Path, place: Path, judged) -> None:
    judged(f"kill of {'training' if name in TRAININGS else name}", killed(name, how, number, table, place))


def killed(name: str, how: str, number: int, table: Path, place: Path) -> Outcome:
    expected, seconds, operations = uninterrupted(name, table, place.parent / f"whole_{name}")
    rng = Random(f"{SEED} {name} {how} {number}")
    if name == "prediction":
        copytree(table, place, dirs_exist_ok=True)
    words = (*CALLS[name], f"output={OUTPUT}")
    for _ in range(rng.choice((1, 1, 2))):
        share = rng.random()
        if how == "moment":
            process, receiver = begin(command, str(place), *words)
            time.sleep(share * seconds)
            kill(process)
            receiver.close()
        else:
            process, receiver = begin(killed_at, 1 + int(share * operations), str(place), OUTPUT, words)
            ended = finish(process, receiver)
            if ended.how not in ("died", "gave") and "is no run" not in said(place):
                return Outcome(ELSE, f"{ended.how} {ended.text}: {said(place)}")
        words = (CALLS[name][0], f"resume={OUTPUT}")
    ended = attempt(command, str(place), *words, cpu=90)
    if ended.value == 2 and "is no run" in said(place):  # killed before it began
        ended = attempt(command, str(place), *CALLS[name], f"output={OUTPUT}", cpu=90)
    if (ended.how, ended.value) != ("gave", 0):
        return Outcome(ELSE, f"{ended.how} {ended.text} {ended.value}: {said(place)}; there was {present(place)}")
    found = left(place / OUTPUT)
    wrong = [file for file in {*expected, *found} if expected.get(file) != found.get(file)]
    return Outcome(ELSE, f"another end: {', '.join(sorted(wrong))}") if wrong else Outcome(RIGHT)


_uninterrupted: dict[str, tuple[dict[str, Any], float, int]] = {}


def uninterrupted(name: str, table: Path, place: Path) -> tuple[dict[str, Any], float, int]:
    """What it leaves, the seconds that it takes, and its file operations."""
    if name not in _uninterrupted:
        copytree(table, place)
        start = time.monotonic()
        ended = attempt(killed_at, 0, str(place), OUTPUT, (*CALLS[name], f"output={OUTPUT}"), cpu=90)
        assert ended.how == "gave", (ended, said(place))
        _uninterrupted[name] = left(place / OUTPUT), time.monotonic() - start, ended.value
    return _uninterrupted[name]


def present(place: Path) -> str:
    return ", ".join(sorted(path.name for path in (place / OUTPUT).glob("*"))) or "nothing"
