"""What an evaluation leaves behind: ``metrics.json``, ``table.txt``, ``confusion.png``, ``worst.png`` and ``report.html``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcn.core.files import written
from fcn.tools.evaluate.images import Sums, compared
from fcn.tools.evaluate.page import Found, page
from fcn.tools.evaluate.worst import Worst
from fcn.training.calibration import Calibration, calibration
from fcn.training.metrics import Evaluation, percent, plain
from fcn.training.plots import draw_confusion


def write_report(folder: Path, result: Evaluation, sums: Sums, worst: Worst, protocol: Mapping[str, Any]) -> str:
    """Write all of them; returns the text of the table."""
    calibrated = calibration(sums.confidence)
    with written(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(plain_values(result, sums, calibrated, protocol), indent=1) + "\n")
    draw_confusion(result.confusion, result.labels.names, folder / "confusion.png")
    lines = [str(result), f"boundary IoU {percent(sums.mean_boundary_iou).strip()}   {compared(result.mean_iou, sums.mean_image_iou)}"]
    lines += [str(calibrated)] if calibrated is not None else []
    text = "\n".join(lines)
    with written(folder / "table.txt") as temporary:
        temporary.write_text(text + "\n")
    sheet = worst.sheet(result.metrics.iou)
    if sheet is not None:
        with written(folder / "worst.png") as temporary:
            sheet.save(temporary, format="PNG", compress_level=1)
    found = Found(result, sums, worst, calibrated, (folder / "confusion.png").read_bytes(), protocol)
    with written(folder / "report.html") as temporary:
        temporary.write_text(page(found), encoding="utf-8")
    return text


def plain_values(result: Evaluation, sums: Sums, calibrated: Calibration | None, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """All scores for JSON; nan becomes None."""
    content = result.as_dict()
    for name, boundary, image in zip(result.labels.names, sums.boundary_iou, sums.image_iou, strict=True):
        content["classes"][name] |= {"boundary_iou": plain(boundary), "image_iou": plain(image)}
    content |= {"boundary_iou": plain(sums.mean_boundary_iou), "image_miou": plain(sums.mean_image_iou)}
    if calibrated is not None:
        content["calibration"] = calibrated.as_dict()
    return {**content, "protocol": dict(protocol)}
