"""COCO's JSON: polygons and runs (RLE) of objects, drawn into label maps through pycocotools.

The classes are ``background`` and the categories in the order of their ids, which may have gaps. Where objects overlap, smaller ones lie
on larger ones. Crowds are drawn as their category.

Found are ``annotations/instances_train2017.json`` with ``train2017/`` or ``images/train2017/`` beside it (COCO's own), Roboflow's
``train/_annotations.coco.json``, and a single file for all images (CVAT's ``instances_default.json``, Label Studio's ``result.json``).
"""

import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.core.names import listed, shown
from fcn.data.classlists import read_json
from fcn.data.drawn import Annotations, Drawing, Sample, background_first, layered

_SPLIT = re.compile(r"(?:instances_)?(train|val|valid|test|trainval)(?:20\d\d)?", re.IGNORECASE)
_NEED = ("images", "annotations", "categories")
_SHOWN = 5


def find_coco(root: Path) -> Annotations | None:
    """COCO's annotations in a folder, by split; None where there are none."""
    below = {path.parent.name: path for path in sorted(root.glob("*/_annotations.coco.json"))}
    if below:
        return Annotations("coco", {name: ([path], partial(read_coco, path, root)) for name, path in below.items()})
    files = sorted(root.glob("annotations/*.json"))
    files = [path for path in files if path.stem.startswith("instances_")] or files or sorted(root.glob("*.json"))
    files = [path for path in files if _is_coco(path)]
    if not files:
        return None
    splits = {match[1].lower(): path for path in files if (match := _SPLIT.fullmatch(path.stem))}
    if not splits:
        if len(files) > 1:
            names = ", ".join(path.name for path in files)
            raise UserError(
                f"{files[0].parent} has {len(files)} files of annotations ({names}): name them train.json and val.json, or keep one"
            )
        splits = {"": files[0]}
    return Annotations("coco", {name: ([path], partial(read_coco, path, root)) for name, path in splits.items()})


def read_coco(path: Path, root: Path) -> Drawing:
    """The classes and samples of one file; images without objects are background.

    Raises UserError, naming the file, where pycocotools is missing and for a file in another form; FileNotFoundError for missing images.
    """
    if find_spec("pycocotools") is None:
        raise UserError(f'{path} holds polygons or runs, and drawing them needs pycocotools: pip install "fcn-toolkit[coco]"')
    content = read_json(path)
    if not all(isinstance(content.get(key), list) for key in _NEED):
        raise UserError(f"{path} is not in COCO's form: it lacks one of the lists {', '.join(_NEED)}")
    try:
        categories = sorted((int(each["id"]), str(each["name"])) for each in content["categories"])
        images = [(int(each["id"]), str(each["file_name"]), int(each["height"]), int(each["width"])) for each in content["images"]]
        objects: dict[int, list[dict[str, Any]]] = {}
        for each in content["annotations"]:
            objects.setdefault(int(each["image_id"]), []).append(each)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not in COCO's form: an entry lacks {shown(error)}") from None
    try:
        labels = LabelSet(background_first(name for _, name in categories))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    classes = {number: labels.names.index(name) for number, name in categories}
    folders = _folders(path, root)
    samples, missing = [], []
    for number, name, height, width in images:
        file = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if file is None:
            missing.append(name)
        else:
            samples.append(
                Sample(Path(name).with_suffix("").as_posix(), file, partial(_draw, objects.get(number, []), classes, height, width, path))
            )
    if missing:
        raise FileNotFoundError(
            f"{path}: there is no image for {listed([f'{chr(39)}{shown(name)}{chr(39)}' for name in missing], _SHOWN)} "
            f"(looked in {listed(map(str, folders), _SHOWN)})"
        )
    return Drawing(labels, samples)


def _draw(objects: list[dict[str, Any]], classes: dict[int, int], height: int, width: int, path: Path) -> np.ndarray:
    from pycocotools import mask as coco

    regions = []
    for each in objects:
        try:
            shape = each["segmentation"]
            if isinstance(shape, list):
                parts = [part for part in shape if len(part) >= 6]
                if not parts:
                    continue  # a box alone, or a line
                runs = coco.merge(coco.frPyObjects(parts, height, width))
            else:
                runs = coco.frPyObjects(shape, height, width) if isinstance(shape["counts"], list) else shape
            region = coco.decode(runs).astype(bool)
            regions.append((classes[int(each["category_id"])], region))
        except Exception as error:  # pycocotools raises nearly everything on what it cannot read
            raise UserError(f"{path}: the annotation {each.get('id')} cannot be drawn ({type(error).__name__}: {shown(error)})") from None
        if region.shape != (height, width):
            raise UserError(
                f"{path}: the annotation {each.get('id')} is {region.shape[1]}x{region.shape[0]} pixels, its image {width}x{height}"
            )
    return layered(height, width, regions)


def _folders(path: Path, root: Path) -> list[Path]:
    """Where the images of a file of annotations may be."""
    match = _SPLIT.fullmatch(path.stem)
    words = [path.stem.removeprefix("instances_")] + ([match[1]] if match else [])
    bases = [path.parent, root, root / "images", path.parent / "images"]
    return list(dict.fromkeys([*(base / word for base in (root, root / "images") for word in words), *bases]))


def _is_coco(path: Path) -> bool:
    """Whether the head of a file names the lists of COCO's form (they may be in any order)."""
    with open(path, "rb") as file:
        head = file.read(1 << 16)
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        tail = file.read()
    return head.lstrip()[:1] == b"{" and sum(f'"{key}"'.encode() in head + tail for key in _NEED) >= 2
