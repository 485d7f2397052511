"""A raster: an image in a file, of which any rectangle of pixels can be read.

What a file decodes at once is a block: a tile, a strip of rows, or one row. Whoever reads along the blocks decodes each of them once.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import BYTES, DTYPES, Dtype, ImageKind

Affine = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of a raster lie on the earth.

    crs: coordinate reference system, as WKT; None: unknown.
    transform: (a, b, c, d, e, f), in the order of rasterio's ``Affine``; None: unknown. For the top left corner of a pixel,
        ``x = a * column + b * row + c`` and ``y = d * column + e * row + f``.
    """

    crs: str | None = None
    transform: Affine | None = None


class Raster(ABC):
    """An image in a file. A reader is a subclass that sets the attributes and has ``read`` and ``close``.

    name: path of the file, as messages call it.
    height, width: size, pixels.
    channels: number of channels that ``read`` gives.
    dtype: type of the values: "uint8", "uint16" or "float32".
    block: (rows, columns) that the file decodes at once.
    georeference: place on the earth; None: the file does not say.
    nodata: for each channel the value that means "no data"; None: the file has none.
    """

    name: str
    height: int
    width: int
    channels: int
    dtype: Dtype
    block: tuple[int, int]
    georeference: Georeference | None = None
    nodata: tuple[float, ...] | None = None

    @abstractmethod
    def read(self, top: int, left: int, height: int, width: int) -> Tensor:
        """The pixels of a rectangle within the image, (channels, height, width) of ``dtype``.

        Raises UserError, naming the file, where they cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the file. Nothing can be read after it."""

    def read_valid(self, top: int, left: int, height: int, width: int) -> tuple[Tensor, Tensor | None]:
        """The pixels of a rectangle as ``read`` gives them, and where they are data, bool (height, width); None: everywhere."""
        pixels = self.read(top, left, height, width)
        return pixels, valid_pixels(pixels, self.nodata) if self.has_nodata else None

    @property
    def has_nodata(self) -> bool:
        """Whether ``read_valid`` looks for pixels that are no data. In float32, "not a number" always is none."""
        return self.nodata is not None or self.dtype == "float32"

    def missing_blocks(self) -> tuple[int, int]:
        """How many blocks the file does not hold, and how many there are. Their pixels are read as one value, of no data if it has one."""
        return 0, 0

    @property
    def missing_is_nodata(self) -> bool:
        """Whether the pixels of blocks that the file does not hold are no data."""
        return self.nodata is not None

    def files(self) -> Iterable[str]:
        """The paths of the files that the pixels come from, always in the same order."""
        return [self.name]

    def notes(self) -> list[str]:
        """Sentences on what a user may not know of the file, to be told before the work starts."""
        missing, count = self.missing_blocks()
        if not missing:
            return []
        then = "no data" if self.missing_is_nodata else "one value, as 0. If they were lost, copy or download the file again"
        return [f"{self.name} does not hold {missing:,} of its {count:,} blocks; they are read as {then}"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width

    @property
    def images(self) -> ImageKind:
        """The kind of the image: its channels and the type of its values."""
        return ImageKind(self.channels, self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of pixels."""
        return self.channels * self.width * BYTES[self.dtype]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def valid_pixels(pixels: Tensor, nodata: tuple[float, ...] | None) -> Tensor:
    """Where pixels (C, h, w) are data, bool (h, w): some channel differs from its value of ``nodata``, and none is "not a number"."""
    found = torch.full(pixels.shape[1:], nodata is None)
    for channel, value in zip(pixels, nodata or (), strict=nodata is not None):
        found |= channel != value
    return found & ~pixels.isnan().any(0) if pixels.is_floating_point() else found


def stored_dtype(name: str, dtypes: Iterable[str]) -> tuple[Dtype, bool]:
    """The type of a raster's values, of what its bands are stored as, and whether it is that type. All but bytes and 16 bits without sign
    becomes float32. Raises UserError for complex numbers."""
    found = set(map(str, dtypes))
    if any(word.startswith("c") for word in found):
        raise UserError(f"{name} holds complex numbers ({', '.join(sorted(found))}); save their magnitude, or real and imaginary part")
    for dtype in DTYPES:
        if found == {dtype}:
            return dtype, True  # type: ignore[return-value]
    return "float32", False
