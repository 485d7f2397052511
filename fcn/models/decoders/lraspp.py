"""LR-ASPP, the light decoder of MobileNetV3 (Howard et al. 2019, section 6.4, arXiv:1905.02244)."""

from collections.abc import Sequence

from torch import Tensor, nn

from fcn.core.registry import register
from fcn.models.decoders.levels import FACTOR, Decoder, Features, grow, last_step, level_at
from fcn.models.decoders.settings import Align, Resize, Stride, Width
from fcn.models.layers import conv_norm, crop_like, resize_like
from fcn.models.upsample import Upsampler


@register("model", "lraspp", output_stride=16)
class LRASPP(Decoder):
    """MobileNetV3's light decoder: the deepest feature times a gate per channel that sees the whole image. Its scores are up-sampled and
    added to those of the feature at 8 pixels a cell.

    channels: channels of the branch and its gates.

    ``resize`` holds for the last step and for the way to the finer feature, see ``Decoder``.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        upsample: Upsampler,
        *,
        channels: Width = 128,
        stride: Stride = None,
        align: Align = False,
        resize: Resize = None,
    ) -> None:
        super().__init__()
        self.low = level_at(features, 8, "lraspp")
        self.cbr = conv_norm(features.channels[-1], channels)
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(features.channels[-1], channels, 1, bias=False), nn.Sigmoid())
        self.low_classifier = nn.Conv2d(features.channels[self.low], num_classes, 1)
        self.high_classifier = nn.Conv2d(channels, num_classes, 1)
        self.last, self.stride = last_step(num_classes, upsample, features, self.low, stride=stride, align=align, resize=resize or FACTOR)
        self.up = grow(num_classes, num_classes, upsample, features, -1, self.low, align=align)
        self.resize = resize or FACTOR

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        low = self.low_classifier(features[self.low])
        # scored before it is up-sampled: both are linear over space and channels, and there are fewer scores than channels
        high = self.high_classifier(self.cbr(features[-1]) * self.scale(features[-1]))
        return self.last((crop_like(self.up(high), low) if self.resize == FACTOR else resize_like(high, low)) + low)
