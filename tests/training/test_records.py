"""Records of a run: lines that survive a cut, and plots of whatever there is so far."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fcn.training.plots import draw_confusion, draw_curves
from fcn.training.records import Records, read_lines


def fill(records):
    for step in (2, 4):
        records.add("train", step=step, epoch=step / 4, loss=1.0 / step, lr=0.1, images_per_second=9.0)
    records.add("val", step=4, epoch=1, miou=0.5, pixel_accuracy=0.7, mean_accuracy=None)


def test_lines_beyond_the_step_that_a_run_goes_on_from_are_dropped(tmp_path):
    fill(Records(tmp_path))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "st')  # cut while it was written
    again = Records(tmp_path, step=2)
    again.add("train", step=3, epoch=0.75, loss=0.4, lr=0.1)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3] == [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")]


@pytest.mark.parametrize(
    "bad",
    [
        b"null",
        b"1",
        b'"text"',
        b"[]",
        b"{}",
        b"not json",
        b'{"kind": "train"}',
        b'{"kind": "train", "step": 3, "epoch": 1, "loss": "x", "lr": 0.1}',
        b'{"kind": "train", "step": true, "epoch": 1, "loss": 1, "lr": 0.1}',
        b'{"kind": "val", "step": 3, "epoch": NaN, "miou": 0.5}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=lambda bad: bad[:60].decode(errors="replace"),
)
def test_a_bad_line_is_left_out_and_told_and_no_other_is_lost(bad, tmp_path, caplog):
    fill(Records(tmp_path))
    first, *rest = (tmp_path / "metrics.jsonl").read_bytes().splitlines()
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([first, bad, *rest]) + b"\n")
    records = Records(tmp_path, step=4)
    assert [(line["kind"], line["step"]) for line in records.lines] == [("train", 2), ("train", 4), ("val", 4)]
    assert f"{tmp_path / 'metrics.jsonl'}: 1 of 4 lines cannot be read and are left out (line 2)" in caplog.text
    records.draw()


def test_curves_of_nothing_of_one_epoch_and_of_zero_losses(tmp_path):
    records = Records(tmp_path)
    records.draw()
    fill(records)
    records.add("train", step=6, epoch=1.5, loss=0.0, lr=0.1)
    records.draw()
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 1000
        assert len(set(picture.convert("RGB").getdata())) > 10


def test_confusion_with_an_absent_class(tmp_path):
    draw_confusion(torch.tensor([[5, 1, 0], [2, 9, 0], [0, 0, 0]]), ["a", "b", "absent"], tmp_path / "confusion.png")
    assert Image.open(tmp_path / "confusion.png").width > 300


def test_the_loss_of_a_single_record_is_seen(tmp_path):
    blue = []
    for name, lines in (("none", []), ("one", [{"kind": "train", "step": 1, "epoch": 1.0, "loss": 0.5, "lr": 0.1}])):
        draw_curves(lines, tmp_path / name)
        colors = np.asarray(Image.open(tmp_path / name).convert("RGB")).reshape(-1, 3)
        blue.append(int((colors == (31, 119, 180)).all(1).sum()))  # tab:blue
    assert blue[0] == 0 < blue[1]
