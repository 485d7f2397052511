"""From the file of a label map to class indices: by values, or by colours.

A mask of gray values or palette indices is read by its values. A mask in RGB is read by the colours of the classes. If the classes have no
colours and the mask is gray, its gray values are read: a binary mask in black and white, saved in RGB. A palette mask whose
colours are those of the classes, at other indices, is read by its colours too: programs number palettes anew when they save. So is a gray
mask whose values are the classes' gray colours and no indices; where they may be both, it is refused.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from random import Random

import numpy as np
import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import VOID, VOID_COLOR, WIDE_VOID, Color, LabelSet
from fcn.core.names import listed, said
from fcn.data.labelmaps import Raw, read_raw
from fcn.data.opening import say_once

_ENOUGH = 20  # masks of 0 and 255 after which a set is taken for binary
_LOOKED = 500  # masks that are looked at for that
_SHOWN = 6  # colours named in a message before "and so on"


class Masks:
    """Reads the masks of one data set.

    labels: classes of the data set.
    values: class index, or void, of each raw value; None: each index is itself, and 255 is void (65535 with more than 255 classes).
    colored: whether the classes' colours are those of the masks, and no mere palette for pictures.
    unknown: what to do with a value or colour that is no class's: "error", or "void" to take it for void.
    source: where the classes are from, for messages.
    gray_is_number: whether gray masks hold numbers of classes, whatever their colours; see ``gray_is_number``.
    """

    def __init__(
        self,
        labels: LabelSet,
        values: Mapping[int, int] | None = None,
        *,
        colored: bool = False,
        unknown: str = "error",
        source: str = "the list of classes",
        gray_is_number: bool = False,
    ) -> None:
        identity = {index: index for index in (*range(labels.num_classes), labels.void)}
        self.plain = values is None
        values = identity if values is None else values
        wrong = sorted(set(values.values()) - identity.keys())
        if wrong or not all(0 <= raw <= WIDE_VOID for raw in values):
            raise UserError(
                f"raw values 0 to {WIDE_VOID} map to classes 0 to {labels.num_classes - 1} or {labels.void}; given {dict(values)}"
            )
        self.labels, self.colored, self.unknown, self.source = labels, colored, unknown, source
        self.gray_is_number = gray_is_number
        self.values = dict(values)
        self.largest = VOID if max(values, default=0) <= VOID else WIDE_VOID  # that a file may hold
        narrow = self.largest == VOID and labels.dtype == "uint8"
        used = set(values.values())
        self.strange = next((value for value in range(256) if value not in used), -1) if narrow else -1  # stands for an unknown value
        if unknown == "void":
            self.strange = labels.void
        self.table = np.array([values.get(raw, self.strange) for raw in range(self.largest + 1)], np.int32)
        self.codes = self.table.astype(np.uint8).tobytes() if narrow else None

    def read(self, path: str) -> Tensor:
        """``(H, W)`` of class indices or void, in the type of the label set. Raises UserError, with file and place, for an unknown value
        or colour."""
        return self.of_raw(read_raw(path, largest=self.largest), path)

    def of_raw(self, raw: Raw, path: str) -> Tensor:
        """What a file holds, values or colours, to class indices. path: for messages."""
        if raw.values.ndim == 3:
            return self.of_values(raw.values[..., 0], path) if self._gray(raw.values) else self.of_colors(raw.values.numpy(), path)
        if self.colored and self.plain and raw.palette is not None and self._renumbered(raw, path):
            say_once("palette", f"{path} has the colours of the classes at other indices: its colours are read, here and in other masks")
            return self.of_colors(raw.palette[raw.values.numpy()], path)
        if self.colored and self.plain and raw.white is not None and not self.gray_is_number and self._shows_colors(raw, path):
            shades = raw.values.numpy() * (VOID // raw.white)
            return self.of_colors(np.stack([shades] * 3, -1), path)
        return self.of_values(raw.values, path)

    def _shows_colors(self, raw: Raw, path: str) -> bool:
        """Whether the values of a gray mask are shades of gray that classes have as colours. Raises UserError where they may be indices of
        other classes as well: a program may have saved a mask of black and white in gray."""
        assert raw.white is not None
        used = np.flatnonzero(np.bincount(raw.values.numpy().ravel(), minlength=256))
        try:
            known, indices = _color_table(self.labels, self.source)
        except UserError:  # two classes of one colour
            return False
        codes = used * (VOID // raw.white) * 0x010101
        places = np.searchsorted(known, codes).clip(max=len(known) - 1)
        if not (known[places] == codes).all():
            return False
        by_value = np.array([self.values.get(int(value), -1) for value in used])
        if (by_value < 0).any() or (indices[places] == by_value).all():
            return True
        place = int((indices[places] != by_value).argmax())
        number, color = (
            "void" if index == self.labels.void else f"'{self.labels.names[index]}'" for index in (by_value[place], indices[places][place])
        )
        raise UserError(
            f"{path} is gray and holds {used[place]}, which is {number} by its number and {color} by its colour: save it in RGB if its "
            f"colours count, or give {said('data.values', self._numbers())} if its numbers do"
        )

    def _numbers(self) -> dict[int, str]:
        """The classes by their numbers, as ``data.values`` takes them."""
        return {**dict(enumerate(self.labels.names)), self.labels.void: "void"}

    def _gray(self, colors: Tensor) -> bool:
        """Whether a mask in RGB holds gray values, three times each: those of classes and void, or others than the classes' colours."""
        if self.colored or not is_gray(colors):
            return False
        if not self.plain or bool(np.isin(colors[..., 0].numpy(), [*self.values]).all()):
            return True
        known, _ = _color_table(self.labels, self.source)
        return not np.isin(_codes(colors.numpy()), known).all()

    def of_values(self, raw: Tensor, path: str) -> Tensor:
        """Raw values ``(H, W)``, uint8 or int32, to class indices. path: for messages."""
        if self.codes is None:
            classes = torch.from_numpy(self.table[raw.numpy()])
            places = (classes.flatten() == self.strange).nonzero()[:1, 0].tolist() if self.unknown != "void" else []
            classes = classes.to(getattr(torch, self.labels.dtype))
        else:  # the fastest table look-up at hand
            data = bytearray(raw.to(torch.uint8).numpy().tobytes().translate(self.codes))
            places = [place] if self.unknown != "void" and self.strange >= 0 and (place := data.find(self.strange)) >= 0 else []
            classes = torch.frombuffer(data, dtype=torch.uint8).view(raw.shape)
        for place in places:
            row, column = divmod(place, raw.shape[1])
            raise UserError(
                f"{path} holds the value {int(raw[row, column])} (first in row {row}, column {column}), which is neither a class nor void; "
                f"allowed are {ranges(self.values)}: correct the label map or the list of classes{self._guess(raw)}"
            )
        return classes

    def of_colors(self, colors: np.ndarray, path: str) -> Tensor:
        """Colours uint8 ``(H, W, 3)`` to class indices."""
        known, indices = _color_table(self.labels, self.source)
        codes = _codes(colors)
        places = np.searchsorted(known, codes).clip(max=len(known) - 1)
        classes = indices[places]
        strange = known[places] != codes
        if strange.any():
            if self.unknown != "void":
                raise UserError(self._strange_color(colors, strange, path))
            classes[strange] = self.labels.void
        return torch.from_numpy(classes)

    def _strange_color(self, colors: np.ndarray, strange: np.ndarray, path: str) -> str:
        row, column = (int(each) for each in np.unravel_index(np.argmax(strange), strange.shape))
        share, kinds = float(strange.mean()), len(np.unique(_codes(colors)[strange]))
        mend = "write it after its class" if self.colored else "write the classes' colours after their names, as 'road #804080'"
        if self.colored and share < 0.2 and kinds > 3:
            mend = f"if these are the blurred borders of a drawing program, {said('data.unknown', 'void')} leaves them out"
        colored = [f"{name} {hexed(color)}" for name, color in zip(self.labels.names, self.labels.colors, strict=True)]
        return (
            f"{path} holds the colour {hexed(colors[row, column])} (first in row {row}, column {column}; {100 * share:.1f} % of its pixels "
            f"have unknown colours), which no class has; {self.source} has "
            f"{listed(colored, _SHOWN)}: {mend}"
        )

    def _renumbered(self, raw: Raw, path: str) -> bool:
        """Whether the colours of a palette picture are classes', but not at the classes' own indices. Raises UserError where some are, and
        some are no class's, and the indices may be meant as well: another palette may share colours with the classes by chance."""
        assert raw.palette is not None
        counts = np.bincount(raw.values.numpy().ravel(), minlength=256)
        used = np.flatnonzero(counts)
        if used[-1] >= len(raw.palette) or len(np.unique(_codes(raw.palette[used]))) < len(used):
            return False  # a palette that tells nothing apart
        try:
            known, indices = _color_table(self.labels, self.source)
        except UserError:  # two classes of one colour
            return False
        codes = _codes(raw.palette[used])
        places = np.searchsorted(known, codes).clip(max=len(known) - 1)
        is_known = known[places] == codes
        moved, strange = used[is_known & (indices[places] != used)], used[~is_known]
        if not strange.size or counts[moved].sum() <= counts[strange].sum():
            return bool(moved.size and not strange.size)
        if all(int(value) in self.values for value in used):
            raise UserError(
                f"{path} has colours of classes at other indices, as {hexed(raw.palette[moved[0]])} at {moved[0]}, and the colour "
                f"{hexed(raw.palette[strange[0]])} that no class has: save it in RGB if its colours count, or give "
                f"{said('data.values', self._numbers())} if its numbers do"
            )
        return True

    def _guess(self, raw: Tensor) -> str:
        """What a label map with a strange value looks like, where it looks like something that is met often; else nothing."""
        found = [value for value in raw.unique().tolist() if value != self.labels.void]
        count, names = self.labels.num_classes, self.labels.names
        if not self.plain:
            binary = set(self.values) == {0, VOID} and self.values[VOID] == 1
            more = f". Other masks of this set hold 0 and 255 only, and 255 was taken for {names[1]}" if binary else ""
            return (
                f"{more}. Give every value that occurs, as {said('data.values', self._example(found))}, or {said('data.unknown', 'void')}"
            )
        most = found[-1]
        if count == 2 and len(found) == 2 and found[0] == 0 and most > count:
            return f". It looks like a binary mask of 0 and {most}: give {said('data.values', {0: names[0], most: names[1]})}"
        if most == count:
            return (
                f". Values up to {most} need {most + 1} classes: is the line of value 0 (background) missing, or do values begin at 1 "
                f"({said('data.reduce_zero_label', True)})?"
            )
        if len(found) > max(16, 2 * count):
            return f". It holds {len(found)} different values: was it resized with interpolation, or saved as JPEG once?"
        return ""

    def _example(self, found: list[int]) -> dict[int, str]:
        known = {raw: "void" if index == self.labels.void else self.labels.names[index] for raw, index in self.values.items()}
        return {raw: known.get(raw, "?") for raw in sorted({*known, *found})}


def is_gray(colors: Tensor) -> bool:
    """Whether red, green and blue are the same throughout, uint8 ``(H, W, 3)``."""
    return bool((colors[..., 0] == colors[..., 1]).all() and (colors[..., 1] == colors[..., 2]).all())


def hexed(color: Color | np.ndarray) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in color)


def ranges(values: Iterable[int]) -> str:
    """``[0, 1, 2, 255]`` as "0 to 2, 255"."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in runs)


def _codes(colors: np.ndarray) -> np.ndarray:
    """One number a colour."""
    wide = colors.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


@cache
def _color_table(labels: LabelSet, source: str) -> tuple[np.ndarray, np.ndarray]:
    """The colours of the classes as sorted numbers, and the class of each; VOC's colour of void is void unless a class has it."""
    first: dict[Color, int] = {}
    for index, color in enumerate(labels.colors):
        if color in first:
            raise UserError(
                f"the masks hold colours, and {source} has {hexed(color)} for both {labels.names[first[color]]} and {labels.names[index]}: "
                "give each class its own colour"
            )
        first[color] = index
    table = {VOID_COLOR: labels.void} | first
    codes = _codes(np.array(list(table)))
    order = codes.argsort()
    return codes[order], np.array(list(table.values()), labels.dtype)[order]


def gray_is_number(paths: list[str], labels: LabelSet) -> bool:
    """Whether a gray mask of a set holds a number of a class that is no class's shade of gray: then gray masks hold numbers, and none of
    them is a picture of black and white. They are looked at only where classes have shades of gray. A damaged one says nothing."""
    shades = {red for red, green, blue in labels.colors if red == green == blue}
    others = 0
    for path in Random(0).sample(paths, min(_LOOKED, len(paths))) if shades else ():
        try:
            raw = read_raw(path)
        except (UserError, OSError):
            continue
        others += raw.white is None
        if raw.white == VOID and any(value < labels.num_classes and value not in shades for value in raw.values.unique().tolist()):
            return True
        if others == _ENOUGH:
            break
    return False


def is_binary(paths: list[str]) -> bool:
    """Whether masks hold 0 and 255 and nothing else: a binary mask as most tools write it. A damaged one says nothing."""
    white = 0
    for path in Random(0).sample(paths, min(_LOOKED, len(paths))):
        try:
            raw = read_raw(path).values
        except (UserError, OSError):
            continue
        if raw.ndim == 3:
            if not is_gray(raw):
                return False
            raw = raw[..., 0]
        found = set(raw.unique().tolist())
        if found - {0, VOID}:
            return False
        white += VOID in found
        if white == _ENOUGH:
            break
    return white > 0
