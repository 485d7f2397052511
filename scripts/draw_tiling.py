"""Draws the pictures of docs/tiling.md: python scripts/draw_tiling.py [FOLDER [STEPS [SIDE]]].

A small network is trained on the built-in pictures for STEPS steps, a few minutes. It then labels a picture of SIDE pixels: in one pass, in
tiles, in blended windows, in tiles with a halo, and by the stream.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

import fcn
from fcn.core.labels import VOID
from fcn.core.registry import build
from fcn.data.pictures import colorize
from fcn.data.shapes import LABELS, shapes
from fcn.inference.scores import Reader, Scores
from fcn.models.segmenter import Segmenter
from fcn.tools.scripts import save_picture

TILE, BATCH, CROP = 96, 16, 96
SEED = 14  # of the picture
FLOOR = 1e-6  # differences below it, as a share of the range of the scores, are rounding
BLUE, ORANGE, GREEN, INK = "#5aa9e6", "#f5a142", "#4f9d53", "#333333"


@dataclass
class Way:
    """A way to label a picture: its name, the scores (classes, H, W), and the edges of its tiles, if it has any."""

    name: str
    scores: Tensor
    edges: tuple[int, ...] = ()

    def off(self, whole: Tensor) -> NDArray[np.float32]:
        """How far its scores are from those of one pass: the largest difference at each pixel, as a share of their range."""
        return ((self.scores - whole).abs().amax(0) / (whole.max() - whole.min())).numpy()


def main(folder: str = "docs/tiling", steps: str = "800", side: str = "288") -> None:
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = trained(int(steps))
    picture = shapes("test", count=1, size=(int(side), int(side)), seed=SEED)[0][0]
    field = fcn.receptive_field(model, TILE)
    assert field.tiles is not None
    halo, step = field.tiles
    with torch.inference_mode():
        found = ways(model, picture, -(-halo // step) * step)
    save_picture(seams(picture, found), target / "seams.png")
    save_picture(distances(found, max(max(sides) for sides in field.halo if sides is not None)), target / "distances.png")


def trained(steps: int) -> Segmenter:
    """A small FCN-8s after ``steps`` steps on the built-in pictures."""
    model = fcn.create_model("fcn8s", backbone="compact", classes=LABELS.names).train()
    split = shapes("train", count=BATCH * 32, size=(CROP, CROP))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=max(steps, 4))
    for index in range(steps):
        images, labels = zip(*(split[(index * BATCH + place) % len(split)] for place in range(BATCH)), strict=True)
        loss = nn.functional.cross_entropy(model(model.normalize(torch.stack(images))), torch.stack(labels).long(), ignore_index=VOID)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


# --- ways to label a picture ---


def ways(model: Segmenter, picture: Tensor, halo: int) -> list[Way]:
    side = picture.shape[-1]
    edges = tuple(range(TILE, side, TILE))
    halves = tuple(range(TILE // 2, side, TILE // 2))
    blended = f"windows of {TILE}, half over each other, blended"
    return [
        Way("one pass", read(build("inference", "whole", model, picture), side)),
        Way(f"tiles of {TILE}", tiles(model, picture, 0), edges),
        Way(blended, read(build("inference", "windows", model, picture, size=TILE, overlap=0.5), side), halves),
        Way(f"tiles of {TILE} with {halo} pixels around them, cut off", tiles(model, picture, halo), edges),
        Way("stream", read(build("inference", "stream", model, picture, band=16), side)),
    ]


def tiles(model: Segmenter, picture: Tensor, halo: int) -> Tensor:
    """Scores of tiles side by side. Each is computed with ``halo`` pixels around it, as far as the picture goes, and cropped."""
    side = picture.shape[-1]
    scores = torch.empty(len(LABELS.names), side, side)
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            above, before = max(top - halo, 0), max(left - halo, 0)
            part = picture[:, above : top + TILE + halo, before : left + TILE + halo]
            found = model(model.normalize(part[None]))[0]
            rows, columns = slice(top, min(top + TILE, side)), slice(left, min(left + TILE, side))
            scores[:, rows, columns] = found[:, top - above : rows.stop - above, left - before : columns.stop - before]
    return scores


def read(scores: Any, side: int) -> Tensor:
    assert isinstance(scores, Scores)
    reader = Reader(scores, side, side)
    return torch.cat([reader.values(first, last).clone() for first, last in reader.bands()], 1)


# --- pictures ---


def seams(picture: Tensor, found: list[Way]) -> Figure:
    """The labels of each way, and below them where its scores are others than in one pass."""
    whole, *others = found
    figure = Figure(figsize=(11.4, 5.0), layout="constrained")
    figure.set_facecolor("white")
    axes = figure.subplots(2, len(others) + 1)
    axes[1, 0].imshow(picture.permute(1, 2, 0).numpy())
    axes[1, 0].set_title("the picture", fontsize=9, color=INK)
    expected = whole.scores.argmax(0)
    for place, way in enumerate(found):
        labels = way.scores.argmax(0)
        axes[0, place].imshow(colorize(labels.byte().numpy(), LABELS))
        wrong = 100 * (labels != expected).float().mean().item()
        title = way.name if way is whole else f"{wrapped(way.name)}\n{wrong:.2g} % of labels differ"
        axes[0, place].set_title(title, fontsize=9, color=INK)
        for edge in way.edges:
            for line in (axes[0, place].axhline, axes[0, place].axvline):
                line(edge - 0.5, color="white", linewidth=0.6, linestyle=(0, (2, 3)))
    for place, way in enumerate(others, 1):
        off = way.off(whole.scores)
        shown = axes[1, place].imshow(np.maximum(off, FLOOR), norm=LogNorm(FLOOR, 1), cmap="magma", interpolation="nearest")
        axes[1, place].set_title(
            "no difference but rounding" if off.max() < FLOOR else f"largest difference {100 * off.max():.2g} %", fontsize=9, color=INK
        )
    bar = figure.colorbar(shown, ax=axes[1, :].tolist(), shrink=0.85, pad=0.01)
    bar.set_ticks([1e-6, 1e-4, 1e-2, 1])
    bar.set_ticklabels(["rounding", "0.01 %", "1 %", "100 %"])
    bar.set_label("difference from one pass,\nas a share of the scores' range", fontsize=8)
    bar.ax.minorticks_off()
    for each in axes.flat:
        each.set_axis_off()
    return figure


def wrapped(name: str, most: int = 30) -> str:
    """A name on up to two lines."""
    head, tail = name[:most].rpartition(" ")[0], ""
    if len(name) > most:
        tail = name[len(head) + 1 :]
    return f"{head}\n{tail}" if tail else name


def distances(found: list[Way], seen: int) -> Figure:
    """How far the scores are from those of one pass, over the distance to the nearest edge of a tile. seen: how far a pixel sees."""
    whole, plain, blended, cut, stream = found
    stream = replace(stream, edges=plain.edges)
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    figure.set_facecolor("white")
    axes = figure.subplots()
    for way, color in ((plain, ORANGE), (blended, BLUE), (cut, GREEN), (stream, INK)):
        off = way.off(whole.scores)
        to_edge = nearest(off.shape[0], way.edges)
        apart = np.minimum(to_edge[:, None], to_edge)
        largest = [off[apart == distance].max() for distance in range(1, way.edges[0] // 2 + 1)]
        style: dict[str, Any] = {"linestyle": (0, (4, 3))} if way is stream else {}
        axes.plot(range(1, len(largest) + 1), np.maximum(largest, FLOOR), color=color, label=way.name, linewidth=1.8, **style)
    axes.axvline(seen, color="#999999", linewidth=1)
    axes.text(seen - 0.6, 0.6, f"{seen} pixels: as far\nas the network sees", ha="right", va="top", fontsize=8, color=INK)
    axes.set_yscale("log")
    axes.set_yticks([1e-6, 1e-4, 1e-2, 1], ["rounding", "0.01 %", "1 %", "100 %"])
    axes.set_ylim(FLOOR / 2, 1)
    axes.set_xlabel("distance to the nearest edge of a tile (pixels)", fontsize=9)
    axes.set_ylabel("largest difference\nfrom one pass", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def nearest(side: int, edges: tuple[int, ...]) -> NDArray[np.int64]:
    """The distance of each pixel to the nearest edge within the picture: 1 beside it."""
    pixels = np.arange(side)
    return np.min([np.where(pixels >= edge, pixels - edge + 1, edge - pixels) for edge in edges or (0,)], axis=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
