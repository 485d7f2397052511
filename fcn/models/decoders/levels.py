"""What every decoder starts from and ends with: the features that it is given, and the scores that it hands over."""

from fractions import Fraction
from typing import NamedTuple, Protocol

from torch import nn

from fcn.core.errors import UserError
from fcn.core.names import said, spelled
from fcn.models.layers import CellCenters, regrid
from fcn.models.upsample import Upsampler

FACTOR, SIZE = "factor", "size"
Place = tuple[Fraction | float, Fraction | float]  # row and column, in pixels


class Features(Protocol):
    """What a decoder has to know of a backbone's features, shallow to deep: their channels, pixels per cell, and the pixel on which the
    first cell is centred. Where strides have become dilation, the deepest have the same stride."""

    @property
    def channels(self) -> tuple[int, ...]: ...

    @property
    def strides(self) -> tuple[int, ...]: ...

    @property
    def offsets(self) -> tuple[Place | None, ...]: ...


class Levels(NamedTuple):
    """Features described by hand."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    offsets: tuple[Place | None, ...]


def level_at(features: Features, stride: int, model: str) -> int:
    """The first feature with that stride. Raises UserError, naming the strides that there are, where there is none."""
    if stride not in features.strides:
        raise UserError(
            f"model={model} needs a feature of {stride} pixels a cell; the backbone's have {', '.join(map(str, features.strides))}: "
            f"choose another backbone or {said('backbone.output_stride')}"
        )
    return features.strides.index(stride)


def centers_of(features: Features, level: int) -> CellCenters:
    """Where the cells of a feature lie. One without a place (attention mixes it), or with different ones along the axes, is taken to lie as
    evenly over the image as the scores do."""
    stride, offset = features.strides[level], features.offsets[level]
    if offset is None or offset[0] != offset[1]:
        return CellCenters.of_image(stride)
    return CellCenters(stride, float(offset[0]))


class Decoder(nn.Module):
    """``forward(features) -> scores`` (N, num_classes, h, w) at ``stride`` image pixels per cell.

    resize: how the segmenter's last step takes them to the image. ``FACTOR``: by the factor ``stride``, then cropped. ``SIZE``: to the size
    of the image, for weights that were trained so; its scale differs with the size.
    """

    stride: int
    resize: str = FACTOR


def grow(
    in_channels: int, out_channels: int, upsample: Upsampler, features: Features, level: int, skip: int, *, align: bool
) -> nn.Sequential:
    """The way of a map from the grid of the feature ``level`` to that of the finer feature ``skip``. It is up-sampled by the whole factor
    between them. With ``align`` it is also moved by what their offsets say."""
    factor = features.strides[level] // features.strides[skip]
    up = widen(in_channels, out_channels, upsample, factor)
    return nn.Sequential(up, regrid(centers_of(features, level).finer(factor), centers_of(features, skip))) if align else nn.Sequential(up)


def widen(in_channels: int, out_channels: int, upsample: Upsampler, factor: int) -> nn.Module:
    """The up-sampler; without a factor, what is left of it."""
    if factor > 1:
        return upsample(in_channels, out_channels, factor)
    return nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, bias=False)


def last_step(
    num_classes: int,
    upsample: Upsampler,
    features: Features,
    level: int,
    *,
    stride: int | None = None,
    align: bool = False,
    resize: str = FACTOR,
) -> tuple[nn.Sequential, int]:
    """The way of the scores from the grid of the feature ``level`` to where the segmenter takes over, and the stride that they have there.

    stride: that stride, a divisor of the feature's. None: the up-sampler takes them to stride 1. One without weights leaves them as they
    are, since the segmenter's last step is the same bilinear interpolation. Raises UserError for a stride that does not fit, and for what
    ``resize="size"`` would leave without effect.
    """
    own = features.strides[level]
    if stride is not None and (stride < 1 or own % stride):
        raise UserError(f"stride={stride} does not fit scores of {own} pixels a cell; give a divisor of {own}, or {spelled(None)}")
    if resize not in (FACTOR, SIZE):
        raise UserError(f"resize={resize} is not known; allowed: {FACTOR}, {SIZE}")
    fixed = not any(True for _ in upsample(num_classes, num_classes, 2).parameters())
    if resize == SIZE and (align or not fixed or stride not in (None, own)):
        raise UserError("resize=size interpolates the scores to the image's size; it takes upsample=bilinear, stride=null and align=false")
    target = stride or (own if fixed else 1)
    up = widen(num_classes, num_classes, upsample, own // target)
    move = regrid(centers_of(features, level).finer(own // target), CellCenters.of_image(target)) if align else nn.Identity()
    return nn.Sequential(up, move), target
