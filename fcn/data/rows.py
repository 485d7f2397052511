"""A data set that is held as rows, as those of Hugging Face's ``datasets``, taken as a Split.

    rows = datasets.load_dataset("scene_parse_150", split="train")
    split = fcn.data.rows.from_rows(rows, classes=names, values={0: "void", ...})

Anything that has a length and gives a mapping for an index is such a data set. Pictures may be Pillow's, arrays, or encoded bytes.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import MOST, RGB, ImageKind
from fcn.core.labels import LabelSet
from fcn.core.names import first_line, suggest
from fcn.data.classlists import named_classes
from fcn.data.images import Shown
from fcn.data.masks import Masks
from fcn.data.stored import as_stored, of_kind

_IMAGES = ("image", "img", "pixel_values")
_MASKS = ("annotation", "label", "mask", "labels", "segmentation", "semantic_segmentation", "conditioning_image")


class Table(Protocol):
    """Rows by index, each a mapping from the names of columns to values."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def from_rows(
    rows: Table,
    *,
    classes: Sequence[str] | LabelSet | None = None,
    values: Mapping[int, str] | None = None,
    image: str | None = None,
    mask: str | None = None,
    name: str | None = None,
    channels: int | None = None,
) -> "Rows":
    """A split of rows that hold an image and a mask.

    classes: names of the classes, in the order of the masks' values; may be left out if ``values`` names them.
    values: class of each value in the masks, by name or index, as ``{0: "void", 1: "wall"}``; None: each value is its class, 255 is void.
    image: column of the images; None: "image" or the like.
    mask: column of the masks; None: "annotation", "label", "mask" or the like.
    name: column with the samples' names; None: the row's number.
    channels: number of channels of images that are taken as they are, of uint8, uint16 or float32; None: images become RGB. An array is
        (H, W), (H, W, channels) or (channels, H, W).

    Raises UserError where there are no rows, and for columns and classes that are not there.
    """
    if not len(rows):
        raise UserError("no rows given; a split needs at least one")
    columns = list(rows[0])
    chosen = _column(image, _IMAGES, columns, "image"), _column(mask, _MASKS, columns, "mask")
    if name is not None and name not in columns:
        raise UserError(f"name={name} is no column of the rows; {suggest(name, columns)}")
    if classes is None and values is None:
        raise UserError(
            "give classes=[...], the names of the classes in the order of the masks' values, or values={0: 'void', 1: 'wall', ...}"
        )
    labels = classes if isinstance(classes, LabelSet) or classes is None else LabelSet(tuple(classes))
    known = named_classes(values, labels) if values is not None else None
    labels = known.labels if known else labels
    assert labels is not None
    images = RGB if channels is None else _kind(rows[0][chosen[0]], channels, f"row 0, column {chosen[0]}")
    return Rows(rows, Masks(labels, known.values if known else None), *chosen, name, images)


class Rows:
    """A Split of rows; made by :func:`from_rows`."""

    def __init__(self, rows: Table, masks: Masks, image: str, mask: str, name: str | None, images: ImageKind) -> None:
        self.rows, self.masks, self.image, self.mask, self.images = rows, masks, image, mask, images
        self.labels = masks.labels
        self.names = tuple(str(rows[index][name]) if name else f"{index:06d}" for index in range(len(rows)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]:
        row = self.rows[index]
        where = f"row {index}, column {self.image}"
        if self.images.is_rgb:
            image = Shown(_picture(row[self.image], where), where)[:, :]
        else:
            image = of_kind(_array(row[self.image], where), self.images, where)
        labels = self._labels(row, index)
        if image.shape[1:] != labels.shape:
            (height, width), (tall, wide) = image.shape[1:], labels.shape
            raise UserError(f"row {index}: the image is {width}x{height} pixels, its mask {wide}x{tall}: they must be of one size")
        return image, labels

    def truth(self, index: int, /) -> Tensor:
        """The label map of a row alone."""
        return self._labels(self.rows[index], index)

    def _labels(self, row: Mapping[str, Any], index: int) -> Tensor:
        where = f"row {index}, column {self.mask}"
        value = row[self.mask]
        values = _array(value, where)
        if values.ndim == 3 and values.shape[2] in (3, 4):
            return self.masks.of_colors(np.ascontiguousarray(values[..., :3].astype(np.uint8)), where)
        if values.ndim != 2 or values.dtype.kind not in "iub" or int(values.min()) < 0 or int(values.max()) > self.masks.largest:
            raise UserError(
                f"{where} is {values.dtype} of shape {values.shape}, or beyond 0 to {self.masks.largest}; a mask is whole numbers (H, W)"
            )
        return self.masks.of_values(torch.from_numpy(values.astype(np.int32)), where)


def _kind(value: Any, channels: int, where: str) -> ImageKind:
    """The kind of the images, as the first one has it."""
    if not isinstance(channels, int) or not 1 <= channels <= MOST:
        raise UserError(f"channels={channels} is not allowed; it is a whole number, 1 to {MOST}")
    dtype: Any = str(as_stored(_array(value, where), channels, where).dtype)
    return ImageKind(channels, dtype)


def _array(value: Any, where: str) -> np.ndarray:
    """The values in a cell: an array, nested lists of numbers, or a picture."""
    return np.asarray(value if isinstance(value, np.ndarray | list) else _picture(value, where))


def _picture(value: Any, where: str) -> Image.Image:
    """The picture in a cell: Pillow's, an array, encoded bytes, or a path, also in the form ``{"bytes": ..., "path": ...}``."""
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    try:
        if isinstance(value, np.ndarray):
            return Image.fromarray(value)
        if isinstance(value, bytes | bytearray):
            return Image.open(io.BytesIO(value))
        if isinstance(value, str | Path):
            return Image.open(value)
    except Exception as error:  # Pillow raises nearly everything on what it cannot read
        raise UserError(f"{where} holds a picture that cannot be read ({first_line(error)})") from None
    raise UserError(f"{where} holds {type(value).__name__}, no picture: a Pillow image, an array, encoded bytes or a path")


def _column(given: str | None, usual: Sequence[str], columns: Sequence[str], what: str) -> str:
    if given is not None:
        if given not in columns:
            raise UserError(f"{what}={given} is no column of the rows; {suggest(given, columns)}")
        return given
    found = next((word for word in usual if word in columns), None)
    if found is None:
        raise UserError(f"the rows have the columns {', '.join(columns)}, none of which is known to hold the {what}s: give {what}=COLUMN")
    return found
