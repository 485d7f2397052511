"""Three channels of an image as a picture: what sheets of samples and overlays show of images that are not RGB.

Each of the three is stretched from the range of its channel to 0..255. A value that is not finite is black.
"""

from typing import Any

import torch
from torch import Tensor

from fcn.core.images import ImageKind


class Visible:
    """An image of any kind as uint8 (3, H, W); ``visible[:, first:last]`` makes these rows.

    image: (C, H, W), or what reads such rows when asked for them. kind: its channels, their ranges, and the three that are shown.
    """

    def __init__(self, image: Any, kind: ImageKind) -> None:
        self.image = image
        self.shape = (3, *image.shape[1:])
        self.shown = list(kind.shown)
        low, high = (torch.tensor([kind.ranges[channel][end] for channel in kind.shown], dtype=torch.float64) for end in (0, 1))
        self.low, self.factor = low.view(3, 1, 1), (255 / (high - low)).view(3, 1, 1)

    def __getitem__(self, key: tuple[slice, slice], /) -> Tensor:
        rows = self.image[:, key[1]][self.shown].double()
        return ((rows - self.low) * self.factor).nan_to_num_(0, 255, 0).round_().clamp_(0, 255).to(torch.uint8)


def visible(image: Any, kind: ImageKind) -> Any:
    """An image as pictures show it: RGB as it is, any other kind ``Visible``."""
    return image if kind.is_rgb else Visible(image, kind)


def words(kind: ImageKind) -> str:
    """What pictures show of images that are not RGB, in words."""
    bands = [f"{channel + 1} from {kind.ranges[channel][0]:g} to {kind.ranges[channel][1]:g}" for channel in dict.fromkeys(kind.shown)]
    return f"pictures show the channels {', '.join(bands)}" if len(bands) > 1 else f"pictures show channel {bands[0]}"
