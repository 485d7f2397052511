"""What ``fcn.localize`` gives: for every cell of an image the probability of every class, where the cells lie, and how far that is the
classifier's own answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.names import listed, suggest

Array = NDArray[np.float32]
Places = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How far the maps are what the classifier itself says: the attribute ``agreement`` of ``ClassMaps``.

    against: "mean", the classifier's result beside the mean of the cells; "window", its result for some windows, cut out, beside their
        cells; "windows", the same for all windows.
    compared: number of results that were compared.
    equal: share of them with the same first class, 0 to 1.
    difference: largest difference of a score, as a share of the range of the classifier's scores.
    part: (height, width) of the middle of the image that was compared, where the whole was too large; else None.
    """

    against: Literal["mean", "window", "windows"]
    compared: int
    equal: float
    difference: float
    part: tuple[int, int] | None = None

    def __str__(self) -> str:
        where = "" if self.part is None else f" on the middle {self.part[1]}x{self.part[0]} pixels"
        if self.against == "mean":
            same = "the same first class" if self.equal == 1 else "another first class" if self.compared == 1 else f"{self.equal:.0%} equal"
            return f"the mean of the cells and the classifier{where}: {same}, scores differ by {self.difference:.1e} of their range"
        count = f"{'all ' if self.against == 'windows' else ''}{self.compared} windows"
        differ = f"scores differ by up to {self.difference:.2g} of their range"
        return f"cells and the classifier on {count}: {self.equal:.1%} the same class, {differ}"


@dataclass(frozen=True)
class ClassMaps:
    """Where a classifier sees its classes in an image.

    >>> heat = maps.heat("tabby")  # float32 (H, W), 0 to 1
    >>> maps.winner.shape == maps.margin.shape == (len(maps.rows), len(maps.columns))  # True
    >>> print(maps.agreement)  # the mean of the cells and the classifier: the same first class, scores differ by ...

    probabilities: probability of each class in each cell, float32 array (K, h, w); over the classes they sum to 1.
    names: name of each class, in the order of the scores.
    rows: row of the image on which the cells of each row are centred, float64 array (h,), in pixels; the first pixel is 0.
    columns: the same of columns, float64 array (w,).
    size: height and width of the image (pixels).
    agreement: how far the maps are what the classifier itself says. It prints as a sentence. ``compared``, ``equal`` and ``difference`` are
        the number of results, the share with the same first class, and the largest difference of a score as a share of their range.
    """

    probabilities: Array
    names: tuple[str, ...]
    rows: Places
    columns: Places
    size: tuple[int, int]
    agreement: Agreement = field(compare=False)

    def index(self, name: str | int) -> int:
        """The number of a class, by its name or its number. Raises UserError, with the closest names, if there is none."""
        return class_index(self.names, name)

    def top(self, count: int = 5) -> list[int]:
        """The classes of the highest mean probability over all cells, the highest first."""
        means = self.probabilities.mean((1, 2))
        return [int(index) for index in np.argsort(-means, kind="stable")[:count]]

    def heat(self, name: str | int, size: tuple[int, int] | None = None) -> Array:
        """The probability of a class over the image, interpolated between the centres of the cells: float32 (H, W). Outside of the
        outermost centres it is that of the nearest cell.

        name: name or number of the class.
        size: height and width of the result; default: those of the image.
        """
        return spread(self.probabilities[self.index(name)], self.rows, self.columns, self.size, size or self.size)

    @cached_property
    def winner(self) -> NDArray[np.int64]:
        """The class of the highest probability in each cell, int64 (h, w)."""
        return self.probabilities.argmax(0)

    @cached_property
    def margin(self) -> Array:
        """How far the highest probability lies above the second in each cell, float32 (h, w), 0 to 1."""
        best = np.partition(self.probabilities, -2, axis=0)[-2:] if len(self.probabilities) > 1 else self.probabilities
        margin: Array = best[-1] - best[0] if len(best) > 1 else best[0]
        return margin


def class_index(names: Sequence[str], name: str | int) -> int:
    """The number of a class, by its name, one of its names, or, where no class is called so, its number.

    Raises UserError, with the closest names, if there is none.
    """
    if not isinstance(name, str) or (name.isdecimal() and name not in names):
        if not 0 <= int(name) < len(names):
            raise UserError(f"there is no class {name}; the classes are 0 to {len(names) - 1}")
        return int(name)
    found = [index for index, each in enumerate(names) if each == name]
    found = found or [index for index, each in enumerate(names) if name in each.split(", ")]
    found = found or [index for index, each in enumerate(names) if each.casefold() == name.casefold()]
    if len(found) > 1:
        raise UserError(f"'{name}' is the name of the classes {listed(map(str, found), 10)}; give a number")
    if not found:
        raise UserError(f"there is no class '{name}'; {suggest(name, names)}")
    return found[0]


def spread(values: Array, rows: Places, columns: Places, size: tuple[int, int], target: tuple[int, int]) -> Array:
    """Values of cells (h, w) over an image of that ``size``, drawn with ``target`` pixels: float32 (H, W)."""
    down, across = (taps(centres, points(*each)) for centres, *each in zip((rows, columns), size, target, strict=True))
    return np.asarray(down @ values @ across.T, np.float32)


def points(side: int, count: int) -> Places:
    """Where the pixels of a side lie in an image, if it is drawn with ``count`` of them."""
    return (np.arange(count, dtype=np.float64) + 0.5) * (side / count) - 0.5


def taps(centres: Places, places: Places) -> Array:
    """The weight of each cell, of those at equally spaced ``centres``, at each of the ``places``: float32 (places, cells), linear between
    two centres, that of the nearest outside."""
    weights = np.zeros((len(places), len(centres)), np.float32)
    step = centres[1] - centres[0] if len(centres) > 1 else 1.0
    position = np.clip((places - centres[0]) / step, 0, len(centres) - 1)
    low = np.minimum(position.astype(np.intp), max(len(centres) - 2, 0))
    high = np.minimum(low + 1, len(centres) - 1)
    index = np.arange(len(places))
    weights[index, low] += (1 - (position - low)).astype(np.float32)
    weights[index, high] += (position - low).astype(np.float32)
    return weights


def merged(grids: Sequence[tuple[Tensor, Places, Places]]) -> tuple[Array, Places, Places]:
    """The mean probabilities of several grids of scores (K, h, w) with the centres of their rows and columns, on the finest of them."""
    finest = max(range(len(grids)), key=lambda index: grids[index][0][0].numel())
    _, rows, columns = grids[finest]
    total = torch.zeros(0)
    for scores, down, across in grids:
        found = scores.softmax(0)
        if len(grids) > 1 and not (np.array_equal(down, rows) and np.array_equal(across, columns)):
            found = torch.from_numpy(taps(down, rows)) @ found @ torch.from_numpy(taps(across, columns)).T
        total = found if not total.numel() else total.add_(found)
    probabilities: Array = total.div_(len(grids)).numpy()
    return probabilities, rows, columns
