"""GeoTIFF, COG, JPEG 2000, VRT and all else that GDAL reads, by rasterio."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.registry import register
from fcn.rasters.faults import Watched, opening
from fcn.rasters.opening import check_choice, chosen_bands
from fcn.rasters.raster import Georeference, Raster, stored_dtype, valid_pixels

CACHE = 2**24  # bytes of blocks that GDAL keeps itself; whoever reads along the blocks keeps what it needs again


@register("reader", "gdal", suffixes=("", ".tif", ".tiff"), package="rasterio")
class GdalRaster(Raster):
    """Whatever GDAL reads. Transparent pixels, and those that a mask in the file leaves out, are no data."""

    def __init__(self, path: str, *, bands: Sequence[int] | None = None, page: int | None = None, level: int | None = None) -> None:
        self.name = path
        with opening(path), environment() as rasterio:
            self.file: Any = opened(rasterio, path, page, level)
            enums = import_module("rasterio.enums")
        file = self.file
        if not file.count:
            count = len(file.subdatasets)
            file.close()
            raise UserError(f"{path} holds {count} images and none by itself; open one of them by its name, as {path} in gdalinfo says")
        colors = [index + 1 for index, kind in enumerate(file.colorinterp) if kind != enums.ColorInterp.alpha]
        self.bands = chosen_bands(path, bands, file.count, colors)
        if any(file.colorinterp[band - 1] == enums.ColorInterp.palette for band in self.bands) and bands is None:
            raise UserError(f"{path} holds numbers of a palette, not colours; expand it, as with gdal_translate -expand rgb")
        self.dtype, self.stored = stored_dtype(path, [file.dtypes[band - 1] for band in self.bands])
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
        self.watched = Watched(path)

    def can_hold(self, value: float) -> bool:
        """Whether some pixel can have this value."""
        return self.dtype == "float32" or (value == int(value) and 0 <= value <= np.iinfo(self.dtype).max)

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        with self.watched, environment():
            values = self.file.read(self.bands, window=((top, top + height), (left, left + width)))
        return torch.from_numpy(values if self.stored else values.astype(np.float32))

    def missing_blocks(self) -> tuple[int, int]:
        if self.file.driver not in ("GTiff", "COG"):
            return 0, 0
        down, across = -(-self.height // self.block[0]), -(-self.width // self.block[1])
        band = self.bands[0]
        places = ((row, column) for row in range(down) for column in range(across))
        held = sum(self.file.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band) is not None for row, column in places)
        return down * across - held, down * across

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
    """The data set of a page, at a level."""
    name = path
    if page:
        with rasterio.open(path) as file:
            directories = file.subdatasets if file.driver == "GTiff" else []
            others = file.subdatasets
        count = max(1, len(others))
        check_choice(path, "page", page, count)
        name = f"GTIFF_DIR:{page + 1}:{path}" if directories else others[page]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a picture does not lie on the earth does not matter
        file = rasterio.open(name)
        if not level:
            return file
        count = 1 + len(file.overviews(1)) if file.count else 1
        file.close()
        check_choice(path, "level", level, count)
        return rasterio.open(name, overview_level=level - 1)


_cache = threading.Lock()


@contextmanager
def environment() -> Iterator[Any]:
    """rasterio, with a small cache of GDAL's own."""
    rasterio: Any = import_module("rasterio")
    with rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_NUM_THREADS="1"):
        yield rasterio
