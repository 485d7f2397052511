"""One axis of one operation: which cells of its input each cell of its output reads.

Every operation on a grid is, along each axis, a map from output cells to *taps*: indices of input cells. A convolution of kernel ``k``,
stride ``s``, dilation ``d`` and padding ``p`` reads ``o s - p + d j``, ``j = 0 .. k - 1``; a transposed convolution reads the ``i`` with
``o = i s - p + d j``; a bilinear resize reads the two neighbours of ``(o + 1/2) n_in / n_out - 1/2``. The maps here are exact: rational
arithmetic, every phase, and the borders as they are (zero padding reads nothing, reflection reads what it reflects). Only where torch's own
rounding decides which cell is read, in nearest resizes, do they round as it does.

Each map repeats itself: ``taps(o + period) = taps(o) + advance``, borders aside. ``advance / period`` is its ratio, less than one where
it up-samples.

    >>> conv = Window(n_in=10, n_out=5, kernel=3, stride=2, padding=(1, 1))
    >>> conv.reads(0, 1), conv.reads(0, 2), conv.span(0, 2)     # rows read; the same before clipping at the borders
    ((0, 2), (0, 4), (-1, 4))
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

HOLE = -(2**62)  # a tap that reads nothing: padding, or a zero that a transposed convolution inserts
NOTHING = (2**62, -(2**62))  # the empty interval, neutral for hulls

Cells = NDArray[np.int64]
Interval = tuple[int, int]  # [first, last + 1) in cells of the input
Border = Literal["zero", "reflect", "replicate", "circular"]


@dataclass(frozen=True)
class AxisMap(ABC):
    """From ``n_out`` output cells to ``n_in`` input cells along one axis. Subclasses say which taps a cell has."""

    n_in: int
    n_out: int

    @property
    def is_local(self) -> bool:
        """False where a cell's reading depends on the total size of the input, or is all of it."""
        return True

    @property
    def is_identity(self) -> bool:
        return False

    @property
    def period(self) -> int:
        """Output cells after which the taps repeat, shifted by ``advance`` input cells."""
        return 1

    @property
    def advance(self) -> int:
        return 1

    @property
    def ratio(self) -> Fraction:
        """Input cells per output cell, ``advance / period``."""
        return Fraction(self.advance, self.period)

    @abstractmethod
    def taps(self, cells: Cells) -> Cells:
        """Indices ``(len(cells), K)`` on an input without borders; ``HOLE`` where a tap reads nothing."""

    def clip(self, taps: Cells) -> Cells:
        """Taps on the real input: what lies beyond its borders becomes ``HOLE`` or the cell that stands in for it."""
        return np.where((taps >= 0) & (taps < self.n_in), taps, HOLE)

    @cached_property
    def table(self) -> Cells:
        """``(n_out, K)``: the cells of the real input that each output cell reads, ``HOLE`` for none."""
        return self.clip(self.taps(np.arange(self.n_out, dtype=np.int64)))

    @cached_property
    def bounds(self) -> tuple[Cells, Cells]:
        """Two arrays ``(n_out,)``: first cell read and last cell read + 1, clipped; ``NOTHING`` for a cell that sees padding only."""
        return _hull(self.table)

    def reads(self, first: int, end: int) -> Interval:
        """The smallest interval of the real input that output cells ``[first, end)`` read; ``(0, 0)`` if none."""
        low, high = (bound[first:end] for bound in self.bounds)
        if not len(low) or low.min() >= high.max():
            return (0, 0)
        return (int(low.min()), int(high.max()))

    def span(self, first: int, end: int) -> Interval:
        """As ``reads``, before clipping: what lies under 0 or from ``n_in`` on is padding (or a cell that stands in for it)."""
        low, high = _hull(self.taps(np.arange(first, end, dtype=np.int64)))
        return (int(low.min()), int(high.max())) if len(low) and low.min() < high.max() else (0, 0)

    def writes(self, end: int) -> int:
        """How many output cells, from the first, can be computed when the first ``end`` input cells are known."""
        reach = np.maximum.accumulate(self.bounds[1])
        return int(np.searchsorted(reach, end, side="right"))

    def pull(self, low: Cells, high: Cells) -> tuple[Cells, Cells]:
        """Compose: from each input cell's interval of pixels ``(n_in,)`` to each output cell's ``(n_out,)``."""
        if self.is_identity:
            return low, high
        hole = self.table == HOLE
        index = np.where(hole, 0, self.table)
        return np.where(hole, NOTHING[0], low[index]).min(1), np.where(hole, NOTHING[1], high[index]).max(1)


@dataclass(frozen=True)
class Window(AxisMap):
    """Convolution, pooling, padding, cropping, slicing: taps ``o stride - padding[0] + dilation j``, ``j < kernel``.

    Negative padding crops. ``border`` says what stands beyond the edges.
    """

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)
    border: Border = "zero"

    @property
    def is_identity(self) -> bool:
        return self.kernel == 1 and self.stride == 1 and self.padding == (0, 0) and self.n_in == self.n_out

    @property
    def advance(self) -> int:
        return self.stride

    @property
    def reach(self) -> int:
        """Cells from the first tap to the last: ``dilation (kernel - 1) + 1``."""
        return self.dilation * (self.kernel - 1) + 1

    def taps(self, cells: Cells) -> Cells:
        return cells[:, None] * self.stride - self.padding[0] + self.dilation * np.arange(self.kernel, dtype=np.int64)

    def clip(self, taps: Cells) -> Cells:
        last = self.n_in - 1
        if self.border == "replicate":
            return np.clip(taps, 0, last)
        if self.border == "circular":
            return taps % self.n_in
        if self.border == "reflect":
            return last - np.abs(last - np.abs(taps))
        return super().clip(taps)


@dataclass(frozen=True)
class Transposed(AxisMap):
    """Transposed convolution and un-pooling: the ``i`` with ``o = i stride - padding + dilation j`` for some ``j < kernel``."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)  # cut from both ends; the second is less output_padding

    @property
    def period(self) -> int:
        return self.stride

    def taps(self, cells: Cells) -> Cells:
        position = cells[:, None] + self.padding[0] - self.dilation * np.arange(self.kernel, dtype=np.int64)
        return np.where(position % self.stride == 0, position // self.stride, HOLE)


@dataclass(frozen=True)
class Resize(AxisMap):
    """Nearest, linear or cubic interpolation, and "repeat", where each cell becomes ``1 / scale`` cells: pixel shuffle, repeat_interleave.

    ``scale`` is input cells per output cell. Linear taps of weight zero (exact hits of the grid) are not counted. ``fixed``: the scale was
    given as a factor and does not follow from the two sizes. ``shortened``: a factor was given which torch ignores at these two sizes
    (``graph/ops/resizes.py``). Nearest taps are those of torch, where they follow from a rounded scale: of 2 cells resized to 82, cell 41
    reads the first. ``routine`` is the one that rounds. "plain" rounds in float32. "single" and "double" round in the type of the scores,
    for contiguous maps on a CPU, and for nearest-exact in other steps. Source: ``aten/src/ATen/native/UpSample.h``.
    """

    scale: Fraction = Fraction(1)
    mode: Literal["repeat", "nearest", "nearest-exact", "linear", "cubic"] = "repeat"
    align_corners: bool = False
    antialias: bool = False
    fixed: bool = False
    shortened: bool = False
    routine: Literal["plain", "single", "double"] = "plain"

    @property
    def is_local(self) -> bool:
        """Whether the phases stay the same when the image grows: a whole factor, or one given as a factor, that rounding does not move."""
        whole = 1 in (self.scale.numerator, self.scale.denominator)
        return not self.shortened and (self.scale == 1 or (not self.align_corners and (whole or self.fixed) and not self.is_moved))

    @cached_property
    def is_moved(self) -> bool:
        """Whether a nearest cell reads another one, by rounding, than the exact scale says."""
        if self.mode not in ("nearest", "nearest-exact"):
            return False
        cells = np.arange(self.n_out, dtype=np.int64)
        return not np.array_equal(self.taps(cells), self._nearest_taps(cells))

    @property
    def is_identity(self) -> bool:
        return self.n_in == self.n_out and self.scale == 1

    @property
    def period(self) -> int:
        return self.scale.denominator

    @property
    def advance(self) -> int:
        return self.scale.numerator

    def taps(self, cells: Cells) -> Cells:
        up, down = self.scale.numerator, self.scale.denominator
        if self.mode == "repeat":
            return self._nearest_taps(cells)
        if self.mode in ("nearest", "nearest-exact"):
            return self._rounded_taps(cells)
        if self.antialias:
            return self._smooth_taps(cells)
        # the source position is position / unit, in cells
        position, unit = (cells * up, down) if self.align_corners else ((2 * cells + 1) * up - down, 2 * down)
        base, exact = position // unit, position % unit == 0
        offsets = np.arange(2) if self.mode == "linear" else np.arange(-1, 3)
        taps = base[:, None] + offsets
        return np.where(exact[:, None] & (offsets != 0), HOLE, taps)

    def clip(self, taps: Cells) -> Cells:
        if self.antialias:  # weights beyond the border are dropped and the rest made to sum to one
            return super().clip(taps)
        return np.where(taps == HOLE, HOLE, np.clip(taps, 0, self.n_in - 1))

    def _rounded_taps(self, cells: Cells) -> Cells:
        """Nearest cells as torch finds them: it rounds positions to float32 before it takes the floor."""
        real: type[np.floating] = np.float64 if self.routine == "double" else np.float32
        half = real(0.5 if self.mode == "nearest-exact" else 0)
        position = (cells.astype(real) + half) * real(self.scale.numerator / self.scale.denominator)
        if self.routine != "plain":
            position = np.maximum(position - half, real(0)) + half
        return np.floor(position.astype(np.float32)).astype(np.int64)[:, None]

    def _nearest_taps(self, cells: Cells) -> Cells:
        """The cell that the source position lies in, without rounding."""
        half = self.mode == "nearest-exact"
        return ((2 * cells + half) * self.scale.numerator // (2 * self.scale.denominator))[:, None]

    def _smooth_taps(self, cells: Cells) -> Cells:
        """Antialiased: the filter's support grows with the scale; taps strictly inside it."""
        up, down = self.scale.numerator, self.scale.denominator
        support = (1 if self.mode == "linear" else 2) * max(up, down)  # in units of 1 / down cells
        low = ((2 * cells + 1) * up - 2 * support - down) // (2 * down) + 1
        high = -((-(2 * cells + 1) * up - 2 * support + down) // (2 * down)) - 1
        taps = low[:, None] + np.arange(int((high - low).max()) + 1, dtype=np.int64)
        distance = np.abs((2 * taps + 1) * down - (2 * cells[:, None] + 1) * up)  # in units of 1 / (2 down) cells
        zero = (distance == 2 * max(up, down)) & (self.mode == "cubic")  # where the cubic filter crosses zero
        return np.where((taps <= high[:, None]) & ~zero, taps, HOLE)


@dataclass(frozen=True)
class Bins(AxisMap):
    """Adaptive pooling: cell ``o`` reads ``[floor(o n_in / n_out), ceil((o + 1) n_in / n_out))``, which depends on the total size."""

    @property
    def is_local(self) -> bool:
        return self.is_identity

    @property
    def is_identity(self) -> bool:
        return self.n_in == self.n_out

    @property
    def window(self) -> Window | None:
        """The window, of one size and one step, that reads the same (8 to 7, 10 to 3, any number to 2); None where there is none."""
        starts = [cell * self.n_in // self.n_out for cell in range(self.n_out)]
        step, kernel = starts[min(1, self.n_out - 1)] or 1, -(-self.n_in // self.n_out)
        ends = [-(-(cell + 1) * self.n_in // self.n_out) for cell in range(self.n_out)]
        fits = starts == [cell * step for cell in range(self.n_out)] and ends == [start + kernel for start in starts]
        return Window(self.n_in, self.n_out, kernel=kernel, stride=step) if fits else None

    def taps(self, cells: Cells) -> Cells:
        low, high = cells * self.n_in // self.n_out, -(-(cells + 1) * self.n_in // self.n_out)
        taps = low[:, None] + np.arange(int((high - low).max()), dtype=np.int64)
        return np.where(taps < high[:, None], taps, HOLE)


@dataclass(frozen=True)
class Whole(AxisMap):
    """Every output cell reads all of the input: a global pool, a norm over space, attention.

    ``local`` is the map that is left when the global part is set aside (for a norm: the identity); None where nothing is left.
    """

    local: AxisMap | None = None

    @property
    def is_local(self) -> bool:
        return False

    def taps(self, cells: Cells) -> Cells:
        return np.tile(np.arange(self.n_in, dtype=np.int64), (len(cells), 1))

    @cached_property
    def bounds(self) -> tuple[Cells, Cells]:
        return np.zeros(self.n_out, np.int64), np.full(self.n_out, self.n_in, np.int64)

    def span(self, first: int, end: int) -> Interval:
        return self.reads(first, end)

    def pull(self, low: Cells, high: Cells) -> tuple[Cells, Cells]:
        return np.full(self.n_out, low.min()), np.full(self.n_out, high.max())


def identity(size: int) -> Window:
    """Each cell reads the cell in its place."""
    return Window(size, size)


def _hull(taps: Cells) -> tuple[Cells, Cells]:
    hole = taps == HOLE
    return np.where(hole, NOTHING[0], taps).min(1, initial=NOTHING[0]), np.where(hole, NOTHING[1], taps + 1).max(1, initial=NOTHING[1])


def reads(axis: AxisMap, done: Cells, first: int = 0) -> tuple[Cells, Cells]:
    """Up to which cell the source must be known when the cells up to ``done[i]`` are computed, and the first that later cells will read.

    Cells before ``first`` and behind the last of ``done`` are never asked for, and count for nothing.
    """
    low, high = (bound[: done[-1]] for bound in axis.bounds)
    asked = np.where(np.arange(len(high)) < first, 0, np.maximum(high, 0))
    reach = np.maximum.accumulate(np.concatenate([[0], asked]))
    following = np.minimum.accumulate(np.concatenate([np.minimum(low, axis.n_in), [axis.n_in]])[::-1])[::-1]
    return reach[done], following[done]
