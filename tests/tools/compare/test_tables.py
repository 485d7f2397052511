"""The figures of a comparison as text: signs, digits, and which figure stands in which column."""

import pytest

from fcn.tools.compare.tables import difference, share, tables, with_spread


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"mean": 0.0123, "low": 0.001, "high": 0.0236, "verdict": "higher"}, "+1.23 [+0.10, +2.36] higher"),
        ({"mean": -0.0123, "low": -0.03, "high": 0.0054, "verdict": "not told apart"}, "-1.23 [-3.00, +0.54] not told apart"),
        ({"mean": -0.5, "low": None, "high": None, "verdict": "too few seeds"}, "-50.00 too few seeds"),
        (None, "-"),
    ],
)
def test_differences_have_a_sign(found, text):
    assert difference(found) == text


def test_a_mean_has_its_deviation_where_there_is_one():
    assert with_spread({"mean": 0.51239, "deviation": 0.0204}) == "51.24 ± 2.04"
    assert with_spread({"mean": 0.51239, "deviation": None}) == "51.24"
    assert with_spread({"mean": None, "deviation": None}) == "-"


def test_a_share_is_nothing_or_its_order_of_magnitude():
    assert [share(value) for value in (None, 0.0, 0.000123, 0.25)] == ["-", "0", "1.2e-04", "2.5e-01"]


def quality(*values):
    means = dict(zip(("miou", "boundary_iou", "band_iou", "thin_iou"), values, strict=True))
    return {key: {"mean": mean, "deviation": 0.01 if key == "miou" else None} for key, mean in means.items()}


def row(scores, before, after, speed, **rest):
    costs = {"parameters": 12_345_678, "upsampler_parameters": 5184, "multiply_adds": 2_345_600_000, "peak_memory": 3 * 2**30}
    costs |= {"images_per_second": speed, "latency_seconds": 0.01234}
    checkerboard = {"checkerboard_before": {"mean": before}, "checkerboard_after": {"mean": after}}
    return {"seeds": [0, 1], **scores, **checkerboard, **costs, **rest}


def cell(method, ground, wire):
    return {"variant": method, "quality": {"classes": {"ground": {"iou": ground}, "wire": {"iou": wire}}}}


@pytest.fixture
def report():
    found = {"low": None, "high": None, "verdict": "too few seeds"}
    differences = {"miou_difference": {"mean": 0.1, **found}, "boundary_iou_difference": {"mean": -0.2, **found}}
    return {
        "baseline": "bilinear",
        "compared": {"upsample": ["bilinear", "nearest"]},
        "variants": {name: {"upsample": name} for name in ("bilinear", "nearest")},
        "split": "shapes val",
        "classes": ["ground", "wire"],
        "image_size": [96, 160],
        "hardware": ["one machine"],
        "settings": {"thin": []},
        "summary": {
            "bilinear": row(quality(0.5, 0.4, 0.3, None), 0.0, 0.002, 30, multiply_adds=None, peak_memory=None),
            "nearest": row(quality(0.6, 0.2, 0.7, None), 0.0, 0.05, 20, **differences, band_iou_difference=None),
        },
        "cells": {
            "bilinear-0": cell("bilinear", 0.9, None),
            "bilinear-1": cell("bilinear", 0.8, 0.3),
            "nearest-0": cell("nearest", 0.7, None),
        },
    }


def test_every_figure_stands_in_its_column(report):
    shown = {table.title: [dict(zip(table.columns, cells, strict=True)) for cells in table.rows] for table in tables(report)}
    assert shown == {
        "Quality": [
            {"upsample": "bilinear", "mIoU": "50.00 ± 1.00", "boundary IoU": "40.00", "band IoU": "30.00", "seeds": "0, 1"},
            {"upsample": "nearest", "mIoU": "60.00 ± 1.00", "boundary IoU": "20.00", "band IoU": "70.00", "seeds": "0, 1"},
        ],
        "Paired difference to bilinear": [
            {"upsample": "nearest", "mIoU": "+10.00 too few seeds", "boundary IoU": "-20.00 too few seeds", "band IoU": "-"},
        ],
        "Checkerboard index": [
            {"upsample": "bilinear", "before training": "0", "after": "2.0e-03"},
            {"upsample": "nearest", "before training": "0", "after": "5.0e-02"},
        ],
        "Cost": [
            {
                "upsample": method,
                "parameters, M": "12.346",
                "up-samplers' own": "5,184",
                "multiply-adds, G": macs,
                "training, images/s": speed,
                "latency, ms": "12.3",
                "memory, MiB": memory,
            }
            for method, macs, speed, memory in (("bilinear", "-", "30.0", "-"), ("nearest", "2.346", "20.0", "3,072"))
        ],
        "IoU of the classes": [
            {"class": "ground", "bilinear": "85.00", "nearest": "70.00"},
            {"class": "wire", "bilinear": "30.00", "nearest": "-"},
        ],
    }


def test_a_table_without_rows_is_left_out(report):
    del report["summary"]["nearest"]
    assert "Paired difference to bilinear" not in [table.title for table in tables(report)]


def test_two_settings_make_a_grid(report):
    report["compared"] = {"model": ["fcn8s", "unet"], "loss.dice": ["0", "1"]}
    report["variants"] = {f"{model},loss.dice={dice}": {"model": model, "loss.dice": dice} for model in ("fcn8s", "unet") for dice in "01"}
    report["summary"] = {"fcn8s,loss.dice=0": report["summary"]["bilinear"], "unet,loss.dice=1": report["summary"]["nearest"]}
    report["baseline"] = "fcn8s,loss.dice=0"
    (grid,) = [table for table in tables(report) if table.title == "mIoU as a grid"]
    assert grid.columns == ["model, loss.dice", "0", "1"]
    assert grid.rows == [["fcn8s", "50.00 ± 1.00", "-"], ["unet", "-", "60.00 ± 1.00"]]
