"""What every decoder starts from and ends with: the features that it is given, and the scores that it hands over."""

from typing import NamedTuple

from torch import nn

from fcn.models.layers import Grid, regrid
from fcn.models.upsample import Upsampler

FACTOR, SIZE = "factor", "size"


class Levels(NamedTuple):
    """The features of a backbone, shallow to deep: their channels, pixels per cell, and the pixel on which cell 0 is centred.

    Where strides have become dilation, the deepest levels have the same stride.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    offsets: tuple[float, ...]

    def grid(self, level: int) -> Grid:
        return Grid(self.strides[level], self.offsets[level])

    def at(self, stride: int, model: str) -> int:
        """The first level with that stride. Raises ValueError, naming the strides that there are, where there is none."""
        if stride not in self.strides:
            raise ValueError(
                f"model={model} needs a feature of {stride} pixels a cell; the backbone's have {', '.join(map(str, self.strides))}: "
                f"choose another backbone or backbone.output_stride"
            )
        return self.strides.index(stride)


class Decoder(nn.Module):
    """``forward(features) -> scores`` (N, num_classes, h, w) at ``stride`` image pixels per cell.

    resize: how the segmenter's last step takes them to the image: by the factor ``stride``, then cropped (``FACTOR``), or to the size of
    the image (``SIZE``), whose scale differs with the size; it is there for weights that were trained so.
    """

    stride: int
    resize: str = FACTOR


def grow(in_channels: int, out_channels: int, upsample: Upsampler, source: Grid, target: Grid, *, align: bool) -> nn.Sequential:
    """The way of a map from its grid to a skip's: up-sampled by the whole factor between them, then moved by what their offsets say."""
    factor = source.stride // target.stride
    assert source.stride == factor * target.stride
    up: nn.Module = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, bias=False)
    if factor > 1:
        up = upsample(in_channels, out_channels, factor)
    return nn.Sequential(up, regrid(source.finer(factor), target)) if align else nn.Sequential(up)


def last_step(
    num_classes: int, upsample: Upsampler, grid: Grid, *, stride: int | None = None, align: bool = False, resize: str = FACTOR
) -> tuple[nn.Sequential, int]:
    """The way of the scores from ``grid`` to where the segmenter takes over, and the stride that they have there.

    stride: that stride, a divisor of the grid's. None means the up-sampler takes them to stride 1, unless it has no weights: then they are
    handed over as they are, since the segmenter's last step is the same bilinear interpolation. Raises ValueError for a stride that does
    not fit, and for what ``resize="size"`` would leave without effect.
    """
    if stride is not None and (stride < 1 or grid.stride % stride):
        raise ValueError(f"stride={stride} does not fit scores of {grid.stride} pixels a cell; give a divisor of {grid.stride}, or null")
    if resize not in (FACTOR, SIZE):
        raise ValueError(f"resize={resize} is not known; allowed: {FACTOR}, {SIZE}")
    fixed = not any(True for _ in upsample(num_classes, num_classes, 2).parameters())
    if resize == SIZE and (align or not fixed or stride not in (None, grid.stride)):
        raise ValueError("resize=size interpolates the scores to the image's size; it takes upsample=bilinear, stride=null and align=false")
    target = stride or (grid.stride if fixed else 1)
    return grow(num_classes, num_classes, upsample, grid, Grid.of_image(target), align=align), target
