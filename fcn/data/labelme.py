"""labelme's JSON: one file an image, with polygons and other shapes, drawn as labelme's own tools draw them; later shapes cover earlier.

The classes are ``background`` and the labels that occur, in the order of the alphabet; or those of a list in the folder.
"""

import base64
import io
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.core.names import shown
from fcn.data.classlists import class_lists, find_classes, read_json
from fcn.data.drawn import Annotations, Drawing, Sample, class_index
from fcn.data.layouts import IMAGES, folders, is_picture, visible

_LINE, _POINT = 10, 5  # width of a line and radius of a point, pixels; labelme's own
_BACKGROUND = ("background", "_background_")


def find_labelme(root: Path) -> Annotations | None:
    """labelme's files beside their images: in the folder, in its folder of images, or in a folder for each split."""
    for base in (root, folders(root, IMAGES)):
        if base is not None and (files := _files(base)):
            return Annotations("labelme", {"": (_sources(root, files), partial(read_labelme, root, files, files))})
    splits = {base.name: files for base in visible(root) if base.is_dir() and (files := _files(base))}
    if not splits:
        return None
    every = [path for files in splits.values() for path in files]
    return Annotations(
        "labelme", {name: (_sources(root, every), partial(read_labelme, root, files, every)) for name, files in splits.items()}
    )


def read_labelme(root: Path, files: list[Path], every: list[Path]) -> Drawing:
    """The samples of ``files``, with the classes of ``every`` file of the set. Raises UserError, naming the file."""
    listed = find_classes(root)
    if listed is None and (root / "labels.txt").is_file():
        listed = find_classes(root, "labels.txt")
    contents = {path: read_json(path) for path in dict.fromkeys([*every, *files])}
    if listed is not None:
        labels = listed.labels
    else:
        names = {str(shape.get("label")) for path, content in contents.items() for shape in _shapes(content, path)}
        first = next((name for name in _BACKGROUND if name in names), "background")
        try:
            labels = LabelSet((first, *sorted(names - {first, "__ignore__"})))
        except UserError as error:
            raise UserError(f"the labels in {files[0].parent}: {error}") from None
    return Drawing(
        labels, [Sample(path.stem, _image(path, contents[path]), partial(draw_shapes, contents[path], labels, path)) for path in files]
    )


def draw_shapes(content: dict[str, Any], labels: LabelSet, path: Path) -> np.ndarray:
    """The label map of one file, integers ``(H, W)``."""
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if not (isinstance(height, int) and isinstance(width, int)):
        with Image.open(_image(path, content)) as picture:
            width, height = picture.size
    page = Image.new("L" if labels.dtype == "uint8" else "I", (width, height))
    pen = ImageDraw.Draw(page)
    for shape in _shapes(content, path):
        index = class_index(labels, str(shape.get("label")), path)
        kind = shape.get("shape_type") or "polygon"
        try:
            points = [(float(x), float(y)) for x, y in shape["points"]]
            if kind == "mask":
                _paste(page, shape["mask"], points[0], index)
            else:
                _PENS[kind](pen, points, index)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(
                f"{path} has a shape of the kind '{kind}' that cannot be drawn ({shown(error)}): draw it as a polygon"
            ) from None
    return np.array(page)


def _polygon(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], index: int) -> None:
    if len(points) < 3:
        raise ValueError(f"it has {len(points)} points")
    pen.polygon(points, fill=index, outline=index)


def _rectangle(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], index: int) -> None:
    (x0, y0), (x1, y1) = points
    pen.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=index, outline=index)


def _circle(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], index: int) -> None:
    (x, y), edge = points
    radius = math.dist((x, y), edge)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=index, outline=index)


def _line(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], index: int) -> None:
    pen.line(points, fill=index, width=_LINE)


def _dots(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], index: int) -> None:
    for x, y in points:
        pen.ellipse((x - _POINT, y - _POINT, x + _POINT, y + _POINT), fill=index, outline=index)


_PENS: dict[str, Callable[[ImageDraw.ImageDraw, list[tuple[float, float]], int], None]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "circle": _circle,
    "line": _line,
    "linestrip": _line,
    "point": _dots,
    "points": _dots,
}


def _paste(page: Image.Image, coded: str, corner: tuple[float, float], index: int) -> None:
    """A mask as a PNG in base64, whose upper left pixel is at ``corner``."""
    region = Image.open(io.BytesIO(base64.b64decode(coded))).convert("1")
    page.paste(index, (round(corner[0]), round(corner[1])), region)


def _shapes(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    shapes = content.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) and shape.get("label") for shape in shapes):
        raise UserError(f"{path} is not in labelme's form: it needs a list 'shapes', each with a label")
    return shapes


def _image(path: Path, content: dict[str, Any]) -> Path:
    """The image of a file: the one that it names, or the one of its name beside it."""
    named = path.parent / str(content.get("imagePath") or "").replace("\\", "/")
    if named.is_file():
        return named
    beside = next((other for other in sorted(path.parent.glob(f"{path.stem}.*")) if is_picture(other)), None)
    if beside is None:
        raise FileNotFoundError(f"{path} has no image: there is neither {named} nor a picture named {path.stem} beside it")
    return beside


def _files(base: Path) -> list[Path]:
    """labelme's files in a folder."""
    return [path for path in visible(base) if path.suffix.lower() == ".json" and _is_labelme(path)]


def _is_labelme(path: Path) -> bool:
    """Whether a file begins as labelme's do; what its image data hides is not read."""
    with open(path, "rb") as file:
        head = file.read(1 << 12)
    return b'"shapes"' in head and (b'"version"' in head or b'"flags"' in head or b'"imagePath"' in head)


def _sources(root: Path, files: list[Path]) -> list[Path]:
    """All that a drawing depends on: the annotations, and the list of classes."""
    return [*files, *class_lists(root), *([root / "labels.txt"] if (root / "labels.txt").is_file() else [])]
