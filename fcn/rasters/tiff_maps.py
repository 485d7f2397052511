"""Label maps as tiled, compressed BigTIFF with reduced copies, written from the top to the bottom.

tifffile writes the file. The tags that place it on earth are those that rasterio writes for the same CRS. What TIFF has no tag for, the
names of the classes, lies in GDAL's own tag for metadata, and in a file beside it (``.aux.xml``) that GIS programs read for their legends.
"""

import json
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from fcn.core.files import temporary_name, written
from fcn.core.labels import LabelSet
from fcn.rasters.packages import needs
from fcn.rasters.pyramid import halved_labels, halved_values, sizes, tile_rows
from fcn.rasters.raster import Georeference
from fcn.rasters.spool import file_dtype

TILE = 512  # pixels a side
LEVEL = 6  # of zlib
REDUCED = 1  # TIFF's word for a reduced copy of another page
PLACE = (33550, 33922, 34264, 34735, 34736, 34737)  # TIFF tags: scale, tie points, transform, and GeoTIFF's three of keys
METADATA, NODATA = 42112, 42113  # GDAL's tags

Rows = NDArray[Any]


def save_tiff(
    bands: Iterable[Rows],
    height: int,
    width: int,
    path: str | Path,
    *,
    label_set: LabelSet | None,
    georeference: Georeference | None = None,
    cloud: bool = False,
) -> None:
    """Writes a map as a tiled BigTIFF, whole or not at all: its palette, its classes, void as no-data, where it lies, reduced copies.

    bands: rows of the map from the top, (512, width) each, the last one maybe lower; uint8 or uint16. label_set: the classes; None: a map
    of confidence, gray. georeference: CRS and transform; default: none. cloud: order the file as a cloud-optimized GeoTIFF.

    Raises UserError where an optional package is not there, OSError with one sentence where the file cannot be written.
    """
    tifffile = needs("tifffile", f"writing {path}")
    place = place_tags(georeference, path)
    levels = sizes(height, width, TILE)
    halve = halved_values if label_set is None else halved_labels
    dtype = "uint8" if label_set is None else file_dtype(label_set)
    about: dict[str, Any] = {"photometric": "minisblack"}
    tags = list(place)
    if label_set is not None:
        tags += [(METADATA, "s", 0, gdal_metadata(label_set), True), (NODATA, "s", 0, str(label_set.void), True)]
        if dtype == "uint8":
            colors = np.array(label_set.palette, np.uint16).reshape(-1, 3).T * 257
            about = {"photometric": "palette", "colormap": colors}
    with written(path) as temporary, tempfile.TemporaryFile(dir=temporary.parent) as store, ThreadPoolExecutor(threads()) as pool:
        kept: list[list[tuple[int, int]]] = [[] for _ in levels]  # offset and length of the tiles of reduced copies

        def tiles() -> Iterator[bytes]:
            """Those of the map; those of its copies go to ``store``, since a TIFF has one page after the other."""
            for level, _, rows in tile_rows(bands, height, TILE, len(levels), halve):
                for tile in pool.map(compressed, cut(rows.astype(dtype, copy=False))):
                    if level == 0:
                        yield tile
                    else:
                        kept[level].append((store.seek(0, os.SEEK_END), len(tile)))
                        store.write(tile)

        def stored(level: int) -> Iterator[bytes]:
            for offset, length in kept[level]:
                store.seek(offset)
                yield store.read(length)

        own = tiles()
        with tifffile.TiffWriter(temporary, bigtiff=True) as writer:
            for level, shape in enumerate(levels):
                writer.write(
                    stored(level) if level else chain(own),  # a chain, since tifffile would close the generator
                    shape=shape,
                    dtype=dtype,
                    tile=(TILE, TILE),
                    compression="zlib",
                    metadata=None,
                    software="fcn" if level == 0 else False,
                    subfiletype=REDUCED if level else 0,
                    extratags=tags if level == 0 else tags[-1:] if label_set is not None else [],
                    **about,
                )
                deque(own, 0)  # the copies of the last rows: tifffile stops at the map's last tile
        if cloud:
            to_cloud(temporary)
        if label_set is not None:  # before the map has its name: who finds the map finds this too
            with written(f"{path}.aux.xml") as names:
                names.write_text(names_for_gis(label_set))


def threads() -> int:
    return min(8, os.cpu_count() or 1)


def cut(rows: Rows) -> Iterator[Rows]:
    """The tiles of a row of them, the last ones filled up with zeros."""
    for left in range(0, rows.shape[1], TILE):
        part = rows[:, left : left + TILE]
        if part.shape != (TILE, TILE):
            part = np.pad(part, ((0, TILE - part.shape[0]), (0, TILE - part.shape[1])))
        yield part


def compressed(tile: Rows) -> bytes:
    import zlib

    return zlib.compress(np.ascontiguousarray(tile, tile.dtype.newbyteorder("<")).data, LEVEL)


def place_tags(georeference: Georeference | None, path: str | Path) -> list[tuple[int, str, int, Any, bool]]:
    """The TIFF tags that say where a map lies, made by rasterio; none where nothing is known."""
    if georeference is None or (georeference.crs is None and georeference.transform is None):
        return []
    rasterio = needs("rasterio", f"writing {path} with its place on earth")
    tifffile = needs("tifffile", f"writing {path}")
    memory: Any = import_module("rasterio.io").MemoryFile
    form = {"driver": "GTiff", "height": 1, "width": 1, "count": 1, "dtype": "uint8"}
    transform = None if georeference.transform is None else rasterio.Affine(*georeference.transform)
    with memory() as file:
        with file.open(**form, crs=georeference.crs, transform=transform) as dataset:
            dataset.write(np.zeros((1, 1, 1), np.uint8))
        file.seek(0)
        with tifffile.TiffFile(file) as tiff:
            found = [tiff.pages[0].tags.get(code) for code in PLACE]
            return [(tag.code, tag.dtype, 0 if isinstance(tag.value, str) else tag.count, tag.value, True) for tag in found if tag]


def gdal_metadata(label_set: LabelSet) -> str:
    """The names of the classes as rasterio's ``dataset.tags()["classes"]``: a JSON list, in ASCII without marks of XML, which GDAL
    resolves twice."""
    names = json.dumps(list(label_set.names))
    for mark in "&<>":
        names = names.replace(mark, f"\\u{ord(mark):04x}")
    return f'<GDALMetadata>\n  <Item name="classes">{names}</Item>\n</GDALMetadata>\n'


def names_for_gis(label_set: LabelSet) -> str:
    """The file beside a map in which GDAL, and so QGIS, finds the names of its classes."""
    names = [*label_set.names, *[""] * (label_set.void - label_set.num_classes), "void"] if label_set.dtype == "uint8" else label_set.names
    rows = "".join(f"      <Category>{escape(name)}</Category>\n" for name in names)
    return (
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n' + rows + "    </CategoryNames>\n"
        "  </PAMRasterBand>\n</PAMDataset>\n"
    )


def to_cloud(path: Path) -> None:
    """Orders a file anew as a cloud-optimized GeoTIFF: its pages' headers first, the smallest copy before the largest."""
    needs("rasterio", f"a cloud-optimized {path.name}")
    copied = temporary_name(path)
    try:
        import_module("rasterio.shutil").copy(
            path, copied, driver="COG", compress="DEFLATE", overviews="AUTO", bigtiff="YES", num_threads="ALL_CPUS"
        )
        os.replace(copied, path)
    finally:
        copied.unlink(missing_ok=True)
