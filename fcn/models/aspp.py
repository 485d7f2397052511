"""Atrous spatial pyramid pooling: one map seen at several scales at once (Chen et al. 2017, section 3.3, arXiv:1706.05587).

A 1x1 convolution, 3x3 convolutions of several dilations ("rates") and the mean over the image, side by side; a 1x1 convolution puts them
together. The rates are in cells: (6, 12, 18) at 16 pixels a cell, and twice as many at 8, so that they span the same pixels.

The mean over the image has one value per channel and image. With one image in a step, batch norm has no variance to take:
``PooledBatchNorm`` then uses its running statistics. So a network trains with one image per step; in every other case it is batch norm.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import spelled
from fcn.models.layers import PooledBatchNorm, conv_norm

RATES = (6, 12, 18)  # at an output stride of 16


def rates_at(output_stride: int, rates: Sequence[int] = RATES) -> tuple[int, ...]:
    """The rates, given for an output stride of 16, at another one: the same pixels, at least one cell."""
    return tuple(max(1, rate * 16 // output_stride) for rate in rates)


class ImagePooling(nn.Sequential):
    """The mean over the image, a 1x1 convolution, norm and ReLU; then the same everywhere."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        super().__init__(nn.AdaptiveAvgPool2d(1), conv, PooledBatchNorm(out_channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).expand(-1, -1, x.shape[-2], x.shape[-1])


class ASPP(nn.Module):
    """(N, in_channels, h, w) to (N, channels, h, w).

    rates: dilation of each 3x3 branch, in cells. separable: depthwise and pointwise convolutions there. image_pooling: whether the mean
    over the image is among the branches. dropout: probability, after the last convolution. Raises UserError without a rate or with one
    below 1.
    """

    def __init__(
        self,
        in_channels: int,
        rates: Sequence[int],
        *,
        channels: int = 256,
        separable: bool = False,
        image_pooling: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not rates or min(rates) < 1:
            raise UserError(f"rates={list(rates)} is not allowed; ASPP takes dilations from 1 up, as [6,12,18], or {spelled(None)}")
        branches: list[nn.Module] = [conv_norm(in_channels, channels)]
        branches += [conv_norm(in_channels, channels, 3, dilation=rate, separable=separable) for rate in rates]
        branches += [ImagePooling(in_channels, channels)] if image_pooling else []
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(*conv_norm(len(branches) * channels, channels), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([branch(x) for branch in self.convs], 1))
