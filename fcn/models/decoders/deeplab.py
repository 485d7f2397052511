"""DeepLabV3 (Chen et al. 2017, arXiv:1706.05587) and DeepLabV3+ (Chen et al. 2018, arXiv:1802.02611)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fcn.core.registry import register
from fcn.models.aspp import ASPP, rates_at
from fcn.models.decoders.levels import FACTOR, Decoder, Features, grow, last_step, level_at
from fcn.models.decoders.settings import Align, Dropout, ImagePooling, Rates, Resize, Separable, Stride, Width
from fcn.models.layers import conv_norm, crop_like
from fcn.models.upsample import Upsampler


@register("model", "deeplabv3", output_stride=16)
class DeepLabV3(Decoder):
    """Atrous spatial pyramid (ASPP) on the deepest feature, a 3x3 convolution, scores."""

    def __init__(
        self,
        features: Features,
        num_classes: int,
        upsample: Upsampler,
        *,
        rates: Rates = None,
        separable: Separable = False,
        image_pooling: ImagePooling = True,
        channels: Width = 256,
        dropout: Dropout = 0.5,
        stride: Stride = None,
        resize: Resize = None,
    ) -> None:
        super().__init__()
        pyramid = ASPP(
            features.channels[-1],
            rates_at(features.strides[-1]) if rates is None else rates,
            channels=channels,
            separable=separable,
            image_pooling=image_pooling,
            dropout=dropout,
        )
        self.classifier = nn.Sequential(
            pyramid, *conv_norm(channels, channels, 3, separable=separable), nn.Conv2d(channels, num_classes, 1)
        )
        self.last, self.stride = last_step(num_classes, upsample, features, -1, stride=stride, resize=resize or FACTOR)
        self.resize = resize or FACTOR

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.last(self.classifier(features[-1]))


@register("model", "deeplabv3plus", output_stride=16)
class DeepLabV3Plus(Decoder):
    """DeepLabV3's pyramid at 4 pixels a cell, concatenated with ``low_channels`` channels of the feature there; two 3x3
    convolutions, scores.

    low_channels: channels that the feature at 4 pixels a cell is reduced to; 48 in the paper, so that the pyramid's 256 outweigh them.

    The rest as in ``DeepLabV3`` and ``FCN``.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        upsample: Upsampler,
        *,
        rates: Rates = None,
        separable: Separable = True,
        image_pooling: ImagePooling = True,
        channels: Width = 256,
        low_channels: Width = 48,
        dropout: Dropout = 0.5,
        stride: Stride = None,
        align: Align = False,
    ) -> None:
        super().__init__()
        self.low = level_at(features, 4, "deeplabv3plus")
        self.aspp = ASPP(
            features.channels[-1],
            rates_at(features.strides[-1]) if rates is None else rates,
            channels=channels,
            separable=separable,
            image_pooling=image_pooling,
            dropout=dropout,
        )
        self.up = grow(channels, channels, upsample, features, -1, self.low, align=align)
        self.reduce = conv_norm(features.channels[self.low], low_channels)
        self.fuse = nn.Sequential(
            conv_norm(channels + low_channels, channels, 3, separable=separable), conv_norm(channels, channels, 3, separable=separable)
        )
        self.score = nn.Conv2d(channels, num_classes, 1)
        self.last, self.stride = last_step(num_classes, upsample, features, self.low, stride=stride, align=align)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        low = self.reduce(features[self.low])
        deep = crop_like(self.up(self.aspp(features[-1])), low)
        return self.last(self.score(self.fuse(torch.cat([deep, low], 1))))
