"""What ``fcn localize`` says of a photograph: on standard output, and in ``localize.json``."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fcn.tools.localize.classmaps import ClassMaps
from fcn.tools.localize.localizer import BATCH, Localized
from fcn.tools.tables import text_table

LISTED = 10  # classes in localize.json, beside those that are drawn


def entry(found: Localized, classes: Sequence[int], stride: int) -> dict[str, Any]:
    """The part of ``localize.json`` about one photograph. classes: numbers of those that are drawn."""
    maps = found.maps
    listed = dict.fromkeys([*classes, *maps.top(LISTED)])
    made: dict[str, Any] = {
        "size": list(maps.size),
        "cells": {
            "rows": len(maps.rows),
            "columns": len(maps.columns),
            "stride": stride,
            "first": [round(float(maps.rows[0]), 2), round(float(maps.columns[0]), 2)],
        },
        "classes": [of_class(maps, index) | {"drawn": index in classes} for index in listed],
        "margin": round(float(maps.margin.mean()), 4),
        "agreement": {**asdict(maps.agreement), "words": str(maps.agreement)},
        "seconds": round(found.seconds.unrolled, 4),
    }
    if found.sliding is not None:
        others = [of_class(found.sliding, index) for index in listed]
        made["sliding"] = {"windows": found.windows, "seconds": round(found.seconds.sliding, 4), "classes": others}
    return made


def of_class(maps: ClassMaps, index: int) -> dict[str, Any]:
    """A class: its mean and its highest probability, the pixel of that (row, column), and the share of the cells that it wins."""
    heat = maps.probabilities[index]
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return {
        "name": maps.names[index],
        "index": index,
        "mean": round(float(heat.mean()), 4),
        "peak": round(float(heat.max()), 4),
        "peak_at": [
            min(max(round(float(maps.rows[row])), 0), maps.size[0] - 1),
            min(max(round(float(maps.columns[column])), 0), maps.size[1] - 1),
        ],
        "share": round(float((maps.winner == index).mean()), 4),
    }


def text(name: str, made: dict[str, Any]) -> str:
    """The same in words."""
    height, width = made["size"]
    cells = made["cells"]
    head = ["class", "mean", "peak", "at row, column", "first in"]
    rows = [
        [each["name"], f"{each['mean']:.3f}", f"{each['peak']:.3f}", "{}, {}".format(*each["peak_at"]), f"{each['share']:.1%} of the cells"]
        for each in made["classes"]
        if each["drawn"]
    ]
    lines = [f"{name}: {width}x{height} pixels, {cells['rows']}x{cells['columns']} cells, one every {cells['stride']} pixels"]
    lines += [text_table(head, rows), made["agreement"]["words"]]
    if "sliding" in made:
        sliding = made["sliding"]
        lines.append(
            f"one pass {made['seconds']:.2f} s; {sliding['windows']} windows, {BATCH} at a time, {sliding['seconds']:.2f} s: "
            f"{sliding['seconds'] / made['seconds']:.1f} times as long"
        )
    return "\n".join(lines)
