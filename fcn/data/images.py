"""From one file to one tensor, or to rows that are read when asked for: photographs as RGB, label maps as raw indices.

What a file may hold is settled here, once, so that nothing later meets anything but ``uint8``:

- an image is what a viewer shows: its EXIF orientation is applied, 16 bits are scaled to 8 (never clipped), and what is transparent shows
  white paper behind it (a hidden colour under full transparency is an accident of the drawing program);
- a label map is what the file stores: the *indices* of a palette picture, not its colours, and never anything lossy.

JPEG goes through torchvision's decoder, faster than Pillow's, as long as torchvision has it: 0.29 announces that it will
go. All else goes through Pillow, PNG too: torchvision's PNG decoder ends the process on some corrupted files, where one broken picture must
not cost the others.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
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
_BAND = 1 << 22  # pixels that are converted at once


class Shown:
    """A picture as a viewer shows it, of ``shape`` (3, H, W); ``shown[:, first:last]`` makes these rows, uint8 ``(3, rows, W)``, RGB, in
    channels-last memory.

    The picture itself stays as Pillow holds it, at 4 bytes a pixel, or 1 where it is gray or has a palette. Grayscale, palette, CMYK,
    transparent (over white) and 16-bit pictures (scaled) are converted, EXIF orientation is applied. Raises ValueError, which calls it
    ``name``, for values of unknown range and for no pixels at all, and what Pillow does where it cannot be decoded.
    """

    def __init__(self, picture: Image.Image, name: str | PathLike[str] = "the picture") -> None:
        picture.load()
        self.picture = picture
        self.orientation = _orientation(picture)
        self.deep = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))
        if picture.mode in ("I", "F") and not self.deep:
            raise ValueError(f"{name} holds 32-bit values of unknown range: save it with 8 or 16 bits a channel")
        if 0 in picture.size:
            raise ValueError(f"{name} has no pixels: it is {picture.width}x{picture.height}")
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
            return ((np.asarray(part).astype(np.uint32) + 128) // 257).astype(np.uint8)[..., None]  # 65535 = 257 * 255
        if part.has_transparency_data:
            rgba = part.convert("RGBA")
            part = Image.new("RGB", rgba.size, "white")
            part.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(part.convert("RGB"))


def open_image(path: str | PathLike[str]) -> Tensor | Shown:
    """The picture as a viewer shows it, uint8 ``(3, H, W)``, decoded, of which ``image[:, first:last]`` are rows: a tensor of JPEG, and of
    all else what :class:`Shown` reads from.

    Of several frames the first is taken. There is no limit on the size. Raises FileNotFoundError for a missing file and ValueError, naming
    the file, for one that is empty, truncated or not a picture of a known range.
    """
    with _file(path) as file:
        jpeg = file.read(len(_JPEG)) == _JPEG
    if jpeg:
        try:
            from torchvision.io import ImageReadMode, decode_jpeg

            return decode_jpeg(torch.from_numpy(np.fromfile(path, np.uint8)), ImageReadMode.RGB, apply_exif_orientation=True)
        except (RuntimeError, ImportError, DeprecationWarning):
            pass  # Pillow reads a few kinds more, and words the reason better
    with _opened(path) as picture:
        return Shown(picture, path)


def read_image(path: str | PathLike[str]) -> Tensor:
    """All of the picture that :func:`open_image` opens: uint8 ``(3, H, W)``, RGB, usually in channels-last memory. Raises as that does."""
    return open_image(path)[:, :]


def read_labels(path: str | PathLike[str]) -> Tensor:
    """The raw values of a label map: uint8 ``(H, W)``, the indices of a palette picture, the gray values of any other.

    Integers of 16 or 32 bits are taken if they fit in 0..255; ``.mat`` is read as SBD's ``GTcls`` (needs scipy). EXIF orientation is *not*
    applied: a map is stored as it is meant (TIFF's own orientation tag is part of its format, and is). Raises FileNotFoundError for a
    missing file and ValueError, naming the file, for a broken one, for colours where indices belong, for JPEG (its values are smeared) and
    for values outside of 0..255.
    """
    if Path(path).suffix.lower() == ".mat":
        return _read_sbd(path)
    with _opened(path) as picture:
        if picture.format in ("JPEG", "MPO"):
            raise ValueError(f"{path} is a JPEG, which smears the class indices of a label map: save it as PNG from the original")
        if picture.mode not in ("1", "L", "P", "I") and not picture.mode.startswith("I;16"):
            raise ValueError(
                f"{path} holds colours ({picture.mode}) where class indices are expected: convert it to a palette or grayscale PNG "
                "whose values are the indices of the classes"
            )
        unscale = {"L;2": 85, "L;4": 17}.get(_raw_mode(picture), 1)  # Pillow stretches gray of few bits to 0..255
        values = np.array(picture)
    if values.dtype not in (np.uint8, np.bool_):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 255:
            raise ValueError(f"{path} holds values from {low} to {high}; class indices and void are 0 to 255: save it with 8 bits")
    values = values.astype(np.uint8, copy=False)
    return torch.from_numpy(values // unscale if unscale > 1 else values)


def exif_orientation(path: str | PathLike[str]) -> int:
    """The EXIF orientation of a picture, 1 (as stored) to 8; from 5 on, the shown picture has the stored height as its width."""
    with _opened(path, load=False) as picture:
        return _orientation(picture)


@contextmanager
def _file(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """The file, open for reading and not empty."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {path}") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
        if not file.read(1):
            raise ValueError(f"{path} is empty: copy or download it again")
        file.seek(0)
        yield file


@contextmanager
def _opened(path: str | PathLike[str], load: bool = True) -> Iterator[Image.Image]:
    """The decoded picture (without ``load``, its header); whatever goes wrong in decoding is a ValueError that names the file."""
    with _any_size(), _file(path) as file:
        try:
            picture: Image.Image = Image.open(file)
            raw_mode = _raw_mode(picture)
            if load:
                picture.load()
        except Exception as error:  # Pillow's plugins raise nearly everything on broken files
            reason = "it is no picture of a known format" if isinstance(error, UnidentifiedImageError) else str(error)
            raise ValueError(f"{path} cannot be decoded ({reason}): replace the file or leave it out") from None
        picture.info["raw_mode"] = raw_mode
        yield picture


def _raw_mode(picture: Image.Image) -> str:
    """Pillow's name of the layout in the file, which it forgets once the pixels are loaded."""
    if "raw_mode" in picture.info:
        return str(picture.info["raw_mode"])
    tiles = getattr(picture, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _orientation(picture: Image.Image) -> int:
    """1 to 8; one that cannot be read is none, 1."""
    with suppress(Exception):
        orientation = int(picture.getexif().get(_EXIF_ORIENTATION, 1))
        return orientation if orientation in _TURNS else 1
    return 1


def _read_sbd(path: str | PathLike[str]) -> Tensor:
    with _file(path) as file:
        data = file.read()
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ValueError(f"{path} needs scipy to be read: pip install scipy") from None
    try:
        values = np.asarray(loadmat(BytesIO(data), variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0])
        if values.ndim != 2:
            raise ValueError(f"GTcls.Segmentation has the shape {values.shape}")
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a class map of SBD ({error}): extract the data set again") from None
    return torch.from_numpy(values.astype(np.uint8))


_lock = threading.Lock()
_readers = 0
_limit: int | None = None


@contextmanager
def _any_size() -> Iterator[None]:
    """Lifts Pillow's limit on the size of pictures while any thread is in here, and gives the importing program back its own after.

    Pillow keeps the limit in a module's variable and checks it when a file is opened and, for TIFF, when it is loaded. Threads are counted
    so that they decode side by side and the last one out restores the limit.
    """
    global _readers, _limit
    with _lock:
        if _readers == 0:
            _limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                Image.MAX_IMAGE_PIXELS = _limit
