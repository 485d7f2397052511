"""The list of classes of a user's own data: one name per line. Lists in the form of another tool are refused.

A list of another form would be read as strange names. A header or a line for "ignore" would shift every class by one. So a line that looks
like another tool's is never taken for a name. The message says which line, what it looks like, and which form is allowed.
"""

import re
import unicodedata
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet, voc_colors
from fcn.core.names import shown
from fcn.data.pairs import read_text

_CLASS = re.compile(r"(?P<name>[^#]*?)(?:\s+#(?P<color>[0-9a-fA-F]{6}))?(?:\s+#\s.*)?")
_FORM = "write one class name a line, in the order of the values in the label maps (0 first), with a colour #rrggbb after it if you like"
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"  # a byte order mark, spaces and joiners of no width

_COLOR_FIRST = re.compile(r"#[0-9a-fA-F]{6}\s+\S.*")
_COLUMNS = (
    "pixel value|pixel_value|pixel|value|class|classes|class name|class_name|classname|name|names|label|labels|id|class id|class_id|idx|"
    "index|trainid|train id|category|color|colour|hex|r|g|b|red|green|blue|rgb|ratio"
)
# What a line of another form looks like, without its comment and the spaces around; the first that fits is told.
_FOREIGN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"__ignore__", "labelme's word for what is not labelled, which is no class (255 in the label maps); take the line out"),
        (r"[\[{\]}].*|.*:\s*[\[{].*", "JSON, YAML or a section of a settings file"),
        (r"<.*", "XML"),
        (r"(---|- .+|(names|nc|classes|labels)\s*:.*|[^:]+:)", "YAML"),
        (rf"({_COLUMNS})(\s*[,;|\t]\s*({_COLUMNS}))+|names|classes|(class|label)[ _]?names?", "the header of a table"),
        (r"[^:]*:(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*:.*|[^:]*:[^:]*:.*)", "CVAT's labelmap.txt (name:colour:parts:actions)"),
        (r"(.*\D)?\d{1,3}([\s,;]+\d{1,3}){2}(\D.*)?", "a name with a colour in numbers; colours are #rrggbb"),
        (r"-?\d+\s*[:=,;].*|-?\d+[.)]\s.*", "a name with its index; the line's place is its index"),
        (r".*[:=,;]\s*-?\d+", "a name with its index; the line's place is its index"),
        (r".*\t.*", "a row of a table; write the name alone"),
        (r"[\"'`].*|.*,", "a quoted list of a program"),
        (r"(//|%|;|--|/\*).*", "a comment; comments begin with #"),
        (r"([*|•]).*", "a list or table of a document"),
    )
)


def read_classes(path: str | PathLike[str]) -> LabelSet:
    """A list of classes: one name per line, in the order of the indices. A colour ``#rrggbb`` may follow. ``#`` begins a comment.

    A class without a colour has the colour of its index in VOC's palette. Raises FileNotFoundError, and UserError naming file and line.
    Lists that look like another tool's are refused too: an index or a numeric colour beside the name, a header, JSON, YAML.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no list of classes {path}: write one, with one class name a line in the order of their indices")
    names, colors, numbers = [], [], []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.strip()
        if _COLOR_FIRST.fullmatch(line):
            raise UserError(f"{path}, line {number}: '{shown(line)}' begins with a colour, and reads as a comment. Here, {_FORM}")
        if not line or line.startswith("#"):
            continue
        match = _CLASS.fullmatch(line)
        _refuse_foreign(path, number, match["name"] if match else line)
        if match is None:
            raise UserError(f"{path}, line {number}: '{shown(line)}' is not a class name, optionally followed by a colour as #rrggbb")
        names.append(match["name"])
        colors.append(match["color"])
        numbers.append(number)
    _refuse_numbered(path, names, numbers)
    palette = voc_colors(len(names))
    rgb = [palette[i] if color is None else (int(color[:2], 16), int(color[2:4], 16), int(color[4:], 16)) for i, color in enumerate(colors)]
    try:
        return LabelSet(tuple(names), tuple(rgb))
    except UserError as error:
        raise UserError(f"{path}: {error}; {_FORM}") from None


def _refuse_foreign(path: Path, number: int, line: str) -> None:
    """UserError for a line that looks like one of another form, or holds what cannot be seen."""
    hidden = next((char for char in line if char in _INVISIBLE or (char != "\t" and unicodedata.category(char) == "Cc")), None)
    if hidden is not None:
        raise UserError(f"{path}, line {number}: '{shown(line)}' holds a character that cannot be seen (U+{ord(hidden):04X}): remove it")
    for pattern, meaning in _FOREIGN:
        if pattern.fullmatch(line):
            raise UserError(f"{path}, line {number}: '{shown(line)}' looks like {meaning}. Here, {_FORM}")


def _refuse_numbered(path: Path, names: list[str], numbers: list[int]) -> None:
    """Raises UserError where a number stands before or after each name and counts the lines: an index, no part of the names."""
    ends: tuple[Callable[[str], list[str]], ...] = (lambda name: name.split(maxsplit=1), lambda name: name.rsplit(maxsplit=1)[::-1])
    for parts in ([end(name) for name in names] for end in ends):
        if len(parts) < 2 or not all(len(part) == 2 and part[0].isdecimal() for part in parts):
            continue
        counted = [int(part[0]) for part in parts]
        if len({part[1] for part in parts}) == len(parts) and counted == list(range(counted[0], counted[0] + len(parts))):
            raise UserError(
                f"{path}, line {numbers[0]}: '{shown(names[0])}' looks like a name with its index {counted[0]}, as the lines after it do. "
                f"Here, {_FORM}"
            )
