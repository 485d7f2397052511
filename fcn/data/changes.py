"""What else may happen to a training sample after its crop: blur, noise, and a square that is erased.

Each is called with an image ``(C, H, W)``, uint8 or float32, its label map, uint8 ``(H, W)``, and a generator, and returns both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fcn.core.labels import void_of
from fcn.data.rounding import rounded


@dataclass(frozen=True)
class Blur:
    """Gaussian blur with a standard deviation that is drawn from 0 to ``largest`` pixels."""

    largest: float

    def __call__(self, image: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        from torchvision.transforms.v2.functional import gaussian_blur

        sigma = self.largest * float(torch.rand(1, generator=generator))
        radius = min(math.ceil(3 * sigma), min(image.shape[1:]) - 1)  # what mirroring at the border allows
        if sigma < 0.1 or radius < 1:  # which changes no pixel of 8 bits
            return image, labels
        return gaussian_blur(image.contiguous(), [2 * radius + 1] * 2, [sigma, sigma]), labels


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, independent in each pixel and channel, of a deviation drawn from 0 to ``largest``, a share of the range of values.

    spans: that range, white minus black, of each channel.
    """

    largest: float
    spans: Sequence[float] = (255.0, 255.0, 255.0)

    def __call__(self, image: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        deviation = self.largest * float(torch.rand(1, generator=generator))
        noise = (
            torch.randn(image.shape, generator=generator)
            * (deviation * torch.tensor(self.spans, dtype=torch.float64)).float()[:, None, None]
        )
        return rounded(noise.add_(image), image.dtype), labels


@dataclass(frozen=True)
class Cutout:
    """A square at a random place gets the colour ``fill`` (DeVries and Taylor 2017, arXiv:1708.04552). Its label is void: as in French
    et al. 2019 (arXiv:1906.01916), no pixel is asked for that cannot be seen.

    largest: largest side, drawn from 0, as a share of the crop's shorter side.
    fill: a value for each channel.
    """

    largest: float
    fill: Sequence[float]

    def __call__(self, image: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        size, down, across = torch.rand(3, generator=generator).tolist()
        height, width = labels.shape
        side = round(self.largest * size * min(height, width))
        top, left = int(down * (height - side + 1)), int(across * (width - side + 1))
        image, labels = image.clone(), labels.clone()
        color = rounded(torch.tensor(self.fill, dtype=torch.float64), image.dtype)
        image[:, top : top + side, left : left + side] = color[:, None, None]
        labels[top : top + side, left : left + side] = void_of(labels.dtype)
        return image, labels
