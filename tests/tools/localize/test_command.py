"""``fcn localize`` from words to sheets: what is written, what is printed, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from fcn.cli.main import run

WORDS = ("classifier=tests.tools.localize.networks:build", "mean=[0.5,0.5,0.5]", "std=[0.25,0.25,0.25]", "input_size=24", "device=cpu")


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    dark = np.zeros((60, 80, 3), np.uint8)
    Image.fromarray(dark).save(folder / "dark.png")
    dark[20:28, 40:52] = 255
    Image.fromarray(dark).save(folder / "bright.png")
    return folder


def test_every_photograph_has_a_sheet_and_an_entry(photographs, tmp_path, capsys):
    (photographs / "names.txt").write_text("night\nday\n")
    (photographs / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    output = tmp_path / "maps"
    words = [f"input={photographs}", f"names={photographs / 'names.txt'}", "classes=[day]", f"output={output}"]
    assert run(["localize", *WORDS, *words]) == 1
    captured = capsys.readouterr()
    assert f"2 of 3 photographs in {output}" in captured.out
    assert "broken.jpg" in captured.err
    assert {path.name for path in output.iterdir()} == {"bright.jpg", "dark.jpg", "localize.json"}
    content = json.loads((output / "localize.json").read_text())
    assert [entry["sheet"] for entry in content["images"]] == ["bright.jpg", "dark.jpg"]
    bright, dark = content["images"]
    assert bright["cells"] == {"rows": 15, "columns": 20, "stride": 4, "first": [1.5, 1.5]}
    (day,) = (each for each in bright["classes"] if each["drawn"])
    assert day["name"] == "day"
    assert day["peak"] > 0.9
    assert 20 <= day["peak_at"][0] < 28
    assert 40 <= day["peak_at"][1] < 52
    assert day["share"] == pytest.approx(2 * 3 / (15 * 20), abs=1e-4)
    assert next(each for each in dark["classes"] if each["name"] == "night")["share"] == 1
    assert dark["agreement"]["difference"] < 1e-5
    assert dark["agreement"]["words"] in captured.out
    assert "hint" not in dark
    pixels = np.asarray(Image.open(output / "bright.jpg"))
    assert pixels.shape[1] > pixels.shape[0] > 200
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500


def test_a_sheet_beside_sliding_windows(photographs, tmp_path, capsys):
    output = tmp_path / "maps"
    words = [f"input={photographs / 'bright.png'}", "dense=window", "output_stride=2", "sliding=true", f"output={output}"]
    assert run(["localize", *WORDS, *words]) == 0
    entry = json.loads((output / "localize.json").read_text())["images"][0]
    assert entry["sliding"]["windows"] == ((60 - 24) // 2 + 1) * ((80 - 24) // 2 + 1)
    assert entry["agreement"]["equal"] == 1
    assert [each["peak"] for each in entry["sliding"]["classes"]] == pytest.approx([each["peak"] for each in entry["classes"]], abs=1e-4)
    assert f"{entry['sliding']['windows']} windows, 16 at a time" in capsys.readouterr().out
    with Image.open(output / "bright.jpg") as sheet:
        assert sheet.width > 1000


def test_a_photograph_in_which_a_cell_sees_little_is_told(tmp_path, capsys):
    Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(tmp_path / "large.png")
    words = [f"input={tmp_path / 'large.png'}", f"output={tmp_path / 'maps'}"]
    assert run(["localize", *WORDS, *words]) == 0
    assert "8 times as large as the images that the classifier was trained with" in capsys.readouterr().out
    assert "scales=[0.18]" in (tmp_path / "maps" / "localize.json").read_text()


@pytest.mark.parametrize(
    ("words", "message", "status"),
    [
        (["classifier=timm/resnet18"], "input must be given; write input=...", 2),
        (["classifier=resnet18", "weights=imagenet", "input=PHOTO"], "classifier=resnet18 is not known; write compact, or", 1),
        (["classifier=timm/resnet18", "input=PHOTO"], "classifier=timm/resnet18 starts with random weights, which see nothing", 1),
        (["classifier=timm/test_resnett", "weights=imagenet", "input=PHOTO"], "did you mean test_resnet", 1),
        (["classifier=compact", "weights=none.pt", "input=PHOTO"], "there is no file none.pt to load weights from", 1),
        (["classifier=nowhere:build", "input=PHOTO"], "classifier=nowhere:build: there is no module nowhere in", 1),
        ([*WORDS, "input=PHOTO", "weights=imagenet"], "weights=imagenet is for timm/NAME and torchvision/NAME", 1),
        ([*WORDS, "input=PHOTO", "classes=[sun]"], "there is no class 'sun'; allowed: class 0, class 1", 1),
        ([*WORDS, "input=PHOTO", "sliding=true"], "sliding=true compares cells with windows; write dense=window too", 2),
        ([*WORDS, "input=PHOTO", "output_stride=3"], "output_stride=3 is not possible: the network has stride 4", 1),
        ([*WORDS, "input=PHOTO", "names=PHOTO"], "is no text; give a file with the name of each class, one a line", 1),
        ([*WORDS, "input=nowhere.jpg"], "input=nowhere.jpg is no file, no folder, and matches nothing", 1),
        ([*WORDS, "input=PHOTO", "mean=null"], "mean and std belong together; give both", 1),
        ([*WORDS, "input=PHOTO", "std=[0.5,0.5]"], "std=[0.5, 0.5] is not allowed; std is a list of 3", 2),
        ([*WORDS, "input=PHOTO", "scales=[0]"], "scales=[0.0] is not allowed; scales is a list, each above 0 and up to 16", 2),
    ],
)
def test_a_wrong_call_is_one_line(words, message, status, photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = [word.replace("PHOTO", str(photographs / "dark.png")) for word in words]
    assert run(["localize", *given]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_several_processes_are_refused(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(["localize", *WORDS, f"input={photographs}", f"output={tmp_path / 'out'}"]) == 1
    assert "fcn localize runs in one process and cannot share its work; start it without torchrun" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_names_with_dollars_and_a_byte_order_mark(photographs, tmp_path):
    (photographs / "dark.png").rename(photographs / "a$x_$.png")
    (photographs / "names.txt").write_text("night$^$\nday\n", encoding="utf-8-sig")
    words = [f"input={photographs}", f"names={photographs / 'names.txt'}", "classes=[day]", f"output={tmp_path / 'maps'}"]
    assert run(["localize", *WORDS, *words]) == 0
    assert (tmp_path / "maps" / "a$x_$.jpg").is_file()
