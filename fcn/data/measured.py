"""What the values of a split's images are: mean and deviation of each channel, and the range that a picture shows.

RGB images of 8 bits need none of this: they are normalised as the backbone's own training was. Any other kind is measured on samples of
the training split, evenly spread. What is measured belongs to the network from then on.
"""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from fcn.core.images import ImageKind, Range, kind_of
from fcn.data.split import Split
from fcn.data.verify import looks

SAMPLES = 200  # images that are measured
PIXELS = 2**12  # pixels of each, evenly spread, of which the range is taken
OUTSIDE = 0.5  # per cent of the pixels that are darker than black, and as many that are brighter than white


@dataclass(frozen=True)
class Moments:
    """Of each channel, float64 (C,): the number of values, their sum, that of their squares, the smallest and the largest value."""

    count: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.count.clip(min=1)

    @property
    def std(self) -> np.ndarray:
        return np.sqrt((self.squares / self.count.clip(min=1) - self.mean**2).clip(min=0))


def no_moments(channels: int) -> Moments:
    """Of no pixels."""
    nothing = np.zeros(channels)
    return Moments(nothing, nothing, nothing, np.full(channels, np.inf), np.full(channels, -np.inf))


def moments(image: Tensor) -> Moments:
    """Of one image (C, H, W). Values that are not finite are left out."""
    if image.dtype.is_floating_point:
        channels = [values[np.isfinite(values)].astype(np.float64) for values in image.numpy()]
    else:
        channels = [values.astype(np.float64).ravel() for values in image.numpy()]
    return Moments(
        np.array([float(values.size) for values in channels]),
        np.array([values.sum() for values in channels]),
        np.array([values @ values for values in channels]),
        np.array([values.min(initial=np.inf) for values in channels]),
        np.array([values.max(initial=-np.inf) for values in channels]),
    )


@dataclass
class Found:
    """What an image adds: its moments, and some of its pixels (C, count)."""

    moments: Moments
    pixels: np.ndarray


def measured(split: Split, *, most: int = SAMPLES, progress: bool = True) -> ImageKind:
    """The kind of a split's images, with mean, deviation and range of each channel as found in ``most`` images, evenly spread.

    A range that the data set was given stays. The range leaves out the darkest and the brightest half per cent. RGB images of 8 bits are
    not looked at. Where no image can be read, the kind is as it was.
    """
    kind = kind_of(split)
    if kind.measured:
        return kind
    total, pixels = no_moments(kind.channels), []
    for _, found in looks(split, most, lambda index, image, labels: _look(image), "measuring", progress=progress):
        if isinstance(found, Found):
            total += found.moments
            pixels.append(found.pixels)
    if not pixels:
        return kind  # what is wrong with all of them is told by whoever reads them for their own sake
    ranges = kind.ranges
    if ranges == ImageKind(kind.channels, kind.dtype).ranges:
        ranges = _ranges(np.concatenate(pixels, 1))
    deviations = tuple(float(value) if value > 0 else 1.0 for value in total.std)  # a channel of one value says nothing
    return replace(kind, ranges=ranges, mean=tuple(map(float, total.mean)), std=deviations)


def _look(image: Tensor) -> Found:
    height, width = image.shape[1:]
    step = max(1, int((height * width / PIXELS) ** 0.5))
    return Found(moments(image), image[:, ::step, ::step].flatten(1).numpy().astype(np.float64))


def ranged(image: Tensor, kind: ImageKind) -> ImageKind:
    """The kind with the ranges of one image (C, H, W), for a picture of it."""
    return replace(kind, ranges=_ranges(_look(image).pixels))


def _ranges(pixels: np.ndarray) -> tuple[Range, ...]:
    """Of pixels (C, count)."""
    return tuple(_range(values[np.isfinite(values)]) for values in pixels)


def _range(values: np.ndarray) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (OUTSIDE, 100 - OUTSIDE)))
    return (low, high) if low < high else (low, low + 1)
