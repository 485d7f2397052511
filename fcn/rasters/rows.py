"""The rows of a raster as a network's image: read when they are asked for, along the blocks of the file.

Rows are read in pieces of one row of blocks. The last piece is kept, so that whoever goes down the image reads every block once. Pixels
that are no data get the values of ``fill``. Which they are is noted, so that their labels can be void, and so that pieces without any data
are not read again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fcn.core.images import BYTES
from fcn.rasters.raster import Raster

LEAST = 2**18  # pixels that are read at once, where blocks are smaller

Columns = tuple[int, int]


class Piece(NamedTuple):
    """Some rows and columns in memory. valid: where pixels are data; None: everywhere."""

    number: int
    columns: Columns
    pixels: Tensor
    valid: Tensor | None


class Rows:
    """An image (C, H, W) whose rows and columns are read by ``rows[:, first:last, left:right]``; the columns may be left out.

    wanted: the first row of pixels that is to be labelled, and the one behind the last.
    """

    def __init__(self, raster: Raster, fill: Sequence[float] | None = None, wanted: tuple[int, int] | None = None) -> None:
        """fill: the value of each channel in pixels that are no data, rounded where the type needs it; None: as they are stored."""
        self.raster, self.shape = raster, raster.shape
        self.wanted = wanted or (0, raster.height)
        self.dtype = getattr(torch, raster.dtype)
        values = None if fill is None else torch.tensor([float(value) for value in fill])
        self.fill = values if values is None or self.dtype.is_floating_point else values.round().clamp(0, torch.iinfo(self.dtype).max)
        tall = raster.block[0]
        self.step = min(raster.height, tall * max(1, -(-LEAST // (tall * raster.width))))  # rows of a piece
        self.piece: Piece | None = None
        self.columns: Columns | None = None  # that the notes are of
        self.notes: dict[int, bool | np.ndarray] = {}  # piece -> all data, none, or bits (rows, columns)

    def held_bytes(self, columns: int) -> int:
        """The bytes that are kept while so many columns are read: a piece, and the same once more while it is read."""
        rows = min(self.step, self.shape[1])
        return rows * columns * (2 * self.shape[0] * BYTES[self.raster.dtype] + 2 * self.raster.has_nodata)

    def __getitem__(self, key: tuple[slice, ...], /) -> Tensor:
        channels, height, width = self.shape
        first, last, _ = key[1].indices(height)
        left, right, _ = key[2].indices(width) if len(key) > 2 else (0, width, 1)
        pixels = torch.empty(channels, max(0, last - first), right - left, dtype=self.dtype)
        for index in range(first // self.step, -(-last // self.step)) if first < last else ():
            top, bottom = self._span(index)
            low, high = max(top, first), min(bottom, last)
            target = pixels[:, low - first : high - first]
            if self.fill is not None and self.columns == (left, right) and self.notes.get(index) is False:
                target.copy_(self.fill[:, None, None])
            else:
                target.copy_(self._read(index, (left, right)).pixels[:, low - top : high - top])
        return pixels

    def next_valid(self, row: int, left: int, right: int) -> int:
        """The first row from ``row`` on with a pixel that is data in these columns; the height where there is none. Reads on to it."""
        for index in range(row // self.step, -(-self.shape[1] // self.step)):
            note = self._note(index, (left, right))
            top, _ = self._span(index)
            if note is True:
                return max(row, top)
            if note is not False:
                found = np.flatnonzero(note.any(1))
                found = found[found + top >= row]
                if len(found):
                    return top + int(found[0])
        return self.shape[1]

    def valid(self, first: int, last: int, left: int, right: int) -> Tensor | None:
        """Where pixels are data, bool (last - first, right - left); None: everywhere. Notes of rows before ``first`` are dropped."""
        if not self.raster.has_nodata:
            return None
        known = self.columns
        if known is None or not known[0] <= left < right <= known[1]:
            known = (left, right)
        for index in [index for index in self.notes if self._span(index)[1] <= first]:
            del self.notes[index]
        found = torch.ones(last - first, right - left, dtype=torch.bool)
        for index in range(first // self.step, -(-last // self.step)):
            note = self._note(index, known)
            top, bottom = self._span(index)
            low, high = max(top, first), min(bottom, last)
            if isinstance(note, bool):
                found[low - first : high - first] = note
                continue
            bits = np.unpackbits(note[low - top : high - top], axis=1, count=known[1] - known[0])
            found[low - first : high - first] = torch.from_numpy(bits[:, left - known[0] : right - known[0]]) != 0
        return None if bool(found.all()) else found

    def _span(self, index: int) -> tuple[int, int]:
        """The first row of a piece, and the one behind its last."""
        return index * self.step, min((index + 1) * self.step, self.shape[1])

    def _note(self, index: int, columns: Columns) -> bool | np.ndarray:
        if not self.raster.has_nodata:
            return True
        if self.columns != columns or index not in self.notes:
            self._read(index, columns)
        return self.notes[index]

    def _read(self, index: int, columns: Columns) -> Piece:
        """A piece, from the file unless it is the last one that was read."""
        if self.columns != columns:
            self.columns, self.piece = columns, None
            self.notes.clear()
        piece = self.piece
        if piece is None or piece.number != index:
            self.piece = piece = None  # its memory is free before the next one is read
            (top, bottom), (left, right) = self._span(index), columns
            pixels, valid = self.raster.read_valid(top, left, bottom - top, right - left)
            if valid is not None and bool(valid.all()):
                valid = None
            if valid is not None and self.fill is not None:
                pixels = torch.where(valid, pixels, self.fill[:, None, None].to(pixels.dtype))
            self.piece = piece = Piece(index, columns, pixels, valid)
        if index not in self.notes and self.raster.has_nodata:
            valid = piece.valid
            self.notes[index] = True if valid is None else bool(valid.any()) and np.packbits(valid.numpy(), axis=1)
        return piece
