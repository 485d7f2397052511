"""What a data set is to the rest: one split of it, as a sequence of images with label maps."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import Tensor

from fcn.core.errors import UserError
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


_ALSO = {"train": ("train", "training", "trn", "default", "all", "trainval"), "val": ("val", "valid", "validation", "dev", "eval")}


def no_split(where: object, splits: Iterable[str], split: str, mend: str) -> UserError:
    """The error for a split that ``where`` does not have: the splits there are, how one of them is chosen, and ``mend``."""
    splits = list(splits)
    meant = next((name for also in _ALSO.get(split, ()) for name in splits if name.lower() == also), None)
    choose = f"choose it with data.{split}={meant}, or " if meant else ""
    return UserError(f"{where} has the splits {', '.join(splits) or 'none'}, not '{split}': {choose}{mend}")
