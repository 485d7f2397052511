"""Crops with rare classes: a given share of the samples of a training is drawn by class instead of by image.

This is class uniform sampling (Zhu et al. 2019, arXiv:1812.01593, section 3.3). A sample in focus draws one of the classes, all alike, then
one of the images that hold it, and is cropped so that it holds the class.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Focus:
    """share: of the samples that are in focus, 0 to 1. holders: indices of the samples that hold each class in focus."""

    share: float
    holders: Mapping[int, Tensor]

    def takes(self, number: int) -> bool:
        """Whether a sample is in focus: of any N in a row, N times ``share`` are, to within one. number: samples before it."""
        return math.floor((number + 1) * self.share) > math.floor(number * self.share)

    def draw(self, generator: torch.Generator) -> tuple[int, int]:
        """A class, and the index of a sample that holds it."""
        first, second = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        value = list(self.holders)[int(first * len(self.holders))]
        holders = self.holders[value]
        return value, int(holders[int(second * len(holders))])
