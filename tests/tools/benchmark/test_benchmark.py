"""The benchmark: what it compares is what it says, and the command leaves its report."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from fcn.cli.main import run
from fcn.core.registry import build
from fcn.models.segmenter import create_model
from fcn.tools.benchmark.labels import patchwork
from fcn.tools.benchmark.report import write_report
from fcn.tools.benchmark.rows import Row, Section, tables
from fcn.tools.benchmark.sliding import cell_stride, dense, network, sliding_rows
from fcn.tools.benchmark.strategies import Result, compare, near_seams, read, strategy_rows
from fcn.tools.benchmark.subject import Subject
from fcn.tools.windows import cutting, grid, in_windows, spread_evenly

PLAIN = {"device": torch.device("cpu"), "dtype": torch.float32, "channels_last": True}


@pytest.mark.slow
def test_without_padding_windows_the_unrolled_and_the_dilated_network_agree():
    section = sliding_rows("vgg11_valid", size=190, strides=[32, 16], windows=4, turns=1, **PLAIN)
    unrolled, dilated = (rows[-1] for rows in section.cases())
    for row, count in ((unrolled, 2**2), (dilated, 3**2)):
        assert row.difference < 1e-5
        assert row.equal == 1
        assert row.macs < count * 4e9
    assert [row.way for row in section.rows if "windows" not in row.way] == ["unrolled", "dilated"]
    ours = section.cases()[1][0]
    assert re.fullmatch(r"scaled up from \d of 9", ours.note)
    assert ours.macs == 9 * section.cases()[0][0].macs / 4


@pytest.mark.slow
def test_shift_and_stitch_stands_beside_the_dilated_network_at_stride_1():
    section = sliding_rows("vgg11_valid", size=154, strides=[1], windows=2, turns=1, **PLAIN)
    shifted, dilated = (next(row for row in section.rows if row.way == way) for way in ("shift-and-stitch", "dilated"))
    assert shifted.difference < 1e-5
    assert dilated.difference < 1e-5
    assert shifted.equal == dilated.equal == 1
    assert re.fullmatch(r"scaled up from \d+ of 1024", shifted.note)
    assert shifted.macs > 20 * dilated.macs


@pytest.mark.slow
def test_with_padding_they_do_not_and_that_is_told():
    section = sliding_rows("resnet18", size=256, strides=[32], windows=4, turns=1, **PLAIN)
    assert section.rows[-1].difference > 1e-3
    assert "padded as it is" in section.note


@torch.no_grad()
def test_a_network_without_padding_has_one_cell_for_its_window():
    classifier, window = network("vgg11_valid")
    unrolled = dense("vgg11_valid", classifier)
    images = torch.randn(1, 3, window + 32, window)
    assert unrolled(images).shape[-2:] == (2, 1)
    assert cell_stride(unrolled) == 32
    expected = in_windows(classifier, cutting(images, (window, window)), [(0, 0), (32, 0)], 2)
    torch.testing.assert_close(unrolled(images)[0, :, :, 0].t(), expected, rtol=1e-4, atol=1e-5)


def test_windows_stand_in_every_place_and_samples_reach_the_corners():
    places = grid((100, 80), (40, 40), 20)
    assert places == [(row, column) for row in (0, 20, 40, 60) for column in (0, 20, 40)]
    assert spread_evenly(places, 3) == [places[0], places[6], places[-1]]
    assert spread_evenly(places, 99) == places


def test_seams_are_where_windows_end():
    near = near_seams(100, 60, 0.0)  # windows from 0 and 40, so that edges lie at 40 and 60
    assert near[50, 50]
    assert not near[10, 10]
    assert near[10, 40]
    assert not near_seams(50, 60, 0.5).any()


def test_a_patchwork_has_the_boundaries_that_are_asked_for():
    for boundary in (0.1, 0.3, 0.6):
        scores, share = patchwork(64, 7, boundary)
        assert scores.shape == (1, 7, 64, 64)
        assert share == pytest.approx(boundary, abs=0.12)


def test_tables_leave_out_what_nothing_was_measured_of():
    rows = [
        Row("case", "slow", 2.0, macs=4 * 10**9),
        Row("case", "fast", 0.5, macs=10**9, equal=0.5),
        Row("case", "none", None, note="no room"),
    ]
    text = tables(Section("Title", rows, "A note."))
    assert "memory" not in text
    assert "4x" in text
    assert "50 %" in text
    assert "no room" in text
    assert tables(Section("Title", rows), markdown=True).startswith("## Title\n\ncase\n\n| way")


def test_a_report_in_which_nothing_could_be_measured_has_its_tables(tmp_path):
    write_report([Section("Title", [Row("case", "whole", None, note="no room")])], "a machine", {}, tmp_path)
    assert "no room" in (tmp_path / "benchmark.md").read_text()
    assert not (tmp_path / "benchmark.png").exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg11", {"size": 200}, "an image of 200 pixels a side is smaller than the window of vgg11, 224 pixels"),
        ("vgg11_valid", {"strides": [5]}, "vgg11_valid has stride 32, and windows 5 pixels apart stand on no grid of it"),
        ("vgg99", {}, "vgg99 is no classifier of torchvision"),
        ("resnet18_valid", {}, "only plain sequences of convolutions and pools can do without padding"),
    ],
)
def test_what_cannot_be_compared_is_told(name, options, message):
    with pytest.raises(ValueError, match=message):
        sliding_rows(name, **{"size": 256, "strides": [32], "windows": 2, "turns": 1, **PLAIN, **options})


TINY = ("size=160", "strides=[32]", "windows=1", "turns=1", "labelmap_size=128", "device=cpu")


def test_the_command_leaves_its_report(tmp_path, capsys):
    folder = tmp_path / "report"
    words = ["networks=[vgg11_valid]", "image_sizes=[]", f"output={folder}"]
    assert run(["benchmark", *TINY, *words]) == 0
    assert {path.name for path in folder.iterdir()} == {"benchmark.json", "benchmark.md", "benchmark.png"}
    content = json.loads((folder / "benchmark.json").read_text())
    assert [section["title"].split(":")[0] for section in content["sections"]] == [
        "Sliding windows against the unrolled network",
        "Labels from scores",
    ]
    printed = capsys.readouterr().out
    assert "unrolled" in printed
    assert "label map" in printed


def test_a_command_without_anything_to_measure_is_refused(capsys):
    assert run(["benchmark", *TINY, "networks=[]", "image_sizes=[]", "labelmap_size=null"]) == 1
    assert "there is nothing to measure" in capsys.readouterr().err


@pytest.mark.slow
def test_the_stream_is_the_whole_and_windows_are_not():
    spec = create_model("fcn8s", backbone="compact", num_classes=21).spec
    section = strategy_rows(Subject(spec), strategies=["whole", "stream", "windows"], sizes=[260], window=128, turns=1, **PLAIN)
    whole, stream, *windows = section.rows
    assert whole.equal is None
    assert stream.macs == whole.macs
    assert stream.difference < 1e-5
    assert "differ" not in stream.note or "0 of them clearly" in stream.note
    for row in windows:
        assert row.difference > 1e-3
        assert row.equal < 1
        assert row.macs > whole.macs
        assert "at seams" in row.note
    assert all(row.memory > 2**18 for row in section.rows)


def test_what_comes_in_bands_can_be_the_reference():
    spec = create_model("fcn8s", backbone="compact", num_classes=21).spec
    subject = Subject(spec)
    network, picture = subject.made("cpu", True), subject.pixels(256)
    found = read(build("inference", "stream", network, picture, band=16), 256, margins=True)
    expected = read(build("inference", "whole", network, picture), 256, margins=True)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.margin, expected.margin, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5, 12, 40])
def test_a_photograph_goes_on_in_mirrors_to_any_size(tmp_path, size):
    photograph = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(photograph).save(tmp_path / "a.png")
    expected = np.pad(photograph, ((0, max(0, size - 5)), (0, max(0, size - 7)), (0, 0)), mode="symmetric")[:size, :size]
    np.testing.assert_array_equal(Subject(picture=str(tmp_path / "a.png")).pixels(size).permute(1, 2, 0), expected)


def test_a_photograph_that_is_missing_is_refused_before_anything_is_measured(tmp_path, capsys):
    words = ["image=nowhere.jpg", f"output={tmp_path / 'report'}"]
    assert run(["benchmark", *TINY, "image_sizes=[64]", *words]) == 1
    assert "nowhere.jpg" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_a_label_differs_clearly_only_where_the_margin_is_large():
    labels = np.zeros((4, 4), np.uint8)
    other = labels.copy()
    other[0, :2] = 1
    margin = np.full((4, 4), 1e-6, np.float32)
    margin[0, 0] = 0.5
    reference = Result(labels, torch.tensor([0.0, 1.0]), margin)
    row = Row("case", "way", 1.0)
    compare(row, Result(other, torch.tensor([0.0, 0.75]), margin), reference, None)
    assert (row.difference, row.equal, row.note) == (0.25, 14 / 16, "; 2 labels differ, 1 of them clearly")


@pytest.mark.slow
def test_another_number_format_is_compared_to_float32_and_speeds_to_the_machine():
    spec = create_model("fcn8s", backbone="compact", num_classes=3).spec
    section = strategy_rows(Subject(spec), strategies=["stream"], sizes=[96], window=64, turns=1, **{**PLAIN, "dtype": torch.bfloat16})
    assert [row.way for row in section.rows] == ["stream, float32", "stream"]
    assert section.rows[0].peak > 0
    assert section.rows[1].flops == pytest.approx(2 * section.rows[1].macs / section.rows[1].seconds / 1e9)
    assert 1e-4 < section.rows[1].difference < 0.1
    assert ", 0 of them clearly" in section.rows[1].note or section.rows[1].equal == 1
