"""Shapes: a data set that the project draws itself, so that training, scoring and comparing need no download.

A picture is a textured ground with objects on it. Later objects cover earlier ones, some are cut by the border, and each casts a shadow.
Size, colour and texture do not depend on the class. Only the outline, and the relief that follows it, tell a disk from a star. The class
``wire`` is 1.5 to 3 pixels wide and crosses the picture. Coarse scores lose it first.

Every object is a signed distance to its outline (negative inside), in pixels, at the pixel centres. This one function gives the label
(inside or not), the relief, the shadow, and a void band along the outline, as in Pascal VOC. It also gives the anti-aliased edge: coverage
falls from 1 to 0 within the pixel that the outline cuts. The band is 1.5 pixels wide on both sides of an outline. Around a wire it is
outside only, so that nothing of the wire is lost.

Distance to a polygon: Quilez, "2D distance functions", iquilezles.org/articles/distfunctions2d.
"""

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import VOID, LabelSet
from fcn.core.registry import register
from fcn.core.settings import at_least, between

LABELS = LabelSet(
    names=("background", "disk", "ring", "triangle", "rectangle", "star", "wire"),
    colors=((0, 0, 0), (232, 78, 64), (250, 176, 46), (98, 186, 92), (66, 133, 222), (171, 99, 208), (48, 205, 205)),
)
SPLITS = ("train", "val", "test")
BAND = 1.5  # void on either side of an outline, pixels
SHADOW = 5.0  # depth of a shadow, pixels
TILT = 0.35  # largest angle to the upright, radians
RELIEF = 0.35  # how much the light adds and takes

Array = NDArray[np.floating[Any]]
Point = NDArray[np.float64]  # row and column, pixels
Distance = Callable[[Array, Array], Array]  # rows (h, 1), columns (1, w) of pixel centres -> signed distance (h, w)


def shapes(split: str, *, count: int, size: tuple[int, int] = (96, 160), seed: int = 0, keep: bool = False) -> "Shapes":
    """``count`` pictures of a split, "train", "val" or "test", whose height and width each lie in ``size`` (smallest, largest), pixels.

    A picture depends on (seed, split, index, size) alone: more of them, another order or another process change nothing. ``keep`` draws
    them all at once (3 ms each) and holds them in memory, 4 bytes a pixel: 65 MB for 1,000 pictures, which forked readers share.
    Raises UserError for a value out of range.
    """
    if split not in SPLITS:
        raise UserError(f"shapes has no split '{split}'; it has {', '.join(SPLITS)}")
    if count < 1:
        raise UserError(f"count={count} pictures of shapes asked for; give 1 or more")
    if not 16 <= size[0] <= size[1]:
        raise UserError(f"size={tuple(size)} is not allowed for shapes; give (smallest, largest) side in pixels, 16 or more")
    if seed < 0:
        raise UserError(f"seed={seed} is not allowed for shapes; give 0 or more")
    return Shapes(split, count, (size[0], size[1]), seed, keep)


@register("data", "shapes", sound=True)
def drawn(
    split: str,
    *,
    train_count: Annotated[int, at_least(1)] = 4000,
    val_count: Annotated[int, at_least(1)] = 200,
    seed: Annotated[int, between(0, 2**63 - 1)] = 0,
) -> "Shapes":
    """Built-in pictures, drawn by the project and held in memory: nothing to download.

    train_count: number of pictures in the training split.
    val_count: number of pictures in every other split.
    seed: seed of the pictures.
    """
    return shapes(split, count=train_count if split == "train" else val_count, seed=seed, keep=True)


class Shapes:
    """A split of the set; made by ``shapes``. Kept pictures are not pickled: an unpickled split draws on demand, the same pictures."""

    labels = LABELS

    def __init__(self, split: str, count: int, size: tuple[int, int], seed: int, keep: bool) -> None:
        self.split, self.size, self.seed = split, size, seed
        self.names: Sequence[str] = tuple(f"{split}_{index:05d}" for index in range(count))
        self._kept: list[tuple[Tensor, Tensor]] = []
        if keep:
            self._kept = [self[index] for index in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The picture, uint8 (3, H, W), and its label map, uint8 (H, W); they are the caller's to change."""
        index = range(len(self))[index]
        if self._kept:
            image, labels = self._kept[index]
            return image.clone(), labels.clone()
        rng = np.random.default_rng((self.seed, SPLITS.index(self.split), index))
        height, width = rng.integers(self.size[0], self.size[1] + 1, 2)
        picture, label_map = draw(rng, int(height), int(width))
        return torch.from_numpy(picture.transpose(2, 0, 1).copy()), torch.from_numpy(label_map)

    def truth(self, index: int) -> Tensor:
        """The label map of picture ``index``."""
        return self[index][1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": []}


@dataclass
class Scene:
    """A picture while it is drawn; what is placed changes ``canvas`` and ``labels``."""

    canvas: Array  # (H, W, 3), 0..255
    labels: NDArray[np.uint8]  # (H, W)
    grain: Array  # (H, W), noise that roughens every surface
    light: float  # direction it comes from, radians

    def window(self, center: Point, reach: float) -> tuple["Scene", int, int]:
        """The part within ``reach`` of the centre, and the row and column where it begins."""
        top, left = (int(max(0, middle - reach)) for middle in center)
        bottom, right = (int(min(side, middle + reach)) for side, middle in zip(self.labels.shape, center, strict=True))
        part = slice(top, bottom), slice(left, right)
        return Scene(self.canvas[part], self.labels[part], self.grain[::-1, ::-1][part], self.light), top, left

    def place(self, distance: Distance, top: int, left: int, depth: float) -> Array:
        """Casts the shadow of an outline, and returns the distances (H, W); the shadow lies half the ``depth`` away, in whole pixels."""
        height, width = self.labels.shape
        down, across = round(-depth / 2 * np.sin(self.light)), round(-depth / 2 * np.cos(self.light))
        above, before = top - max(down, 0), left - max(across, 0)
        both = distance(_centers(above, height + abs(down))[:, None], _centers(before, width + abs(across))[None])
        shadow = both[max(-down, 0) :, max(-across, 0) :][:height, :width]
        self.canvas *= 1 - 0.5 * (0.6 - shadow / depth).clip(0, 1)[..., None]
        return both[max(down, 0) :, max(across, 0) :][:height, :width]

    def cover(self, outline: Array, surface: Array, label: int, margin: float) -> None:
        """Paints what lies within the outline; it gets its label up to ``margin`` pixels from it, and the band void."""
        self.canvas += coverage(outline)[..., None] * (surface - self.canvas)
        self.labels[outline < BAND] = VOID
        self.labels[outline <= -margin] = label


def draw(rng: Generator, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture (H, W, 3) and its label map (H, W)."""
    scale = (height * width) ** 0.5
    light = -np.pi * rng.uniform(0.5, 1.0)  # from the left, the top or between
    grain = _noise(rng, height, width, 2) + _noise(rng, height, width, 5) + _noise(rng, height, width, 24) - np.float32(1.5)
    ground = _color(rng, saturation=(0.08, 0.5), value=(0.3, 0.85))
    scene = Scene(_texture(rng, grain, ground, contrast=0.4), np.zeros((height, width), np.uint8), grain, light)

    names = list(rng.choice(list(SOLIDS), rng.integers(3, 7))) + ["wire"] * int(rng.integers(0, 3))
    rng.shuffle(names)
    for name in names:
        center = rng.uniform(0, 1, 2) * (height, width)
        color = _color(rng, saturation=(0.15, 0.85), value=(0.3, 1.0), far_from=ground)
        if name == "wire":
            outline = scene.place(_wire(rng, center, scale), 0, 0, SHADOW / 2)
            scene.cover(outline, color, LABELS.index("wire"), margin=0.0)
            continue
        shape, extent = SOLIDS[name]
        radius = extent * scale * rng.uniform(0.12, 0.24)
        part, top, left = scene.window(center, radius + 2 * SHADOW)
        outline = part.place(shape(rng, center, radius), top, left, SHADOW)
        steep = np.sin(light) * np.gradient(outline, axis=0) + np.cos(light) * np.gradient(outline, axis=1)  # -1 to 1, towards the light
        brightness = 1 + RELIEF * steep * (1 + 0.6 * outline / radius).clip(0, 1)
        surface = _texture(rng, part.grain, color, contrast=0.45) * brightness[..., None]
        part.cover(outline, surface, LABELS.index(name), margin=BAND)
    scene.canvas += rng.uniform(0, 6) * rng.standard_normal((height, width, 1), np.float32)
    return scene.canvas.clip(0, 255).astype(np.uint8), scene.labels


def coverage(outline: Array) -> Array:
    """The share of each pixel that lies inside: one half where the outline runs through its centre."""
    return (0.5 - outline).clip(0, 1)


def _centers(start: int, count: int) -> Array:
    return np.arange(start, start + count, dtype=np.float32) + np.float32(0.5)


# --- outlines ---


def _disk(rng: Generator, center: Point, radius: float) -> Distance:
    return lambda rows, columns: np.hypot(rows - np.float32(center[0]), columns - np.float32(center[1])) - np.float32(radius)


def _ring(rng: Generator, center: Point, radius: float) -> Distance:
    half = max(4.0, radius * rng.uniform(0.18, 0.28))
    middle = _disk(rng, center, radius - half)
    return lambda rows, columns: np.abs(middle(rows, columns)) - np.float32(half)


def _triangle(rng: Generator, center: Point, radius: float) -> Distance:
    angles = rng.uniform(-TILT, TILT) - np.pi / 2 + np.pi * np.array([0, 2 / 3, 4 / 3]) + rng.uniform(-0.3, 0.3, 3)
    return _polygon(center, angles, np.full(3, radius))


def _rectangle(rng: Generator, center: Point, radius: float) -> Distance:
    corner = np.pi * rng.uniform(0.14, 0.25)  # a quarter of pi is the square
    angles = rng.uniform(-TILT, TILT) + np.array([corner, np.pi - corner, np.pi + corner, -corner])
    return _polygon(center, angles, np.full(4, radius))


def _star(rng: Generator, center: Point, radius: float) -> Distance:
    points = 5
    angles = rng.uniform(-TILT, TILT) - np.pi / 2 + np.pi * np.arange(2 * points) / points
    return _polygon(center, angles, np.where(np.arange(2 * points) % 2, rng.uniform(0.4, 0.5), 1.0) * radius)


def _polygon(center: Point, angles: NDArray[np.float64], radii: NDArray[np.float64]) -> Distance:
    start = np.stack([center[0] + radii * np.sin(angles), center[1] + radii * np.cos(angles)]).astype(np.float32)[..., None, None]
    edge = np.roll(start, -1, axis=1) - start
    squared = (edge**2).sum(0)

    def distance(rows: Array, columns: Array) -> Array:
        y, x = rows - start[0], columns - start[1]  # (edges, h, 1), (edges, 1, w)
        along = ((y * edge[0] + x * edge[1]) / squared).clip(0, 1)
        nearest = np.sqrt(((y - along * edge[0]) ** 2 + (x - along * edge[1]) ** 2).min(0))
        below, next_below = y >= 0, np.roll(y, -1, axis=0) >= 0
        right = edge[1] * y > edge[0] * x
        crossings = (below & ~next_below & right) | (~below & next_below & ~right)
        return np.where(np.logical_xor.reduce(crossings), -nearest, nearest)

    return distance


def _wire(rng: Generator, center: Point, scale: float) -> Distance:
    """A wave along a line, cut at both ends: to first order its distance is the height above the wave over the wave's slope."""
    half = np.float32(rng.uniform(1.5, 3.0) / 2)
    sine, cosine = np.float32(np.sin(angle := rng.uniform(0, np.pi))), np.float32(np.cos(angle))
    end = np.float32(scale * rng.uniform(0.35, 1.0))
    rate = np.float32(2 * np.pi / (scale * rng.uniform(0.5, 1.5)))
    height, phase = np.float32(rng.uniform(0, 1.0) / rate), np.float32(rng.uniform(0, 2 * np.pi))

    def distance(rows: Array, columns: Array) -> Array:
        y, x = rows - np.float32(center[0]), columns - np.float32(center[1])
        along, above = x * cosine + y * sine, y * cosine - x * sine
        turn = rate * along + phase
        slope = (height * rate) * np.cos(turn)
        gap = np.abs(above - height * np.sin(turn)) / np.sqrt(1 + slope * slope)
        return np.maximum(gap, np.abs(along) - end) - half

    return distance


Shape = Callable[[Generator, Point, float], Distance]
SOLIDS: dict[str, tuple[Shape, float]] = {  # with factors that give each about the same share of the pixels
    "disk": (_disk, 0.85),
    "ring": (_ring, 1.05),
    "triangle": (_triangle, 1.2),
    "rectangle": (_rectangle, 1.0),
    "star": (_star, 1.25),
}


# --- colours and textures ---


def _color(rng: Generator, saturation: tuple[float, float], value: tuple[float, float], far_from: Array | None = None) -> Array:
    """An (r, g, b) in 0..255; away from another one, where it is given."""
    for _ in range(20):
        color = 255 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)), np.float32)
        if far_from is None or np.abs(color - far_from).sum() > 150:
            break
    return color


def _texture(rng: Generator, grain: Array, color: Array, contrast: float) -> Array:
    """(H, W, 3): a pattern between the colour and another of about its brightness, roughened by the grain, (H, W)."""
    other = color + contrast * (_color(rng, (0.2, 0.8), (0.3, 1.0)) - color)
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng, *grain.shape)
    return color + (pattern + 0.35 * grain)[..., None] * (other - color) + (contrast * 24 * grain)[..., None]


def _noise(rng: Generator, height: int, width: int, cell: int) -> Array:
    """Smooth noise in 0..1 with bumps of about ``cell`` pixels."""
    grid = rng.integers(0, 256, (height // cell + 2, width // cell + 2), np.uint8)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255


def _waves(rng: Generator, height: int, width: int) -> tuple[Array, Array]:
    """Two directions at right angles, counted in periods."""
    period, angle = rng.uniform(7, 26), rng.uniform(0, np.pi)
    sine, cosine = np.sin(angle) / period, np.cos(angle) / period
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    phase = rng.random(2)
    return (rows * sine + columns * cosine + phase[0]).astype(np.float32), (rows * cosine - columns * sine + phase[1]).astype(np.float32)


def _plain(rng: Generator, height: int, width: int) -> Array:
    return np.full((height, width), 0.5, np.float32)


def _gradient(rng: Generator, height: int, width: int) -> Array:
    along = _waves(rng, height, width)[0]
    along -= along.min()
    return along / max(along.max(), 1e-6)


def _clouds(rng: Generator, height: int, width: int) -> Array:
    cell = int(rng.integers(8, 40))
    return (2 * _noise(rng, height, width, cell) - 0.5).clip(0, 1)


def _stripes(rng: Generator, height: int, width: int) -> Array:
    along, _ = _waves(rng, height, width)
    along += rng.uniform(0, 1.2) * _noise(rng, height, width, 30)
    return (0.5 + rng.uniform(0.5, 2) * np.sin(2 * np.pi * along)).clip(0, 1)


def _checker(rng: Generator, height: int, width: int) -> Array:
    along, across = (np.sin(2 * np.pi * wave) for wave in _waves(rng, height, width))
    return (0.5 + 3 * along * across).clip(0, 1)


def _dots(rng: Generator, height: int, width: int) -> Array:
    along, across = (wave - np.round(wave) for wave in _waves(rng, height, width))
    return (10 * (rng.uniform(0.06, 0.12) - along**2 - across**2) + 0.5).clip(0, 1)


_PATTERNS: tuple[Callable[[Generator, int, int], Array], ...] = (_plain, _gradient, _clouds, _stripes, _checker, _dots)
