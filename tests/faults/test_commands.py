"""Damaged files met by the command: the same result, or one line and exit status 1 or 2, with nothing half-written."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from shutil import copytree
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fcn.data.shapes import LABELS
from fcn.models.compact import Compact
from tests.faults import readers
from tests.faults.children import attempt, command, killed_at
from tests.faults.contents import CHECKPOINT, DATA, TENSORS, TRAINING, contents, saved, stale
from tests.faults.mutations import BYTES, TEXT, YAML, claims
from tests.faults.outcomes import ELSE, SEED, Outcome, differing, of_command
from tests.faults.results import records, sound
from tests.faults.subjects import SUBJECTS, TRAIN, save_data
from tests.faults.unseen import unseen

PICTURES = {"jpg": "baseline-jpg", "png": "rgb-png", "tif": "raw-tif", "gif": "gif"}


@dataclass(frozen=True)
class Case:
    """A call, the file that is damaged before it, and the ways to damage it. needs: what lies on the desk."""

    words: tuple[str, ...]
    file: str
    form: str
    ways: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Path], Any] | None = None  # what tells whether a check could have seen it
    called: str = ""  # what it may be called instead of its name


MIXED = ("flip", "noise", "cut", "zeros", "insert", "swap", "double", "empty")
TINY = ("epochs=1", "batch_size=2", "augment.crop_size=32", "workers=0", "device=cpu", "precision=fp32")
PREDICT = ("predict", "checkpoint=run/best.pt", "input=pictures", "output=out", "device=cpu")
EVALUATE = ("evaluate", "checkpoint=run/best.pt", "data=folder", "data.root=data", "output=out", "workers=0", "device=cpu")
EVALUATE_AS_TRAINED = ("evaluate", "checkpoint=run/best.pt", "output=out", "workers=0", "device=cpu")
OWN = ("train", "model=fcn8s", "backbone=compact", "data=folder", "data.root=data", *TINY, "output=out")
RESUME = ("train", "resume=cut")
GO_ON = ("predict", "resume=part", "device=cpu")

CASES: dict[str, Case] = {
    **{
        f"predict-{suffix}": Case(PREDICT, f"pictures/{suffix}.{suffix}", SUBJECTS[name].form, ways, ("run", "pictures"), readers.image)
        for (suffix, name), ways in zip(
            PICTURES.items(),
            [("flip", "cut", "claims", "empty"), ("flip", "zeros", "claims", "swap"), ("cut", "claims"), ("noise", "cut")],
            strict=True,
        )
    },
    "predict-checkpoint": Case(PREDICT, "run/best.pt", "zip", (*MIXED, *["contents"] * 4, *["stale"] * 2), ("run", "pictures")),
    "evaluate-image": Case(EVALUATE, "data/images/street4.png", "png", ("flip", "zeros", "claims"), ("run", "data"), readers.image),
    "evaluate-map": Case(EVALUATE, "data/masks/street4.png", "png", ("flip", "zeros", "claims"), ("run", "data"), readers.label_map),
    "evaluate-list": Case(EVALUATE, "data/val.txt", "split", ("nul", "wide", "flip"), ("run", "data"), readers.split_list),
    "evaluate-checkpoint": Case(EVALUATE, "run/best.pt", "zip", ("flip", "zeros", *["contents"] * 4, "stale"), ("run", "data")),
    "evaluate-data": Case(EVALUATE_AS_TRAINED, "run/best.pt", "zip", ("data",) * len(DATA), ("run",)),
    "train-classes": Case(
        OWN, "data/classes.txt", "classes", ("nul", "latin", "wide", "drop_line"), ("data",), readers.classes, "list of classes"
    ),
    "train-list": Case(OWN, "data/train.txt", "split", ("drop_line", "twice", "flip", "dos"), ("data",), readers.split_list),
    "train-image": Case(OWN, "data/images/street1.png", "png", ("flip", "cut", "claims"), ("data",), readers.image),
    "train-map": Case(OWN, "data/masks/street1.png", "png", ("flip", "cut", "claims"), ("data",), readers.label_map),
    "train-weights": Case((*OWN, "backbone.weights=weights.pth"), "weights.pth", "zip", ("flip", "cut", "noise"), ("data", "weights.pth")),
    "train-safetensors": Case(
        (*OWN, "backbone.weights=weights.safetensors"),
        "weights.safetensors",
        "safetensors",
        ("cut", "insert", "zeros"),
        ("data", "weights.safetensors"),
        readers.compact_weights,
    ),
    "resume-config": Case(RESUME, "cut/config.yaml", "yaml", (*YAML, "drop_line", "cut"), ("cut",), readers.configuration),
    "resume-checkpoint": Case(RESUME, "cut/last.pt", "zip", ("flip", "noise", "cut", "zeros"), ("cut",)),
    "resume-contents": Case(RESUME, "cut/last.pt", "zip", ("contents",) * len(TRAINING) + ("stale",) * 3, ("cut",)),
    "predict-plan": Case(GO_ON, "part/predict.json", "json", ("flip", "cut", "noise", "zeros", "nul", "double", "empty"), ("part",)),
    "predict-settings": Case(GO_ON, "part/config.yaml", "yaml", (*YAML, "drop_line", "cut"), ("part",)),
    "resume-metrics": Case(RESUME, "cut/metrics.jsonl", "jsonl", ("flip", "latin", "nul", "noise", "cut", "null_line"), ("cut",)),
}
ITEMS = [
    pytest.param(name, way, number, id=f"{name}-{way}-{number}") for name, case in CASES.items() for number, way in enumerate(case.ways)
]


@pytest.fixture(scope="session")
def desk(tmp_path_factory, originals: Path, run_folder: Path) -> Path:
    """All that the calls read: a finished run, one that was cut, a data folder, pictures, weights."""
    folder = tmp_path_factory.mktemp("desk")
    copytree(run_folder, folder / "run")
    save_data(folder / "data")
    (folder / "data" / "classes.txt").write_text("\n".join(LABELS.names) + "\n")
    (folder / "pictures").mkdir()
    for suffix, name in PICTURES.items():
        (folder / "pictures" / f"{suffix}.{suffix}").write_bytes((originals / name / SUBJECTS[name].file).read_bytes())
    torch.manual_seed(0)
    weights = Compact().state_dict()
    torch.save(weights, folder / "weights.pth")
    save_file(weights, folder / "weights.safetensors")
    words = (*TRAIN, "save_seconds=0")
    every = attempt(killed_at, 0, str(folder), "whole", (*words, "output=whole"), cpu=120)
    assert every.how == "gave", every
    ended = attempt(killed_at, every.value * 6 // 10, str(folder), "cut", (*words, "output=cut"), cpu=120)
    assert ended.how == "died", ended
    words = (*PREDICT[:-2], "output=part", "device=cpu")
    ended = attempt(command, str(folder), *words, cpu=60)
    assert (ended.how, ended.value) == ("gave", 0), ended
    for suffix in ("gif", "tif"):  # as if it was cut before the last two
        for path in (folder / "part").glob(f"{suffix}*"):
            path.unlink()
    return folder


@pytest.mark.faults
@pytest.mark.parametrize(("name", "way", "number"), ITEMS)
def test_a_damaged_file_and_the_command(name: str, way: str, number: int, desk: Path, place: Path, judged) -> None:
    case = CASES[name]
    lay(case, desk, place)
    path = place / case.file
    before = path.read_bytes()
    damaged = damage(before, case, name, way, number)
    path.write_bytes(damaged)
    held = contents_of(place)
    ended = attempt(command, str(place), *case.words, cpu=60)
    kind = f"fcn {name.partition('-')[0]}"
    if ended.how != "gave":
        judged(kind, Outcome(ELSE, f"{ended.how}: {ended.error} {ended.text[:300]}"))
        return
    whole = undamaged(name, desk, place.parent / f"{place.name}_whole")
    result = results(place)
    out = [path for path in place.rglob("*") if path.is_file() and path.relative_to(place).parts[0] == "out"]
    broken = [f"{path.name} (half)" for path in out if not sound(path)]
    broken += [f"{path.name} (left)" for path in place.rglob(".*") if str(path.relative_to(place)) not in held]
    if ended.value:  # what was there stays, and what could be done is right
        broken += [f"{file} (changed)" for file, content in held.items() if changed(place / file, content)]
        broken += [f"{file} (changed)" for file, value in result.items() if file.endswith(".png") and value != whole[file]]
    another = ended.value == 0 and result != whole
    words = warned(case, path, before, result, whole) if another else None
    path.write_bytes(damaged)
    hidden = hides(case, path, damaged, before) if another else None
    errors = Path(f"{place}.stderr").read_text(errors="replace")
    called = case.called if case.called and case.called in errors else path.name
    judged(kind, of_command(ended.value, errors, called, same=result == whole, hidden=hidden, broken=broken, changed=words))


def lay(case: Case, desk: Path, place: Path) -> None:
    for name in case.needs:
        if (desk / name).is_dir():
            copytree(desk / name, place / name)
        else:
            (place / name).write_bytes((desk / name).read_bytes())


def damage(data: bytes, case: Case, name: str, way: str, number: int) -> bytes:
    rng = Random(f"{SEED} {name} {way} {number}")
    if way == "claims":
        return claims(data, rng, case.form)
    if way == "contents":
        return contents(data, rng, number if name == "resume-contents" else rng.randrange(len(CHECKPOINT)))
    if way == "data":
        state = torch.load(BytesIO(data), weights_only=True)
        DATA[number](state, rng)
        return saved(state)
    if way == "stale":
        return stale(data, rng, rng.randrange(len(TENSORS)))
    if way == "null_line":
        return data.replace(b"\n", b"\nnull\n", 1)
    return {**BYTES, **TEXT, **YAML}[way](data, rng)


def contents_of(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def changed(path: Path, content: bytes) -> bool:
    """Whether a file is no longer as it was; what a killed run left unfinished may be gone."""
    return path.read_bytes() != content if path.is_file() else not path.name.startswith(".")


def results(place: Path) -> dict[str, Any]:
    """What a call leaves, less times and places: by the names of the files."""
    found: dict[str, Any] = {}
    for folder in ("out", "cut", "part"):
        for path in sorted((place / folder).glob("*")):
            if path.suffix == ".png" and path.name != "curves.png":
                found[path.name] = path.read_bytes()
            elif path.suffix == ".pt" and sound(path):
                try:
                    state = readers.checkpoint(path)
                    found[path.name] = {key: value for key, value in state.items() if key != "data"}
                except ValueError:  # the damaged one, which is left as it was
                    found[path.name] = path.read_bytes()
            elif path.name == "metrics.jsonl":
                found[path.name] = records(path)
            elif path.name == "metrics.json":
                found[path.name] = json.loads(path.read_text())
    return found


_results: dict[str, dict[str, Any]] = {}


def undamaged(name: str, desk: Path, place: Path) -> dict[str, Any]:
    """What the call leaves with the undamaged file."""
    case = CASES[name]
    key = " ".join(case.words)
    if key not in _results:
        place.mkdir()
        lay(case, desk, place)
        ended = attempt(command, str(place), *case.words, cpu=60)
        assert (ended.how, ended.value) == ("gave", 0), (ended, Path(f"{place}.stderr").read_text()[-500:])
        _results[key] = results(place)
    return _results[key]


def warned(case: Case, path: Path, before: bytes, result: dict[str, Any], whole: dict[str, Any]) -> list[str] | None:
    """What a warning has to name so that another result is as good as the damage lets it be."""
    if case.form == "jsonl":
        lines = result["metrics.jsonl"]
        fewer = isinstance(lines, list) and all(line in whole["metrics.jsonl"] for line in lines)
        return ["left", "out"] if fewer and {**result, "metrics.jsonl": whole["metrics.jsonl"]} == whole else None
    if case.form != "yaml" or case.read is None:
        return None
    ended = attempt(case.read, path)
    path.write_bytes(before)
    undamaged = attempt(case.read, path)
    return differing(undamaged.value, ended.value) if ended.how == undamaged.how == "gave" else None


def hides(case: Case, path: Path, damaged: bytes, before: bytes) -> str | None:
    if case.form == "jsonl":
        return other_records(damaged, before)
    if case.read is None:
        return None
    ended = attempt(case.read, path)
    path.write_bytes(before)
    undamaged = attempt(case.read, path).value
    return unseen(case.form, damaged, ended.value, undamaged) if ended.how == "gave" else None


def other_records(damaged: bytes, before: bytes) -> str | None:
    """Lines of a run's records in which a number or a name is another, or whose end is missing from the start of a line on."""
    try:
        lines = [json.loads(line) for line in damaged.decode().splitlines()]
        expected = [json.loads(line) for line in before.decode().splitlines()]
        sound = all(line.keys() == other.keys() for line, other in zip(lines, expected, strict=True))
    except (ValueError, AttributeError):
        return None
    return "metrics.jsonl: other values" if sound else None
