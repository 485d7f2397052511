"""Label Studio's brush masks: one PNG for each label, ``task-12-annotation-7-by-1-tag-road-0.png``, 0 outside and 255 inside.

The JSON export in the folder names the image of each task. Without an export, it is the picture whose name is the id or ``task-ID``. The
classes are ``background`` and the labels in the order of the alphabet. Where labels overlap, smaller ones lie on larger.
"""

import json
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.core.names import listed
from fcn.data.drawn import Annotations, Drawing, Sample, background_first, layered
from fcn.data.labelmaps import read_labels
from fcn.data.layouts import is_picture, visible
from fcn.data.pairs import read_text

_NAME = re.compile(r"task-(?P<task>\d+)-annotation-(?P<annotation>\d+)-by-[^-]*-tag-(?P<label>.+?)-\d+", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
_SHOWN = 5


def find_label_studio(root: Path) -> Annotations | None:
    """Brush masks in a folder or in one below it."""
    files = [path for base in (root, *(path for path in visible(root) if path.is_dir())) for path in sorted(base.glob("task-*-tag-*.png"))]
    files = [path for path in files if _NAME.fullmatch(path.stem)]
    if not files:
        return None
    exports = [path for path in visible(root) if path.suffix.lower() == ".json"]
    return Annotations("labelstudio", {"": ([*files, *exports], partial(read_label_studio, root, files, exports))})


def read_label_studio(root: Path, files: list[Path], exports: list[Path]) -> Drawing:
    """The classes and samples. Raises FileNotFoundError for tasks without an image, UserError for tasks that were annotated twice, or whose
    image may be one of several."""
    tasks: dict[int, list[tuple[str, str, Path]]] = {}
    for path in files:
        match = _NAME.fullmatch(path.stem)
        assert match is not None
        tasks.setdefault(int(match["task"]), []).append((match["annotation"], match["label"], path))
    twice = [task for task, masks in tasks.items() if len({annotation for annotation, _, _ in masks}) > 1]
    if twice:
        raise UserError(
            f"the task {twice[0]} in {files[0].parent} has several annotations: keep the masks of one ({len(twice)} such tasks)"
        )
    labels = LabelSet(background_first(sorted({label for masks in tasks.values() for _, label, _ in masks})))
    pictures = _pictures(root, set(files))
    named = _named(exports)
    images = {task: image for task in tasks if (image := _image(task, pictures, named)) is not None}
    missing = [str(task) for task in tasks if task not in images]
    if missing:
        raise FileNotFoundError(
            f"{root}: there is no image for the tasks {listed(missing, _SHOWN)}: put Label Studio's JSON export there, which names them, "
            "and the images"
        )
    count = Counter(image.stem for image in set(images.values()))  # where one name is for several, the folder is a part of it
    alike = {task: image for task, image in images.items() if count[image.stem] > 1}
    names = {task: image.stem for task, image in images.items()}
    names |= {task: image.relative_to(root).with_suffix("").as_posix() for task, image in alike.items()}
    return Drawing(labels, [Sample(names[task], images[task], partial(_draw, labels, masks)) for task, masks in sorted(tasks.items())])


def _draw(labels: LabelSet, masks: list[tuple[str, str, Path]]) -> np.ndarray:
    regions: list[tuple[int, np.ndarray]] = []
    for _, label, path in masks:
        region = read_labels(path).numpy() > 0
        if regions and region.shape != regions[0][1].shape:
            raise UserError(f"{path} has another size than the other masks of its task: export them again")
        regions.append((labels.names.index(label), region))
    height, width = regions[0][1].shape
    return layered(height, width, regions)


def _pictures(root: Path, masks: set[Path]) -> list[Path]:
    """The pictures in a folder and those below."""
    bases = (root, *(path for path in visible(root) if path.is_dir()))
    return [path for base in bases for path in visible(base) if is_picture(path) and path not in masks]


def _named(exports: list[Path]) -> dict[int, str]:
    """The path of each task's image, as the exports say."""
    named: dict[int, str] = {}
    for path in exports:
        try:
            content: Any = json.loads(read_text(path))
        except ValueError as error:
            raise UserError(f"{path} cannot be read as JSON ({error}): export it again") from None
        for task in (task for task in content if isinstance(task, dict)) if isinstance(content, list) else ():
            data = task.get("data", task)  # the short export has the image at the top
            word = data.get("image") or next((value for value in data.values() if isinstance(value, str)), None)
            if isinstance(word, str) and isinstance(task.get("id"), int):
                url = urlsplit(word)
                named[task["id"]] = unquote(url.query.partition("d=")[2] or url.path).replace("\\", "/")
    return named


def _image(task: int, pictures: list[Path], named: dict[int, str]) -> Path | None:
    """The picture of a task. Raises UserError where several have its name and the folders of the export do not tell them apart."""
    if task not in named:
        return next((path for path in pictures if path.stem in (str(task), f"task-{task}")), None)
    *folders, name = named[task].split("/")
    original = _HASH.sub("", name, count=1)
    found = [path for path in pictures if path.name == name] or [path for path in pictures if path.name == original]
    if len(found) > 1:
        alike, found = found, [path for path in found if path.parent.name in folders[-1:]]
        if len(found) != 1:
            raise UserError(
                f"the export names '{named[task]}' as the image of task {task}, and {' and '.join(map(str, alike[:2]))} are called so: "
                "put the images into folders of the names that the export has"
            )
    return found[0] if found else None
