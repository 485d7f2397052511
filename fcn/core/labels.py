"""Labels: the names, colours and indices of the classes, and the one value that means "do not count this pixel".

A label map is an integer array (H, W). Its values are class indices ``0 .. num_classes - 1``, or void. Up to 255 classes it is of uint8,
and void is ``VOID``, 255. With more classes it is of int32 (uint16 in files), and void is ``WIDE_VOID``, 65535. All readers of this
package return maps in this form, whatever the files hold. All pictures that are written take their colours from here.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from fcn.core.errors import UserError
from fcn.core.names import shown, suggest

VOID = 255  # Pascal VOC's value for "void"; the cross entropy's ignore_index
WIDE_VOID = 65535  # void where there are more than 255 classes
MOST_CLASSES = WIDE_VOID

Color = tuple[int, int, int]


@cache
def voc_colors(count: int) -> tuple[Color, ...]:
    """The first ``count`` colours of Pascal VOC's palette: bit ``j`` of r, g, b comes from bits ``3j``, ``3j+1``, ``3j+2`` of the index.

    Source: the VOC development kit, ``VOClabelcolormap.m``.
    """
    colors = []
    for index in range(count):
        channels = [sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
        colors.append((channels[0], channels[1], channels[2]))
    return tuple(colors)


VOID_COLOR: Color = voc_colors(256)[VOID]


def void_index(num_classes: int) -> int:
    """The value of void in label maps of ``num_classes`` classes: 255, or 65535 with more than 255 classes."""
    return VOID if num_classes <= VOID else WIDE_VOID


def void_of(dtype: Any) -> int:
    """The value of void in label maps of a type of torch or NumPy."""
    return VOID if dtype.itemsize == 1 else WIDE_VOID


def label_dtype(num_classes: int) -> Literal["uint8", "int32"]:
    """The type of the values of label maps of ``num_classes`` classes, for torch and NumPy (torch can do little with uint16)."""
    return "uint8" if num_classes <= VOID else "int32"


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set, in the order of their indices.

    >>> labels = fcn.LabelSet(("ground", "road"))
    >>> labels.index("road"), labels.num_classes  # (1, 2)

    names: names of the classes, 2 to 65535, each different.
    colors: colour of each class, (red, green, blue) in 0..255; default: Pascal VOC's palette.

    Raises UserError for names that are not unique and for another number of colours.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise UserError(f"the names of the classes are the word {self.names!r}; give a tuple of names, as ('ground', 'road')")
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "colors", tuple(tuple(color) for color in self.colors))
        if not 2 <= len(self.names) <= MOST_CLASSES:
            raise UserError(f"{len(self.names)} classes given; a label set has 2 to {MOST_CLASSES} (background is a class, void is none)")
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise UserError(f"class names must be unique; given more than once: {shown(', '.join(repeated), 300)}")
        if not self.colors:
            object.__setattr__(self, "colors", voc_colors(len(self.names)))
        if len(self.colors) != len(self.names):
            raise UserError(f"{len(self.colors)} colours given for {len(self.names)} classes; give one each, or none for VOC's palette")

    @property
    def num_classes(self) -> int:
        return len(self.names)

    @property
    def void(self) -> int:
        """The value that means void in label maps of these classes: 255, or 65535 with more than 255 classes."""
        return void_index(self.num_classes)

    @property
    def dtype(self) -> Literal["uint8", "int32"]:
        """The type of the values of label maps of these classes; of int32, files hold uint16."""
        return label_dtype(self.num_classes)

    @property
    def palette(self) -> list[int]:
        """Three numbers for each value up to void: the class colours, VOC's for the rest. Up to 255 classes it is that of a palette PNG."""
        colors = self.colors + voc_colors(self.void)[len(self.colors) :] + (VOID_COLOR,)
        return [value for color in colors for value in color]

    def index(self, name: str) -> int:
        """The index of the class of that name. Raises UserError, with the closest names, if there is none."""
        if name not in self.names:
            raise UserError(f"there is no class '{name}'; {suggest(name, self.names)}")
        return self.names.index(name)
