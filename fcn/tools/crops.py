"""Parts of pictures for reports: the square where most happens, and pictures enlarged to the size of a tile."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE = 0.5  # of a crop, as a share of the image's shorter side
TILE = 192  # pixels of a drawn tile, about

Bytes = NDArray[np.uint8]


def busiest(mask: Tensor, side: int) -> tuple[int, int, float]:
    """Row and column of the ``side`` x ``side`` square with the largest share of True in ``mask`` (H, W), and that share; the first of
    equals. Sums from the top left corner count every square at the same small cost."""
    sums = torch.zeros(mask.shape[0] + 1, mask.shape[1] + 1, dtype=torch.int32)
    torch.cumsum(mask.int().cumsum_(1), 0, out=sums[1:, 1:])
    counts = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    best = int(counts.argmax())
    return best // counts.shape[1], best % counts.shape[1], int(counts.flatten()[best]) / side**2


def enlarged(picture: Bytes) -> Bytes:
    """Pixels repeated by the whole factor that brings the longer side to about ``TILE``."""
    factor = max(1, round(TILE / max(picture.shape[:2])))
    return picture.repeat(factor, 0).repeat(factor, 1)
