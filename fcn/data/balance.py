"""The pixels of each class in all label maps of a split: what class weights are made of, and where rare classes are.

Median frequency balancing is from Eigen and Fergus 2015 (arXiv:1411.4734, section 6.3.2); SegNet (arXiv:1511.00561) trains on CamVid with
it. A class's frequency is its share of the pixels of the images that have it. Its weight is the median of all frequencies over its own.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.progress import Progress
from fcn.data.census import count_values
from fcn.data.split import Split


@dataclass(frozen=True)
class Balance:
    """Counts over all label maps of a split.

    pixels: of each class, int64 (num_classes,). inside: pixels, without void, of the label maps that hold the class, in the same form.
    holders: indices of the samples that hold each class, int32, in order.
    """

    pixels: Tensor
    inside: Tensor
    holders: tuple[Tensor, ...]

    @property
    def weights(self) -> list[float]:
        """The weight of each class by median frequency balancing."""
        return median_frequency(self.pixels.tolist(), self.inside.tolist())

    @property
    def rare(self) -> list[int]:
        """The classes that occur, with fewer pixels than these classes have on average."""
        occurring = self.pixels > 0
        mean = self.pixels.sum() / occurring.sum().clamp(min=1)
        return (occurring & (self.pixels < mean)).nonzero()[:, 0].tolist()

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint."""
        return {"pixels": self.pixels, "inside": self.inside, "holders": list(self.holders)}


def counted(split: Split, *, progress: bool = True) -> Balance:
    """Read every label map of a split."""
    classes, samples = split.labels.num_classes, range(len(split))
    pixels, inside = torch.zeros(classes, dtype=torch.int64), torch.zeros(classes, dtype=torch.int64)
    holders: list[list[int]] = [[] for _ in range(classes)]
    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        maps = pool.map(lambda index: count_values(split.truth(index), split.labels.void), samples)
        for index, found in enumerate(Progress("counting classes", len(samples), "label maps", shown=progress).over(maps)):
            pixels += found[:classes]
            inside += (found[:classes] > 0) * (found.sum() - found[split.labels.void])
            for value in found[:classes].nonzero()[:, 0].tolist():
                holders[value].append(index)
    return Balance(pixels, inside, tuple(torch.tensor(each, dtype=torch.int32) for each in holders))


def from_state(state: Any, classes: int, samples: int, origin: str) -> Balance:
    """What ``Balance.state`` gave. Raises UserError, naming the file ``origin``, where it does not fit a split."""
    try:
        found = Balance(state["pixels"], state["inside"], tuple(state["holders"]))
        fits = found.pixels.shape == found.inside.shape == (classes,) and len(found.holders) == classes
        fits = fits and all(each.numel() == 0 or 0 <= int(each.min()) <= int(each.max()) < samples for each in found.holders)
    except (TypeError, KeyError, AttributeError, RuntimeError):
        fits = False
    if not fits:
        raise UserError(f"{origin} does not hold the count of the classes of this training split; start a new run")
    return found


def median_frequency(pixels: Sequence[int], inside: Sequence[int]) -> list[float]:
    """The median of the classes' frequencies over each class's own; 1 for a class that does not occur.

    pixels: of each class. inside: pixels of the label maps that hold the class.
    """
    frequencies = [count / of if of else 0.0 for count, of in zip(pixels, inside, strict=True)]
    middle = float(np.median([each for each in frequencies if each] or [1.0]))
    return [middle / each if each else 1.0 for each in frequencies]
