"""From a file to all of its channels, as they are stored: nothing scaled, blended or left out.

A format is read by whoever keeps its values. NumPy reads ``.npy``. Pillow reads pictures of 8 bits, gray ones of 16 bits and of float32,
and 16-bit colours of PNG as two passes of 8 bits. All other TIFF is read by tifffile, else by rasterio; both are optional. Signed, 32-bit
and 64-bit numbers become float32. What a photograph looks like on a screen is ``images.py``.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import TiffImagePlugin
from PIL.TiffImagePlugin import BITSPERSAMPLE, EXTRASAMPLES, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, SAMPLEFORMAT
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import DTYPES, ImageKind
from fcn.core.names import first_line, said
from fcn.data.bands import TIFF, tiff_values
from fcn.data.images import NUMPY, Shown, open_image, turned
from fcn.data.opening import decode, frames, opened, opened_file, raw_mode

FileName = str | PathLike[str]

_KEPT = ("L", "LA", "RGB", "RGBA", "CMYK", "F")  # Pillow's modes that hold what a file of 8 bits, or of float32, stores
_PLAIN = (1, 2)  # TIFF's photometric interpretations whose values are what is shown: black is zero, RGB
_HALVES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}  # Pillow's layouts that keep the upper byte, and the lower one


class ChannelsError(UserError):
    """A file has another number of channels, ``count``, than it should."""

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


def stored_kind(path: FileName, channels: int) -> ImageKind:
    """The kind of the images of a data set, as its first file has it. Raises UserError where that has another number of channels."""
    try:
        dtype: Any = str(_values(path, channels).dtype)
    except ChannelsError as error:
        raise UserError(f"{error}, or {said('data.channels', error.count)} if all have that many") from None
    return ImageKind(channels, dtype)


def read_stored(path: FileName, kind: ImageKind) -> Tensor:
    """The values of a file, ``(C, H, W)`` of the type of ``kind``, in channels-last memory.

    Arrays and TIFF may lie as (H, W, C) or as (C, H, W): the number of channels tells. Where it does not, it is (H, W, C).

    Raises FileNotFoundError for a missing file. Raises UserError, naming the file, for a damaged one, for other channels or another type
    than those of ``kind``, and for one that needs a package that is not there.
    """
    return of_kind(_values(path, kind.channels), kind, path)


def of_kind(values: np.ndarray, kind: ImageKind, name: FileName) -> Tensor:
    """An array as an image ``(C, H, W)`` of ``kind``. Raises UserError, which calls it ``name``, where it is of another kind."""
    values = as_stored(values, kind.channels, name)
    if str(values.dtype) != kind.dtype:
        raise UserError(f"{name} holds {values.dtype}, and the other images {kind.dtype}: save all of them with one type")
    return torch.from_numpy(values).permute(2, 0, 1)


def open_as(path: FileName, kind: ImageKind) -> Tensor | Shown:
    """An image for a network that takes ``kind``: RGB as a viewer shows it (``open_image``), any other kind as it is stored."""
    return open_image(path) if kind.is_rgb and Path(path).suffix.lower() != ".npy" else read_stored(path, kind)


def pixels_of(path: FileName, kind: ImageKind) -> int:
    """How many pixels an image of ``kind`` has, of its header alone; 0 where that cannot be read: ``open_as`` says why.

    Reduced copies in a TIFF count too, since they cannot be told from bands.
    """
    try:
        with opened_file(path) as file:
            head = file.read(len(NUMPY))
        if head == NUMPY:
            return int(np.load(path, mmap_mode="r", allow_pickle=False).size) // kind.channels
        if head[:4] in TIFF and not kind.is_rgb:
            return tiff_values(path) // kind.channels
        with opened(path) as picture:
            return picture.width * picture.height
    except (UserError, OSError, ValueError):
        return 0


def as_stored(values: np.ndarray, channels: int, name: FileName) -> np.ndarray:
    """An array (H, W), (H, W, C) or (C, H, W) as one (H, W, C) of a type that images have. Raises UserError, which calls it ``name``."""
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or 0 in values.shape or values.dtype.kind not in "uif":
        raise UserError(
            f"{name} holds an array of shape {values.shape} and type {values.dtype}; an image is numbers (height, width, channels)"
        )
    if values.shape[2] != channels and values.shape[0] == channels:
        values = values.transpose(1, 2, 0)
    if values.shape[2] != channels:
        count = min(values.shape)
        words = "1 channel" if count == 1 else f"{count} channels"
        raise ChannelsError(
            f"{name} holds {words} (its shape is {values.shape}), and images of {channels} are expected; give images of one kind", count
        )
    dtype = values.dtype.newbyteorder("=") if values.dtype.name in DTYPES else np.dtype(np.float32)
    return np.require(values, dtype, ["C", "W"])


def _values(path: FileName, channels: int) -> np.ndarray:
    """The values of a file, (H, W, C)."""
    with opened_file(path) as file:
        head = file.read(6)
    if head == NUMPY:
        return as_stored(_array(path), channels, path)
    if head[:4] in TIFF:
        return as_stored(_tiff(path), channels, path)
    return as_stored(_picture(path, channels), channels, path)


def _array(path: FileName) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:
        raise UserError(f"{path} cannot be read as an array ({first_line(error)}): save it again with numpy.save") from None


def _picture(path: FileName, channels: int) -> np.ndarray:
    """The channels of a picture that Pillow reads. Palettes and lossy formats give the colours that they stand for."""
    with opened(path) as picture:
        layout = raw_mode(picture)
        if frames(picture, path) > 1:
            raise UserError(f"{path} holds several frames, and an image is one: save each as a file of its own")
        if layout in _HALVES:
            return _sixteen_bits(path, layout)
        decode(picture, path)
        if picture.format == "JPEG" and channels == 3:
            return open_image(path)[:, :].permute(1, 2, 0).numpy()
        if picture.mode in ("1", "P"):
            picture = picture.convert("L" if picture.mode == "1" else "RGBA" if channels == 4 else "RGB")
        deep = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))
        if ";16" in layout and not deep:
            raise UserError(f"{path} holds {picture.mode} of 16 bits, of which only 8 can be read here: save it as TIFF or .npy")
        if picture.mode not in _KEPT and not deep:
            raise UserError(f"{path} holds colours of the kind {picture.mode}: save it as gray, RGB, TIFF or .npy")
        values = np.asarray(turned(picture))
        return values.astype(np.uint16) if deep else values


def _sixteen_bits(path: FileName, layout: str) -> np.ndarray:
    """Colours of 16 bits, of which Pillow gives one byte at a time."""
    halves = []
    for half in (layout, _HALVES[layout]):
        with opened(path) as picture:
            picture.tile = [tile._replace(args=(half, *tile.args[1:]) if isinstance(tile.args, tuple) else half) for tile in picture.tile]  # type: ignore[attr-defined]
            decode(picture, path)
            halves.append(np.asarray(turned(picture)).astype(np.uint16))
    return halves[0] << 8 | halves[1]


def _tiff(path: FileName) -> np.ndarray:
    """All bands of a TIFF."""
    try:
        with opened(path) as picture:
            if isinstance(picture, TiffImagePlugin.TiffImageFile) and frames(picture, path) == 1 and _pillow_keeps(picture):
                decode(picture, path)
                return np.asarray(picture)
    except UserError:
        pass  # a kind that Pillow does not read, which the others do, or whose damage they name
    reasons: list[str] = []
    for package, read in READERS.items():
        if find_spec(package) is None:
            reasons.append(f'{package} is not there (pip install "fcn-toolkit[{package}]")')
            continue
        try:
            return read(path)
        except Exception as error:  # a damaged file raises whatever its parser meets
            reasons.append(f"{package} says: {first_line(error)}")
    raise UserError(f"{path} cannot be read: {'; '.join(reasons)}")


def _pillow_keeps(picture: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether Pillow gives the values of a TIFF unchanged: one or three bands of 8 bits, one of 16 or of float32."""
    tags = picture.tag_v2
    plain = tags.get(PHOTOMETRIC_INTERPRETATION) in _PLAIN and EXTRASAMPLES not in tags and tags.get(PLANAR_CONFIGURATION, 1) == 1
    bits = tuple(tags.get(BITSPERSAMPLE, (1,)))
    known = {"L": (8,), "RGB": (8, 8, 8), "I;16": (16,), "I;16B": (16,), "F": (32,)}
    signed = tags.get(SAMPLEFORMAT, (1,))[0] != (3 if picture.mode == "F" else 1)
    return plain and not signed and known.get(picture.mode) == bits and raw_mode(picture) != "I;12"


def _by_tifffile(path: FileName) -> np.ndarray:
    tifffile: Any = import_module("tifffile")
    with tifffile.TiffFile(path) as file:
        values = np.asarray(file.series[0].asarray())
        tag = file.pages[0].tags.get(274)
        return oriented(np.squeeze(values) if values.ndim > 3 else values, int(tag.value) if tag else 1)


def _by_rasterio(path: FileName) -> np.ndarray:
    import warnings

    rasterio: Any = import_module("rasterio")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Dataset has no geotransform")  # where a picture lies on earth does not matter here
        with rasterio.open(path) as file:
            return np.moveaxis(file.read(), 0, 2)


def oriented(values: np.ndarray, orientation: int) -> np.ndarray:
    """An image (H, W) or (H, W, C) as TIFF's orientation 1 to 8 shows it; bands that come first are left where they are."""
    if orientation not in range(2, 9):
        return values
    first = values.ndim - 2 if values.ndim == 3 and values.shape[0] < min(values.shape[1:]) else 0
    if orientation >= 5:
        values = values.swapaxes(first, first + 1)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}[orientation]
    place = (slice(None),) * first
    return values[(*place, slice(None, None, rows), slice(None, None, columns))]


READERS: dict[str, Callable[[FileName], np.ndarray]] = {"tifffile": _by_tifffile, "rasterio": _by_rasterio}
