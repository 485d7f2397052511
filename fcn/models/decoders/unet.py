"""U-Net (Ronneberger et al. 2015, arXiv:1505.04597) on any backbone."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import spelled
from fcn.core.registry import register
from fcn.core.settings import at_least, items
from fcn.models.decoders.levels import Decoder, Features, grow, last_step
from fcn.models.decoders.settings import Align, Dropout, Stride
from fcn.models.layers import conv_norm, crop_like
from fcn.models.upsample import Upsampler


@register("model", "unet")
class UNet(Decoder):
    """From the deepest feature up: at each level up-sampled, concatenated with the next shallower feature, two 3x3 convolutions. Scores at
    the shallowest feature.

    channels: channels of each level, deep to shallow, one number fewer than the backbone has features; null: 256, 128, 64, 32, ...

    Raises UserError where the number of channels does not fit.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        upsample: Upsampler,
        *,
        channels: Annotated[list[int] | None, items(at_least(1))] = None,
        dropout: Dropout = 0.0,
        stride: Stride = None,
        align: Align = False,
    ) -> None:
        super().__init__()
        steps = len(features.strides) - 1
        widths = [max(16, 256 >> step) for step in range(steps)] if channels is None else list(channels)
        if len(widths) != steps or min(widths, default=1) < 1:
            raise UserError(
                f"channels={widths} does not fit a U-Net on {steps + 1} features; "
                f"give {steps} numbers from 1 up, deep to shallow, or {spelled(None)}"
            )
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        before = features.channels[-1]
        for level, width in zip(range(steps - 1, -1, -1), widths, strict=True):
            self.ups.append(grow(before, width, upsample, features, level + 1, level, align=align))
            self.blocks.append(nn.Sequential(conv_norm(width + features.channels[level], width, 3), conv_norm(width, width, 3)))
            before = width
        self.score = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(before, num_classes, 1))
        self.last, self.stride = last_step(num_classes, upsample, features, 0, stride=stride, align=align)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = features[-1]
        for skip, up, block in zip(reversed(features[:-1]), self.ups, self.blocks, strict=True):
            x = block(torch.cat([crop_like(up(x), skip), skip], 1))
        return self.last(self.score(x))
