"""What several parts are made of: crops, padding, convolutions with their norm, maps brought from one grid onto another."""

from math import floor
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def crop_to(x: Tensor, height: int, width: int) -> Tensor:
    """The top left ``height`` x ``width`` cells of ``x`` (N, C, h >= height, w >= width)."""
    if isinstance(height, torch.SymInt) or isinstance(width, torch.SymInt):
        # an export with sizes left open cannot prove that a slice fits, ceil and floor being in its way; of padding it asks no proof
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
    return x[..., :height, :width]


def crop_like(x: Tensor, reference: Tensor) -> Tensor:
    """The top left part of ``x`` (N, C, h, w) that has the height and width of ``reference`` (N, C', h' <= h, w' <= w)."""
    return crop_to(x, reference.shape[-2], reference.shape[-1])


def resize_like(x: Tensor, reference: Tensor) -> Tensor:
    """``x`` interpolated to the height and width of ``reference``, whatever they are: its cells then lie where the sizes put them."""
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=False)


def pad_to_multiple(images: Tensor, divisor: int) -> Tensor:
    """``images`` (N, C, H, W) with zeros added at the bottom and the right until ``divisor`` divides both sides."""
    if divisor == 1:
        return images
    return F.pad(images, (0, -images.shape[-1] % divisor, 0, -images.shape[-2] % divisor))


# --- convolutions with their norm ---


def conv_norm(in_channels: int, out_channels: int, kernel_size: int = 1, *, dilation: int = 1, separable: bool = False) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; the size stays. ``separable``: a depthwise and a pointwise one, each with its norm and
    ReLU, as in DeepLabV3+ (Chen et al. 2018, section 3.1, arXiv:1802.02611)."""
    padding = dilation * (kernel_size // 2)
    if separable and kernel_size > 1:
        depthwise = nn.Conv2d(in_channels, in_channels, kernel_size, padding=padding, dilation=dilation, groups=in_channels, bias=False)
        first = (depthwise, nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        return nn.Sequential(*first, *conv_norm(in_channels, out_channels))
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch norm behind a global pool, which leaves one value per image and channel. With one image in the batch there is no variance to
    take. That batch is normalised with the running statistics, as in evaluation, and does not change them."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


# --- where cells lie ---


class CellCenters(NamedTuple):
    """Where the cells of a map lie: cell ``i``, along either axis, is centred on pixel ``offset + i * stride`` of the image."""

    stride: int
    offset: float

    def finer(self, factor: int) -> "CellCenters":
        """The grid of the map that an up-sampler makes: ``factor`` cells over each one, spread evenly (``align_corners=False``)."""
        return CellCenters(self.stride // factor, self.offset - (self.stride - self.stride // factor) / 2)

    @classmethod
    def of_image(cls, stride: int) -> "CellCenters":
        """The grid that the segmenter's last step takes for granted: cell 0 lies over the pixels 0 to ``stride - 1``."""
        return cls(stride, (stride - 1) / 2)


class Shift(nn.Module):
    """``y[o] = x[o + cells]`` along both axes, the size kept: linear between cells, the border cells repeated outwards.

    A constant stays constant and a ramp stays a ramp (away from the borders), so that what the map shows keeps its place.
    """

    kernel: Tensor

    def __init__(self, cells: float) -> None:
        super().__init__()
        whole = floor(cells)
        share = cells - whole
        self.cells = cells
        self.start = max(0, whole)
        self.pad = (max(0, -whole), max(0, whole + (share > 0)))
        profile = torch.tensor([1 - share, share] if share else [1.0])
        self.register_buffer("kernel", (profile[:, None] * profile[None, :])[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.pad
        y = F.pad(x, (before, after, before, after), mode="replicate")[..., self.start :, self.start :]
        if self.kernel.shape[-1] > 1:
            y = F.conv2d(y, self.kernel.to(y.dtype).expand(y.shape[1], 1, 2, 2), groups=y.shape[1])
        return crop_like(y, x)

    def extra_repr(self) -> str:
        return f"cells={self.cells}"


def regrid(source: CellCenters, target: CellCenters) -> nn.Module:
    """The module that brings a map from one grid onto another of the same stride; the identity where they are the same."""
    assert source.stride == target.stride
    cells = (target.offset - source.offset) / source.stride
    return Shift(cells) if cells else nn.Identity()
