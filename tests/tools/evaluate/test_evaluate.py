"""``fcn evaluate``: on real photographs, where they are there, and of checkpoints that name no data set as a training does."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from fcn.cli.main import run
from fcn.data.camvid import CAMVID_LABELS
from fcn.models.segmenter import create_model
from fcn.models.weight_files import model_state
from fcn.tools.benchmark.subject import randomized
from fcn.training.checkpoint import read_checkpoint, save_checkpoint
from tests.two_processes import forked

CAMVID = Path(__file__).parents[3] / "../shared/data/camvid"


@pytest.mark.slow
@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not there")
def test_streamed_bands_and_whole_images_have_the_same_confusion(tmp_path):
    """To two pixels in a million: where two classes are as good, rounding decides."""
    model = randomized(create_model("fcn8s", backbone="compact", num_classes=CAMVID_LABELS.num_classes).spec)
    save_checkpoint(model_state(model, CAMVID_LABELS, miou=0.0, data={"name": "camvid"}), tmp_path / "model.pt")
    root = tmp_path / "camvid"
    root.mkdir()
    for each in CAMVID.iterdir():
        (root / each.name).symlink_to(each.resolve())
    names = (root / "val.txt").read_text().splitlines()[::6]
    (root / "val.txt").unlink()
    (root / "val.txt").write_text("\n".join(names))
    words = ["evaluate", f"checkpoint={tmp_path / 'model.pt'}", "data=camvid", f"data.root={root}", "device=cpu", "workers=0"]
    found = []
    for name, options in (("whole", []), ("stream", ["inference.band=50"])):
        folder = tmp_path / name
        assert run([*words, f"inference={name}", *options, f"output={folder}"]) == 0
        found.append(np.array(json.loads((folder / "metrics.json").read_text())["confusion"]))
    whole, stream = found
    assert (whole.sum(0) > 0).sum() > 3  # classes that are predicted
    assert np.abs(whole - stream).sum() <= 4e-6 * whole.sum()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "does not say what data it was trained on; give data=NAME"),
        ({"name": "shapes", "val_count": 2}, "does not say which split it was scored on; give split=NAME"),
        ({"name": "nothing", "val": "val"}, "cannot be read (data=nothing is not known"),
        ({"name": "shapes", "val": "val", "val_count": "two"}, "cannot be read ("),
        ({"name": "shapes", "val": "val", "surplus": 1}, "cannot be read ("),
    ],
)
def test_a_checkpoint_that_does_not_name_its_data(data, reason, tiny_run, tmp_path, capsys):
    path = tmp_path / "model.pt"
    save_checkpoint({**read_checkpoint(tiny_run / "best.pt"), "data": data}, path)
    assert run(["evaluate", f"checkpoint={path}", "device=cpu", "workers=0", f"output={tmp_path / 'out'}"]) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("fcn:"))
    assert str(path) in line
    assert reason in line
    assert not (tmp_path / "out").exists()


def test_what_is_left_and_the_same_by_two_processes(tiny_run, tmp_path):
    words = ["evaluate", f"checkpoint={tiny_run / 'best.pt'}", "device=cpu", "workers=0", "calibration=true"]
    assert run([*words, f"output={tmp_path / 'one'}"]) == 0
    fine, told = forked(tmp_path, [*words, f"output={tmp_path / 'two'}"])
    assert fine, told
    one, two = (tmp_path / name for name in ("one", "two"))
    names = {"metrics.json", "table.txt", "images.csv", "confusion.png", "worst.png", "report.html"}
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()} == names
    for name in sorted(names - {"metrics.json"}):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    found, again = (json.loads((folder / "metrics.json").read_text()) for folder in (one, two))
    assert again.pop("image_miou") == pytest.approx(found["image_miou"])  # what is added up in another order
    for name, values in found["classes"].items():
        assert again["classes"][name].pop("image_iou") == pytest.approx(values["image_iou"])
    assert all(again[key] == found[key] for key in again if key != "classes")
    assert (one / "images.csv").read_text().count("\n") == 1 + found["protocol"]["images"]
    assert 0 < found["calibration"]["expected_calibration_error"] < 1
    assert found["calibration"]["accuracy"] == pytest.approx(found["pixel_accuracy"])
    page = (one / "report.html").read_text()
    assert not re.search(r"https?://|<script|@import|url\(", page)
    assert {"Scores", "Classes", "Worst images", "Worst of each class"} <= set(re.findall(r"<h2>(.*?)</h2>", page))
    assert f"{100 * found['miou']:.2f}" in page
