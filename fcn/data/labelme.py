"""labelme's JSON: one file an image, with polygons and other shapes, drawn as labelme's own tools draw them; later shapes cover earlier.

The classes are ``background`` and the labels that occur, in the order of the alphabet; or those of a list: ``data.classes``, or one in the
folder, such as labelme's own ``labels.txt``. What no shape covers is the background.
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
from fcn.core.names import said, shown
from fcn.data.classlists import class_lists, find_classes, labelme_list, read_json
from fcn.data.drawn import Annotations, Drawing, Sample, background_first, background_of, class_index
from fcn.data.layouts import IMAGES, folders, is_picture, visible
from fcn.data.pairs import read_text

LIST = "labels.txt"  # labelme's own list of classes
GAPS = 0.05  # share of pixels that may lie between shapes which cover all of an image
_LINE, _POINT = 10, 5  # width of a line and radius of a point, pixels; labelme's own


def find_labelme(root: Path, classes: str | None = None) -> Annotations | None:
    """labelme's files beside their images: in the folder, in its folder of images, or in a folder for each split. classes: name of the list
    of classes in the folder; None: the first known one, if there is any."""
    for base in (root, folders(root, IMAGES)):
        if base is not None and (files := _files(base)):
            return Annotations("labelme", {"": (_sources(root, classes, files), partial(read_labelme, root, files, files, classes))})
    splits = {base.name: files for base in visible(root) if base.is_dir() and (files := _files(base))}
    if not splits:
        return None
    every = [path for files in splits.values() for path in files]
    return Annotations(
        "labelme",
        {name: (_sources(root, classes, every), partial(read_labelme, root, files, every, classes)) for name, files in splits.items()},
    )


def read_labelme(root: Path, files: list[Path], every: list[Path], classes: str | None = None) -> Drawing:
    """The samples of ``files``, with the classes of ``every`` file of the set. Raises UserError, naming the file, and FileNotFoundError for
    a list of ``classes`` that is missing."""
    own = classes == LIST or (classes is None and next(class_lists(root), None) is None and (root / LIST).is_file())
    listed = labelme_list(root / LIST) if own and "__ignore__" in read_text(root / LIST) else find_classes(root, LIST if own else classes)
    contents = {path: read_json(path) for path in dict.fromkeys([*every, *files])}
    if listed is not None:
        labels = listed.labels
    else:
        names = {str(shape.get("label")) for path, content in contents.items() for shape in _shapes(content, path)}
        try:
            labels = LabelSet(background_first(sorted(names - {"__ignore__"})))
        except UserError as error:
            raise UserError(f"the labels in {files[0].parent}: {error}") from None
    return Drawing(
        labels, [Sample(path.stem, _image(path, contents[path]), partial(draw_shapes, contents[path], labels, path)) for path in files]
    )


def draw_shapes(content: dict[str, Any], labels: LabelSet, path: Path) -> np.ndarray:
    """The label map of one file, integers ``(H, W)``. What lies in no shape is the background; where no class is that, gaps between shapes
    are void. Raises UserError where these are more than gaps."""
    fill = background_of(labels.names)
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if not (isinstance(height, int) and isinstance(width, int)):
        with Image.open(_image(path, content)) as picture:
            width, height = picture.size
    page = Image.new("I", (width, height), -1 if fill is None else labels.names.index(fill))
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
    drawn = np.array(page)
    if (share := float((drawn < 0).mean())) > GAPS:
        raise UserError(
            f"{100 * share:.1f} % of the pixels of {path} lie in no shape, and none of the classes {', '.join(labels.names[:12])} "
            "is called 'background': put that into the list of classes"
        )
    return np.where(drawn < 0, labels.void, drawn)


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


def _sources(root: Path, classes: str | None, files: list[Path]) -> list[Path]:
    """All that a drawing depends on: the annotations, and the list of classes. Raises FileNotFoundError for a named one that is missing."""
    if classes is not None:
        if not (root / classes).is_file():
            raise FileNotFoundError(f"there is no list of classes {root / classes}: correct {said('data.classes')}, or leave it out")
        return [*files, root / classes]
    return [*files, *class_lists(root), *([root / LIST] if (root / LIST).is_file() else [])]
