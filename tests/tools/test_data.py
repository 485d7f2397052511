"""``fcn data``: its files and its table, on the built-in pictures and on a folder with traps; and training from data.root and one word."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.cli.main import run
from tests.data.folders import mask, text


def test_it_leaves_a_table_a_sheet_and_a_page(tmp_path, capsys):
    words = ["data.train_count=4", "data.val_count=2", "strides=[16,4]", "pictures=2"]
    assert run(["data", *words, f"output={tmp_path / 'out'}"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"data.json", "data.png", "data.html"}
    found = json.loads((tmp_path / "out" / "data.json").read_text())
    assert list(found["splits"]) == ["train", "val"]
    assert found["splits"]["train"]["looked_at"] == 4
    shares = [facts["share"] for facts in found["splits"]["train"]["classes"].values()]
    assert sum(shares) + found["splits"]["train"]["void"] == pytest.approx(1)
    ceilings = [found["ceilings"]["strides"][stride]["miou"] for stride in ("16", "4")]
    assert ceilings == sorted(ceilings)
    assert re.search(r"^wire +\d+\.\d\d %", capsys.readouterr().out, flags=re.MULTILINE)
    page = (tmp_path / "out" / "data.html").read_text()
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert Image.open(tmp_path / "out" / "data.png").width > 400


def fill(root: Path, values: tuple[int, int] = (0, 255)) -> None:
    """Binary masks in image/ and label/, without a list of classes."""
    for number in range(12):
        picture = np.random.default_rng(number).integers(0, 255, (40, 48, 3)).astype(np.uint8)
        (root / "image").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / "image" / f"{number}.png")
        labels = np.full((40, 48), values[0], np.uint8)
        labels[10:30, 10 + number : 30] = values[1]
        mask(root / "label" / f"{number}.png", labels)


def test_traps_come_first(tmp_path, capsys):
    fill(tmp_path / "set", (0, 0))
    words = ["data=folder", f"data.root={tmp_path / 'set'}", "data.values={0: background, 255: thing}"]
    assert run(["data", *words, f"output={tmp_path / 'out'}"]) == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("! the label maps of the split train hold one class only, 0 (background)")
    page = (tmp_path / "out" / "data.html").read_text()
    assert page.index("hold one class only") < page.index("<h2>Classes")


def short_training(root: Path) -> list[str]:
    """The words of ``fcn train`` for one short epoch on a folder."""
    return ["data=folder", f"data.root={root}", "backbone=compact", "epochs=1", "batch_size=2", "augment.crop_size=32", "workers=0"]


def test_training_takes_the_root_and_one_word(tmp_path, capsys):
    fill(tmp_path / "set")
    words = short_training(tmp_path / "set")
    assert run(["train", *words, f"output={tmp_path / 'none'}"]) == 1
    assert "give data.values={0: background, 255: thing}, and no list is needed" in capsys.readouterr().err
    assert run(["train", *words, "data.values={0: background, 255: thing}", f"output={tmp_path / 'run'}"]) == 0
    told = capsys.readouterr().err
    assert "2 of 2 classes occur" in told
    assert re.search(r"background \d\d\.\d %, thing \d\d\.\d %", told)
    assert run(["evaluate", f"checkpoint={tmp_path / 'run' / 'best.pt'}", "workers=0", f"output={tmp_path / 'scores'}"]) == 0
    assert "thing" in capsys.readouterr().out
    assert run(["train", f"resume={tmp_path / 'run'}"]) == 0  # the mapping is read from the run's settings


def test_a_binary_set_with_its_classes_takes_the_root_alone(tmp_path, capsys):
    fill(tmp_path / "set")
    text(tmp_path / "set" / "classes.txt", "ground\nthing\n")
    words = short_training(tmp_path / "set")
    assert run(["train", *words, f"output={tmp_path / 'run'}"]) == 0
    assert "hold 0 and 255 only, so 255 is taken for thing, not for void" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["data.values=3", "data.values=[0,255]", "data.values={a: b}", "data.values={}"])
def test_values_that_are_no_mapping(tmp_path, capsys, word):
    assert run(["data", "data=folder", f"data.root={tmp_path}", word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "data.values is a mapping from whole numbers to words, as {0: background, 255: thing}" in line
