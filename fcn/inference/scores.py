"""Class scores of one image as bands of rows: the output of every strategy, and its use.

A strategy yields the rows of its score map from top to bottom, any number at a time. The first cell of the grid is at the top left of the
image. ``label`` turns the rows into a label map. A ``Reader`` returns interpolated rows of pixels, for test-time augmentation. Both keep
only the rows that are still needed.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import MOST_CLASSES, void_of
from fcn.core.progress import Progress
from fcn.inference.grid import Axis, Grid, interpolate_rows
from fcn.inference.labelmap import bands, confidence_rows, label_rows, label_type, typed
from fcn.models.segmenter import Cell
from fcn.rasters.rows import Rows

LARGE = 2**22  # pixels from which on the progress of one image is worth showing

T = TypeVar("T")


class Image(Protocol):
    """The rows of an image: a tensor (C, H, W), usually uint8, C = 3, or what has such a ``shape`` and reads ``image[:, first:last]``."""

    @property
    def shape(self) -> Any: ...

    def __getitem__(self, key: tuple[slice, slice], /) -> Tensor: ...


@dataclass
class Scores:
    """cell: pixels of the image per cell of the grid of scores, down and across (``Segmenter.cell``). bands: tensors (C, rows, columns),
    one below the other without gap or overlap, which nobody writes to any more. probabilities: whether they are softmax probabilities,
    not logits. left: of a strip, its first column of pixels, and the column of the grid with which its bands begin. top: the same of rows,
    where not all are wanted. The bands are computed when they are asked for, in the autocast state in which this was made."""

    cell: Cell | tuple[float, float]
    bands: Iterator[Tensor]
    probabilities: bool = False
    left: tuple[int, int] = (0, 0)
    top: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.bands = in_this_state(self.bands)


@dataclass
class Strips:
    """Scores of an image too wide for the memory, in strips of columns, one after the other. Each is the first column of pixels, the one
    behind the last, and the scores of these."""

    strips: Iterator[tuple[int, int, Scores]]

    def __post_init__(self) -> None:
        self.strips = in_this_state(self.strips)


def in_this_state(items: Iterator[T]) -> Iterator[T]:
    """The items, each made in the autocast state of this call, whatever it is when they are asked for."""
    accelerator = torch.accelerator.current_accelerator()
    kinds = ["cpu"] if accelerator is None else ["cpu", accelerator.type]
    states = [(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) for kind in kinds]

    def made() -> Iterator[T]:
        while True:
            with ExitStack() as stack:
                for kind, dtype, enabled in states:
                    stack.enter_context(torch.autocast(kind, dtype=dtype, enabled=enabled))
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    return made()


class Reader:
    """Reads pixel rows of ``scores``, in rising order, at the size of the image; it keeps the rows of scores that later ones need. Rows
    are counted from the first that is wanted.

    view: the (height, width) that the network saw, where that was the image resized. The first band is taken at once. Raises
    UserError where there is none, and for more classes than a label map can tell apart.
    """

    def __init__(self, scores: Scores, height: int, width: int, *, view: tuple[int, int] | None = None) -> None:
        tall, wide = view or (height, width)
        cell = Cell(*scores.cell)
        self.scores = scores
        self.kept: deque[tuple[int, Tensor]] = deque()  # (its first row on the grid, band)
        self.come = 0  # rows of the grid so far
        band = self._take()
        if band is None:
            raise UserError("there are no scores: their bands are empty")
        if len(band) == 0:
            raise UserError("the network gives scores of no class; it needs one or more")
        if len(band) > MOST_CLASSES:
            raise UserError(f"the network gives scores of {len(band)} classes; a label map, of two bytes a pixel, has up to {MOST_CLASSES}")
        self.dtype = label_type(len(band))  # of the labels
        down = Axis.over(self.come, cell.down, corners=cell.corners, left=scores.top, ratio=tall / height)
        across = Axis.over(band.shape[2], cell.across, corners=cell.corners, left=scores.left, ratio=wide / width)
        self.grid = Grid(down, across, height, width)
        columns = typed(band[:, :0])
        if int(across.starts(width, columns)[-1]) >= across.points:
            raise UserError(f"the scores end after {across.points * cell.across:g} of the image's {width} columns; they have to cover it")
        self.cell = self.grid.down.starts(height, columns)  # that each pixel row lies in

    def bands(self) -> Iterator[tuple[int, int]]:
        """All pixel rows in parts (first, last) of bounded work."""
        return bands(self.grid, self.kept[0][1], 0, self.grid.height)

    def labels(self, first: int, last: int) -> Tensor:
        """Labels (last - first, W), of ``dtype``."""
        rows, top = self._rows(first, last)
        return label_rows(rows, self.grid, first, last, top=top)

    def confidence(self, first: int, last: int) -> Tensor:
        """The largest probability, uint8 (last - first, W), 255 for 1."""
        rows, top = self._rows(first, last)
        return confidence_rows(rows, self.grid, first, last, top=top, probabilities=self.scores.probabilities)

    def values(self, first: int, last: int) -> Tensor:
        """Scores (C, last - first, W), float32 or float64."""
        rows, top = self._rows(first, last)
        return interpolate_rows(typed(rows), self.grid, first, last, top=top)

    def _rows(self, first: int, last: int) -> tuple[Tensor, int]:
        """The rows of the grid that these pixel rows lie at, and the number of the first of them."""
        deepest = int(self.cell[last - 1])
        while self.come <= deepest + 1 and self._take() is not None:
            self.grid.down = replace(self.grid.down, points=self.come)
        if self.come <= deepest:
            raise UserError(
                f"the scores end after {self.come * self.scores.cell[0]:g} of the image's {self.grid.height} rows; they have to cover it"
            )
        low, high = self.grid.down.reach(first, last, typed(self.kept[0][1][:, :0]))
        while self.kept[0][0] + self.kept[0][1].shape[1] <= low:
            self.kept.popleft()
        parts = [band[:, max(low - row, 0) : high + 1 - row] for row, band in self.kept if row <= high]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1), low

    def _take(self) -> Tensor | None:
        band = next(self.scores.bands, None)
        if band is not None:
            self.kept.append((self.come, band))
            self.come += band.shape[1]
        return band


class Block(NamedTuple):
    """The labels of a rectangle of an image.

    top, left: its place, pixels. labels: (h, w) on the CPU, uint8, or int32 with more than 255 classes. confidence: the largest probability
    of each pixel, uint8 (h, w), 255 for 1; None where it was not asked for.
    """

    top: int
    left: int
    labels: Tensor
    confidence: Tensor | None


def blocks(
    scores: Scores | Strips,
    height: int,
    width: int,
    *,
    image: Image | None = None,
    wanted: tuple[int, int] | None = None,
    confidence: bool = False,
    progress: bool = False,
) -> Iterator[Block]:
    """The labels of an image from its scores, as blocks of rows from the top to the bottom; of an image in strips, one strip after another.

    image: what was labelled; pixels of a raster that are no data are void, and their confidence is 0. wanted: the first row that is given,
    and the one behind the last; by default all. progress: shown where the image is large.
    """
    first_row, end_row = wanted or (0, height)
    pixels = (end_row - first_row) * width
    with Progress("image", pixels, "pixels", shown=progress and pixels >= LARGE, scaled=True) as bar:
        for left, right, strip in scores.strips if isinstance(scores, Strips) else [(0, width, scores)]:
            top = strip.top[0]
            reader = Reader(strip, end_row - top, right - left)
            for first, last in reader.bands():
                first = max(first, first_row - top)
                if first >= last:
                    continue
                labels = reader.labels(first, last).cpu()
                sure = reader.confidence(first, last).cpu() if confidence else None
                valid = image.valid(top + first, top + last, left, right) if isinstance(image, Rows) else None
                if valid is not None:
                    labels = labels.masked_fill(~valid, void_of(labels.dtype))
                    sure = None if sure is None else sure.masked_fill(~valid, 0)
                yield Block(top + first, left, labels, sure)
                bar.update((last - first) * (right - left))


def label(
    scores: Scores | Strips,
    height: int,
    width: int,
    *,
    image: Image | None = None,
    confidence: Tensor | None = None,
    progress: bool = False,
) -> Tensor:
    """The label map (H, W), on the CPU, of an image's scores: uint8, or int32 with more than 255 classes.

    image, progress: see ``blocks``. confidence: a uint8 (H, W) tensor that takes each pixel's largest probability, 255 for 1.
    """
    labels = torch.empty(0, dtype=torch.uint8)
    for block in blocks(scores, height, width, image=image, confidence=confidence is not None, progress=progress):
        if not labels.numel():
            labels = torch.empty(height, width, dtype=block.labels.dtype)
        place = slice(block.top, block.top + block.labels.shape[0]), slice(block.left, block.left + block.labels.shape[1])
        labels[place] = block.labels
        if confidence is not None and block.confidence is not None:
            confidence[place] = block.confidence
    return labels
