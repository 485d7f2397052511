"""What a data set is to the rest: one split of it, as a sequence of images with label maps."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from fcn.core.labels import LabelSet


class Split(Protocol):
    """``split[i]``: an image, uint8 (3, H, W) in RGB, and its label map, uint8 (H, W) of class indices or ``VOID``; sizes may vary.

    ``labels`` are the classes, ``names`` the samples' names, unique. Reading an index twice, in any process, gives the same.
    """

    @property
    def labels(self) -> LabelSet: ...

    @property
    def names(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]: ...

    def truth(self, index: int, /) -> Tensor:
        """The label map of ``split[index]`` alone."""
        ...
