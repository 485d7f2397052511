"""The label map against interpolation and arg-max: same labels, cost, memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.inference.labelmap import labelmap
from fcn.studies.benchmark.rows import Row, Section
from fcn.studies.measure import measured, time_in_turns

STRIDE = 8


def label_map_rows(*, size: int, classes: int, boundary: float, device: torch.device, turns: int, memory: bool) -> Section:
    """For scores at stride 8 of a (size, size) image in which a share ``boundary`` of the cells lies at boundaries of regions."""
    scores, share = patchwork(size // STRIDE, classes, boundary)
    scores = scores.to(device)
    on_gpu = device.type == "cuda"
    calls: dict[str, Callable[[], Any]] = {"interpolate, arg-max": lambda: full(scores), "label map": lambda: ours(scores)}
    times = time_in_turns(calls, turns=turns, on_gpu=on_gpu)
    equal = (full(scores) == ours(scores)).float().mean().item()
    case = f"{size}x{size} pixels, {classes} classes, {100 * share:.0f} % boundary cells"
    rows = []
    for way in calls:
        found = measured(make, way, size, classes, boundary, str(device), on_gpu=on_gpu).memory if memory else None
        rows.append(Row(case, way, times[way].median, times[way].spread, memory=found))
        if found is not None:
            rows[-1].note = f"{found / size**2:.1f} bytes a pixel"
    rows[1].equal = equal
    return Section("Labels from scores", rows, "Labels may differ where two classes are equal up to rounding.")


def full(scores: Tensor) -> Tensor:
    return F.interpolate(scores, scale_factor=float(STRIDE), mode="bilinear", align_corners=False).argmax(1)


def ours(scores: Tensor) -> Tensor:
    labels = labelmap(scores, factor=STRIDE)
    assert isinstance(labels, Tensor)
    return labels


def make(way: str, size: int, classes: int, boundary: float, device: str) -> Callable[[], None]:
    scores, _ = patchwork(size // STRIDE, classes, boundary)
    scores, run = scores.to(device), full if way.startswith("interpolate") else ours
    run(scores[..., :16, :16])

    def call() -> None:
        run(scores)

    return call


def patchwork(side: int, classes: int, boundary: float) -> tuple[Tensor, float]:
    """Scores (1, classes, side, side) of smooth regions, and their share of boundary cells: the nearest to ``boundary`` that there is."""
    found: list[tuple[float, float, Tensor]] = []
    for length in range(2, max(3, side // 2)):
        noise = torch.randn(1, classes, max(2, side // length), max(2, side // length), generator=torch.Generator().manual_seed(0))
        scores = 4 * F.interpolate(noise, size=(side, side), mode="bicubic", align_corners=False)
        best = scores.argmax(1)[0]
        same = (best[1:, 1:] == best[:-1, 1:]) & (best[1:, 1:] == best[1:, :-1]) & (best[1:, 1:] == best[:-1, :-1])
        share = 1 - same.float().mean().item()
        found.append((abs(share - boundary), share, scores))
        if share < boundary:
            break
    _, share, scores = min(found, key=lambda each: each[0])
    return scores, share
