"""Training augmentation: random scale, crop, flip and rotation of image and label map together, and colour; all on uint8.

Images of other types become float32 on the way, in their own values. Colours are changed of RGB images only.

Scale, crop and flip are drawn first, so that only the pixels of the source that the crop shows are resized. The result equals resizing the
whole image and then cropping it. For that, the source region includes the support of the filter. It begins where an output pixel lies on
the source grid as the first one of the whole image does. So the *step*, source pixels per output pixel, is a fraction p / q of small whole
numbers: the pattern of weights repeats each q output and p source pixels.

Images are resized with an anti-aliasing bilinear filter, like Pillow's. Without it a halved image keeps every second pixel's noise. Torch
has a fast uint8 channels-last kernel for it. Label maps take the nearest source pixel on the same grid of pixel centres.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import void_of
from fcn.data.rotation import region_size, rotated
from fcn.data.rounding import rounded

Change = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]

MEAN_COLOR = (124, 116, 104)  # of ImageNet's photographs; the normalised image is zero there
_LARGEST_DENOMINATOR = 16
_LARGEST_SCALE = 16.0
_TRIES = 10  # draws of a crop that must hold a class, before one without anything that could lose it
# Luma and two axes of chroma (YIQ, NTSC 1953): in it brightness and contrast scale the first, saturation scales and hue turns the others.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class ColorJitter:
    """How far colours are changed: factors are drawn from ``1 - x`` to ``1 + x``, the turn of hue from ``-hue`` to ``hue`` (1 is a circle).

    Raises UserError for a strength outside of 0..1 (hue: 0..0.5).
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name, limit in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= limit:
                raise UserError(f"{name}={getattr(self, name)} is out of range: 0 to {limit}")

    def draw(self, draws: Sequence[float]) -> tuple[float, float, float, float]:
        """Factors of brightness, contrast and saturation and the turn of hue, from four numbers in 0..1."""
        brightness, contrast, saturation, hue = (2 * draw - 1 for draw in draws)
        return 1 + self.brightness * brightness, 1 + self.contrast * contrast, 1 + self.saturation * saturation, self.hue * hue


class TrainingTransform:
    """A random crop of ``crop_size`` (height, width, or one number for both) of the randomly scaled, flipped and coloured image.

    scale: smallest and largest factor, relative to the image's own size; drawn uniformly, to the nearest step p / q (see above).
    flip: probability of mirroring left and right.
    flip_vertical: probability of mirroring top and bottom.
    quarter_turns: turn the crop by 0, 90, 180 or 270 degrees; it must be square.
    rotation: largest angle, either way (degrees). What the corners show is taken from the image if it reaches there.
    color: a ``ColorJitter``; None: none.
    after: what happens to the crop last: functions of image, label map and generator that return both.
    fill: colour around an image that is smaller than the crop, a value for each channel (of uint8: 0..255); the label map is void
        there. The image then lies at a random place in the crop.

    Call it with an image ``(C, H, W)``, usually uint8 with C = 3, its label map ``(H, W)``, uint8 or int32, and a generator, its only
    source of random numbers. It returns the crop of both; the image is in channels-last memory, uint8 or else float32. ``holding``: a class
    of the label map that the crop must hold. Crops are drawn around a random pixel of it; where scale, rotation and all that lose it, the
    crop is made without them.

    Raises UserError when built with a value out of range.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        *,
        scale: tuple[float, float] = (0.5, 2.0),
        flip: float = 0.5,
        flip_vertical: float = 0.0,
        quarter_turns: bool = False,
        rotation: float = 0.0,
        color: ColorJitter | None = None,
        fill: Sequence[float] = MEAN_COLOR,
        after: Sequence[Change] = (),
    ) -> None:
        height, width = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
        if min(height, width) < 1:
            raise UserError(f"crop_size={crop_size} must be one or two numbers from 1 up")
        if not 0 < scale[0] <= scale[1] <= _LARGEST_SCALE:
            raise UserError(f"scale={scale} must be two numbers, the smaller first, more than 0 and at most {_LARGEST_SCALE:g}")
        for name, value in (("flip", flip), ("flip_vertical", flip_vertical)):
            if not 0 <= value <= 1:
                raise UserError(f"{name}={value} is a probability: 0 to 1")
        if quarter_turns and height != width:
            raise UserError(f"quarter_turns needs a square crop, and crop_size={crop_size} is not: give one number")
        if not 0 <= rotation <= 180:
            raise UserError(f"rotation={rotation} is an angle: 0 to 180 degrees")
        if color is not None and len(fill) != 3:
            raise UserError(f"color is for RGB images, and fill has {len(fill)} channels: leave it out")
        self.crop_size = (int(height), int(width))
        self.scale = (float(scale[0]), float(scale[1]))
        self.flip, self.flip_vertical, self.quarter_turns = flip, flip_vertical, quarter_turns
        self.rotation = float(rotation)
        self.color = color
        self.fill = tuple(fill)
        self.after = tuple(after)

    def __call__(self, image: Tensor, labels: Tensor, generator: torch.Generator, *, holding: int | None = None) -> tuple[Tensor, Tensor]:
        places = () if holding is None else np.flatnonzero(labels.numpy() == holding)
        if not len(places):
            return self._drawn(image, labels, generator)
        for tried in range(_TRIES + 1):
            place = int(places[int(torch.rand(1, generator=generator) * len(places))])
            found = self._drawn(image, labels, generator, around=divmod(place, labels.shape[1]), plain=tried == _TRIES)
            if holding in found[1]:
                break
        return found

    def _drawn(
        self, image: Tensor, labels: Tensor, generator: torch.Generator, *, around: tuple[int, int] | None = None, plain: bool = False
    ) -> tuple[Tensor, Tensor]:
        """One crop. around: pixel of the image, (row, column), that it is laid around. plain: without scale, rotation and ``after``."""
        draw = torch.rand(8, generator=generator).tolist()
        upside, turn = torch.rand(2, generator=generator).tolist() if self.flip_vertical or self.quarter_turns else (1.0, 0.0)
        angle = self.rotation * (2 * float(torch.rand(1, generator=generator)) - 1) if self.rotation and not plain else 0.0
        step = Fraction(1) if plain else _step(self.scale[0] + draw[0] * (self.scale[1] - self.scale[0]), labels.shape)
        sizes = [scaled_size(size, step) for size in labels.shape]
        region = region_size(self.crop_size, angle) if angle else self.crop_size
        (top, above, height), (left, before, width) = (
            _place(size, whole, u) if around is None else _place_around(size, whole, crop, u, scaled_place(around[axis], step, size))
            for axis, (size, whole, crop, u) in enumerate(zip(sizes, region, self.crop_size, draw[1:3], strict=True))
        )
        image = resized_crop(image, step, (top, left), (height, width))
        labels = resized_label_crop(labels, step, (top, left), (height, width))
        if draw[3] < self.flip:
            image, labels = image.flip(2), labels.flip(1)
        if upside < self.flip_vertical:
            image, labels = image.flip(1), labels.flip(0)
        if self.color is not None:
            image = change_colors(image, *self.color.draw(draw[4:8]))
        if (height, width) != region:
            canvas = self._canvas(image.dtype, region)
            canvas[:, above : above + height, before : before + width] = image
            label_canvas = torch.full(region, void_of(labels.dtype), dtype=labels.dtype)
            label_canvas[above : above + height, before : before + width] = labels
            image, labels = canvas, label_canvas
        if angle:
            image, labels = rotated(image, labels, angle, self.crop_size)
        if self.quarter_turns and int(4 * turn):
            image, labels = image.rot90(int(4 * turn), (1, 2)), labels.rot90(int(4 * turn), (0, 1)).contiguous()
        for change in self.after if not plain else ():
            image, labels = change(image, labels, generator)
        return image.permute(1, 2, 0).contiguous().permute(2, 0, 1), labels

    def _canvas(self, dtype: torch.dtype, size: tuple[int, int]) -> Tensor:
        """The colour ``fill`` all over ``(C, *size)``, in channels-last memory."""
        color = bytearray(rounded(torch.tensor(self.fill, dtype=torch.float64), dtype).numpy().tobytes())
        pixels = torch.frombuffer(color * math.prod(size), dtype=dtype)  # the fastest way to repeat a colour
        return pixels.view(*size, len(self.fill)).permute(2, 0, 1)


def scaled_size(size: int, step: Fraction) -> int:
    """Output pixels for ``size`` source pixels at ``step`` source pixels each; what does not fill a pixel is left."""
    return size * step.denominator // step.numerator


def scaled_place(place: int, step: Fraction, size: int) -> int:
    """The output pixel, of ``size``, over the middle of the source pixel ``place``."""
    return min((2 * place + 1) * step.denominator // (2 * step.numerator), size - 1)


def resized_crop(image: Tensor, step: Fraction, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """A crop of the resized image without resizing the rest: ``(C, H, W)`` to ``(C, *size)``, a view of uint8, else of float32.

    ``corner`` (top, left) and ``size`` are pixels of the image resized by ``1 / step`` and must lie inside it. Equal, but for the rounding
    of weights, to ``interpolate(image, scale_factor=1 / step, mode="bilinear", antialias=True)`` and then the crop.
    """
    (row, row_end, top), (column, column_end, left) = (
        _source_span(n, step, start, count) for n, start, count in zip(image.shape[1:], corner, size, strict=True)
    )
    region = image[:, row:row_end, column:column_end]
    region = region if region.dtype == torch.uint8 else region.float()
    if step != 1:
        factor = step.denominator / step.numerator * (1 + 1e-9)  # a whole number of pixels must not be lost to rounding
        # ``region[None]`` would not be taken for channels-last; of a planar region torch's kernel cannot make a single pixel.
        batch = region.permute(1, 2, 0).contiguous()[None].permute(0, 3, 1, 2)
        region = F.interpolate(batch, scale_factor=factor, mode="bilinear", antialias=True)[0]
    return region[:, top : top + size[0], left : left + size[1]]


def resized_label_crop(labels: Tensor, step: Fraction, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The same crop of a label map, each pixel the source pixel under its centre (``nearest-exact``): ``(H, W)`` to ``size``."""
    rows, columns = (
        (2 * np.arange(start, start + count) + 1) * step.numerator // (2 * step.denominator)
        for start, count in zip(corner, size, strict=True)
    )
    return torch.from_numpy(labels.numpy().take(rows, 0).take(columns, 1))


def change_colors(image: Tensor, brightness: float, contrast: float, saturation: float, hue: float = 0.0) -> Tensor:
    """Brightness, contrast (about the mean luma), saturation and hue of an uint8 image ``(3, H, W)``, as one affine map of its colours.

    The factors are 1 for no change; ``hue`` turns the chroma, 1 being the full circle. Luma and chroma are those of YIQ. Values are clipped
    to 0..255 once, at the end. The result lies in channels-last memory.
    """
    cos, sin = math.cos(2 * math.pi * hue) * saturation, math.sin(2 * math.pi * hue) * saturation
    change = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) * (brightness * contrast)
    matrix = np.linalg.inv(_YIQ) @ change @ _YIQ
    pixels = image.permute(1, 2, 0)
    luma = float(pixels[::8, ::8].float().mean((0, 1)).double().numpy() @ _YIQ[0])
    offset = (1 - contrast) * brightness * luma
    # Pillow does it in one pass; products of torch or numpy with 3 x 3 matrices, and what goes with them, take longer.
    picture = Image.fromarray(pixels.contiguous().numpy())
    changed = picture.convert("RGB", tuple(value for row in matrix for value in (*row, offset)))
    return torch.from_numpy(np.array(changed)).permute(2, 0, 1)


def _step(scale: float, size: Sequence[int]) -> Fraction:
    """The step nearest to ``1 / scale``; no side of the scaled image is less than a pixel."""
    if scale * min(size) <= 1:
        return Fraction(min(size))
    return min(Fraction(1 / scale).limit_denominator(_LARGEST_DENOMINATOR), Fraction(min(size)))


def _place(size: int, crop: int, draw: float) -> tuple[int, int, int]:
    """Along one axis: where the crop begins in the scaled image, where the image begins in the crop, and how many pixels they share."""
    offset = int(draw * (abs(size - crop) + 1))
    return (offset, 0, crop) if size >= crop else (0, offset, size)


def _place_around(size: int, whole: int, crop: int, draw: float, pixel: int) -> tuple[int, int, int]:
    """As ``_place(size, whole, draw)``, so that ``pixel`` of the scaled image lies in the middle ``crop`` of ``whole``, if it can."""
    if size < whole:
        return _place(size, whole, draw)
    low, high = max(0, pixel - crop + 1), min(pixel, size - crop)
    offset = low + int(draw * (high - low + 1)) - (whole - crop) // 2
    return min(max(offset, 0), size - whole), 0, whole


def _source_span(n: int, step: Fraction, start: int, count: int) -> tuple[int, int, int]:
    """Along one axis: the source pixels ``[first, end)`` that output pixels ``[start, start + count)`` need, and the place of ``start``
    in the resized span.

    Output pixel o is centred on ``(o + 1/2) p/q`` and reaches ``max(1, p/q)`` to both sides. ``first`` is a multiple of p.
    """
    p, q = step.numerator, step.denominator
    support = 2 * max(p, q)
    first = max(((2 * start + 1) * p - support) // (2 * q), 0) // p * p
    end = -((-(2 * (start + count) - 1) * p - support) // (2 * q))
    end = min(max(end, first + p), n)
    if end - first < p:  # torch leaves an axis alone whose size stays the same: let the span be long enough to gain a pixel
        first = max(first - p, 0)
    return first, end, start - first // p * q
