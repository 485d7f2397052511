"""Label maps that are drawn once from annotations of another kind (polygons, runs, one mask a label), and then read like any others.

They are kept as palette PNGs in a hidden folder beside the annotations, ``ROOT/.fcn/KIND-KEY``; where nothing may be written there, in the
system's folder for temporary files. The key changes with the annotations. The folder is renamed into its place when it is complete.
"""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.core.progress import Progress
from fcn.data.pairs import Pair
from fcn.data.pictures import save_labels

FORM = 2  # changes when the same annotations are drawn in another way
_INDEX = "index.json"
_BACKGROUND = ("background", "_background_")


class Sample(NamedTuple):
    """One image with annotations. draw: makes its label map, integers ``(H, W)``: class indices or void."""

    name: str
    image: Path
    draw: Callable[[], np.ndarray]


class Drawing(NamedTuple):
    """What the annotations of one split say: the classes, and the samples."""

    labels: LabelSet
    samples: list[Sample]


class Annotations(NamedTuple):
    """Annotations that were found in a folder.

    kind: the tool. splits: by split the files that say all, and what reads them; under "" all samples together.
    """

    kind: str
    splits: Mapping[str, tuple[list[Path], Callable[[], Drawing]]]


def drawn(root: Path, found: Annotations, split: str) -> tuple[list[Pair], LabelSet]:
    """The pairs of a split, whose label maps are drawn if they are not there yet, and the classes."""
    there = _there(root, found, split)
    if there is None:
        there = _draw_all(root, found, split)
    for other in found.splits.keys() - {split}:
        known = _there(root, found, other)
        if known is not None and known[1].names != there[1].names:
            raise UserError(
                f"{root}: the annotations of {split} have the classes {', '.join(there[1].names)}, those of {other} "
                f"{', '.join(known[1].names)}: export them with the same classes"
            )
    return there


def _there(root: Path, found: Annotations, split: str) -> tuple[list[Pair], LabelSet] | None:
    """What was drawn before, if the annotations are still the same."""
    name = f"{found.kind}-{_key(found.splits[split][0], split)}"
    return next((index for base in _bases(root) if (index := _read_index(base / name)) is not None), None)


def _draw_all(root: Path, found: Annotations, split: str) -> tuple[list[Pair], LabelSet]:
    sources, read = found.splits[split]
    key = _key(sources, split)
    drawing = read()
    if not drawing.samples:
        raise UserError(f"{sources[0]} has no annotated image: a split needs at least one")
    for base in _bases(root):
        with suppress(PermissionError):
            return _draw(drawing, base / f"{found.kind}-{key}", split or found.kind)
    raise UserError(f"label maps cannot be written to {' or '.join(map(str, _bases(root)))}: make one of them writable")


def _bases(root: Path) -> list[Path]:
    return [root / ".fcn", Path(tempfile.gettempdir(), "fcn-label-maps")]


def _key(sources: Iterable[Path], split: str) -> str:
    facts = [FORM, split, *((str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in sources)]
    return sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _draw(drawing: Drawing, folder: Path, title: str) -> tuple[list[Pair], LabelSet]:
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    part.mkdir(parents=True)
    try:
        entries = []
        samples = Progress(f"drawing label maps ({title})", len(drawing.samples), "images").over(drawing.samples)
        for number, sample in enumerate(samples):
            file = f"{number:06d}.png"
            save_labels(sample.draw(), drawing.labels, part / file)
            entries.append([sample.name, os.path.relpath(sample.image, folder), file])
        index = {"names": drawing.labels.names, "colors": drawing.labels.colors, "samples": entries}
        (part / _INDEX).write_text(json.dumps(index), encoding="utf-8")
        with suppress(OSError):  # another process was as quick
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    read = _read_index(folder)
    assert read is not None
    return read


def _read_index(folder: Path) -> tuple[list[Pair], LabelSet] | None:
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        labels = LabelSet(tuple(index["names"]), tuple((red, green, blue) for red, green, blue in index["colors"]))
        pairs = [Pair(name, os.path.normpath(folder / image), str(folder / mask)) for name, image, mask in index["samples"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} is damaged: delete it, and its label maps are drawn again") from None
    return pairs, labels


def layered(height: int, width: int, regions: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """A label map of regions on background, smaller ones on larger. regions: class index and bool ``(H, W)`` of each."""
    labels = np.zeros((height, width), np.int32)
    for index, region in sorted(regions, key=lambda one: -int(one[1].sum())):
        labels[region] = index
    return labels


def background_of(names: Iterable[str]) -> str | None:
    """The name among these that says what no annotation covers."""
    return next((name for name in names if name.lower() in _BACKGROUND), None)


def background_first(names: Iterable[str]) -> tuple[str, ...]:
    """The names of classes, the background first, whether it is among them or not: what no annotation covers is class 0."""
    names = list(names)
    first = background_of(names) or _BACKGROUND[0]
    return first, *(name for name in names if name != first)


def class_index(labels: LabelSet, name: str, source: Path) -> int:
    """The index of an annotation's label, or void for one that says "ignore"."""
    if name in labels.names:
        return labels.names.index(name)
    if name == "__ignore__":
        return labels.void
    raise UserError(f"{source} has the label '{name}', which the list of classes does not have: {', '.join(labels.names[:12])}")
