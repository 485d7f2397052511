"""``fcn inspect`` from words to table and picture: nothing but the table on standard output, and its numbers."""

import csv
import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.cli.main import run
from fcn.core.registry import list_parts

WIDTH = 140  # columns of a terminal


def inspected(capsys, *words) -> tuple[int, str, str]:
    status = run(["inspect", *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def values(capsys, *words) -> dict:
    status, out, _ = inspected(capsys, *words, "format=json", "picture=false")
    assert status == 0
    return json.loads(out)


def test_without_words_it_is_instructive(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = inspected(capsys)
    assert status == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].split() == [
        *("layer", "operation", "kernel", "stride", "dil", "pad", "input", "output", "field", "jump", "parameters", "mult-adds")
    ]
    for word in ("depthwise", "total", "field 69 pixels, jump 8"):
        assert word in out
    (folder,) = (tmp_path / "outputs" / "inspect").iterdir()
    assert (folder / "layers.txt").read_text() == out
    assert str(Path(*folder.parts[-3:]) / "field.png") in err
    with Image.open(folder / "field.png") as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, picture.mode.count("") - 1), axis=0)) > 1000


def test_without_a_picture_nothing_is_written(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, _ = inspected(capsys, "layers=conv3 s2 p1, pool2 s2, conv3 d2", "format=csv", "picture=false")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["layer"], row["output_height"], row["field_height"]) for row in rows] == [
        *(("conv3 s2 p1", "112", "3"), ("pool2 s2", "56", "5"), ("conv3 d2", "52", "21"), ("total", "", ""))
    ]
    assert not list(tmp_path.iterdir())
    status, out, _ = inspected(capsys, "layers=conv3", "format=markdown", "picture=false", "output=here")
    assert [path.name for path in Path("here").iterdir()] == ["layers.md"]
    assert Path("here/layers.md").read_text() == out


def test_the_picture_lies_on_the_photograph(capsys, tmp_path) -> None:
    Image.new("RGB", (300, 200), (10, 200, 30)).save(tmp_path / "green.png")
    words = ["layers=conv3, conv3", "input_size=[40,60]", f"image={tmp_path / 'green.png'}", f"output={tmp_path / 'out'}"]
    assert inspected(capsys, *words)[0] == 0
    with Image.open(tmp_path / "out" / "field.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert (np.abs(pixels - np.array([7, 140, 21])) < 3).all(1).mean() > 0.3  # dimmed, so that the light is seen
    assert inspected(capsys, *words)[0] == 1  # the folder holds something now


@pytest.mark.parametrize(
    ("words", "size", "jump"),
    [
        ("classifier=torchvision/alexnet", 355, 32),
        pytest.param("classifier=torchvision/vgg16", 404, 32, marks=pytest.mark.slow),
        pytest.param("backbone=vgg16", 404, 32, marks=pytest.mark.slow),
        ("backbone=vgg16 backbone.classifier=false", 212, 32),
        pytest.param("backbone=resnet50", 427, 32, marks=pytest.mark.slow),  # fast in tests/graph/test_receptive_field.py
        pytest.param("model=fcn backbone=resnet50 backbone.output_stride=8", 443, 8, marks=pytest.mark.slow),
        ("model=deeplabv3 backbone=resnet50 backbone.output_stride=8 ignore_global=true", 1019, 8),
        ("classifier=compact ignore_global=true", 69, 8),
        ("classifier=compact", None, None),
    ],
)
def test_the_fields_that_are_known(capsys, words: str, size: int | None, jump: int | None) -> None:
    content = values(capsys, *shlex.split(words))
    scores = [row for row in content["layers"] if row["layer"].startswith("decoder")]  # before they are taken to the size of the image
    found = scores[-1] if scores else content["output"]
    assert (found["field"], found["jump"]) == ([size] * 2, [jump] * 2)


def test_sizes_and_classes_are_those_asked_for(capsys) -> None:
    assert values(capsys, "classifier=timm/test_resnet")["input_shape"] == [1, 3, 160, 160]
    assert values(capsys, "classifier=compact")["input_shape"] == [1, 3, 32, 32]
    content = values(capsys, "model=fcn8s", "backbone=compact", "num_classes=5", "input_size=[50,70]")
    assert content["input_shape"] == [1, 3, 50, 70]
    assert (content["layers"][-1]["out_channels"], content["layers"][-1]["output"]) == (5, [50, 70])
    assert len(values(capsys, "backbone=resnet18", "depth=1")["layers"]) == 6


def test_a_sweep_has_a_folder_for_each(capsys, tmp_path) -> None:
    assert inspected(capsys, "-m", "backbone=compact", "input_size=32,48", f"output={tmp_path / 'both'}")[0] == 0
    assert len(list((tmp_path / "both").glob("*/field.png"))) == 2


QUICK = [("backbone", "compact"), ("model", "fcn8s"), ("upsample", "transposed")]
WORDS = [(group, word) for group in ("model", "backbone", "upsample") for word in list_parts(group)]


@pytest.mark.parametrize(
    ("group", "word"), [pytest.param(*each, marks=() if each in QUICK else pytest.mark.slow) for each in WORDS], ids=lambda word: word
)
def test_every_word_is_inspected(capsys, tmp_path, group: str, word: str) -> None:
    words = [
        f"{group}={word}",
        *(["model=fcn8s", "backbone=compact"] if group == "upsample" else []),
        *([f"backbone={'compact' if word == 'fcn8s' else 'resnet50'}"] if group == "model" else []),
    ]
    status, out, _ = inspected(capsys, *words, f"output={tmp_path / 'out'}")
    assert status == 0
    assert max(map(len, out.splitlines())) <= WIDTH
    assert (tmp_path / "out" / "field.png").stat().st_size > 20_000


def test_a_network_of_ones_own(tmp_path, monkeypatch, capsys):
    code = """
from torch import nn
def build():
    return nn.Sequential(nn.Conv2d(3, 4, 5, 2, 2), nn.Conv2d(4, 2, 3, 2, 1), nn.Upsample(scale_factor=4))
made = nn.Conv2d(1, 2, 3)
needy = lambda width: width
number = 3
"""
    (tmp_path / "networks_of_mine.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["inspect", "network=networks_of_mine:build", "input_size=64", "picture=false"]) == 0
    assert "tiles need 4 pixels on each side, at multiples of 4" in capsys.readouterr().out
    assert run(["inspect", "network=networks_of_mine:made", "picture=false"]) == 0
    for word, message in (
        ("network=networks_of_mine", "write the module and the name in it, as my_module:build"),
        ("network=networks_of_mine:biuld", "there is no biuld in networks_of_mine; did you mean build?"),
        ("network=networks_of_mine:needy", "needy cannot be called without arguments"),
        ("network=networks_of_mine:number", "gives an int; give a torch module"),
        ("network=networks_of_mine:made classifier=compact", "both say what to inspect"),
    ):
        capsys.readouterr()
        assert run(["inspect", *word.split(), "picture=false"]) in (1, 2)
        assert message in capsys.readouterr().err
