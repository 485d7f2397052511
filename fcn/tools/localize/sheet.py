"""The sheet of ``fcn localize``: the photograph, the heat maps of some classes, the class that wins each cell, and its margin."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from fcn.tools.localize.classmaps import ClassMaps, Places, points, spread
from fcn.tools.localize.localizer import Localized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 3.2  # width of a picture, inches
BARS = 1.5  # of the bars with the colours
DPI = 100
COLUMNS = 3  # pictures in a row, without sliding windows
COLORS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#edc948", "#76b7b2", "#ff9da7")  # of winning classes
OTHERS = "#9a9a9a"
HEAT, MARGIN = "inferno", "viridis"
OPACITY = 0.6

Picture = NDArray[np.uint8]
Panel = tuple[str, NDArray[Any]]  # a title and what stands below it, (H, W, 3)


def draw(photograph: Picture, found: Localized, classes: Sequence[int], name: str) -> "Figure":
    """photograph: (h, w, 3), at the size that it is drawn at. classes: numbers of those whose heat is drawn."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    ways = [found.maps, *([] if found.sliding is None else [found.sliding])]
    top = max(float(maps.probabilities[list(classes)].max()) for maps in ways)
    winners = frequent(found.maps)
    rows = [panels(photograph, maps, classes, winners, top) for maps in ways]
    pages: list[list[Panel | None]]
    if len(ways) == 1:
        everything = [("photograph", photograph), *rows[0]]
        pages = [[*everything[start : start + COLUMNS]] for start in range(0, len(everything), COLUMNS)]
        pages[-1] += [None] * (min(COLUMNS, len(everything)) - len(pages[-1]))
    else:
        pages = [[("photograph", photograph), *rows[0]], [None, *rows[1]]]
    height, width = photograph.shape[:2]
    figure = Figure(
        figsize=(PANEL * len(pages[0]) + BARS, (PANEL * height / width + 0.3) * len(pages) + 0.8), dpi=DPI, layout="constrained"
    )
    axes = figure.subplots(len(pages), len(pages[0]), squeeze=False)
    for line, page in zip(axes, pages, strict=True):
        for axis, panel in zip(line, page, strict=True):
            axis.set(xticks=[], yticks=[])
            if panel is None:
                axis.set_axis_off()
                continue
            axis.set_title(panel[0], fontsize=10, parse_math=False)
            axis.imshow(panel[1], interpolation="nearest")
    if len(ways) == 2:
        axes[0, 1].set_ylabel("one pass", fontsize=11)
        axes[1, 1].set_ylabel("sliding windows", fontsize=11)
        axes[1, 0].text(0, 0.5, figures(found), fontsize=11, va="center", transform=axes[1, 0].transAxes)
    marks = [Patch(color=color, label=found.maps.names[index]) for index, color in zip(winners, COLORS, strict=False)]
    if len(np.unique(found.maps.winner)) > len(winners):
        marks.append(Patch(color=OTHERS, label="another class"))
    legend = figure.legend(handles=marks, loc="outside lower center", ncols=min(len(marks), 5), frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
    for label, table, most in (("probability", HEAT, top), ("margin", MARGIN, 1.0)):
        bar = figure.colorbar(ScalarMappable(Normalize(0, most), table), ax=axes, fraction=0.02, pad=0.01, aspect=30)
        bar.set_label(label, fontsize=9)
        bar.ax.tick_params(labelsize=8)
    figure.suptitle(name, fontsize=11, parse_math=False)
    return figure


def figures(found: Localized) -> str:
    """What a run beside sliding windows has shown, in a few short lines."""
    agreement, seconds = found.maps.agreement, found.seconds
    return (
        f"one pass: {seconds.unrolled:.2f} s\n{found.windows} windows: {seconds.sliding:.2f} s,\n"
        f"{seconds.sliding / seconds.unrolled:.1f} times as long\n\n"
        f"{agreement.equal:.0%} of the cells name\nthe same class"
    )


def frequent(maps: ClassMaps) -> list[int]:
    """The classes that win the most cells, as many as there are colours, the most frequent first."""
    indices, counts = np.unique(maps.winner, return_counts=True)
    return [int(index) for index in indices[np.argsort(-counts, kind="stable")][: len(COLORS)]]


def panels(photograph: Picture, maps: ClassMaps, classes: Sequence[int], winners: Sequence[int], top: float) -> list[Panel]:
    """The heat of each class, the winning classes, their margin; laid over the photograph in gray, where there are cells."""
    target = (photograph.shape[0], photograph.shape[1])
    gray = np.repeat(photograph.mean(-1, keepdims=True) / 255, 3, -1)
    inside = covered(maps, target)

    def over(colors: NDArray[Any]) -> NDArray[Any]:
        return np.where(inside[..., None], gray * (1 - OPACITY) + colors[..., :3] * OPACITY, gray * 0.5)

    found: list[Panel] = []
    for index in classes:
        heat = maps.heat(index, target)
        title = f"{maps.names[index]}: up to {maps.probabilities[index].max():.2f}"
        found.append((title, over(colormaps[HEAT](heat / max(top, 1e-9)))))
    known = {index: place for place, index in enumerate(winners)}
    table = np.array([[int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)] for color in (*COLORS, OTHERS)])
    chosen = np.vectorize(lambda index: known.get(int(index), len(COLORS)))(maps.winner)
    down, across = (nearest(*each) for each in zip((maps.rows, maps.columns), maps.size, target, strict=True))
    found.append(("class of the highest score", over(table[chosen[np.ix_(down, across)]])))
    margin = spread(maps.margin, maps.rows, maps.columns, maps.size, target)
    found.append(("its margin over the second", over(colormaps[MARGIN](margin))))
    return found


def nearest(centres: Places, side: int, count: int) -> NDArray[np.intp]:
    """For each of ``count`` pixels that a side is drawn with, the cell that it lies closest to."""
    step = centres[1] - centres[0] if len(centres) > 1 else 1.0
    return np.clip(np.rint((points(side, count) - centres[0]) / step), 0, len(centres) - 1).astype(np.intp)


def covered(maps: ClassMaps, target: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels have a cell of their own: with windows those round the outermost centres have none. A border narrower than a cell
    belongs to the outermost ones."""
    sides = []
    for centres, side, count in zip((maps.rows, maps.columns), maps.size, target, strict=True):
        places = points(side, count)
        step = centres[1] - centres[0] if len(centres) > 1 else side
        before, after = centres[0] - step / 2, side - 1 - (centres[-1] + step / 2)
        sides.append((places >= (before if before > step else -0.5)) & (places <= side - 1 - (after if after > step else -0.5)))
    return sides[0][:, None] & sides[1][None, :]
