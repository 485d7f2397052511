"""Draws the pictures of docs/geometry.md: python scripts/draw_geometry.py [FOLDER [NAME ...]], by default docs/geometry and all of them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import nn

from fcn.graph.axis import HOLE
from fcn.graph.effective import effective_field
from fcn.lessons.arithmetic import Step, compose, conv
from fcn.lessons.matrix import convolution_matrix, im2col
from fcn.lessons.notation import parse_words
from fcn.lessons.probe import Probe
from fcn.models.backbones import create_backbone
from fcn.tools.inspect.picture import fitted, network_picture
from fcn.tools.inspect.report import inspect_network
from fcn.tools.scripts import save_picture

BLUE, ORANGE, GREEN, GRAY, INK = "#5aa9e6", "#f5a142", "#7cc47f", "#e4e4e4", "#333333"
SOFT_BLUE, SOFT_GREEN = "#d6eaf8", "#dff0df"


def main(folder: str = "docs/geometry", *names: str) -> None:
    every = (
        sizes,
        field,
        causal,
        fields_of_networks,
        windows,
        transposed,
        dilated,
        separable,
        shuffle,
        checkerboard,
        nan_trick,
        matrix,
    )
    pictures = {draw.__name__: draw for draw in every}
    unknown = [name for name in names if name not in pictures]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: no such picture; there are {', '.join(pictures)}")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for name in names or pictures:
        save_picture(pictures[name](), target / f"{name}.png")


# --- what the pictures share ---


def panels(count: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, count, **options))
    for each in axes:
        each.set_axis_off()
        each.set_aspect("equal")
    return figure, list(axes)


def square(axes: Any, row: float, column: float, color: str = "white", text: str = "", size: float = 1, **options: Any) -> None:
    """A cell of a grid whose rows go down."""
    drawn = {"edgecolor": "#9a9a9a", "linewidth": 0.8, **options}
    axes.add_patch(Rectangle((column, -row - size), size, size, facecolor=color, **drawn))
    if text:
        axes.text(column + size / 2, -row - size / 2, text, ha="center", va="center", fontsize=9, color=INK)


def outline(axes: Any, row: float, column: float, height: float, width: float, color: str) -> None:
    axes.add_patch(Rectangle((column, -row - height), width, height, fill=False, edgecolor=color, linewidth=2.5, zorder=5))


def frame(axes: Any, rows: tuple[float, float], columns: tuple[float, float], title: str) -> None:
    axes.set(xlim=columns, ylim=(-rows[1], -rows[0]))
    axes.set_title(title, fontsize=10, color=INK)


# --- one function per picture ---


def sizes() -> Figure:
    """The window of one output cell, with and without padding, with a stride."""
    figure, axes = panels(3, 10.5, 2.6)
    for each, (stride, padding) in zip(axes, [(1, 0), (1, 1), (2, 1)], strict=True):
        n, k = 5, 3
        out = (n + 2 * padding - k) // stride + 1
        for row in range(-padding, n + padding):
            for column in range(-padding, n + padding):
                inside = 0 <= row < n and 0 <= column < n
                square(each, row, column, SOFT_BLUE if inside else "white", "" if inside else "0", linestyle="-" if inside else ":")
        shift = 7.5
        for row in range(out):
            for column in range(out):
                square(each, row + (n - out) / 2, shift + column, SOFT_GREEN)
        cell = (0, 1)
        outline(each, cell[0] * stride - padding, cell[1] * stride - padding, k, k, ORANGE)
        outline(each, cell[0] + (n - out) / 2, shift + cell[1], 1, 1, ORANGE)
        words = f"kernel 3, stride {stride}, padding {padding}\n⌊({n} + 2·{padding} - 3) / {stride}⌋ + 1 = {out}"
        frame(each, (-1.1, 6.1), (-1.3, shift + 5.3), words)
    return figure


def chain(steps: Sequence[Step], cells: range, cell: int, names: Sequence[str], *, centred: bool = True) -> Figure:
    """Layers of one axis above each other, each cell over the pixel on which its field is centred, or over the last one of its field; lines
    for what a cell reads."""
    figure, (axes,) = panels(1, 10, 0.85 * len(steps) + 1)

    def places(level: int) -> tuple[float, float]:
        """Jump, and where the first cell of a level lies."""
        step = steps[level - 1]
        if level == 0:
            return 1.0, 0.0
        return float(step.jump[0]), float(step.start[0]) + (0 if centred else (step.field[0] - 1) / 2)

    axes.set_aspect("auto")
    marked = {cell}
    for level in range(len(steps), -1, -1):
        step = steps[level - 1] if level else None
        jump, start = places(level)
        count = step.outputs[0] if step else steps[0].inputs[0]
        inside = [index for index in range(count) if cells.start <= start + jump * index < cells.stop]
        seen: set[int] = set()
        if step:
            (axis,) = step.layer.maps(step.inputs)
            low_jump, low_start = places(level - 1)
            for index in inside:
                for tap in axis.taps(np.array([index]))[0]:
                    if tap == HOLE:
                        continue
                    hot = index in marked
                    seen |= {int(tap)} if hot else set()
                    ends = [start + jump * index, low_start + low_jump * tap]
                    color, line, order = (ORANGE, 1.8, 3) if hot else ("#d0d0d0", 0.7, 1)
                    axes.plot(ends, [level, level - 1], color=color, linewidth=line, zorder=order)
        hot_x = [start + jump * index for index in inside if index in marked]
        axes.scatter([start + jump * index for index in inside], [level] * len(inside), s=42, color="#9fb8cc", zorder=4, edgecolors="white")
        axes.scatter(hot_x, [level] * len(hot_x), s=64, color=ORANGE, zorder=5, edgecolors="white")
        words = f"{names[level - 1]}\nfield {step.field[0]}, jump {step.jump[0]}" if step else "pixels"
        axes.text(cells.start - 0.8, level, words, ha="right", va="center", fontsize=9, color=INK)
        marked = seen if step else marked
    axes.text((min(marked) + max(marked)) / 2, -0.62, f"{max(marked) - min(marked) + 1} pixels", ha="center", fontsize=9, color="#c06f10")
    axes.annotate("", (min(marked) - 0.4, -0.33), (max(marked) + 0.4, -0.33), arrowprops={"arrowstyle": "<->", "color": ORANGE})
    axes.set(xlim=(cells.start - 0.5, cells.stop - 0.5), ylim=(-0.8, len(steps) + 0.4))
    return figure


def field() -> Figure:
    named = parse_words("conv3 s2 p1, pool2 s2, conv3 d2")
    line = [conv(1, 1, layer.kernel[:1], layer.stride[:1], layer.padding[:1], layer.dilation[:1]) for _, layer in named]
    return chain(compose(line, (40,)), range(0, 30), 1, [name for name, _ in named])


def causal() -> Figure:
    from fcn.lessons.arithmetic import causal as causal_conv

    layers = [causal_conv(1, 1, 2, dilation) for dilation in (1, 2, 4, 8)]
    return chain(compose(layers, (24,)), range(0, 24), 20, [f"kernel 2, dilation {layer.dilation[0]}" for layer in layers], centred=False)


def fields_of_networks() -> Figure:
    """The picture of fcn inspect for three backbones, side by side."""
    figure, axes = panels(3, 9.4, 3.8)
    for each, (name, size, options) in zip(
        axes, [("compact", 224, {}), ("vgg16", 288, {"classifier": False}), ("resnet18", 480, {})], strict=True
    ):
        torch.manual_seed(0)
        backbone = create_backbone(name, **options)  # type: ignore[arg-type]
        output = str(len(backbone.channels) - 1)
        _, found = inspect_network(backbone, size, output=output)
        single = network_picture(backbone, found, fitted(None, (size, size)), output=output, name=name)
        source = single.axes[0]
        each.imshow(source.images[0].get_array(), extent=(-0.5, size - 0.5, size - 0.5, -0.5))
        for patch in source.patches:
            x, y, width, height = patch.get_bbox().bounds  # type: ignore[attr-defined]
            style = {"edgecolor": patch.get_edgecolor(), "linestyle": patch.get_linestyle(), "linewidth": 2}
            each.add_patch(Rectangle((x, y), width, height, fill=False, **style))
        legend = [text.get_text() for text in single.legends[0].get_texts()]
        each.set_title(f"{name}, {size} x {size} pixels", fontsize=10, color=INK)
        each.text(size / 2, 1.03 * size, "\n".join(legend), ha="center", va="top", fontsize=8.5, color=INK)
    return figure


def windows() -> Figure:
    """A classifier's 224-pixel window slid over a larger picture by 32 pixels, and the map of scores that one pass gives."""
    height, width, window, stride = 288, 352, 224, 32
    figure, axes = panels(2, 8.4, 3.9, width_ratios=[1.9, 1])
    picture = fitted(None, (height, width))
    axes[0].imshow(picture, extent=(0, width, -height, 0), alpha=0.6)
    rows, columns = (height - window) // stride + 1, (width - window) // stride + 1
    chosen = {(0, 0): BLUE, (1, 2): ORANGE, (2, 4): GREEN}
    for (row, column), color in chosen.items():
        outline(axes[0], row * stride, column * stride, window, window, color)
    frame(
        axes[0],
        (-6, height + 6),
        (-6, width + 6),
        f"{height} x {width} pixels: {rows * columns} windows of {window} x {window}, {stride} apart",
    )
    for row in range(rows):
        for column in range(columns):
            square(axes[1], row, column, chosen.get((row, column), "white"))
    frame(axes[1], (-1.5, rows + 1.5), (-0.5, columns + 0.5), f"one pass: {rows} x {columns} cells")
    return figure


def transposed() -> Figure:
    """Kernel 3, stride 2, padding 1: zeros put between the cells, then a plain convolution."""
    figure, axes = panels(3, 10, 3.5, width_ratios=[3, 7, 5])
    for row in range(3):
        for column in range(3):
            square(axes[0], row + 2, column, BLUE, "abcdefghi"[3 * row + column])
    frame(axes[0], (-0.5, 7.5), (-0.5, 3.5), "3 x 3 cells")
    for row in range(7):
        for column in range(7):
            holds = row % 2 == 1 and column % 2 == 1
            border = not (0 < row < 6 and 0 < column < 6)
            letter = "abcdefghi"[3 * (row // 2) + column // 2] if holds else "0"
            square(axes[1], row, column, BLUE if holds else "white", letter, linestyle=":" if border else "-")
    outline(axes[1], 2, 3, 3, 3, ORANGE)
    frame(axes[1], (-0.5, 7.5), (-0.5, 7.5), "stride - 1 zeros between, kernel - 1 - padding around")
    for row in range(5):
        for column in range(5):
            count = (1 + row % 2) * (1 + column % 2)
            square(axes[2], row + 1, column, SOFT_GREEN, str(count))
    outline(axes[2], 3, 3, 1, 1, ORANGE)
    frame(axes[2], (-0.5, 7.5), (-0.5, 5.5), "5 x 5 cells, and how many\nof the nine each one sees")
    return figure


def paths(dilations: Sequence[int], size: int) -> NDArray[Any]:
    """How many ways lead from each pixel to the middle cell through 3x3 convolutions: the gradient where all weights are one."""
    network = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=each, dilation=each, bias=False) for each in dilations))
    for tensor in network.parameters():
        nn.init.ones_(tensor)
    return effective_field(network, size, samples=1).numpy() * 9 ** len(dilations)


def dilated() -> Figure:
    figure, axes = panels(3, 10, 4.0)
    for each, (dilations, words) in zip(
        axes, [((1, 1, 1), "grows by 2 a layer"), ((1, 2, 4), "doubles a layer"), ((2, 2, 2), "three of four pixels unseen")], strict=True
    ):
        found = paths(dilations, 17)
        each.imshow(np.where(found > 0.5, found, np.nan) ** 0.5, cmap="YlOrRd", vmin=0)
        for place in np.arange(-0.5, 17):
            each.axhline(place, color="#dddddd", linewidth=0.5)
            each.axvline(place, color="#dddddd", linewidth=0.5)
        side = 1 + 2 * sum(dilations)
        each.set_title(f"dilations {', '.join(map(str, dilations))}: {side} x {side}\n{words}", fontsize=10, color=INK)
    return figure


def separable() -> Figure:
    """Which kernels join which channels: a row for each channel out, a column for each channel in."""
    channels, k = 6, 3
    kinds: list[tuple[str, Any, tuple[int, int], str]] = [
        ("convolution", lambda row, column: True, (k, k), BLUE),
        ("2 groups", lambda row, column: row // 3 == column // 3, (k, k), BLUE),
        ("depthwise", lambda row, column: row == column, (k, k), GREEN),
        ("pointwise", lambda row, column: True, (1, 1), ORANGE),
        ("k x 1, then 1 x k", lambda row, column: True, (k, 1), BLUE),
    ]
    figure, axes = panels(5, 11, 3)
    for each, (name, joined, kernel, color) in zip(axes, kinds, strict=True):
        count = 0
        for row in range(channels):
            for column in range(channels):
                square(each, row, column, "white", edgecolor="#cccccc", linewidth=0.5)
                if joined(row, column):
                    count += kernel[0] * kernel[1]
                    for i in range(kernel[0]):
                        for j in range(kernel[1]):
                            up, left = (k - kernel[0]) / 2 + i, (k - kernel[1]) / 2 + j
                            square(
                                each,
                                row + 0.08 + 0.28 * up,
                                column + 0.08 + 0.28 * left,
                                color,
                                size=0.28,
                                edgecolor="white",
                                linewidth=0.7,
                            )
        words = f"2 · {count} = {2 * count} weights" if kernel == (k, 1) else f"{count} weights"
        frame(each, (-0.9, channels + 0.9), (-1, channels + 0.3), name)
        each.text(channels / 2, -channels - 0.7, words, ha="center", va="center", fontsize=10, color=INK)
    axes[0].text(-0.5, -channels / 2, "channels out", rotation=90, ha="center", va="center", fontsize=8, color=INK)
    axes[0].text(channels / 2, 0.35, "channels in", ha="center", va="center", fontsize=8, color=INK)
    return figure


def shuffle() -> Figure:
    """Four maps laid side by side, cell by cell."""
    colors = (BLUE, ORANGE, GREEN, "#d98cb3")
    figure, axes = panels(2, 8, 3.6, width_ratios=[1, 1])
    for channel, color in enumerate(colors):
        for row in range(3):
            for column in range(3):
                square(axes[0], row + 3.6 * (channel // 2), column + 3.6 * (channel % 2), color, str(3 * row + column))
    frame(axes[0], (-0.4, 7), (-0.4, 7), "4 channels of 3 x 3 cells")
    for row in range(6):
        for column in range(6):
            square(axes[1], row + 0.3, column + 0.3, colors[2 * (row % 2) + column % 2], str(3 * (row // 2) + column // 2))
    frame(axes[1], (-0.4, 7), (-0.4, 7), "1 channel of 6 x 6 cells")
    return figure


def checkerboard() -> Figure:
    """What each up-sampling layer makes of a constant picture when all its weights are alike."""
    layers: dict[str, nn.Module] = {
        "transposed, kernel 3, stride 2\nsees 1, 2 or 4 cells": nn.ConvTranspose2d(1, 1, 3, 2, 1, 1, bias=False),
        "transposed, kernel 4, stride 2\nsees 4 cells everywhere": nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False),
        "nearest, then 3 x 3\nsees 1, 2 or 4 cells, 9 times in all": nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate", bias=False)
        ),
    }
    figure, axes = panels(3, 10, 3.9)
    for each, (name, layer) in zip(axes, layers.items(), strict=True):
        for tensor in layer.parameters():
            nn.init.ones_(tensor)
        with torch.no_grad():
            made = layer(torch.ones(1, 1, 8, 8))[0, 0, 2:-2, 2:-2]
        made = made / made.max()
        each.imshow(made, cmap="magma", vmin=0, vmax=1.1)
        low, high = float(made.min()), float(made.max())
        words = "constant" if high - low < 1e-6 else f"from {low:g} to {high:g}"
        each.set_title(name, fontsize=10, color=INK)
        each.text(5.5, 12.3, words, ha="center", va="top", fontsize=10, color=INK)
        each.set_ylim(13.5, -0.5)
    return figure


def nan_trick() -> Figure:
    """A plain gradient beside the footprint of the same cell."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(1, 1, 3, padding=1))
    image = torch.randn(1, 1, 22, 22, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(image)[0, 0, 5, 5], image)
    probe = Probe(network, 22)
    shown = {
        "plain gradient: what is off or not the maximum\npasses nothing": (gradient[0, 0] != 0).numpy(),
        "positive weights, no ReLU, means for maxima:\nall that it can see": probe.footprint((5, 5)).numpy(),
    }
    figure, axes = panels(2, 8, 4)
    for each, (name, seen) in zip(axes, shown.items(), strict=True):
        each.imshow(np.where(seen, 1.0, np.nan), cmap="autumn", vmin=0.2, vmax=1.6)
        for place in np.arange(-0.5, 22):
            each.axhline(place, color="#dddddd", linewidth=0.5)
            each.axvline(place, color="#dddddd", linewidth=0.5)
        each.set_title(f"{name}: {int(seen.sum())} pixels", fontsize=10, color=INK)
    return figure


def matrix() -> Figure:
    """The convolution of a 4x4 picture with a 3x3 kernel as a 4x16 matrix; its transpose; im2col."""
    kernel = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    found = convolution_matrix(kernel, (4, 4)).to_dense().int()
    windows_ = im2col(torch.arange(16.0).view(1, 4, 4), (3, 3)).int()
    figure, axes = panels(3, 11, 4.4, width_ratios=[16, 4.6, 4.6])
    shades = ["#fde2b8", "#fbcf8b", "#f8b95a", "#cde6f7", "#9fcdf0", "#6fb2e6", "#d3ecd3", "#a9d8aa", "#7cc47f"]
    for each, values, title in (
        (axes[0], found, "A: 4 x 16, the kernel 1 ... 9 in every row"),
        (axes[1], found.t(), "its transpose:\n16 x 4"),
        (axes[2], windows_, "im2col: 9 x 4,\na window per column"),
    ):
        rows, columns = values.shape
        for row in range(rows):
            for column in range(columns):
                value = int(values[row, column])
                if each is axes[2]:
                    square(each, row, column, SOFT_BLUE, str(value))
                else:
                    square(each, row, column, shades[value - 1] if value else "white", str(value) if value else "", edgecolor="#c4c4c4")
        frame(each, (-0.4, rows + 0.4), (-0.4, columns + 0.4), title)
    return figure


if __name__ == "__main__":
    main(*sys.argv[1:])
