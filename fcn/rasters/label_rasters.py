"""Label maps of scenes: rasters of class indices or colours, of which any rectangle is read, or pictures, which are read as a whole.

What the values mean is said by ``fcn/data/masks.py``, as for every label map.
"""

import os
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import VOID
from fcn.data.images import IMAGE_SUFFIXES
from fcn.data.labelmaps import Raw, indices
from fcn.data.masks import Masks
from fcn.rasters.gdal import GdalRaster
from fcn.rasters.opening import open_raster
from fcn.rasters.packages import needs
from fcn.rasters.raster import Georeference, Raster

RASTERS = (".tif", ".tiff", ".jp2", ".j2k")  # endings of pictures that are read as rasters
LOOKED = 20  # parts of a raster that are looked at, to tell whether it is a binary mask
SIDE = 512  # of such a part, pixels


class Truth(Protocol):
    """A label map in a file, open for reading. name: path of the file. height, width: pixels. georeference: as of a ``Raster``."""

    name: str
    height: int
    width: int
    georeference: Georeference | None

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        """The labels of a rectangle, (height, width) of class indices or void. Raises UserError for a value that no class has."""

    def notes(self) -> list[str]:
        """Sentences on what a user may not know of the file."""

    def close(self) -> None: ...


def open_truth(path: str, masks: Masks) -> Truth:
    """A label map of any size. Raises as ``open_raster`` does, and UserError for a format that changes values."""
    suffix = Path(path).suffix.lower()
    return PictureTruth(path, masks) if suffix in IMAGE_SUFFIXES and suffix not in RASTERS else RasterTruth(path, masks)


class RasterTruth:
    """A label map that is read where it is needed."""

    def __init__(self, path: str, masks: Masks) -> None:
        self.masks = masks
        self.raster, self.palette = open_values(path)
        self.name, self.georeference = self.raster.name, self.raster.georeference
        self.height, self.width = self.raster.height, self.raster.width

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        raw, valid = self.raw(top, left, height, width)
        void = self.masks.labels.void
        if raw is None:
            return torch.full((height, width), void, dtype=getattr(torch, self.masks.labels.dtype))
        labels = self.masks.of_raw(raw, self.where(top, left))
        return labels if valid is None else labels.masked_fill(~valid, void)

    def raw(self, top: int, left: int, height: int, width: int) -> tuple[Raw | None, Tensor | None]:
        """What the file holds there, None where it holds no data at all, and where it holds data. What is no data gets the value, or the
        colour, of a pixel that is."""
        pixels, valid = self.raster.read_valid(top, left, height, width)
        if valid is not None:
            if not bool(valid.any()):
                return None, valid
            row, column = divmod(int(valid.flatten().int().argmax()), width)
            pixels = torch.where(valid, pixels, pixels[:, row, column, None, None])
        if len(pixels) == 3:
            return Raw(pixels.permute(1, 2, 0).contiguous()), valid
        values = pixels[0]
        if values.is_floating_point() and not bool((values == values.round()).all()):
            found = float(values[values != values.round()][0])
            raise UserError(f"{self.name} holds fractions, as {found:g}; a label raster holds whole numbers")
        return Raw(indices(values.numpy(), self.where(top, left), self.masks.largest), self.palette), valid

    def where(self, top: int, left: int) -> str:
        return f"{self.name}, counted from row {top} and column {left},"

    def notes(self) -> list[str]:
        """Blocks that are missing, and a class whose value the file calls no data."""
        raster, labels = self.raster, self.masks.labels
        notes = raster.notes()
        value = raster.nodata[0] if raster.nodata is not None and raster.channels == 1 else None
        if value is not None and isfinite(value) and value == int(value):
            index = self.masks.values.get(int(value), labels.void)
            if index != labels.void:
                notes.append(
                    f"{self.name} says that the value {int(value)} is no data: it is void, not {labels.names[index]}; "
                    f"if it is a class, take that mark away (gdal_edit -unsetnodata)"
                )
        return notes

    def close(self) -> None:
        self.raster.close()


class PictureTruth:
    """A label map of a format that is decoded as a whole, as PNG. The last two stay in memory, a byte for each pixel."""

    georeference: Georeference | None = None

    def __init__(self, path: str, masks: Masks) -> None:
        self.name = path
        self.labels = whole_labels(path, masks, os.stat(path).st_mtime_ns)
        self.height, self.width = self.labels.shape

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        return self.labels[top : top + height, left : left + width].clone()

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


@lru_cache(2)
def whole_labels(path: str, masks: Masks, changed: int) -> Tensor:
    """The label map of a picture. changed: when the file was written."""
    return masks.read(path)


def open_values(path: str) -> tuple[Raster, np.ndarray | None]:
    """A label raster, its one band of values or its three of colours, and the colours of values, uint8 (count, 3), if it has any."""
    if path.lower().rstrip("/").endswith((".zarr", ".zarr.zip")):
        found = open_raster(path)
        if found.channels > 1:
            found.close()
            raise UserError(f"{path} has {found.channels} bands; a label raster has one")
        return found, None
    needs("rasterio", f"reading the label raster {path}")
    raster = GdalRaster(path, bands=[1])
    try:
        file, stored = raster.file, raster.file.tags(ns="IMAGE_STRUCTURE")
        if "JPEG" in stored.get("COMPRESSION", "") or stored.get("COMPRESSION_REVERSIBILITY", "LOSSLESS").startswith("LOSSY"):
            raise UserError(
                f"{path} is stored with a compression that changes values ({stored.get('COMPRESSION', 'lossy')}), and may smear the class "
                f"indices: save it again from its source, as with gdal_translate -co COMPRESS=DEFLATE"
            )
        if stored.get("MINISWHITE") == "YES":
            raise UserError(f"{path} is stored with white as 0, so what its values mean is not certain; save it with black as 0")
        bands = [kind.name for kind in file.colorinterp if kind.name != "alpha"]
        if len(bands) > 1 and (len(bands) != 3 or set(file.dtypes[:3]) != {"uint8"}):
            raise UserError(f"{path} has {len(bands)} bands; a label raster has one of class indices, or three of colours in 8 bits")
        if len(bands) == 3:
            raster.close()
            return GdalRaster(path, bands=[1, 2, 3]), None
        if file.colorinterp[0].name != "palette":
            return raster, None
        colors = file.colormap(1)
        return raster, np.array([colors.get(index, (0, 0, 0))[:3] for index in range(max(colors) + 1)], np.uint8)
    except BaseException:
        raster.close()
        raise


def is_binary_raster(path: str, masks: Masks) -> bool | None:
    """Whether a label raster holds 0 and 255 and nothing else, by some of its parts; None where it holds 0 alone, or cannot be read."""
    if not isinstance(truth := open_truth(path, masks), RasterTruth):
        return None
    try:
        tops, lefts = (range(0, max(1, side - SIDE), max(SIDE, side // 5)) for side in (truth.height, truth.width))
        places = [(top, left) for top in tops for left in lefts][:: max(1, len(tops) * len(lefts) // LOOKED)]
        white = False
        for top, left in places:
            raw, _ = truth.raw(top, left, min(SIDE, truth.height - top), min(SIDE, truth.width - left))
            found = set() if raw is None else set(raw.values.unique().tolist())
            if found - {0, VOID}:
                return False
            white |= VOID in found
        return True if white else None
    finally:
        truth.close()
