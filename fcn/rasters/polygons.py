"""Regions of a label map as polygons in a GeoPackage.

The map is read in bands. rasterio draws the outlines of a band's regions. Pieces of one region in several bands meet where both sides of
the seam have the same label. They are joined when the region cannot grow any more, so only regions that reach the current row are held.
"""

import errno
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcn.core.files import explained, written
from fcn.core.labels import LabelSet
from fcn.core.names import first_line
from fcn.rasters.packages import needs
from fcn.rasters.raster import Georeference

SIMPLER = 0.5  # pixels that an outline may move by
AT_ONCE = 2**14  # polygons that are written at once
NONE = -1  # no piece
FULL = 2**20  # bytes that are free, below which a disk is full

Rows = NDArray[Any]


def save_polygons(
    bands: Iterable[Rows],
    height: int,
    path: str | Path,
    *,
    label_set: LabelSet,
    georeference: Georeference | None = None,
    simplify: float = SIMPLER,
) -> int:
    """Writes the regions of a map as polygons of a GeoPackage, whole or not at all; returns how many there are.

    A region is pixels of one class that share edges. Each has the fields ``class``, ``name`` and ``pixels``; void has no polygons. Where
    the map has no transform, x is the column and y the negative row.

    bands: rows of the map from the top, (rows, width) each, ``height`` in all. simplify: distance by which an outline may be moved
    (pixels); 0: outlines along the pixels' edges. Each outline is simplified for itself.

    Raises UserError where an optional package is not there, OSError with one sentence where the file cannot be written.
    """
    shapely, pyogrio = (needs(package, f"writing {path}") for package in ("shapely", "pyogrio"))
    place = georeference or Georeference()
    a, b, c, d, e, f = place.transform or (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    count = 0

    def placed(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        return np.stack([a * x + b * y + c, d * x + e * y + f], 1)

    with written(path) as temporary:
        for regions in batches(regions_of(bands, height, label_set.void)):
            shapes = np.array([polygon for polygon, _ in regions], dtype=object)
            classes = np.array([index for _, index in regions], np.int32)
            pixels = np.array([round(polygon.area) for polygon, _ in regions], np.int64)
            if simplify and len(shapes):
                shapes = shapely.simplify(shapes, simplify, preserve_topology=True)
            names = np.array([label_set.names[index] for index in classes], dtype=object)
            logging.getLogger("pyogrio").setLevel(logging.WARNING)  # it tells how many it wrote, after each part
            with warnings.catch_warnings(), as_oserror(path):
                warnings.filterwarnings("ignore", message="'crs' was not provided")
                pyogrio.raw.write(
                    str(temporary),
                    geometry=shapely.to_wkb(shapely.transform(shapes, placed)) if len(shapes) else shapes,
                    field_data=[classes, names, pixels],
                    fields=["class", "name", "pixels"],
                    layer="labels",
                    driver="GPKG",
                    geometry_type="Polygon",
                    crs=place.crs,
                    append=count > 0,
                )
            count += len(regions)
    return count


@contextmanager
def as_oserror(path: str | Path) -> Iterator[None]:
    """What pyogrio raises, on a full disk most often, becomes an OSError with one sentence."""
    try:
        yield
    except RuntimeError as error:
        full = disk_usage(Path(path).parent).free < FULL
        raise explained(OSError(errno.ENOSPC if full else errno.EIO, first_line(error)), path) from error


def batches(regions: Iterator[tuple[Any, int]]) -> Iterator[list[tuple[Any, int]]]:
    """The regions, many at a time; one batch, that is empty, where there are none."""
    batch: list[tuple[Any, int]] = []
    empty = True
    for region in regions:
        batch.append(region)
        if len(batch) == AT_ONCE:
            yield batch
            batch, empty = [], False
    if batch or empty:
        yield batch


def regions_of(bands: Iterable[Rows], height: int, void: int) -> Iterator[tuple[Any, int]]:
    """The polygon of each region, in columns and rows of pixels, and its class; each when it is complete."""
    shapely = needs("shapely", "drawing polygons")
    held: dict[int, tuple[list[Any], int]] = {}  # pieces and class of the regions that may still grow, by number
    named: dict[int, int] = {}  # of a held region that was joined to another: that one
    top, fresh = 0, 0
    last_row: Rows | None = None
    last_ids = np.empty(0, np.int64)

    def found(number: int) -> int:
        while number in named:
            number = named[number]
        return number

    for band in bands:
        end = top + len(band)
        pieces = outlines(band, top, void)
        bounds = shapely.bounds(np.array([piece for piece, _ in pieces], dtype=object)).reshape(-1, 4)
        above, below = (bounds[:, 1] == top) & (top > 0), (bounds[:, 3] == end) & (end < height)
        for index, (piece, label) in enumerate(pieces):
            if above[index] or below[index]:
                held[fresh + index] = [piece], label
            else:
                yield piece, label
        first_ids = pieces_in_row(pieces, above, top, band.shape[1], fresh)
        if last_row is not None:
            seam = (last_row == band[0]) & (last_ids != NONE) & (first_ids != NONE)
            for pair in np.unique(np.stack([last_ids[seam], first_ids[seam]], 1), axis=0):
                one, other = found(int(pair[0])), found(int(pair[1]))
                if one != other:
                    if len(held[one][0]) < len(held[other][0]):
                        one, other = other, one
                    held[one][0].extend(held.pop(other)[0])
                    named[other] = one
        last_row, last_ids = band[-1], pieces_in_row(pieces, below, end - 1, band.shape[1], fresh)
        numbers = {int(number): found(int(number)) for number in np.unique(last_ids[last_ids != NONE])}
        for number in held.keys() - set(numbers.values()):
            yield joined(*held.pop(number))
        named = {number: root for number, root in numbers.items() if number != root}
        top, fresh = end, fresh + len(pieces)
    for pieces_left, label in held.values():
        yield joined(pieces_left, label)


def outlines(band: Rows, top: int, void: int) -> list[tuple[Any, int]]:
    """The polygons of a band's regions, and their labels."""
    rasterio = needs("rasterio", "drawing polygons")
    needs("rasterio.features", "drawing polygons")
    shape = needs("shapely.geometry", "drawing polygons").shape
    drawn = rasterio.features.shapes(
        band.astype(np.int32), mask=band != void, connectivity=4, transform=rasterio.Affine.translation(0, top)
    )
    return [(shape(outline), int(label)) for outline, label in drawn]


def pieces_in_row(pieces: list[tuple[Any, int]], chosen: NDArray[np.bool_], row: int, width: int, fresh: int) -> NDArray[np.int64]:
    """(width,): the number of the chosen piece that each pixel of a row lies in; the first piece of its band has the number ``fresh``."""
    rasterio = needs("rasterio", "drawing polygons")
    ids = np.full(width, NONE, np.int64)
    numbered = [(pieces[index][0], index) for index in np.flatnonzero(chosen).tolist()]
    if numbered:
        place = rasterio.Affine.translation(0, row)
        drawn = rasterio.features.rasterize(numbered, out_shape=(1, width), fill=NONE, transform=place, dtype="int32")[0]
        ids[drawn != NONE] = drawn[drawn != NONE] + fresh
    return ids


def joined(pieces: list[Any], label: int) -> tuple[Any, int]:
    """The pieces of one region as one polygon."""
    shapely = needs("shapely", "drawing polygons")
    return (pieces[0] if len(pieces) == 1 else shapely.unary_union(pieces)), label
