"""Paths and names of parts in a call: taken to the letter, and the same when a run goes on."""

from dataclasses import asdict

import pytest
import yaml

from fcn.cli.composing import compose
from fcn.cli.main import run
from fcn.cli.words import WrongCallError

PATHS = [
    "o\\9",
    "\\\\server\\share\\x",
    "end\\",
    "a${x}",
    "a${x",
    "${oc.env:HOME}",
    "\\${x}",
    "it's",
    "a 'b' \\'c",
    " a b ",
    "a,b",
    "a=b",
    "[a]",
    "{a:1}",
    "(a)",
    "a:b",
    "100%",
    "#x",
    "a#b",
    "é日本",
    "x\udcff",  # bytes that are no UTF-8
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_taken_to_the_letter_also_when_the_run_goes_on(path, tmp_path):
    settings = compose("train", ["data=folder", f"root={path}", f"output={path}", f"backbone.weights={path}"])
    assert (settings.data.root, settings.output, settings.backbone.weights) == (path, path, path)
    folder = tmp_path / path
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(asdict(settings), sort_keys=False))
    resumed = compose("train", [f"resume={folder}"])
    assert (resumed.data.root, resumed.backbone.weights, resumed.resume) == (path, path, str(folder))


def test_a_tilde_is_the_home_and_quotes_are_hydras(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of")
    settings = compose("predict", ["checkpoint=~/a\\b", "input='q, r'", "output='${oc.env:HOME}/o'"])
    assert (settings.checkpoint, settings.input, settings.output) == ("/home/of/a\\b", "q, r", "/home/of/o")


@pytest.mark.parametrize("word", ["input=", "output= ", "checkpoint="])
def test_an_empty_path_is_refused(word):
    with pytest.raises(WrongCallError, match="is empty; give a path"):
        compose("predict", ["checkpoint=a", "input=b", word][::-1] if word.startswith("output") else [word])


def test_paths_of_a_sweep_are_cut_at_commas_and_each_has_its_run(tmp_path, capsys):
    roots = [str(tmp_path / name) for name in ("a\\b", "a/b", "a${x}")]
    out = tmp_path / "o,${x}"
    assert run(["ceiling", "-m", "data=folder", f"data.root={','.join(roots)}", f"output={out}"]) == 1
    error = capsys.readouterr().err
    assert "3 of 3 runs failed" in error
    assert all(f"there is no folder {root}:" in error for root in roots)
    assert out.is_dir()


@pytest.mark.parametrize("command", ["train", "inspect", "compare"])
@pytest.mark.parametrize("name", ["timm/resnet50", "torchvision/resnet50", "a//b", "/abs/x", "../x", "a b", "é", "a${x}", ".x"])
def test_a_backbone_may_have_any_name(command, name):
    found = compose(command, [f"backbone={name}"])
    assert (found.settings if command == "compare" else found).backbone.name == name


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["backbone=timm/resnte50"], 1, "backbone=timm/resnte50 is not known; did you mean "),
        (["backbone=torchvision/resnte50"], 1, "backbone=torchvision/resnte50 is not known; did you mean "),
        (["backbone=/abs/x"], 1, "backbone=/abs/x is not known; "),
        (["backbone=../x"], 1, "backbone=../x is not known; "),
        (["backbone="], 2, "backbone= names no backbone"),
        (["model=a/b"], 2, "model=a/b is not known; allowed: "),
        (["upsample=../bilinear"], 2, "upsample=../bilinear is not known; did you mean bilinear?"),
        (["model="], 2, "model= is not known; allowed: "),
    ],
)
def test_a_part_that_is_not_there_is_answered_in_one_line(words, status, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["train", *words, "data.train_count=16", "data.val_count=1", "device=cpu"]) == status
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"fcn: {message}")
    assert "\n" not in error
