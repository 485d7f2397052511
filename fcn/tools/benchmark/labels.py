"""The label map against interpolation and arg-max: same labels, cost, memory."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.inference.labelmap import label_map
from fcn.tools.benchmark.rows import Row, Section, counted
from fcn.tools.measure import Maker, measured

STRIDE = 8
TITLE = "Labels from scores"


def label_map_rows(*, size: int, classes: int, boundary: float, device: torch.device, turns: int) -> Section:
    """For scores at stride 8 of a (size, size) image in which a share ``boundary`` of the cells lies at boundaries of regions."""
    scores, share = patchwork(size // STRIDE, classes, boundary)
    scores = scores.to(device)
    settings = (size, classes, boundary, str(device))
    makers: dict[str, Maker] = {way: (make, (way, *settings)) for way in WAYS}
    times = measured(makers, turns=turns, on_gpu=device.type == "cuda")
    case = f"{size}x{size} pixels, {classes} classes, {100 * share:.0f} % boundary cells"
    rows = [Row.of(case, way, times[way]) for way in WAYS]
    for row in rows:
        if row.memory is not None:
            row.note = f"{row.memory / size**2:.1f} bytes a pixel"
    if any(row.seconds is None for row in rows):
        return Section(TITLE, rows)
    expected, found = (WAYS[way](scores) for way in WAYS)
    wrong = expected != found
    rows[1].equal = 1 - wrong.float().mean().item()
    if wrong.any():
        values = interpolated(scores)
        margin = values.gather(1, expected[:, None].long()) - values.gather(1, found[:, None].long())
        rows[1].note += f"; {counted(int(wrong.sum()))}, by {margin[:, 0][wrong].max():.1e} at most in score"
    return Section(TITLE, rows, "No multiply-adds are counted: no convolution is among this.")


def interpolated(scores: Tensor) -> Tensor:
    return F.interpolate(scores, scale_factor=float(STRIDE), mode="bilinear", align_corners=False)


def full(scores: Tensor) -> Tensor:
    return interpolated(scores).argmax(1)


def ours(scores: Tensor) -> Tensor:
    labels = label_map(scores, factor=STRIDE)
    assert isinstance(labels, Tensor)
    return labels


WAYS: dict[str, Callable[[Tensor], Tensor]] = {"interpolate, arg-max": full, "label map": ours}


def make(way: str, size: int, classes: int, boundary: float, device: str) -> Callable[[], None]:
    scores, _ = patchwork(size // STRIDE, classes, boundary)
    scores, run = scores.to(device), WAYS[way]
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
