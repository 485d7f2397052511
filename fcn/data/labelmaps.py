"""From one label map in a file to one tensor of raw indices, or of colours.

A label map is what the file stores: the *indices* of a palette picture, and its colours beside them. Lossy formats are refused.
``masks.py`` turns both into classes.
"""

from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import VOID, WIDE_VOID
from fcn.core.names import first_line, said
from fcn.data.images import ARRAY_SUFFIXES
from fcn.data.opening import decode, frames, opened, opened_file, raw_mode

_LOSSY = {"JPEG": "JPEG", "MPO": "JPEG", "JPEG2000": "JPEG 2000", "WEBP": "WebP", "AVIF": "AVIF"}
_LOSSY_IN_TIFF = {"jpeg": "JPEG", "tiff_jpeg": "JPEG", "webp": "WebP"}
_COLORS = ("RGB", "RGBA")
_MEND = "convert it to a palette or grayscale PNG whose values are the indices of the classes"


class Raw(NamedTuple):
    """What the file of a label map holds.

    values: ``(H, W)``, uint8, or int32 where values above 255 were asked for; or colours uint8 ``(H, W, 3)`` in RGB. palette: the colours
    of the values, uint8 ``(count, 3)``, if the file has any. white: the value that is shown as white, of a gray picture of up to 8 bits.
    """

    values: Tensor
    palette: np.ndarray | None = None
    white: int | None = None


def read_labels(path: str | PathLike[str]) -> Tensor:
    """The raw values of a label map: uint8 ``(H, W)``, the indices of a palette picture, the gray values of any other.

    Raises as :func:`read_raw` does, and UserError for colours.
    """
    return _read(path, colors=False).values


def read_raw(path: str | PathLike[str], *, largest: int = VOID) -> Raw:
    """The raw values of a label map, or its colours. Transparency is left out. largest: upper bound of the values, 255 or 65535.

    With one bit a pixel, white is 1 and black 0. Integers of 16 or 32 bits, and arrays (``.npy``), are read if they fit in. ``.mat``
    is read as SBD's ``GTcls`` (needs scipy). EXIF orientation is *not* applied: a map is stored as it is meant. TIFF's own orientation tag
    is part of the format, and is applied.

    Raises FileNotFoundError for a missing file. Raises UserError, naming the file, for

    - a damaged file, several pages or frames,
    - fractions in place of indices, and values outside of 0 to ``largest``,
    - lossy formats (JPEG smears values), and a GIF of colours (encoders number them anew).
    """
    return _read(path, colors=True, largest=largest)


def _read(path: str | PathLike[str], *, colors: bool, largest: int = VOID) -> Raw:
    if Path(path).suffix.lower() == ".mat":
        return Raw(_read_sbd(path))
    if Path(path).suffix.lower() in ARRAY_SUFFIXES:
        return Raw(indices(_read_array(path), path, largest))
    with opened(path) as picture:
        reason = _no_label_map(picture, colors)
        if reason:
            raise UserError(f"{path} {reason}: {_MEND}")
        count = frames(picture, path)
        if count > 1:
            kind = "pages" if picture.format == "TIFF" else "frames"
            raise UserError(f"{path} holds {count} {kind}, and a label map is one picture: save the one that is meant as a file of its own")
        layout, top = raw_mode(picture), _unstretched(picture)
        decode(picture, path, count=True)
        if picture.mode in _COLORS:
            return Raw(torch.from_numpy(np.array(picture.convert("RGB"))))
        values, mode = np.array(picture), picture.mode
        palette = _palette(picture)
        if picture.format == "GIF" and picture.mode == "P" and _renumbered(picture, values):
            raise UserError(f"{path} is a GIF of colours, and programs number the colours of a GIF anew: convert the original to PNG")
    if layout.startswith(("L;2", "L;4")):
        values = values // (85 if layout.startswith("L;2") else 17)  # Pillow stretches gray of few bits to 0..255
    white = {"1": 1, "L": {"L;2": 3, "L;4": 15}.get(layout[:3], VOID)}.get(mode)
    return Raw(indices(values, path, largest, top), palette, white)


def indices(values: np.ndarray, path: str | PathLike[str], largest: int, top: int = WIDE_VOID) -> Tensor:
    """Values of a file as uint8, or int32 where they may be above 255. top: the largest value that the file says it has."""
    low, high = int(values.min()), int(values.max())
    if top < largest and high > top:
        raise UserError(f"{path} holds the value {high}, and says that its largest is {top}: {_MEND}")
    if low < 0 or high > largest:
        can = low >= 0 and largest < high <= WIDE_VOID
        mend = f"; other values are read where {said('data.values')} gives them" if can else ""
        raise UserError(f"{path} holds values from {low} to {high}; class indices and void are 0 to {largest}{mend}")
    return torch.from_numpy(values.astype(np.uint8 if largest == VOID else np.int32, copy=False))


def _read_array(path: str | PathLike[str]) -> np.ndarray:
    """The values of a ``.npy`` file, whole numbers (H, W)."""
    with opened_file(path):
        pass
    try:
        values: np.ndarray = np.load(path, allow_pickle=False)
    except Exception as error:
        raise UserError(f"{path} cannot be read as an array ({first_line(error)}): save it again with numpy.save") from None
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):  # one channel
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iub":
        raise UserError(f"{path} holds {values.dtype} of shape {values.shape}; a label map is whole numbers (height, width)")
    return values


def _palette(picture: Image.Image) -> np.ndarray | None:
    """The colours of a palette picture, as many as the file gives: uint8 ``(count, 3)``."""
    return np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3) if picture.mode == "P" else None


def _no_label_map(picture: Image.Image, colors: bool) -> str | None:
    """Why an opened picture cannot be a label map, as the rest of a sentence after the file's name; None where it can."""
    lossy = _LOSSY.get(picture.format or "")
    if picture.format == "TIFF":
        lossy = _LOSSY_IN_TIFF.get(str(picture.info.get("compression")))
    if lossy:
        return f"is a {lossy}, which may smear the class indices of a label map"
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        tags = picture.tag_v2
        if tags.get(PHOTOMETRIC_INTERPRETATION) == 0 and picture.mode != "1":
            return "counts from white (TIFF's WhiteIsZero), so that 0 may mean the first class or the last"
        if tags.get(SAMPLEFORMAT, (1,))[0] == 2 and picture.mode == "L":
            return "holds signed values of 8 bits"
    if picture.mode == "F":
        return "holds fractions (floating point) where class indices are expected"
    if picture.mode not in ("1", "L", "P", "I", *(_COLORS if colors else ())) and not picture.mode.startswith("I;16"):
        return f"holds colours ({picture.mode}) where class indices are expected"
    return None


def _renumbered(picture: Image.Image, values: np.ndarray) -> bool:
    """Whether the numbers of the colours in a GIF are not what they show: gray of that value, or black 0 and white 1.

    Encoders number colours in the order of their use and drop the others, so 0, 20, 255 may come back as 0, 1, 2.
    """
    used = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    colors = np.zeros((256, 3), np.int64)
    palette = np.array(picture.getpalette()).reshape(-1, 3)
    colors[: len(palette)] = palette
    return not any((colors[used] == used[:, None] * step).all() for step in (1, 255))


def _unstretched(picture: Image.Image) -> int:
    """Makes Pillow read the values of a PGM as they are stored, and returns the largest that the file allows.

    Pillow would stretch 0..maxval to 0..255 or 0..65535, and cut what is larger.
    """
    if picture.format != "PPM" or picture.mode not in ("L", "I"):
        return 2**32
    tile = picture.tile[0]  # type: ignore[attr-defined]
    maximum = int(tile.args[1]) if isinstance(tile.args, tuple) else 65535 if picture.mode == "I" else 255
    if tile.codec_name == "ppm":
        picture.tile = [tile._replace(codec_name="raw", args="L" if picture.mode == "L" else "I;16B")]  # type: ignore[attr-defined]
    elif tile.codec_name == "ppm_plain":
        picture.tile = [tile._replace(args=(picture.mode, 65535 if picture.mode == "I" else 255))]  # type: ignore[attr-defined]
    return maximum


def _read_sbd(path: str | PathLike[str]) -> Tensor:
    with opened_file(path) as file:
        data = file.read()
    try:
        from scipy.io import loadmat
    except ImportError:
        raise UserError(f"{path} needs scipy to be read: pip install scipy") from None
    try:
        values = np.asarray(loadmat(BytesIO(data), variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0])
        if values.ndim != 2:
            raise UserError(f"GTcls.Segmentation has the shape {values.shape}")
        labels = values.astype(np.uint8)
        if not np.array_equal(labels, values):
            raise UserError("GTcls.Segmentation holds more than whole numbers from 0 to 255")
    except Exception as error:
        raise UserError(f"{path} cannot be read as a class map of SBD ({error}): extract the data set again") from None
    return torch.from_numpy(labels)
