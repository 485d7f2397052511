"""Photographs of all kinds, as a viewer shows them (``fcn/data/images.py``). They are decoded whole when they are opened."""

from collections.abc import Sequence

from torch import Tensor

from fcn.core.registry import register
from fcn.data.images import open_image
from fcn.rasters.opening import check_choice, chosen_bands
from fcn.rasters.raster import Raster


@register(
    "reader",
    "picture",
    suffixes=(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
class PictureRaster(Raster):
    """A photograph in RGB, held in memory."""

    dtype = "uint8"

    def __init__(self, path: str, *, bands: Sequence[int] | None = None, page: int | None = None, level: int | None = None) -> None:
        self.name = path
        for word, number in (("page", page), ("level", level)):
            check_choice(path, word, number, 1)
        self.image = open_image(path)
        self.bands = chosen_bands(path, bands, 3)
        _, self.height, self.width = self.image.shape
        self.channels = len(self.bands)
        self.block = 1, self.width

    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        return self.image[:, top : top + height][[band - 1 for band in self.bands], :, left : left + width]

    def close(self) -> None:
        """The file is closed already."""
