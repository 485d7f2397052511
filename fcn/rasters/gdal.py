"""GeoTIFF, COG, JPEG 2000, VRT and all else that GDAL reads, by rasterio."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.core.registry import register
from fcn.rasters.faults import Watched, closed_on_error, opening
from fcn.rasters.opening import check_choice, chosen_bands
from fcn.rasters.raster import Georeference, Raster, stored_dtype, valid_pixels

CACHE = 2**24  # bytes of blocks that GDAL keeps itself; whoever reads along the blocks keeps what it needs again


@register("reader", "gdal", suffixes=("", ".tif", ".tiff", ".vrt", ".jp2", ".img"), package="rasterio")
class GdalRaster(Raster):
    """Whatever GDAL reads. Transparent pixels, and those that a mask in the file leaves out, are no data."""

    def __init__(self, path: str, *, bands: Sequence[int] | None = None, page: int | None = None, level: int | None = None) -> None:
        self.name = path
        with opening(path), environment() as rasterio:
            self.file: Any = opened(rasterio, path, page, level)
        with closed_on_error(self.file):
            self._look(path, bands)
            with opening(path), environment():
                self.sources = files_of(rasterio, path, self.file, level)
            self.watched = Watched(path, self.sources)

    def _look(self, path: str, bands: Sequence[int] | None) -> None:
        """Sets the attributes."""
        file, enums = self.file, import_module("rasterio.enums")
        if not file.count:
            count = len(file.subdatasets)
            if not count:
                raise UserError(f"{path} holds no image")
            pages = said("page", 0) + (f" to {said('page', count - 1)}, in gdalinfo's order" if count > 1 else "")
            raise UserError(f"{path} holds {count} image{'s' * (count > 1)} and is none by itself; choose one with {pages}")
        colors = [index + 1 for index, kind in enumerate(file.colorinterp) if kind != enums.ColorInterp.alpha]
        self.bands = chosen_bands(path, bands, file.count, colors)
        if any(file.colorinterp[band - 1] == enums.ColorInterp.palette for band in self.bands) and bands is None:
            raise UserError(f"{path} holds numbers of a palette, not colours; expand it, as with gdal_translate -expand rgb")
        self.dtype, self.stored = stored_dtype(path, [file.dtypes[band - 1] for band in self.bands])
        self.mixed = len({file.dtypes[band - 1] for band in self.bands}) > 1
        self.height, self.width, self.channels = file.height, file.width, len(self.bands)
        rows, columns = file.block_shapes[self.bands[0] - 1]
        self.block = min(rows, self.height), min(columns, self.width)
        crs = file.crs.to_wkt() if file.crs else None
        placed = not file.transform.is_identity
        if crs is not None or placed:
            self.georeference = Georeference(crs, tuple(file.transform)[:6] if placed else None)
        transparent = [index + 1 for index, kind in enumerate(file.colorinterp) if kind == enums.ColorInterp.alpha]
        self.masked = enums.MaskFlags.per_dataset in file.mask_flag_enums[self.bands[0] - 1] and not set(transparent) & set(self.bands)
        values = [file.nodatavals[band - 1] for band in self.bands]
        if all(value is not None and self.can_hold(value) for value in values):
            self.nodata = tuple(map(float, values))

    def can_hold(self, value: float) -> bool:
        """Whether some pixel can have this value."""
        return self.dtype == "float32" or (value == int(value) and 0 <= value <= np.iinfo(self.dtype).max)

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        window = (top, top + height), (left, left + width)
        with self.watched, environment():
            if self.mixed:  # rasterio reads bands of several types only one by one
                values = np.stack([self.file.read(band, window=window).astype(np.float32) for band in self.bands])
            else:
                values = self.file.read(self.bands, window=window)
        return torch.from_numpy(values if self.stored else values.astype(np.float32, copy=False))

    def missing_blocks(self) -> tuple[int, int]:
        if self.file.driver not in ("GTiff", "COG"):
            return 0, 0
        down, across = -(-self.height // self.block[0]), -(-self.width // self.block[1])
        apart = self.file.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") != "PIXEL"
        bands = sorted(set(self.bands)) if apart else self.bands[:1]
        places = product(bands, range(down), range(across))
        held = sum(self.file.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band) is not None for band, row, column in places)
        count = len(bands) * down * across
        return count - held, count

    @property
    def missing_is_nodata(self) -> bool:
        return self.masked or super().missing_is_nodata

    def files(self) -> list[str]:
        return self.sources

    @property
    def has_nodata(self) -> bool:
        return self.masked or super().has_nodata

    def read_valid(self, top: int, left: int, height: int, width: int) -> tuple[Tensor, Tensor | None]:
        pixels = self.read(top, left, height, width)
        valid = valid_pixels(pixels, self.nodata) if super().has_nodata else None
        if self.masked:
            with self.watched, environment():
                mask = self.file.read_masks(self.bands[0], window=((top, top + height), (left, left + width)))
            shown = torch.from_numpy(mask) != 0
            valid = shown if valid is None else valid & shown
        return pixels, valid

    def close(self) -> None:
        self.watched.close()
        self.file.close()


def opened(rasterio: Any, path: str, page: int | None, level: int | None) -> Any:
    """The data set of a page, at a level. GDAL's list of pages leaves out reduced copies and masks, which lie between them in a TIFF."""
    name = path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a picture does not lie on the earth does not matter
        if page is not None:
            with rasterio.open(path) as file:
                is_image, pages = file.count > 0, file.subdatasets
            check_choice(path, "page", page, max(1, len(pages)))
            if pages and (page > 0 or not is_image):
                name = pages[page]
        file = rasterio.open(name)
        if not level:
            return file
        count = 1 + len(file.overviews(1)) if file.count else 1
        file.close()
        check_choice(path, "level", level, count)
        return rasterio.open(name, overview_level=level - 1)


def files_of(rasterio: Any, path: str, file: Any, level: int | None) -> list[str]:
    """The files that the pixels of a data set come from, its own first: also those that a VRT takes them from, through further VRTs.

    Statistics beside a file change no pixel of it, nor do reduced copies where they are not read. Viewers write both.
    """
    found, named, known = [path], [*file.files, f"{path}.ovr"], {os.path.realpath(path)}
    beside = (".aux.xml",) if level else (".aux.xml", ".ovr")
    for name in named:  # it grows on the way
        place = os.path.realpath(name)
        if place in known or name.endswith(beside) or not os.path.isfile(name):
            continue
        known.add(place)
        found.append(name)
        if name.lower().endswith(".vrt"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with rasterio.open(name) as inner:
                    named += inner.files
    return found


@contextmanager
def environment() -> Iterator[Any]:
    """rasterio, with a small cache of GDAL's own."""
    rasterio: Any = import_module("rasterio")
    logging.getLogger("rasterio._err").setLevel(logging.CRITICAL)  # what goes wrong is raised as well, and told once
    with rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_NUM_THREADS="1"):
        yield rasterio
