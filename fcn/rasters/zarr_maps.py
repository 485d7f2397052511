"""Label maps as zarr: a group with one array for each size, as OME-Zarr has images of several resolutions.

Each chunk is a file of its own. The group is written under a temporary name, and renamed when all of it is there.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fcn.core.files import written_folder
from fcn.core.labels import LabelSet
from fcn.rasters.packages import needs
from fcn.rasters.pyramid import halved_labels, halved_values, sizes, tile_rows
from fcn.rasters.raster import Georeference
from fcn.rasters.spool import file_dtype

CHUNK = 512  # pixels a side


def save_zarr(
    bands: Iterable[NDArray[Any]],
    height: int,
    width: int,
    path: str | Path,
    *,
    label_set: LabelSet | None,
    georeference: Georeference | None = None,
) -> None:
    """Writes a map as a zarr group, whole or not at all: "0" is the map, "1" has half its size, and so on.

    The attributes hold the classes, their colours, the value of void, CRS (WKT) and transform. The arguments are those of ``save_tiff``.

    Raises UserError where zarr is not there, OSError with one sentence where the folder cannot be written.
    """
    zarr = needs("zarr", f"writing {path}")
    levels = sizes(height, width, CHUNK)
    dtype = "uint8" if label_set is None else file_dtype(label_set)
    void = 0 if label_set is None else label_set.void
    with written_folder(path) as temporary:
        group = zarr.create_group(str(temporary), attributes=attributes(len(levels), label_set, georeference))
        arrays = [
            group.create_array(
                str(level), shape=shape, chunks=(CHUNK, CHUNK), dtype=dtype, fill_value=void, dimension_names=("y", "x"), attributes={}
            )
            for level, shape in enumerate(levels)
        ]
        for level, row, rows in tile_rows(bands, height, CHUNK, len(levels), halved_values if label_set is None else halved_labels):
            arrays[level][row * CHUNK : row * CHUNK + len(rows)] = rows.astype(dtype, copy=False)


def attributes(levels: int, label_set: LabelSet | None, georeference: Georeference | None) -> dict[str, Any]:
    scales = [{"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": [2.0**level] * 2}]} for level in range(levels)]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    found: dict[str, Any] = {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": scales}]}}
    if label_set is not None:
        found |= {"classes": list(label_set.names), "colors": [list(color) for color in label_set.colors], "void": label_set.void}
    if georeference is not None:
        found |= {"crs": georeference.crs, "transform": None if georeference.transform is None else list(georeference.transform)}
    return found
