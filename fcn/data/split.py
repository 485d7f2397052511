"""What a data set is to the rest: one split of it, as a sequence of images with label maps."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.core.names import a_type, said


class Split(Protocol):
    """``split[i]``: an image, uint8 (3, H, W) in RGB, and its label map, uint8 (H, W) of class indices or ``VOID``; sizes may vary.
    With more than 255 classes the label map is of int32, and void is ``labels.void``, 65535.

    ``labels`` are the classes, ``names`` the samples' names, unique. Reading an index twice, in any process, gives the same. A split whose
    images are of another kind says so by its attribute ``images``, an ``ImageKind``.
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


def check_split(split: Any, what: str = "the split") -> None:
    """Raises TypeError, in one sentence, where an object of the caller's lacks what a ``Split`` has, or gives samples of another form."""
    has = {
        "labels (its classes, as fcn.LabelSet(('road', 'sky')))": isinstance(getattr(split, "labels", None), LabelSet),
        "names (of its samples)": isinstance(getattr(split, "names", None), Sequence) and not isinstance(split.names, str),
        "len()": hasattr(split, "__len__"),
        "split[i] (an image, uint8 (3, H, W), and its label map, uint8 (H, W))": hasattr(split, "__getitem__"),
        "truth(i) (the label map alone)": callable(getattr(split, "truth", None)),
    }
    missing = [part for part, there in has.items() if not there]
    if missing or isinstance(split, type):
        kind = f"the class {split.__name__}, not an instance of it" if isinstance(split, type) else a_type(split)
        lacks = f" and lacks {', '.join(missing)}" if missing else ""
        raise TypeError(f"{what} is {kind}{lacks}; give fcn.create_split(...), or add what it lacks")
    if len(split.names) != len(split):
        raise UserError(f"{what} has {len(split)} samples and {len(split.names)} names; give each sample a name")
    if len(split):
        try:
            sample = split[0]
        except (UserError, OSError):  # which is told when all samples are looked at
            return
        if not (isinstance(sample, tuple) and len(sample) == 2 and all(isinstance(part, Tensor) for part in sample)):
            given = a_type(sample)
            if isinstance(sample, tuple | list):
                given = f"{given} of {', '.join(type(part).__name__ for part in sample)}"
            raise TypeError(f"{what} gives {given} as a sample; it must be a tuple of image and label map, both torch tensors of uint8")


def spread(indices: Sequence[int], count: int) -> list[int]:
    """``count`` of the indices, evenly spread; all where there are fewer."""
    count = min(count, len(indices))
    return [indices[place * len(indices) // count] for place in range(count)]


_ALSO = {"train": ("train", "training", "trn", "default", "all", "trainval"), "val": ("val", "valid", "validation", "dev", "eval")}


def no_split(where: object, splits: Iterable[str], split: str, mend: str) -> UserError:
    """The error for a split that ``where`` does not have: the splits there are, how one of them is chosen, and ``mend``."""
    splits = list(splits)
    meant = next((name for also in _ALSO.get(split, ()) for name in splits if name.lower() == also), None)
    choose = f"choose it with data.{split}={meant}, or " if meant else ""
    return UserError(f"{where} has the splits {', '.join(splits) or 'none'}, not '{split}': {choose}{mend}")


def split_folder(name: str, root: Path, split: str, folders: Mapping[str, str], images: str, inside: Iterable[str]) -> tuple[Path, str]:
    """Where a published data set is, and the folder of a split.

    name: the data set's. folders: by split. images: pattern of the folder of images, from the data set's own. inside: names that the data
    set's folder may have in ``root``. Raises UserError for an unknown split, FileNotFoundError where the data set is not there.
    """
    if split not in folders:
        raise UserError(f"{name} has the splits {', '.join(folders)}, not '{split}'")
    place = images.format(folders[split])
    base = next((base for base in (root, *(root / each for each in inside)) if (base / place).is_dir()), None)
    if base is None:
        raise FileNotFoundError(f"{name} is not in {root} (looked for {place}): set {said('data.root')} to the folder that holds it")
    return base, folders[split]


def official(name: str, split: str, count: int, counts: Mapping[str, int]) -> list[str]:
    """A note where a split of a published data set does not have the published number of images."""
    return [] if counts[split] == count else [f"{name} {split} has {count} images here, and {counts[split]} as it was published"]
