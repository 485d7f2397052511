"""A split of label maps that a test draws itself."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fcn.core.labels import LabelSet


class Drawn:
    """Images of noise, whose first pixel is their index, with the given label maps."""

    def __init__(self, classes: Sequence[str], truths: Sequence[np.ndarray]) -> None:
        self.labels = LabelSet(tuple(classes))
        self.names = tuple(f"image {index}" for index in range(len(truths)))
        self.truths = [torch.from_numpy(truth) for truth in truths]

    def __len__(self) -> int:
        return len(self.truths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, *self.truths[index].shape), generator=noise, dtype=torch.uint8)
        image[:, 0, 0] = index
        return image, self.truths[index].clone()

    def truth(self, index: int) -> Tensor:
        return self[index][1]
