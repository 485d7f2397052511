"""The network that comes with the package: ``checkpoint=builtin``."""

from pathlib import Path

import torch
from PIL import Image

import fcn
from fcn.cli.main import run
from fcn.data.shapes import shapes
from fcn.models.pretrained_folder import BUILTIN, located


def test_it_is_small_and_labels_the_built_in_pictures():
    folder = Path(located(BUILTIN))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    scores = fcn.evaluate(fcn.load(BUILTIN), shapes("val", count=24))
    assert scores.metrics.miou > 0.75


def test_the_commands_take_its_word(tmp_path):
    image, _ = shapes("val", count=1)[0]
    picture = tmp_path / "picture.png"
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(picture)
    assert run(["predict", "checkpoint=builtin", f"input={picture}", f"output={tmp_path / 'labels'}"]) == 0
    assert Image.open(tmp_path / "labels" / "picture.png").size == Image.open(picture).size
    (tmp_path / "labels" / "picture.png").unlink()
    assert run(["predict", f"resume={tmp_path / 'labels'}"]) == 0
    assert (tmp_path / "labels" / "picture.png").exists()


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(BUILTIN).mkdir()
    assert located(BUILTIN) == BUILTIN


def test_its_record_goes_with_it(tmp_path):
    """Though its tensors are of half precision in the file."""
    model = fcn.load(BUILTIN)
    model.save_pretrained(tmp_path / "same")
    assert "mIoU" in (tmp_path / "same" / "README.md").read_text()
    with torch.no_grad():
        next(model.parameters()).add_(1)
    model.save_pretrained(tmp_path / "other")
    assert "mIoU" not in (tmp_path / "other" / "README.md").read_text()
