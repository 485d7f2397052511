"""From a file's name to its raster: the reader is chosen by what the file is."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from os import PathLike, fspath

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.core.registry import Part, build, find, list_parts
from fcn.rasters.faults import UnreadableError
from fcn.rasters.raster import Raster

ORDER = ("gdal", "tiff", "zarr", "slide", "vips", "picture")  # of the toolkit's own readers, for files that several can read
REMOTE = ("/vsi", "http:", "https:", "s3:", "gs:", "zip:")  # names that GDAL reads beside those of files


def open_raster(
    path: str | PathLike[str],
    *,
    bands: Sequence[int] | None = None,
    page: int | None = None,
    level: int | None = None,
) -> Raster:
    """An image in a file, of which any rectangle is read when it is needed. It is never held as a whole.

    >>> with fcn.open_raster("scene.tif", bands=[4, 3, 2]) as scene:
    >>>     labels = fcn.predict(model, scene)

    GeoTIFF, COG, JPEG 2000, VRT and all else that GDAL reads need ``pip install "fcn-toolkit[rasters]"``. So do BigTIFF, OME-TIFF, zarr and
    OME-Zarr. Whole-slide images need ``"fcn-toolkit[slides]"``. Values are as they are stored; signed, 32-bit and 64-bit numbers become
    float32. PNG, JPEG and other photographs are read as a viewer shows them.

    path: path of the file, or of the folder of a zarr; also what GDAL takes, as "/vsicurl/https://...".
    bands: numbers of the bands to read, from 1, in this order, as [4, 3, 2]; default: all but transparency.
    page: number of the page, scene or series to read, from 0; default: the first.
    level: number of the reduced copy to read, from 1; 0 is the full size; default 0.

    Returns a Raster, with ``height`` and ``width`` in pixels, ``channels``, ``dtype``, ``georeference``, ``nodata``, and
    ``read(top, left, height, width)``. Close it with ``close()`` or ``with``.

    Raises UserError for a file that no reader can open, a package that is missing, and bands, pages and levels that are not there. Raises
    FileNotFoundError for a missing file.
    """
    name = fspath(path)
    if not name.startswith(REMOTE) and not os.path.exists(name):
        raise FileNotFoundError(f"there is no file {name}")
    check_numbers(bands, page, level)
    refused: list[UnreadableError] = []
    missing: list[str] = []
    for part in readers_of(name):
        package = part.facts.get("package")
        if package is not None and find_spec(package) is None:
            missing.append(package)
            continue
        try:
            raster: Raster = build("reader", part.name, name, bands=bands, page=page, level=level)
        except UnreadableError as error:
            refused.append(error)
            continue
        return raster
    if missing and not refused:
        raise UserError(f'{name} needs {missing[0]}, which is not there: pip install "fcn-toolkit[{extra_of(missing[0])}]"')
    raise refused[0]


def readers_of(name: str) -> list[Part]:
    """The readers that may open a file, the most likely first: that of the longest ending; of equal ones a user's, then as in ``ORDER``."""
    ranked = []
    for part in (find("reader", word) for word in list_parts("reader")):
        fits = [len(suffix) for suffix in part.facts.get("suffixes", ("",)) if name.lower().rstrip("/").endswith(suffix)]
        if fits:
            own = part.plugin is None
            ranked.append((-max(fits), own, ORDER.index(part.name) if own else 0, part))
    return [part for *_, part in sorted(ranked, key=lambda each: each[:3])]


def extra_of(package: str) -> str:
    """The extra of the toolkit that a package belongs to."""
    return "slides" if package == "openslide" else "rasters"


def check_numbers(bands: Sequence[int] | None, page: int | None, level: int | None) -> None:
    """Raises UserError for what is no list of bands, no page or no level."""

    def is_number(value: object, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    listed = isinstance(bands, Sequence) and not isinstance(bands, str)
    if bands is not None and not (listed and len(bands) > 0 and all(is_number(band, 1) for band in bands)):
        raise UserError(f"{said('bands', bands)} is not allowed; give a list of bands, counted from 1, as [4, 3, 2]")
    for word, value in (("page", page), ("level", level)):
        if value is not None and not is_number(value, 0):
            raise UserError(f"{said(word, value)} is not allowed; give a whole number, counted from 0")


def chosen_bands(name: str, bands: Sequence[int] | None, count: int, usual: Sequence[int] | None = None) -> list[int]:
    """The bands to read, counted from 1; usual: those without a choice, by default all ``count``. Raises UserError for one that is not
    there."""
    if bands is None:
        return list(usual or range(1, count + 1))
    wrong = [band for band in bands if band > count]
    if wrong:
        words = "1 band" if count == 1 else f"{count} bands"
        raise UserError(f"{name} has {words}, and {said('bands', list(bands))} asks for band {wrong[0]}; they are counted from 1")
    return list(bands)


def check_choice(name: str, word: str, number: int | None, count: int) -> int:
    """The page or level to read. Raises UserError for one that is not there."""
    if number is not None and number >= count:
        raise UserError(f"{name} has {count} {word}{'s' * (count != 1)}, counted from 0, and {said(word, number)} is asked for")
    return number or 0
