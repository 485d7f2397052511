"""Rotation of image and label map by any angle, about the middle."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fcn.data.rounding import rounded


def region_size(size: tuple[int, int], angle: float) -> tuple[int, int]:
    """(height, width) of the pixels that the middle ``size`` shows after a rotation by ``angle`` degrees, with a pixel around them.

    Both differ from ``size`` by an even number, so that the two have one middle.
    """
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    height, width = size
    needed = (height - 1) * cos + (width - 1) * sin, (height - 1) * sin + (width - 1) * cos
    return tuple(side + 2 * math.ceil((round(need, 6) + 3 - side) / 2) for side, need in zip(size, needed, strict=True))  # type: ignore[return-value]


def rotated(image: Tensor, labels: Tensor, angle: float, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The middle ``size`` of both after a rotation by ``angle`` degrees, counter-clockwise.

    image: uint8 or float32 ``(C, H, W)``, interpolated bilinearly. labels: ``(H, W)``; each pixel takes the nearest. (H, W) is
    ``region_size(size, angle)``.
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    down, across = (np.arange(side) - (side - 1) / 2 for side in size)
    height, width = labels.shape
    rows = (height - 1) / 2 + cos * down[:, None] + sin * across[None]
    columns = (width - 1) / 2 - sin * down[:, None] + cos * across[None]
    nearest = labels.numpy()[np.floor(rows + (0.5 + 1e-9)).astype(np.intp), np.floor(columns + (0.5 + 1e-9)).astype(np.intp)]
    grid = torch.from_numpy(np.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], 2).astype(np.float32))
    turned = F.grid_sample(image[None].float(), grid[None], mode="bilinear", padding_mode="border", align_corners=True)[0]
    return rounded(turned, image.dtype), torch.from_numpy(nearest)
