"""Label maps without full-size scores: up-sampling and arg-max in one.

Bilinear interpolation is convex: between four grid points every class's score stays within its scores at the four. So where one class is
the largest at all four, it is the largest at every pixel between them, and the cell is filled without computing anything. In the other
cells, those at the boundaries of regions, a class can win somewhere only if its largest corner reaches the best of all smallest corners:

    max over corners of s_k  >=  max over classes j of (min over corners of s_j)

(a class that falls short is below class ``j`` everywhere in the cell). Only these candidates are interpolated, mostly two or three of them,
whatever the number of classes. A third class that wins inside a cell and at none of its corners is among them. The labels are those of
``F.interpolate(scores, mode="bilinear", align_corners=False).argmax(1)``, but where two classes are equal up to rounding. NaN counts as
the largest there is, as in ``argmax``; a class of scores -infinity never wins. Where a score is NaN, the confidence is 0.
"""

import math
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Literal, overload

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import MOST_CLASSES, label_dtype
from fcn.core.names import a_type
from fcn.inference.grid import Axis, Grid, interpolate_rows, mix

WORK = 2**19  # pixels, or scores, that are worked on at once on a CPU
WORK_GPU = 2**24
DENSE = 0.5  # grid points per pixel from which on cells are so small that every pixel is interpolated on a CPU


WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@overload
def label_map(
    scores: Tensor,
    size: tuple[int, int] | None = None,
    *,
    factor: float | None = None,
    crop: tuple[int, int] | None = None,
    confidence: Literal[False] = False,
) -> Tensor: ...


@overload
def label_map(
    scores: Tensor,
    size: tuple[int, int] | None = None,
    *,
    factor: float | None = None,
    crop: tuple[int, int] | None = None,
    confidence: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def label_map(
    scores: Tensor,
    size: tuple[int, int] | None = None,
    *,
    factor: float | None = None,
    crop: tuple[int, int] | None = None,
    confidence: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The labels of class scores of any network, at the size of the image.

    The result is that of ``F.interpolate(scores, size=size, mode="bilinear", align_corners=False).argmax(1)``, except where two classes
    are equal up to rounding. The interpolated scores are never stored: only cells at the boundaries of regions are interpolated.

    >>> scores = torch.randn(21, 64, 96)
    >>> labels = fcn.label_map(scores, size=(512, 768))

    scores: class scores, float tensor (C, h, w) or (N, C, h, w), 1 to 65535 classes. bfloat16 and half are computed in float32.
    size: size to interpolate to, (height, width) in pixels.
    factor: factor to interpolate by, in place of ``size``, as ``scale_factor`` of ``F.interpolate``; whole or not.
    crop: size of the result, (height, width) in pixels, cut from the top left; default: all. Networks of this toolkit need it:
        ``fcn.label_map(model.scores(images), factor=model.stride, crop=images.shape[-2:])``.
    confidence: also return the largest softmax probability of each pixel; default False. It needs every pixel interpolated, which takes
        the time that the label map saves.

    Returns labels (H, W) or (N, H, W), uint8, or int32 with more than 255 classes, on the device of the scores. With ``confidence=True``,
    returns a pair of labels and confidence; the confidence is a uint8 tensor of the same shape, 255 for a probability of 1.

    Raises UserError for scores of another shape or type, and for a size that is not allowed.
    """
    if not isinstance(scores, Tensor):
        raise TypeError(f"scores is {a_type(scores)}; give a torch tensor (C, h, w) or (N, C, h, w)")
    if scores.ndim not in (3, 4) or scores.shape[-3] > MOST_CLASSES or 0 in scores.shape or not scores.is_floating_point():
        raise UserError(
            f"scores of shape {tuple(scores.shape)} and type {scores.dtype}; "
            f"give floating-point (C, h, w) or (N, C, h, w) of up to {MOST_CLASSES} classes"
        )
    if (factor is None) == (size is None):
        raise UserError(f"factor={factor} and size={size} given; give one of them")
    if factor is not None and not 0 < factor < math.inf:
        raise UserError(f"factor={factor} is not allowed; it is a number above 0")
    for name, sides in (("size", size), ("crop", crop)):
        if sides is not None and not (isinstance(sides, Sequence) and len(sides) == 2 and all(is_side(side) for side in sides)):
            raise UserError(f"{name}={sides} is not allowed; it is (height, width), two whole numbers of 1 or more")
    samples = scores if scores.ndim == 4 else scores[None]
    rows, columns = samples.shape[-2:]
    if size is not None:
        full, scales = (int(size[0]), int(size[1])), (rows / size[0], columns / size[1])
    else:
        assert factor is not None
        full = math.floor(rows * factor), math.floor(columns * factor)
        down, across = (1.0 if before == after else 1 / factor for before, after in zip((rows, columns), full, strict=True))
        scales = down, across  # an axis whose size stays is copied
    height, width = full if crop is None else (int(crop[0]), int(crop[1]))
    if not (1 <= height <= full[0] and 1 <= width <= full[1]):
        raise UserError(f"a label map of {height}x{width} pixels is asked for; these scores give up to {full[0]}x{full[1]}")
    grid = Grid(Axis(rows, scales[0]), Axis(columns, scales[1]), height, width)
    labels = torch.empty(len(samples), height, width, dtype=label_type(scores.shape[-3]), device=scores.device)
    sure = torch.empty_like(labels, dtype=torch.uint8) if confidence else None
    with torch.no_grad():
        for index, sample in enumerate(samples):
            for first, last in bands(grid, sample, 0, height):
                labels[index, first:last] = label_rows(sample, grid, first, last)
                if sure is not None:
                    sure[index, first:last] = confidence_rows(sample, grid, first, last)
    if scores.ndim == 3:
        labels, sure = labels[0], None if sure is None else sure[0]
    return labels if sure is None else (labels, sure)


def label_type(num_classes: int) -> torch.dtype:
    """The type of labels of so many classes."""
    kind: torch.dtype = getattr(torch, label_dtype(num_classes))
    return kind


def is_side(side: object) -> bool:
    return isinstance(side, Integral) and not isinstance(side, bool) and int(side) >= 1


def label_rows(scores: Tensor, grid: Grid, first: int, last: int, *, top: int = 0) -> Tensor:
    """Labels (last - first, W) of the pixel rows ``first`` to ``last - 1``.

    scores: (C, rows, w), rows of the score grid from row ``top`` of it on, down to the last that these pixels lie at.
    """
    like = typed(scores[:, :0])
    if is_dense(scores, grid):
        low, high = grid.down.reach(first, last, like)
        points = typed(scores[:, low - top : high + 1 - top])
        values = points if grid.is_pixels else above_infinity(points)
        values = interpolate_rows(values, grid, first, last, top=low)
        return values.max(0).indices.to(label_type(len(scores)))  # many times as fast as argmax, which does not vectorise
    rows, columns = grid.down.cells(first, last, like), grid.columns(like)
    low, high = int(rows.low[0]) - top, int(rows.high[-1]) - top
    points = above_infinity(typed(scores[:, low : high + 1]).permute(1, 2, 0).contiguous())  # (rows, w, C)
    upper, lower = rows.low - (low + top), rows.high - (low + top)
    best = points.max(2).indices.to(label_type(len(scores)))
    corners = [best.index_select(0, y).index_select(1, x) for y in (upper, lower) for x in (columns.low, columns.high)]
    mixed = (corners[0] != corners[1]) | (corners[0] != corners[2]) | (corners[0] != corners[3])
    tall, wide = rows.weight.shape[1], columns.weight.shape[1]
    labels = corners[0][:, None, :, None].expand(-1, tall, -1, wide).contiguous()  # (cell rows, slots, cell columns, slots)
    word = math.gcd(wide, 8 // labels.element_size())
    whole = WORDS[word * labels.element_size()]
    words = labels.view(whole)  # labels are moved several at a time
    y, x = mixed.nonzero(as_tuple=True)
    step = max(1, work_at_once(scores) // max(tall * wide, 8 * points.shape[2]))
    for begin in range(0, len(y), step):
        part = slice(begin, begin + step)
        values = corner_scores(points, (upper[y[part]], lower[y[part]]), (columns.low[x[part]], columns.high[x[part]]))
        for chosen, candidates, classes in candidate_groups(values):
            row, column = y[part][chosen], x[part][chosen]
            winners = cell_labels(candidates, classes, rows.weight[row], columns.weight[column])
            words[row, :, column] = winners.permute(2, 0, 1).reshape(-1).view(whole).view(len(row), tall, wide // word)
    taken = labels.view(labels.shape[0] * tall, labels.shape[2] * wide)
    for axis, slots in enumerate((rows.taken, columns.taken)):
        taken = taken.narrow(axis, slots.start, slots.stop - slots.start) if isinstance(slots, slice) else taken.index_select(axis, slots)
    return taken


def corner_scores(points: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]) -> Tensor:
    """(4, cells, C): the scores of cells at their corners, in the order upper left, upper right, lower left, lower right."""
    flat = points.view(-1, points.shape[2])
    return torch.stack([flat.index_select(0, row * points.shape[1] + column) for row in rows for column in columns])


def candidate_groups(values: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Groups of cells with the same number of classes that can win in them, or a few more. Yields the cells, int64 (m,), these classes'
    corner scores (K, 4, m), and the classes (K, m), in the type of labels, rising. values: (4, cells, C)."""
    smallest, largest = values.amin(0), values.amax(0)
    count = (~(largest < smallest.amax(1, keepdim=True))).sum(1)  # with NaN nothing is smaller: all are candidates
    below, classes = 1, values.shape[2]
    while below < classes:
        kept = min(below + 1 if below < 4 else below * 3 // 2, classes)
        chosen = ((count > below) & (count <= kept)).nonzero()[:, 0]
        below = kept
        if len(chosen):
            found = largest.index_select(0, chosen).topk(kept, 1).indices.sort(1).values
            scores = values.index_select(1, chosen).gather(2, found.expand(4, -1, -1))
            yield chosen, scores.permute(2, 0, 1).contiguous(), found.t().contiguous().to(label_type(classes))


def cell_labels(candidates: Tensor, classes: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(tall, wide, m): the class that wins at each slot of cells, the first of equals.

    candidates: (K, 4, m) corner scores; classes: (K, m); down, across: (m, tall), (m, wide) weights of the slots.
    """
    down, across = down.t()[:, None], across.t()[None]
    upper_left, upper_right, lower_left, lower_right = candidates[:, :, None, None].unbind(1)  # each (K, 1, 1, m)
    left, right = mix(upper_left, lower_left, down), mix(upper_right, lower_right, down)  # (K, tall, 1, m)
    best = mix(left[0], right[0], across)
    winner = classes[0].expand(best.shape)
    for place in range(1, len(candidates)):
        score = mix(left[place], right[place], across)
        winner = torch.where((score > best) | (score.isnan() & ~best.isnan()), classes[place], winner)
        best = torch.maximum(best, score)
    return winner


def confidence_rows(scores: Tensor, grid: Grid, first: int, last: int, *, top: int = 0, probabilities: bool = False) -> Tensor:
    """The largest softmax probability, uint8 (last - first, W), 255 for 1, of pixel rows; the arguments are those of ``label_rows``.

    probabilities: whether the scores are that already. Infinity is taken for a number that is out of reach of the others; NaN, of which
    nothing is sure, has a probability of 0.
    """
    low, high = grid.down.reach(first, last, typed(scores[:, :0]))
    points = typed(scores[:, low - top : high + 1 - top])
    most = torch.finfo(points.dtype).max / 4  # of which differences and means stay finite
    values = interpolate_rows(points.clamp(-most, most), grid, first, last, top=low)
    largest = values.amax(0)
    if not probabilities:
        largest = 1 / (values - largest).exp_().sum(0)
    return (255 * largest).round_().nan_to_num_(0).to(torch.uint8)


def bands(grid: Grid, scores: Tensor, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The pixel rows ``first`` to ``last - 1`` in parts (begin, end) of bounded work, cut between cells of the grid if they can be."""
    points = 1.0 if is_dense(scores, grid) else grid.points_per_pixel
    step = max(1, int(work_at_once(scores) / (grid.width * max(1.0, scores.shape[0] * points))))
    cell = grid.down.starts(last, typed(scores[:, :0]))
    while first < last:
        end = min(first + step, last)
        if end < last:
            edge = int(torch.searchsorted(cell, cell[end]))  # the first pixel row of the cell that is cut
            end = edge if edge > first else end
        yield first, end
        first = end


def above_infinity(scores: Tensor) -> Tensor:
    """The scores with the lowest number in place of -infinity, which times a weight of 0 would be NaN."""
    return scores.clamp(min=torch.finfo(scores.dtype).min)


def is_dense(scores: Tensor, grid: Grid) -> bool:
    """Whether every pixel is interpolated: where cells are small, and on a GPU, which has done that before it has found the boundaries."""
    return grid.points_per_pixel > DENSE or scores.device.type == "cuda"


def work_at_once(scores: Tensor) -> int:
    return WORK if scores.device.type == "cpu" else WORK_GPU


def typed(scores: Tensor) -> Tensor:
    """The scores in float32, or in float64 if they are that."""
    return scores if scores.dtype == torch.float64 else scores.float()
