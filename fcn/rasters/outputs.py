"""From finished rows to files that others read: TIFF, zarr or PNG by the ending of the name, and a reduced picture."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.data.pictures import save_gray, save_labels
from fcn.rasters.pyramid import halved_labels
from fcn.rasters.raster import Georeference, Raster
from fcn.rasters.spool import Finished
from fcn.rasters.tiff_maps import TILE, save_tiff
from fcn.rasters.zarr_maps import save_zarr

ENDINGS = (".tif", ".tiff", ".zarr", ".png")
LARGEST_PNG = 2**28  # pixels: a PNG is written and read as a whole
LONGEST = 2048  # side of a reduced picture, pixels
AT_ONCE = 2**24  # bytes of the image that are read at once for it

Rows = NDArray[Any]


def save_map(
    finished: Finished,
    path: Path,
    *,
    label_set: LabelSet,
    georeference: Georeference | None,
    confidence: bool = False,
    cloud: bool = False,
) -> None:
    """Writes the labels, or the confidence, as the kind of file that the ending of ``path`` names; whole or not at all.

    Raises UserError as ``check_ending`` and where an optional package is not there, OSError with one sentence where it cannot be written.
    """
    height, width = finished.shape.height, finished.shape.width
    check_ending(path, height, width)
    read = finished.confidence if confidence else finished.labels
    classes = None if confidence else label_set
    if path.suffix == ".zarr":
        save_zarr(read(TILE), height, width, path, label_set=classes, georeference=georeference)
    elif path.suffix == ".png":
        whole = np.concatenate(list(read(TILE)))
        save_gray(whole, path) if confidence else save_labels(whole, label_set, path)
    else:
        save_tiff(read(TILE), height, width, path, label_set=classes, georeference=georeference, cloud=cloud)


def check_ending(path: Path, height: int, width: int) -> None:
    """Raises UserError for an ending that is not known, and for a PNG that would be too large."""
    if path.suffix not in ENDINGS:
        raise UserError(f"{path} has the ending '{path.suffix}'; a label map is written as {', '.join(ENDINGS)}")
    if path.suffix == ".png" and height * width > LARGEST_PNG:
        raise UserError(f"{path} would have {width}x{height} pixels, and a PNG takes up to {LARGEST_PNG}; give a name that ends in .tif")


def reduced(raster: Raster, finished: Finished) -> tuple[Tensor, Rows]:
    """The image (C, h, w) and its labels (h, w), reduced by a power of 2 such that no side is longer than ``LONGEST`` pixels.

    Of the image one pixel of each cell is taken, of the labels the most frequent.
    """
    times = max(0, (max(raster.height, raster.width) - 1).bit_length() - LONGEST.bit_length() + 1)
    return thinned(raster, 2**times), np.concatenate(list(halved(finished.labels, times)))


def halved(read: Callable[[int], Iterator[Rows]], times: int) -> Iterator[Rows]:
    """The rows of a label map, halved so many times."""
    for rows in read(2**times * max(1, TILE // 2**times)):
        for _ in range(times):
            rows = halved_labels(rows)
        yield rows


def thinned(raster: Raster, step: int) -> Tensor:
    """One pixel of each cell of ``step`` x ``step`` pixels, (C, h, w). Rows that the file decodes together are read together."""
    middle = step // 2
    down, across = ((torch.arange(-(-side // step)) * step + middle).clamp(max=side - 1) for side in (raster.height, raster.width))
    most = max(1, min(raster.block[0], AT_ONCE // max(1, raster.row_bytes)))
    parts = []
    for top in range(0, raster.height, most):
        chosen = down[(down >= top) & (down < top + most)]
        if len(chosen):
            first, last = int(chosen[0]), int(chosen[-1])
            rows = raster.read(first, 0, last - first + 1, raster.width).numpy()
            parts.append(rows[:, chosen - first][:, :, across])
    return torch.from_numpy(np.concatenate(parts, 1))
