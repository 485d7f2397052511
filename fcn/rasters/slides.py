"""Whole-slide images, by openslide."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcn.core.registry import register
from fcn.rasters.faults import Watched, closed_on_error, opening
from fcn.rasters.opening import check_choice, chosen_bands
from fcn.rasters.raster import Raster

SIDE = 512  # of a block, where the slide does not say


@register(
    "reader",
    "slide",
    suffixes=(".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".dcm"),
    package="openslide",
)
class SlideRaster(Raster):
    """A slide in RGB. What was not scanned is no data."""

    dtype = "uint8"
    has_nodata = True

    def __init__(self, path: str, *, bands: Sequence[int] | None = None, page: int | None = None, level: int | None = None) -> None:
        self.name = path
        with opening(path):
            self.file: Any = import_module("openslide").OpenSlide(path)
        with closed_on_error(self.file):
            check_choice(path, "page", page, 1)
            self.level = check_choice(path, "level", level, self.file.level_count)
            self.bands = chosen_bands(path, bands, 3)
        self.width, self.height = self.file.level_dimensions[self.level]
        self.scale = self.file.level_downsamples[self.level]
        self.channels = len(self.bands)
        sides = [int(self.file.properties.get(f"openslide.level[{self.level}].tile-{word}", SIDE)) for word in ("height", "width")]
        self.block = min(sides[0], self.height), min(sides[1], self.width)
        self.watched = Watched(path)

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        return self.read_valid(top, left, height, width)[0]

    def read_valid(self, top: int, left: int, height: int, width: int) -> tuple[Tensor, Tensor | None]:
        place = round(left * self.scale), round(top * self.scale)  # openslide takes pixels of the full size
        with self.watched:
            values = torch.from_numpy(np.array(self.file.read_region(place, self.level, (width, height)))).permute(2, 0, 1)
        return values[[band - 1 for band in self.bands]], values[3] != 0

    def close(self) -> None:
        self.watched.close()
        self.file.close()
