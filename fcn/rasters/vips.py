"""Very large PNG and JPEG, by libvips: rows are decoded one after another, and none of them is kept.

Whoever goes back up begins anew. Pictures that are not shown as they are stored are left to ``pictures.py``: turned ones, transparent ones,
and those of 16 bits.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcn.core.registry import register
from fcn.rasters.faults import UnreadableError, Watched, opening
from fcn.rasters.opening import check_choice, chosen_bands
from fcn.rasters.raster import Raster


@register("reader", "vips", suffixes=(".png", ".jpg", ".jpeg", ".jpe", ".jfif"), package="pyvips")
class VipsRaster(Raster):
    """A photograph in RGB, as a viewer shows it."""

    dtype = "uint8"

    def __init__(self, path: str, *, bands: Sequence[int] | None = None, page: int | None = None, level: int | None = None) -> None:
        self.name = path
        with opening(path):
            self.vips: Any = import_module("pyvips")
            self.begin()
        image = self.image
        turned = image.get("orientation") if image.get_typeof("orientation") else 1
        if image.format != "uchar" or image.bands not in (1, 3) or image.interpretation not in ("srgb", "rgb", "b-w") or turned != 1:
            raise UnreadableError(f"{path} is not shown as it is stored")
        for word, number in (("page", page), ("level", level)):
            check_choice(path, word, number, 1)
        self.bands = chosen_bands(path, bands, 3)
        self.width, self.height, self.channels = image.width, image.height, len(self.bands)
        self.block = 1, self.width
        self.watched = Watched(path)

    def begin(self) -> None:
        """Opens the picture anew, at its first row."""
        self.image = self.vips.Image.new_from_file(self.name, access="sequential", fail_on="error")
        self.region, self.come = self.vips.Region.new(self.image), 0

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        with self.watched:
            if top < self.come:
                self.begin()
            self.come = top + height
            values = np.frombuffer(self.region.fetch(left, top, width, height), np.uint8).reshape(height, width, self.image.bands)
        places = [band - 1 if self.image.bands == 3 else 0 for band in self.bands]
        return torch.from_numpy(values[..., places]).permute(2, 0, 1)

    def close(self) -> None:
        self.watched.close()
        self.image = self.region = None
