"""Zarr and OME-Zarr, by zarr: an array in chunks, each a file or a part of one."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.registry import register
from fcn.rasters.faults import UnreadableError, Watched, opening
from fcn.rasters.opening import check_choice, chosen_bands
from fcn.rasters.raster import Raster, stored_dtype


@register("reader", "zarr", suffixes=(".zarr", ".zarr.zip"), package="zarr")
class ZarrRaster(Raster):
    """An array, or the levels of an OME-Zarr. Without names of axes, the shortest of three is that of the bands."""

    def __init__(self, path: str, *, bands: Sequence[int] | None = None, page: int | None = None, level: int | None = None) -> None:
        self.name = path
        with opening(path):
            found: Any = import_module("zarr").open(path, mode="r")
        arrays, axes = levels_of(path, found)
        with opening(path):
            self.array = arrays[check_choice(path, "level", level, len(arrays))]
            self.axes = axes or names_of(self.array)
        shape, chunks = (dict(zip(self.axes, sizes, strict=True)) for sizes in (self.array.shape, self.array.chunks))
        if not {"y", "x"} <= shape.keys() or len(shape) != len(self.array.shape):
            raise UserError(f"{path} holds an array of axes {self.axes} and shape {self.array.shape}; an image has y and x")
        others = [axis for axis in self.axes if axis not in "yxc"]
        places = list(product(*(range(shape[axis]) for axis in others)))
        self.place = dict(zip(others, places[check_choice(path, "page", page, len(places))], strict=True))
        self.bands = chosen_bands(path, bands, shape.get("c", 1))
        self.dtype, self.stored = stored_dtype(path, [self.array.dtype.newbyteorder("=")])
        self.height, self.width, self.channels = shape["y"], shape["x"], len(self.bands)
        self.block = min(chunks["y"], self.height), min(chunks["x"], self.width)
        missing = dict(self.array.attrs).get("_FillValue")
        if isinstance(missing, int | float):
            self.nodata = (float(missing),) * self.channels
        self.watched = Watched(path)

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        first, end = self.bands[0] - 1, self.bands[-1]
        listed = self.bands != list(range(first + 1, end + 1))
        bands = np.array(self.bands) - 1 if listed else slice(first, end)  # zarr takes twice as long for a list
        spans: dict[str, Any] = {**self.place, "y": slice(top, top + height), "x": slice(left, left + width), "c": bands}
        index = tuple(spans[axis] for axis in self.axes)
        with self.watched:
            values = np.asarray(self.array.oindex[index] if listed and "c" in self.axes else self.array[index])
        kept = [axis for axis in self.axes if axis in "yxc"]
        if "c" not in kept:
            values, kept = np.broadcast_to(values, (self.channels, *values.shape)), ["c", *kept]
        values = values.transpose([kept.index(axis) for axis in "cyx"])
        return torch.from_numpy(np.require(values, self.dtype, ["C", "W"]))

    def missing_blocks(self) -> tuple[int, int]:
        """A chunk that holds nothing but the fill value need not be stored: what is missing may be meant so."""
        return self.array.nchunks - self.array.nchunks_initialized, self.array.nchunks

    @property
    def missing_is_nodata(self) -> bool:
        fill = float(self.array.fill_value or 0)
        return (math.isnan(fill) and self.dtype == "float32") or (self.nodata is not None and fill == self.nodata[0])

    def files(self) -> Iterator[str]:
        if not os.path.isdir(self.name):
            yield self.name
        for folder, folders, files in os.walk(self.name):
            folders.sort()
            yield from (os.path.join(folder, file) for file in sorted(files))

    def close(self) -> None:
        self.watched.close()


def levels_of(path: str, found: Any) -> tuple[list[Any], str]:
    """The arrays of an OME-Zarr's levels and the names of its axes, or the one array that there is, and no names."""
    if hasattr(found, "chunks"):
        return [found], ""
    attributes: Mapping[str, Any] = dict(found.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if scales:
        try:
            axes = "".join(axis["name"] if isinstance(axis, Mapping) else axis for axis in scales[0].get("axes", ()))
            return [found[level["path"]] for level in scales[0]["datasets"]], axes
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreadableError(f"{path} says of its levels what cannot be read ({error}): write it again as OME-Zarr") from error
    names = sorted(found.array_keys())
    if len(names) != 1:
        inner = f", as {Path(path) / names[0]}" if names else ""
        raise UserError(f"{path} holds {len(names)} arrays and does not say which is the image; open one of them{inner}")
    return [found[names[0]]], ""


def names_of(array: Any) -> str:
    """The names of an array's axes: those that it has, else by their number and sizes."""
    named = getattr(array.metadata, "dimension_names", None) or dict(array.attrs).get("_ARRAY_DIMENSIONS")
    short = {"band": "c", "bands": "c", "channel": "c", "channels": "c", "lat": "y", "latitude": "y", "lon": "x", "longitude": "x"}
    if named and all(isinstance(name, str) for name in named):
        return "".join(short.get(name.lower(), name.lower()[:1]) for name in named)
    if len(array.shape) == 3:
        return "cyx" if array.shape[0] <= array.shape[2] else "yxc"
    return "yx" if len(array.shape) == 2 else "?" * len(array.shape)
