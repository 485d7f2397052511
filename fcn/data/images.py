"""From one file to one tensor: photographs as RGB, label maps as raw indices.

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
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
_JPEG = b"\xff\xd8\xff"
_EXIF_ORIENTATION = 0x0112
_BAND = 1 << 22  # pixels that are converted at once


def read_image(path: str | PathLike[str]) -> Tensor:
    """The picture as a viewer shows it: uint8 ``(3, H, W)``, RGB, usually in channels-last memory.

    Grayscale, palette, CMYK, transparent (over white) and 16-bit pictures (scaled) are converted, EXIF orientation is applied; of several
    frames the first is taken. There is no limit on the size. Raises FileNotFoundError for a missing file and ValueError, naming the file,
    for one that is empty, truncated or not a picture of a known range.
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
        with suppress(Exception):  # an orientation that cannot be read is none
            ImageOps.exif_transpose(picture, in_place=True)
        return torch.from_numpy(_rgb(picture, path)).permute(2, 0, 1)


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


def to_rgb(picture: Image.Image) -> np.ndarray:
    """An open picture as a viewer shows it, uint8 ``(H, W, 3)``: what :func:`read_image` makes of a file. Raises as that does."""
    return _rgb(ImageOps.exif_transpose(picture), "the picture")


def exif_orientation(path: str | PathLike[str]) -> int:
    """The EXIF orientation of a picture, 1 (as stored) to 8; from 5 on, the shown picture has the stored height as its width."""
    with _opened(path, load=False) as picture, suppress(Exception):
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    return 1


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


def _rgb(picture: Image.Image, path: str | PathLike[str]) -> np.ndarray:
    """uint8 ``(H, W, 3)``, freshly allocated."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        gray = ((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 257 * 255
        return np.repeat(gray[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):
        raise ValueError(f"{path} holds 32-bit values of unknown range: save it with 8 or 16 bits a channel")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.new("RGB", rgba.size, "white")
        picture.paste(rgba, mask=rgba.getchannel("A"))
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    rows = max(1, _BAND // picture.width)
    for top in range(0, picture.height, rows):  # in bands, since Pillow's way into NumPy takes several copies
        band = picture if rows >= picture.height else picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        pixels[top : top + rows] = np.asarray(band.convert("RGB"))
    return pixels


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
