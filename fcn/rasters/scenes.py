"""Scenes and their label rasters, of any size, as a data set.

A sample is a tile of a scene, read when it is asked for. So trainings and checks take scenes as any other data, and nothing is ever
whole in memory. Where a model is scored, each scene is labelled as a whole (``fcn/training/scored.py``): the tiles then are parts of that
label map.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import ImageKind
from fcn.core.names import said
from fcn.core.registry import register
from fcn.core.settings import at_least, items
from fcn.data.folder import find_annotated, find_pairs, layout_of
from fcn.data.masks import Masks
from fcn.data.pairs import Pair
from fcn.data.settings import ClassFile, ImagePattern, MaskPattern, ReduceZeroLabel, Root, Unknown, ValFraction, Values
from fcn.data.split import spread
from fcn.rasters.label_rasters import Truth, is_binary_raster, open_truth
from fcn.rasters.opening import open_raster
from fcn.rasters.raster import Georeference, Raster

TILE = 1024  # pixels a side, at most
SHOWN = 5  # faulty scenes that are told


class Tile(NamedTuple):
    """Where a sample lies: the number of its scene, its first row and column, its rows and columns."""

    scene: int
    top: int
    left: int
    height: int
    width: int

    def words(self, *, alone: bool) -> str:
        """What tells it from the other tiles of its scene."""
        return "" if alone else f" (row {self.top}, column {self.left})"


@register("data", "scenes")
def scenes(
    split: str,
    *,
    root: Root,
    val_fraction: ValFraction | None = None,
    classes: ClassFile | None = None,
    values: Values | None = None,
    reduce_zero_label: ReduceZeroLabel = False,
    unknown: Unknown = "error",
    image_pattern: ImagePattern | None = None,
    mask_pattern: MaskPattern | None = None,
    bands: Annotated[list[int], items(at_least(1))] | None = None,
    tile: Annotated[int, at_least(1)] = TILE,
) -> "Scenes":
    """Images larger than memory and their label rasters; folders and lists as for ``folder``.

    bands: bands of the images to read, as [4,3,2], counted from 1; null: all but transparency.
    tile: largest side of the parts that a training and a report take scenes in (pixels).

    Label rasters hold class indices, or colours. Void is 255, and what their file calls no data; pixels where the image has no data are not
    scored. Image and label raster have the same size and, where both say it, the same place on the earth.

    Raises FileNotFoundError and UserError, naming all that is missing or does not fit.
    """
    folder = Path(root)
    layout = layout_of(folder, image_pattern, mask_pattern)
    if image_pattern is None and mask_pattern is None and (drawn := find_annotated(folder, layout)) is not None:
        raise UserError(f"{folder} has annotations of {drawn.kind}, and scenes need label rasters; use {said('data', 'folder')}")
    found = find_pairs(folder, split, layout, val_fraction, classes, values, reduce_zero_label)
    if found.may_be_binary(unknown) and is_binary(found.pairs, found.masks("void")):
        found = found.as_binary(folder)
    return Scenes(found.pairs, found.masks(unknown), bands=bands, tile=tile, notes=found.notes)


def is_binary(pairs: Sequence[Pair], masks: Masks) -> bool:
    """Whether the label rasters hold 0 and 255 and nothing else, as far as some parts of some of them tell."""
    found = []
    for index in spread(range(len(pairs)), SHOWN):
        try:
            found.append(is_binary_raster(pairs[index].labels, masks))
        except (UserError, OSError):  # which is told when the scenes are opened
            continue
    return True in found and False not in found


class Scenes:
    """A split of scenes. ``len()``, ``names``, ``split[i]`` and ``truth(i)`` are of its tiles.

    scenes: the pairs of files. tiles: where each sample lies.
    """

    def __init__(
        self, pairs: Sequence[Pair], masks: Masks, *, bands: Sequence[int] | None = None, tile: int = TILE, notes: Sequence[str] = ()
    ) -> None:
        self.scenes, self.masks, self.labels, self.bands = tuple(pairs), masks, masks.labels, bands
        self.images, self.notes = ImageKind(), tuple(notes)
        self.tiles: list[Tile] = []
        self.firsts = [0]  # sample of each scene, and the number of all
        faults: list[str] = []
        for number, pair in enumerate(self.scenes):
            try:
                with self.open(number) as scene:
                    if not self.tiles:
                        self.images = scene.image.images
                    scene.check(self.images)
                    self.notes += tuple(scene.notes())
                    self.tiles += tiles_of(number, scene.image.height, scene.image.width, tile)
                    self.firsts.append(len(self.tiles))
            except (UserError, OSError) as error:
                named = pair.image in str(error) or (pair.labels and pair.labels in str(error))
                faults.append(str(error) if named else f"{pair.name}: {error}")
        if faults:
            raise UserError(". Also: ".join(faults[:SHOWN]) + (f". And {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""))
        self.names = [self.scenes[place.scene].name + place.words(alone=len(self.of(place.scene)) == 1) for place in self.tiles]

    def open(self, number: int) -> "Scene":
        """A scene and its label raster, as a context."""
        return Scene(self.scenes[number], self.masks, self.bands)

    def of(self, number: int) -> range:
        """The samples of a scene, from the top to the bottom and from left to right."""
        return range(self.firsts[number], self.firsts[number + 1])

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        number, *place = self.tiles[index]
        with self.open(number) as scene:
            pixels, valid = scene.image.read_valid(*place)
            labels = scene.truth.read(*place)
        return pixels, labels if valid is None else labels.masked_fill(~valid, self.labels.void)

    def truth(self, index: int) -> Tensor:
        """The label map of a tile alone; where the image has no data is not looked at."""
        number, *place = self.tiles[index]
        with self.open(number) as scene:
            return scene.truth.read(*place)


class Scene:
    """A scene and its label raster, open for reading; closed at the end of a ``with`` block.

    image: the scene. truth: its labels.

    Raises UserError and FileNotFoundError as ``open_raster`` does, and for a scene without label raster.
    """

    def __init__(self, pair: Pair, masks: Masks, bands: Sequence[int] | None) -> None:
        if not pair.labels:
            raise UserError(f"there is no label raster for '{pair.name}': the truth of this split is not public; use another split")
        self.image = open_raster(pair.image, bands=bands)
        try:
            self.truth = open_truth(pair.labels, masks)
        except BaseException:
            self.image.close()
            raise

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *error: object) -> None:
        self.image.close()
        self.truth.close()

    def check(self, images: ImageKind) -> None:
        """Raises UserError where image and label raster do not fit each other, and where the image is of another kind."""
        image, truth = self.image, self.truth
        if not image.images.same_as(images):
            raise UserError(f"{image.name} has {image.images}, and the first scene has {images}: all scenes of a data set are alike")
        if (image.height, image.width) != (truth.height, truth.width):
            raise UserError(
                f"{image.name} has {image.width}x{image.height} pixels and {truth.name} has {truth.width}x{truth.height}: "
                f"a label raster has a value for each pixel of its image"
            )
        check_place(image, truth)

    def notes(self) -> list[str]:
        """Sentences on what a user may not know of the two files."""
        return [*self.image.notes(), *self.truth.notes()]


def tiles_of(scene: int, height: int, width: int, most: int) -> list[Tile]:
    """A scene in tiles of about the same size, no side longer than ``most``."""
    down, across = (-(-side // -(-side // most)) for side in (height, width))
    return [
        Tile(scene, top, left, min(down, height - top), min(across, width - left))
        for top in range(0, height, down)
        for left in range(0, width, across)
    ]


def check_place(image: Raster, truth: Truth) -> None:
    """Raises UserError where both rasters say where they lie on the earth, and do not lie at the same place."""
    here, there = image.georeference, truth.georeference
    if here is None or there is None:
        return
    if here.crs and there.crs and not same_crs(here.crs, there.crs):
        raise UserError(
            f"{image.name} is in {crs_name(here.crs)} and {truth.name} in {crs_name(there.crs)}: "
            f"bring the label raster to the grid of its image (gdalwarp -r near -t_srs ...)"
        )
    distance = apart(here, there, image.height, image.width)
    if distance > 0.5:
        raise UserError(
            f"{truth.name} does not lie where {image.name} does (the corners are up to {distance:,.1f} pixels apart): "
            f"bring the label raster to the grid of its image (gdalwarp -r near -te ... -ts ...)"
        )


def apart(here: Georeference, there: Georeference, height: int, width: int) -> float:
    """How far, in pixels of the first, corners of an image of that size lie from each other in two places, at most; 0: one has none."""
    if here.transform is None or there.transform is None:
        return 0.0
    (a, b, c, d, e, f), (a2, b2, c2, d2, e2, f2) = here.transform, there.transform
    side = min((a * a + d * d) ** 0.5, (b * b + e * e) ** 0.5)
    corners = [(column, row) for column in (0, width) for row in (0, height)]
    moved = [((a - a2) * column + (b - b2) * row + c - c2, (d - d2) * column + (e - e2) * row + f - f2) for column, row in corners]
    return max((x * x + y * y) ** 0.5 for x, y in moved) / side if side else 0.0


def same_crs(one: str, other: str) -> bool:
    if one == other or find_spec("rasterio") is None:
        return one == other
    crs = import_module("rasterio.crs").CRS
    return bool(crs.from_wkt(one) == crs.from_wkt(other))


def crs_name(wkt: str) -> str:
    """The name of a coordinate reference system: the first that is quoted in its text."""
    return wkt.split('"')[1] if wkt.count('"') > 1 else wkt[:40]
