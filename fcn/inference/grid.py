"""Where an image's pixels lie on a grid of scores: bilinear interpolation along one axis.

With ``scale`` grid points per pixel (1 / factor), pixel ``o`` lies at ``scale * (o + 0.5) - 0.5`` grid points (``align_corners=False``), or
at ``scale * o`` (``align_corners=True``). That is between the points ``low`` and ``high = low + 1``, at ``weight`` of the way. Before the
first point and behind the last, both are that point. Coordinates are computed in the type of the scores, as torch does. So the result
equals ``F.interpolate`` bit for bit where a factor is no power of two.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """For each of some pixels: the points on both sides, int64, and how far it is from the first to the second, 0 to 1."""

    low: Tensor
    high: Tensor
    weight: Tensor


class Cells(NamedTuple):
    """Some pixels sorted into the cells between points that they lie in. A cell has ``slots`` places for pixels, not all of them taken.

    low, high: (cells,) points on both sides. weight: (cells, slots) of the pixel in each slot. taken: (pixels,) slot of each pixel, counted
    through all cells, or a slice where they stand in a row.
    """

    low: Tensor
    high: Tensor
    weight: Tensor
    taken: Tensor | slice


@dataclass(frozen=True)
class Axis:
    """An axis of an image over ``points`` grid points, ``scale`` of them per pixel: pixel ``o`` lies at ``scale * (o + before) - after``.

    Of a part of an image: ``pixel`` and ``point`` are the places, on the whole one, of its first pixel and of its first point.
    """

    points: int
    scale: float
    pixel: int = 0
    point: int = 0
    before: float = 0.5
    after: float = 0.5

    @classmethod
    def over(cls, points: int, cell: float, *, corners: bool = False, left: tuple[int, int] = (0, 0), ratio: float = 1.0) -> "Axis":
        """The axis of scores of ``cell`` pixels per grid point.

        corners: whether the first and the last point lie on the first and the last pixel.
        left: first pixel and first point of a part of the axis.
        ratio: pixels that the network saw per pixel of the image.
        """
        if not corners:
            return cls(points, ratio / cell, *left)
        if ratio == 1:
            return cls(points, 1 / cell, *left, before=0.0, after=0.0)
        return cls(points, ratio / cell, *left, after=0.5 / cell)

    def places(self, first: int, last: int, like: Tensor) -> Places:
        """The places of the pixels ``first`` to ``last - 1``, in the floating type and on the device of ``like``."""
        cell, weight = self._split(first, last, like)
        top = self.points - 1
        return Places(cell.clamp(0, top).to(like.device), (cell + 1).clamp(0, top).to(like.device), weight.to(like.device))

    def cells(self, first: int, last: int, like: Tensor) -> Cells:
        """The same pixels sorted into cells."""
        cell, weight = self._split(first, last, like)
        found, owner, counts = torch.unique_consecutive(cell, return_inverse=True, return_counts=True)
        slots = int(counts.max())
        begin = counts.cumsum(0) - counts
        slot = torch.arange(last - first) - begin[owner]
        slot[: int(counts[0])] += slots - int(counts[0])  # a cell cut by `first` lies against the next one
        place = owner * slots + slot
        table = torch.zeros(len(found) * slots, dtype=weight.dtype)
        table[place] = weight
        start = int(place[0])
        in_a_row = int(place[-1]) - start == last - first - 1
        top = self.points - 1
        return Cells(
            found.clamp(0, top).to(like.device),
            (found + 1).clamp(0, top).to(like.device),
            table.view(len(found), slots).to(like.device),
            slice(start, start + last - first) if in_a_row else place.to(like.device),
        )

    def reach(self, first: int, last: int, like: Tensor) -> tuple[int, int]:
        """The first and the last grid point that these pixels lie at."""
        places = self.places(first, last, like[..., :0].cpu())
        return int(places.low[0]), int(places.high[-1])

    def starts(self, pixels: int, like: Tensor) -> Tensor:
        """(pixels,) int64: the number of the cell that each pixel from 0 on lies in, rising; -1 before the first point."""
        return self._split(0, pixels, like)[0]

    def _split(self, first: int, last: int, like: Tensor) -> tuple[Tensor, Tensor]:
        pixels = torch.arange(first + self.pixel, last + self.pixel, dtype=like.dtype)
        position = torch.tensor(self.scale, dtype=like.dtype) * (pixels + self.before) - self.after
        cell = position.floor()
        return cell.long() - self.point, position - cell


@dataclass
class Grid:
    """The two axes of a score grid under an image of ``height`` x ``width`` pixels."""

    down: Axis
    across: Axis
    height: int
    width: int
    _columns: dict[tuple[torch.dtype, torch.device], Cells] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_pixels(self) -> bool:
        """Whether a grid point lies on every pixel, so that there is nothing to interpolate."""
        return self.down.scale == 1 == self.across.scale

    @property
    def points_per_pixel(self) -> float:
        return self.down.scale * self.across.scale

    def columns(self, like: Tensor) -> Cells:
        """The cells of all columns of pixels; the same for every row."""
        key = like.dtype, like.device
        if key not in self._columns:
            self._columns[key] = self.across.cells(0, self.width, like)
        return self._columns[key]


def interpolate_rows(scores: Tensor, grid: Grid, first: int, last: int, *, top: int = 0) -> Tensor:
    """The scores (C, last - first, W) of the pixel rows ``first`` to ``last - 1``, bilinear.

    scores: (C, rows, w) in float32 or float64, rows of the grid from row ``top`` of it on, down to the last that these pixels lie at.
    """
    if grid.is_pixels:
        return scores[:, first - top : last - top, : grid.width]
    rows, columns = grid.down.places(first, last, scores), grid.across.places(0, grid.width, scores)
    lines = mix(scores.index_select(1, rows.low - top), scores.index_select(1, rows.high - top), rows.weight[:, None])
    return mix(lines.index_select(2, columns.low), lines.index_select(2, columns.high), columns.weight)


def mix(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """``start`` at a weight of 0, ``end`` at 1; unlike ``torch.lerp``, which takes a difference, it leaves infinity what it is."""
    return torch.addcmul(start * (1 - weight), end, weight)
