"""The decoders of Long et al. 2015, section 4.2 (arXiv:1411.4038), and the plain head that others put in their place."""

import itertools
from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.registry import register
from fcn.core.settings import at_least
from fcn.models.decoders.levels import FACTOR, Decoder, Features, grow, last_step
from fcn.models.decoders.settings import Align, Dropout, Resize, Stride
from fcn.models.layers import conv_norm, crop_like
from fcn.models.upsample import Upsampler

FINEST = (32, 16, 8, 4, 2)  # strides of the finest skip, with a word each


@register("model", "fcn32s", skip_stride=32)
@register("model", "fcn16s", skip_stride=16)
@register("model", "fcn8s", skip_stride=8)
@register("model", "fcn4s", skip_stride=4)
@register("model", "fcn2s", skip_stride=2)
class FCN(Decoder):
    """The paper's FCN: scores of the deepest feature, added to those of shallower features down to the stride in the name.

    Every scoring layer starts at zero. FCN-4s and -2s add still shallower features, for small pictures and thin structures.

    ``align`` moves each map onto the grid that it is added to, and the scores onto the image's grid. (The paper crops instead.) VGG's maps
    need no move. In a ResNet all first cells lie on the image's first pixel. So maps are off by half a cell at each doubling, and the
    scores by (stride - 1) / 2 pixels. The default is off: training from scratch makes up for it, and moving by half a cell costs sharpness.

    A finer FCN may start from the weights of a coarser one, as in the paper: see ``fcn.models.network_weights.staged``.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        upsample: Upsampler,
        *,
        skip_stride: int,
        stride: Stride = None,
        align: Align = False,
    ) -> None:
        super().__init__()
        deepest = features.strides[-1]
        wanted = doubles(skip_stride, deepest)[::-1]
        if deepest < skip_stride or any(value not in features.strides for value in (*wanted, skip_stride)):
            needed = ", ".join(map(str, sorted({*wanted, skip_stride})))
            fitting = [value for value in FINEST if value <= deepest and set(doubles(value, deepest)) <= set(features.strides)]
            raise UserError(
                f"an FCN-{skip_stride}s needs features at the strides {needed}; the backbone has "
                f"{', '.join(map(str, features.strides))}, which fit {', '.join(f'model=fcn{value}s' for value in fitting) or 'no FCN'}"
            )
        last = len(features.strides) - 1
        self.levels = [last] + [last - features.strides[::-1].index(value) for value in wanted[1:]]  # deep to shallow
        self.scores = nn.ModuleList(zero_conv(features.channels[level], num_classes) for level in self.levels)
        self.ups = nn.ModuleList(
            grow(num_classes, num_classes, upsample, features, level, skip, align=align) for level, skip in itertools.pairwise(self.levels)
        )
        self.last, self.stride = last_step(num_classes, upsample, features, self.levels[-1], stride=stride, align=align)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.scores[0](features[self.levels[0]])
        for level, score, up in zip(self.levels[1:], self.scores[1:], self.ups, strict=True):
            skip = score(features[level])
            x = crop_like(up(x), skip) + skip
        return self.last(x)


def doubles(finest: int, deepest: int) -> list[int]:
    """``finest`` and its doubles up to ``deepest``."""
    strides = [finest]
    while strides[-1] < deepest:
        strides.append(2 * strides[-1])
    return strides


def zero_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 1x1 convolution that starts at zero: class scores that at first say nothing."""
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def fcn_head(in_channels: int, num_classes: int, *, channels: int | None = None, dropout: float = 0.1) -> nn.Sequential:
    """3x3 convolution to ``channels`` (None: a quarter), batch norm, ReLU, dropout, scores: torchvision's FCN head, which also is the
    auxiliary one."""
    inner = channels or max(1, in_channels // 4)
    return nn.Sequential(*conv_norm(in_channels, inner, 3), nn.Dropout(dropout), nn.Conv2d(inner, num_classes, 1))


@register("model", "fcn", output_stride=8)
class PlainFCN(Decoder):
    """torchvision's FCN: one head on the deepest feature of a dilated backbone, without skips.

    channels: channels inside the head; null: a quarter of the feature's channels.
    """

    def __init__(
        self,
        features: Features,
        num_classes: int,
        upsample: Upsampler,
        *,
        channels: Annotated[int, at_least(1)] | None = None,
        dropout: Dropout = 0.1,
        stride: Stride = None,
        resize: Resize = None,
    ) -> None:
        super().__init__()
        self.classifier = fcn_head(features.channels[-1], num_classes, channels=channels, dropout=dropout)
        self.last, self.stride = last_step(num_classes, upsample, features, -1, stride=stride, resize=resize or FACTOR)
        self.resize = resize or FACTOR

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.last(self.classifier(features[-1]))
