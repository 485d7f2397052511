"""BigTIFF, OME-TIFF and all other TIFF without a place on the earth, by tifffile: each tile or strip is decoded by itself."""

import logging
from collections.abc import Sequence
from importlib import import_module
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.registry import register
from fcn.rasters.faults import Watched, closed_on_error, opening
from fcn.rasters.opening import check_choice, chosen_bands
from fcn.rasters.raster import Raster, stored_dtype, valid_pixels

log = logging.getLogger(__name__)

_ALPHA = (1, 2)  # TIFF's extra samples: premultiplied transparency, and not premultiplied
_PALETTE = 3  # TIFF's photometric interpretation
_ORIENTATION = 274  # TIFF's tag


@register(
    "reader", "tiff", suffixes=(".tif", ".tiff", ".btf", ".tf8", ".ome.tif", ".ome.tiff", ".ome.btf", ".lsm", ".stk"), package="tifffile"
)
class TiffRaster(Raster):
    """TIFF of any size, its bands pixel by pixel, in planes, or as pages. Of a stack each plane is a page, counted through all series."""

    def __init__(self, path: str, *, bands: Sequence[int] | None = None, page: int | None = None, level: int | None = None) -> None:
        self.name = path
        with opening(path):
            self.file: Any = import_module("tifffile").TiffFile(path)
        with closed_on_error(self.file):
            self._look(path, bands, page, level)
            self.watched = Watched(path, self.files())

    def _look(self, path: str, bands: Sequence[int] | None, page: int | None, level: int | None) -> None:
        """Sets the attributes."""
        with opening(path):
            places = [(series, place) for series in self.file.series for place in planes(series)]
        series, place = places[check_choice(path, "page", page, len(places))]
        series = series.levels[check_choice(path, "level", level, len(series.levels))]
        with opening(path):
            self.pages = pages_of(path, series, place)
        first = self.pages[0]
        self.samples = first.samplesperpixel
        if first.photometric == _PALETTE:
            raise UserError(f"{path} holds numbers of a palette, not colours; save it as RGB")
        turn = first.tags.get(_ORIENTATION)
        if turn is not None and turn.value != 1:
            raise UserError(f"{path} is stored in orientation {int(turn.value)}, not upright; save it upright")
        if first.is_geotiff:
            log.warning('the place of %s on the earth is not read: pip install "fcn-toolkit[rasters]"', path)
        count = self.samples * len(self.pages)
        colors = self.samples - len(first.extrasamples)
        alpha = [colors + 1 + index for index, kind in enumerate(first.extrasamples) if kind in _ALPHA] if len(self.pages) == 1 else []
        self.bands = chosen_bands(path, bands, count, [band for band in range(1, count + 1) if band not in alpha])
        self.alpha = alpha[0] if alpha and alpha[0] not in self.bands else None
        self.dtype, self.stored = stored_dtype(path, [np.dtype(first.dtype).newbyteorder("=")])
        self.height, self.width, self.channels = first.imagelength, first.imagewidth, len(self.bands)
        rows, columns = (first.tilelength, first.tilewidth) if first.is_tiled else (first.rowsperstrip, self.width)
        self.tile = int(rows), int(columns)
        self.block = min(self.tile[0], self.height), min(self.tile[1], self.width)
        if first.tags.get("GDAL_NODATA") is not None:
            self.nodata = (float(first.nodata),) * self.channels

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        return self._read(self.bands, top, left, height, width)

    def missing_blocks(self) -> tuple[int, int]:
        sizes = [size for page in self.pages for size in page.databytecounts]
        return sizes.count(0), len(sizes)

    @property
    def missing_is_nodata(self) -> bool:
        return self.alpha is not None or super().missing_is_nodata

    def files(self) -> list[str]:
        """An OME-TIFF may be spread over several."""
        files = [self.name if page.parent is self.file else page.parent.filehandle.path for page in self.pages]
        return list(dict.fromkeys([self.name, *files]))

    @property
    def has_nodata(self) -> bool:
        return self.alpha is not None or super().has_nodata

    def read_valid(self, top: int, left: int, height: int, width: int) -> tuple[Tensor, Tensor | None]:
        if self.alpha is None:
            return super().read_valid(top, left, height, width)
        values = self._read([*self.bands, self.alpha], top, left, height, width)
        pixels, shown = values[:-1], values[-1] != 0
        return pixels, shown & valid_pixels(pixels, self.nodata)

    def close(self) -> None:
        self.watched.close()
        self.file.close()

    def _read(self, bands: list[int], top: int, left: int, height: int, width: int) -> Tensor:
        values = np.zeros((len(bands), height, width), np.dtype(self.pages[0].dtype).newbyteorder("="))
        tall, wide = self.tile
        across = -(-self.width // wide)
        rows, columns = (range(start // side, -(-(start + size) // side)) for start, size, side in
                         ((top, height, tall), (left, width, wide)))  # fmt: skip
        with self.watched:
            for number, page in enumerate(self.pages):
                wanted = [(place, band - 1 - number * self.samples) for place, band in enumerate(bands)]
                wanted = [(place, sample) for place, sample in wanted if 0 <= sample < self.samples]
                apart = page.planarconfig == 2 and self.samples > 1
                for row, column in product(rows, columns):
                    y, x = row * tall, column * wide
                    low, high = max(top, y), min(top + height, y + tall, self.height)
                    start, end = max(left, x), min(left + width, x + wide)
                    tiles: dict[int, np.ndarray | None] = {}
                    for place, sample in wanted:
                        plane = sample if apart else 0
                        if plane not in tiles:
                            tiles[plane] = self._tile(page, (plane * -(-self.height // tall) + row) * across + column)
                        tile = tiles[plane]
                        goal = values[place, low - top : high - top, start - left : end - left]
                        goal[...] = page.nodata if tile is None else tile[low - y : high - y, start - x : end - x, 0 if apart else sample]
        return torch.from_numpy(values if self.stored else values.astype(np.float32))

    def _tile(self, page: Any, index: int) -> np.ndarray | None:
        """A tile or strip, (rows, columns, samples); None for one that the file leaves out."""
        size = page.databytecounts[index]
        if not size:
            return None
        handle = page.parent.filehandle
        handle.seek(page.dataoffsets[index])
        data = handle.read(size)
        if len(data) < size:
            raise EOFError(f"the file ends within tile {index} of {len(page.databytecounts)}")
        values, _, _ = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        if values is None:
            raise ValueError(f"tile {index} cannot be decoded")
        return np.asarray(values)[0]


def planes(series: Any) -> list[tuple[int, ...]]:
    """The places of a series' planes along the axes that are neither rows, columns nor bands, in order."""
    return list(product(*(range(size) for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YXSC")))


def pages_of(path: str, series: Any, place: tuple[int, ...]) -> list[Any]:
    """The pages that hold the bands of a plane, of files that are open. Raises UserError where such a file is missing."""
    outer = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YXS"]
    pages = list(series.pages)
    if prod(size for _, size in outer) != len(pages):
        raise ValueError(f"its axes {series.axes} of {series.shape} are not pages of images")
    others = iter(place)
    index = tuple(slice(None) if axis == "C" else next(others) for axis, _ in outer)
    numbers = np.arange(len(pages)).reshape([size for _, size in outer])[index]
    chosen = [pages[int(number)] for number in np.atleast_1d(numbers)]
    missing = sum(page is None for page in chosen)
    if missing:
        raise UserError(f"{path} lacks {missing} of its {len(chosen)} pages: copy the other files of the OME-TIFF beside it")
    for page in chosen:
        page.parent.filehandle.open()  # tifffile closes all files but the first
    return [page.aspage() for page in chosen]
