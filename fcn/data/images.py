"""From one photograph to one RGB tensor, or to rows that are read on demand.

All kinds of files become ``uint8`` here, so that later code meets nothing else. An image is what a viewer shows. EXIF orientation is
applied. 16 bits are scaled to 8, never clipped. Transparent pixels are blended with white: a hidden colour under full transparency is an
accident of the drawing program. What cannot be known is refused, or warned of once: which of several pages is meant, and whether 16 bits
hold 12-bit values.

JPEG is decoded by torchvision, which is faster than Pillow, as long as torchvision can: 0.29 announces the end of its decoder. All other
formats are decoded by Pillow, PNG too. Torchvision's PNG decoder ends the process on some corrupted files, and one broken picture must not
cost the others.
"""

from collections.abc import Mapping
from contextlib import suppress
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.data.bands import strange_bands
from fcn.data.damage import check_jpeg
from fcn.data.opening import decode, frames, named, opened, opened_file, raw_mode, say_once

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"),
    *(".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
ARRAY_SUFFIXES = (".npy",)  # read where a folder holds no picture
NUMPY = b"\x93NUMPY"
_JPEG = b"\xff\xd8\xff"
_EXIF_ORIENTATION = 0x0112
_TURNS = {  # what shows a picture of that orientation; from 5 on, its rows are columns as they are stored, and 3, 4, 7, 8 go backwards
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LARGEST = (281, 341)  # TIFF's MaxSampleValue and SMaxSampleValue
_RANGES = tuple(2**bits - 1 for bits in range(8, 16))
_DARK = 1 << 14  # 16-bit pictures with no value from here on are suspicious
_BAND = 1 << 22  # pixels that are converted at once


class Shown:
    """A picture as a viewer shows it, of ``shape`` (3, H, W); ``shown[:, first:last]`` makes these rows, uint8 ``(3, rows, W)``, RGB, in
    channels-last memory.

    The picture itself stays as Pillow holds it: 4 bytes a pixel, or 1 if it is gray or has a palette. Grayscale, palette, CMYK,
    transparent (over white) and 16-bit pictures (scaled) are converted, and EXIF orientation is applied. Gray values of 16 bits are scaled
    by the range that the file gives (TIFF's bits or largest value, PNG's significant bits), else by 65535. A warning is given once if they
    use less than a quarter of it.

    Raises UserError, which calls it ``name``, for values of unknown range, for bands that are neither colours nor transparency, and for no
    pixels. Raises what Pillow raises where it cannot be decoded.
    """

    def __init__(self, picture: Image.Image, name: str | PathLike[str] = "the picture") -> None:
        layout = raw_mode(picture)
        strange = strange_bands(picture, None)
        if strange:
            raise UserError(f"{name} {strange}")
        picture.load()
        self.picture = picture.convert("LA") if picture.mode == "La" else picture  # Pillow converts premultiplied gray to nothing else
        self.orientation = _orientation(picture)
        self.deep = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))
        self.levels = np.empty(0, np.uint8)
        tags = _tags(picture)
        if (picture.mode in ("I", "F") and not self.deep) or tags.get(SAMPLEFORMAT, (1,))[0] != 1:
            raise UserError(
                f"{name} holds signed, 32-bit or floating-point values of unknown range: "
                f"save it with 8 or 16 bits a channel, or use it as it is stored, with {said('data.channels', len(picture.getbands()))}"
            )
        if 0 in picture.size:
            raise UserError(f"{name} has no pixels: it is {picture.width}x{picture.height}")
        if self.deep:
            self.levels = _levels(picture, layout, name)
        elif ";16" in layout and picture.mode in ("RGB", "RGBA", "LA"):
            colors = 1 if picture.mode == "LA" else 3
            _say_dark(256 * int(np.max(picture.getextrema()[:colors])) + 255, name)  # of 16 bits Pillow keeps the upper 8
        elif picture.format == "TIFF" and picture.mode in ("RGBA", "LA"):
            _say_translucent(picture, name)
        width, height = picture.size if self.orientation < 5 else picture.size[::-1]
        self.shape = (3, height, width)

    def __getitem__(self, key: tuple[slice, slice], /) -> Tensor:
        _, height, width = self.shape
        first, last, _ = key[1].indices(height)
        pixels = np.empty((max(0, last - first), width, 3), np.uint8)
        rows = max(1, _BAND // width)
        for top in range(first, last, rows):  # in bands, since Pillow's way into NumPy takes several copies
            end = min(top + rows, last)
            pixels[top - first : end - first] = self._rgb(self._rows(top, end))
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _rows(self, first: int, last: int) -> Image.Image:
        """These rows of what is shown, as stored but for their turn."""
        part, height = self.picture, self.shape[1]
        if (first, last) != (0, height):
            if self.orientation in (3, 4, 7, 8):
                first, last = height - last, height - first
            part = part.crop((0, first, part.width, last) if self.orientation < 5 else (first, 0, last, part.height))
        return part if self.orientation == 1 else part.transpose(_TURNS[self.orientation])

    def _rgb(self, part: Image.Image) -> np.ndarray:
        """uint8 ``(H, W, 3)``, or ``(H, W, 1)`` where it is gray."""
        if self.deep:
            return self.levels[np.asarray(part)][..., None]
        if part.has_transparency_data:
            rgba = part.convert("RGBA")
            part = Image.new("RGB", rgba.size, "white")
            part.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(part.convert("RGB"))


def open_image(path: str | PathLike[str]) -> Tensor | Shown:
    """The picture as a viewer shows it, decoded, uint8 ``(3, H, W)``; ``image[:, first:last]`` are rows. It is a tensor of JPEG, and of all
    else what :class:`Shown` reads from.

    Of an animation the first frame is used, with one warning. There is no limit on the size.

    Raises FileNotFoundError for a missing file. Raises UserError, naming the file, for an empty or damaged one, several pages, bands that
    are neither colours nor transparency, and values of unknown range.
    """
    with opened_file(path) as file:
        head = file.read(len(NUMPY))
    if head == NUMPY:
        raise UserError(
            f"{path} is an array of NumPy, which is read as it is stored: give {said('data.channels')}, the number of its channels"
        )
    if head.startswith(_JPEG):
        data = np.fromfile(path, np.uint8)
        with named(path):
            check_jpeg(data.tobytes())
        try:
            from torchvision.io import ImageReadMode, decode_jpeg

            return decode_jpeg(torch.from_numpy(data), ImageReadMode.RGB, apply_exif_orientation=True)
        except (RuntimeError, ImportError, DeprecationWarning):
            pass  # Pillow reads a few kinds more, and words the reason better
    with opened(path) as picture:
        count = frames(picture, path)
        if count > 1 and picture.format == "TIFF":
            raise UserError(f"{path} holds {count} pages, and only one can be used: save each as a file of its own")
        if count > 1:
            say_once("frames", f"{path} holds {count} frames: the first is used, here and in other animations")
        decode(picture, path)
        return Shown(picture, path)


def read_image(path: str | PathLike[str]) -> Tensor:
    """All of the picture that :func:`open_image` opens: uint8 ``(3, H, W)``, RGB, usually in channels-last memory. Raises as that does."""
    return open_image(path)[:, :]


def turned(picture: Image.Image) -> Image.Image:
    """A decoded picture as its EXIF orientation shows it."""
    orientation = _orientation(picture)
    return picture if orientation == 1 else picture.transpose(_TURNS[orientation])


def exif_orientation(path: str | PathLike[str]) -> int:
    """The EXIF orientation of a picture, 1 (as stored) to 8; from 5 on, the shown picture has the stored height as its width."""
    with opened(path) as picture:
        return _orientation(picture)


def _levels(picture: Image.Image, layout: str, name: str | PathLike[str]) -> np.ndarray:
    """The 8-bit value of each gray value of 16 bits, uint8 (65536,)."""
    bands = range(0, picture.height, max(1, _BAND // picture.width))
    largest = max(int(np.asarray(picture.crop((0, y, picture.width, min(y + bands.step, picture.height)))).max()) for y in bands)
    top = 65535
    tags = _tags(picture)
    said = [int(tags[tag][0] if isinstance(tags[tag], tuple) else tags[tag]) for tag in _LARGEST if tag in tags]
    bits = 12 if layout == "I;12" else int(picture.info.get("significant_bits", 0))
    if layout == "I;12" or (8 <= bits < 16 and largest < 2**bits and not _replicated(np.asarray(picture), bits)):
        top = 2**bits - 1
    for value in said:  # only as a number of bits: what a writer found in this picture is no range
        if largest <= value and value in _RANGES:
            top = value
    if top == 65535:
        _say_dark(largest, name)
    steps = np.arange(65536, dtype=np.uint32).clip(max=top)
    if tags.get(PHOTOMETRIC_INTERPRETATION) == 0:  # white is 0
        steps = top - steps
    return ((steps * 255 + top // 2) // top).astype(np.uint8)


def _replicated(values: np.ndarray, bits: int) -> bool:
    """Whether values of ``bits`` bits were brought to 16 as PNG asks: shifted up, the bits below being 0 or the first ones again."""
    shift = 16 - bits
    low = values & (2**shift - 1)
    return not low.any() or bool((low == values >> 16 - shift).all())


def _say_dark(largest: int, name: str | PathLike[str]) -> None:
    if 0 < largest < _DARK:
        say_once(
            "dark",
            f"{name} has 16 bits a channel, but no value above {largest} of 65535: it is read as nearly black, here and in other files. "
            "If the values have 10, 12 or 14 bits, multiply them by 64, 16 or 4, or save 8 bits",
        )


def _say_translucent(picture: Image.Image, name: str | PathLike[str]) -> None:
    counts = picture.getchannel("A").histogram()
    if 2 * sum(counts[1:255]) > sum(counts):
        say_once(
            "alpha",
            f"{name} marks its last band as transparency, and most of it is translucent: it is blended with white. "
            "If that band is something else (near infrared), save the colours alone",
        )


def _tags(picture: Image.Image) -> Mapping[int, Any]:
    return picture.tag_v2 if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}


def _orientation(picture: Image.Image) -> int:
    """1 to 8; one that cannot be read is none, 1."""
    with suppress(Exception):
        orientation = int(picture.getexif().get(_EXIF_ORIENTATION, 1))
        return orientation if orientation in _TURNS else 1
    return 1
