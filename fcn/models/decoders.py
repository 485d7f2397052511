"""Decoders: from a backbone's features to class scores.

A decoder is a module ``forward(features) -> scores``: (N, num_classes, h, w) at ``decoder.stride`` image pixels per cell. It is built with
an up-sampler factory, so that every decoder runs with every up-sampler. Inside, maps grow by whole factors and are cropped from the top
left where a skip is smaller; the way from ``decoder.stride`` to the size of the image is the segmenter's.
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from fcn.models.layers import crop_like
from fcn.models.upsample import Upsampler


class FCN(nn.Module):
    """FCN-32s, -16s and -8s (Long et al. 2015, section 4.2, arXiv:1411.4038): scores of the deepest feature, up-sampled and added to
    the scores of shallower ones down to the stride ``skip_stride``; every scoring layer starts at zero. The same sum carried on to
    shallower features gives FCN-4s and -2s, for small pictures and thin structures.

    stride: that of the scores handed over, a divisor of ``skip_stride``. None means the up-sampler takes them to stride 1, unless it has
    no weights: then they are handed over at ``skip_stride``, since the segmenter's last step is the same bilinear interpolation.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        upsample: Upsampler,
        *,
        skip_stride: int,
        stride: int | None = None,
    ) -> None:
        super().__init__()
        deepest = strides[-1]
        wanted = [deepest]
        while wanted[-1] > skip_stride:
            wanted.append(wanted[-1] // 2)
        absent = [value for value in {*wanted, skip_stride} if value not in strides]
        if absent or deepest < skip_stride:
            raise ValueError(
                f"an FCN-{skip_stride}s needs features at the strides {', '.join(map(str, sorted({*wanted, skip_stride})))}; "
                f"the backbone has {', '.join(map(str, strides))}: choose another backbone or a coarser model (fcn32s, fcn16s)"
            )
        if stride is not None and (stride < 1 or skip_stride % stride):
            raise ValueError(f"stride={stride} does not fit an FCN-{skip_stride}s; give a divisor of {skip_stride}, or null")
        self.levels = [strides.index(value) for value in wanted]  # deep to shallow
        self.scores = nn.ModuleList(zero_conv(channels[level], num_classes) for level in self.levels)
        self.ups = nn.ModuleList(upsample(num_classes, num_classes, 2) for _ in wanted[1:])
        factor = skip_stride // (1 if stride is None else stride)
        last = upsample(num_classes, num_classes, factor) if factor > 1 else nn.Identity()
        if stride is None and not any(True for _ in last.parameters()):
            factor, last = 1, nn.Identity()
        self.last = last
        self.stride = skip_stride // factor

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.scores[0](features[self.levels[0]])
        for level, score, up in zip(self.levels[1:], self.scores[1:], self.ups, strict=True):
            skip = score(features[level])
            x = crop_like(up(x), skip) + skip
        return self.last(x)


def zero_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 1x1 convolution that starts at zero: class scores that at first say nothing."""
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


DECODERS: dict[str, Callable[..., nn.Module]] = {
    "fcn32s": partial(FCN, skip_stride=32),
    "fcn16s": partial(FCN, skip_stride=16),
    "fcn8s": partial(FCN, skip_stride=8),
    "fcn4s": partial(FCN, skip_stride=4),
    "fcn2s": partial(FCN, skip_stride=2),
}
