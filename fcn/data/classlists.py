"""Lists of classes as annotation tools export them: names, colours, and the values of the masks.

``READERS`` is the table: a file name and the function that reads it. ``classes.txt`` is the toolkit's own form and comes first.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from fcn.core.errors import UserError
from fcn.core.labels import WIDE_VOID, Color, LabelSet, voc_colors
from fcn.core.names import said, shown, spelled, suggest
from fcn.data.classes import read_classes
from fcn.data.pairs import read_text

_RGB = r"\s*(?P<red>\d{1,3})\s*[,\s]\s*(?P<green>\d{1,3})\s*[,\s]\s*(?P<blue>\d{1,3})\s*"
IGNORED = ("__ignore__", "ignore", "void")  # no classes: void in the masks


class Classes(NamedTuple):
    """The classes of a data set.

    labels: names and colours. values: class index or void of each raw value; None: the indices themselves. colored: whether the
    colours are those of the masks. source: the file they are from.
    """

    labels: LabelSet
    values: dict[int, int] | None
    colored: bool
    source: str


def find_classes(root: Path, name: str | None = None) -> Classes | None:
    """The list of classes in ``root``, or in one of its folders; None if there is none. name: the file; None: the first known one.

    Raises FileNotFoundError for a file that is named and missing, UserError naming file and line for one that cannot be read.
    """
    path = root / name if name is not None else next(class_lists(root), None)
    return None if path is None else READERS.get(path.name, _plain)(path)


def class_lists(root: Path) -> Iterator[Path]:
    """The lists of classes in ``root``, and in one of its folders. The first one counts."""
    for name in READERS:
        yield from (path for path in chain([root / name], sorted(root.glob(f"*/{name}"))) if path.is_file())


def named_classes(values: Mapping[int, Any], labels: LabelSet | None = None) -> Classes:
    """The classes and raw values of ``data.values``: raw value to name, index or "void". labels: the classes, if a file lists them."""
    words = {int(raw): str(word).strip() for raw, word in values.items()}
    if labels is None:
        names = list(dict.fromkeys(word for word in words.values() if word != "void"))
        if any(name.isdecimal() for name in names):
            raise UserError(
                f"{said('data.values', dict(words))} gives numbers for classes that no file names; "
                f"give names, as {spelled({0: 'background', 255: 'thing'})}"
            )
        labels = _labels(names, {}, f"{said('data.values', dict(words))}")
    meaning = {str(index): index for index in range(labels.num_classes)} | {name: index for index, name in enumerate(labels.names)}
    meaning["void"] = labels.void  # also where a class has that name
    for raw, word in words.items():
        if word not in meaning:
            raise UserError(
                f"{said('data.values', dict(words))}: '{word}' is no class; "
                f"{suggest(word, [*labels.names, 'void'])} (or an index, 0 to "
                f"{labels.num_classes - 1})"
            )
        if not 0 <= raw <= WIDE_VOID:
            raise UserError(f"{said('data.values', dict(words))}: {raw} is no value of a mask; values are 0 to {WIDE_VOID}")
    return Classes(labels, {labels.void: labels.void} | {raw: meaning[word] for raw, word in words.items()}, False, "data.values")


def _plain(path: Path) -> Classes:
    """``classes.txt``: a name a line, perhaps with a colour."""
    labels = read_classes(path)
    return Classes(labels, None, labels.colors != voc_colors(labels.num_classes), str(path))


def labelme_list(path: Path) -> Classes:
    """``class_names.txt`` of labelme2voc, and labelme's ``labels.txt``: a name a line, ``_background_`` first, ``__ignore__`` before it or
    not at all."""
    names = [line for line in _lines(path) if line != "__ignore__"]
    return Classes(_labels(names, {}, str(path)), None, False, str(path))


def _cvat(path: Path) -> Classes:
    """``labelmap.txt`` of CVAT: ``name:r,g,b:parts:actions``. Its masks hold the colours."""
    return _colored_lines(path, rf"(?P<name>.+?):{_RGB}:[^:]*:.*", "is not CVAT's form, name:r,g,b:parts:actions")


def _camvid(path: Path) -> Classes:
    """``label_colors.txt`` of CamVid: ``r g b name``."""
    return _colored_lines(path, rf"{_RGB}\s(?P<name>\S.*)", "is not of the form 'r g b name'")


def _colored_lines(path: Path, form: str, refusal: str) -> Classes:
    """A name and a colour a line. form: pattern of a line, with the groups name, red, green and blue."""
    names, colors = [], {}
    for number, line in _numbered(path):
        match = re.fullmatch(form, line)
        if match is None:
            raise UserError(f"{path}, line {number}: '{shown(line)}' {refusal}")
        names.append(match["name"].strip())
        colors[names[-1]] = _color(match.group("red", "green", "blue"), path, number)
    return Classes(_labels(names, colors, str(path)), None, True, str(path))


def _color_table(path: Path) -> Classes:
    """``class_dict.csv``: the columns name, r, g, b."""
    names, colors = [], {}
    rows = _rows(path)
    _, header = next(rows, (0, []))
    if [cell.lower() for cell in header][:4] != ["name", "r", "g", "b"]:
        raise UserError(f"{path} begins with the columns {', '.join(header)}; expected name, r, g, b")
    for number, row in rows:
        if len(row) < 4:
            raise UserError(f"{path}, line {number}: '{shown(','.join(row))}' is not of the form name,r,g,b")
        names.append(row[0])
        colors[row[0]] = _color(row[1:4], path, number)
    return Classes(_labels(names, colors, str(path)), None, True, str(path))


def _roboflow(path: Path) -> Classes:
    """``_classes.csv`` of Roboflow: the columns Pixel Value and Class."""
    words: dict[int, str] = {}
    rows = _rows(path)
    _, header = next(rows, (0, []))
    if [cell.lower() for cell in header] != ["pixel value", "class"]:
        raise UserError(f"{path} begins with the columns {', '.join(header)}; expected Pixel Value, Class")
    for number, row in rows:
        if len(row) != 2 or not row[0].isdecimal():
            raise UserError(f"{path}, line {number}: '{shown(','.join(row))}' is not a pixel value and a class")
        words[int(row[0])] = row[1]
    return _valued(words, path)


def _nnunet(path: Path) -> Classes:
    """``dataset.json`` of nnU-Net: ``labels`` from name to value (version 2) or from value to name (version 1)."""
    labels = read_json(path).get("labels")
    if not isinstance(labels, dict) or not labels:
        raise UserError(f"{path} has no entry 'labels' with the names and values of the classes")
    try:
        words = {int(value): str(name) for name, value in labels.items()}
    except (TypeError, ValueError):
        try:
            words = {int(value): str(name) for value, name in labels.items()}
        except (TypeError, ValueError):
            raise UserError(f"{path}: the values in 'labels' are not one whole number a class") from None
    return _valued(words, path)


READERS: dict[str, Callable[[Path], Classes]] = {
    "classes.txt": _plain,
    "class_names.txt": labelme_list,
    "labelmap.txt": _cvat,
    "label_colors.txt": _camvid,
    "class_dict.csv": _color_table,
    "_classes.csv": _roboflow,
    "dataset.json": _nnunet,
}


def read_json(path: Path) -> Any:
    """What a JSON file holds, at the top a mapping. Raises UserError, naming the file."""
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON ({error}): export it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object at the top: export it again")
    return content


def _valued(words: dict[int, str], path: Path) -> Classes:
    """Classes from raw values and names; a name that says "ignore" is void."""
    ordered = dict(sorted(words.items()))
    names = [name for name in ordered.values() if name.lower() not in IGNORED]
    labels = _labels(names, {}, str(path))
    if any(not 0 <= raw <= WIDE_VOID for raw in ordered):
        raise UserError(f"{path} has the values {', '.join(map(str, ordered))}; values of masks are 0 to {WIDE_VOID}")
    values = {raw: labels.names.index(name) if name in labels.names else labels.void for raw, name in ordered.items()}
    return Classes(labels, {labels.void: labels.void} | values, False, str(path))


def _labels(names: list[str], colors: Mapping[str, Color], source: str) -> LabelSet:
    try:
        return LabelSet(tuple(names), tuple(colors[name] for name in names) if colors else ())
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _color(words: Any, path: Path, number: int) -> Color:
    values = [int(word) if str(word).strip().isdecimal() else -1 for word in words]
    if not all(0 <= value <= 255 for value in values):
        raise UserError(f"{path}, line {number}: the colour {', '.join(map(str, words))} is not three numbers from 0 to 255")
    return values[0], values[1], values[2]


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text that are neither blank nor comments, with their numbers."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _lines(path: Path) -> list[str]:
    return [line for _, line in _numbered(path)]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, row in enumerate(csv.reader(read_text(path).splitlines()), start=1):
        if any(cell.strip() for cell in row):
            yield number, [cell.strip() for cell in row]
