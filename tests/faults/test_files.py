"""A thousand damaged files, each read by the library: right values, one sentence about the file, or damage that no check can see."""

from pathlib import Path
from random import Random
from shutil import copytree

import pytest

from tests.faults.children import Ended, attempt
from tests.faults.contents import CHECKPOINT, STATE_DICT, TENSORS, contents, header, stale
from tests.faults.mutations import BYTES, TEXT, YAML, claims
from tests.faults.outcomes import SEED, of_library
from tests.faults.subjects import SUBJECTS, Subject

ONCE = ("empty", "other")  # the same each time, or nearly so
ROUNDS = {
    "picture": ("flip", "noise", "cut", "zeros", "insert", "swap", "double", "claims", "flip", "zeros"),
    "text": ("flip", *TEXT, "noise", "cut", "zeros", "insert", "swap", "double"),
    "yaml": (*YAML, "huge", "unbounded", "other_type", *TEXT, "noise", "cut", "zeros", "insert", "swap", "double"),
    "archive": ("flip", "noise", "cut", "zeros", "insert", "swap", "double", "flip", "flip"),
}


def ways(subject: Subject) -> list[str]:
    """What is done to a subject, once for each of its items."""
    by_form = {"classes": "text", "split": "text", "yaml": "yaml", "zip": "archive", "safetensors": "archive"}
    first = list(ONCE)
    if subject.form == "zip" and subject.file != "last.pt":
        first += ["contents"] * len(CHECKPOINT if subject.file == "best.pt" else STATE_DICT)
    if subject.file == "best.pt":
        first += ["stale"] * len(TENSORS)
    if subject.form == "safetensors":
        first += ["header"] * 14
    rounds = ROUNDS[by_form.get(subject.form, "picture")]
    rest = subject.count - len(first)
    return first + [rounds[number % len(rounds)] for number in range(rest)]


ITEMS = [
    pytest.param(name, way, number, id=f"{name}-{way}-{number}")
    for name, subject in SUBJECTS.items()
    for number, way in enumerate(ways(subject))
]


def damage(name: str, way: str, number: int, originals: Path) -> bytes:
    """The bytes of item ``number`` of a subject."""
    subject = SUBJECTS[name]
    data = (originals / name / subject.file).read_bytes()
    rng = Random(f"{SEED} {name} {way} {number}")
    if way == "other":
        other = rng.choice([one for one in SUBJECTS if one != name])
        return (originals / other / SUBJECTS[other].file).read_bytes()
    if way == "claims":
        return claims(data, rng, subject.form)
    if way == "contents":
        return contents(data, rng, number - len(ONCE))
    if way == "stale":
        return stale(data, rng, number)
    if way == "header":
        return header(data, rng)
    return {**BYTES, **TEXT, **YAML}[way](data, rng)


_read: dict[str, Ended] = {}


def undamaged(name: str, originals: Path) -> Ended:
    if name not in _read:
        _read[name] = attempt(SUBJECTS[name].read, originals / name / SUBJECTS[name].file)
        assert _read[name].how == "gave", (name, _read[name])
    return _read[name]


@pytest.mark.faults
@pytest.mark.parametrize(("name", "way", "number"), ITEMS)
def test_a_damaged_file(name: str, way: str, number: int, originals: Path, place: Path, judged) -> None:
    check(name, way, number, originals, place, judged)


def check(name: str, way: str, number: int, originals: Path, folder: Path, judged) -> None:
    subject = SUBJECTS[name]
    damaged = damage(name, way, number, originals)
    copytree(originals / name, folder / name)
    path = folder / name / subject.file
    path.write_bytes(damaged)
    others = {}
    if way == "other":
        same = [other for other in SUBJECTS if SUBJECTS[other].kind in ("image", "label map", "checkpoint")]
        for other in same:
            source = originals / other / SUBJECTS[other].file
            if source.read_bytes() == damaged:
                ended = attempt(subject.read, source)
                others = {other: ended.value} if ended.how == "gave" else {}
    outcome = of_library(path, subject.form, attempt(subject.read, path), damaged, undamaged(name, originals).value, others)
    judged(subject.kind, outcome)


def test_there_are_a_thousand() -> None:
    assert len(ITEMS) == 1000
    assert len({item.id for item in ITEMS}) == 1000
