"""Label maps of scenes: rasters of class indices or colours, of which any rectangle is read, or pictures, which are read as a whole."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import VOID_COLOR
from fcn.data.images import IMAGE_SUFFIXES
from fcn.data.labelmaps import indices
from fcn.data.masks import Masks
from fcn.rasters.opening import open_raster
from fcn.rasters.raster import Georeference, Raster

RASTERS = (".tif", ".tiff", ".jp2", ".j2k")  # endings of pictures that are read as rasters


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
    """A label map of any size. Raises as ``open_raster`` does."""
    suffix = Path(path).suffix.lower()
    return PictureTruth(path, masks) if suffix in IMAGE_SUFFIXES and suffix not in RASTERS else RasterTruth(path, masks)


class RasterTruth:
    """A label map that is read where it is needed."""

    def __init__(self, path: str, masks: Masks) -> None:
        self.masks, self.raster = masks, open_values(path)
        self.name, self.georeference = self.raster.name, self.raster.georeference
        self.height, self.width = self.raster.height, self.raster.width

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        pixels, valid = self.raster.read_valid(top, left, height, width)
        where = f"{self.name}, counted from row {top} and column {left},"
        if len(pixels) > 1:
            colors = pixels if valid is None else torch.where(valid, pixels, torch.tensor(VOID_COLOR, dtype=pixels.dtype)[:, None, None])
            labels = self.masks.of_colors(colors.permute(1, 2, 0).numpy(), where)
        else:
            raw = pixels[0] if valid is None else torch.where(valid, pixels[0], next(iter(self.masks.values)))
            if raw.is_floating_point() and not bool((raw == raw.round()).all()):
                found = float(raw[raw != raw.round()][0])
                raise UserError(f"{self.name} holds fractions, as {found:g}; a label raster holds whole numbers")
            labels = self.masks.of_values(indices(raw.numpy(), where, self.masks.largest), where)
        return labels if valid is None else labels.masked_fill(~valid, self.masks.labels.void)

    def notes(self) -> list[str]:
        """Blocks that are missing, and a class whose value the file calls no data."""
        raster, labels = self.raster, self.masks.labels
        notes = raster.notes()
        if raster.channels == 1 and raster.nodata is not None and raster.nodata[0] == raster.nodata[0]:
            value = int(raster.nodata[0])
            index = self.masks.values.get(value, labels.void)
            if index != labels.void:
                notes.append(
                    f"{self.name} says that the value {value} is no data: it is void, not {labels.names[index]}; "
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


def open_values(path: str) -> Raster:
    """A label raster: its one band of values, or the first three of colours."""
    values = open_raster(path, bands=[1])
    try:
        colors = open_raster(path, bands=[1, 2, 3])
    except UserError:  # it has fewer
        return values
    wrong = values if colors.dtype == "uint8" else colors
    wrong.close()
    return values if wrong is colors else colors
