"""Data sets by name: one split, or the two that a training needs."""

from typing import Any, Literal

from fcn.core.registry import build, list_parts
from fcn.data.split import Split
from fcn.data.verify import verify as look_at


def list_data(pattern: str = "*") -> list[str]:
    """The names that ``fcn.create_split`` takes as its first argument.

    >>> fcn.list_data()  # ["camvid", "folder", ...]

    pattern: pattern of names, as of files; default: all.

    Returns the names, sorted.
    """
    return list_parts("data", pattern)


def create_split(name: str, split: str, **options: Any) -> Split:
    """One split of a data set: its images and label maps.

    >>> split = fcn.create_split("shapes", "train", train_count=8)
    >>> image, labels = split[0]  # uint8 (3, H, W), RGB, and uint8 (H, W): class indices, or fcn.VOID
    >>> split.labels.names, split.names[0], len(split)

    name: data set, one of ``fcn.list_data()``: "shapes", "folder", "camvid", "voc2012", "voc2012aug" or a registered one.
    split: name of the split, as "train" or "val".
    options: settings of the data set, as ``root="DIR"``; docs/api.md lists all.

    Returns the split, a sequence of samples. An object of your own that has ``labels``, ``names``, ``len()``, ``split[i]`` and
    ``truth(i)`` is one as well (docs/extending.md has an example).

    Raises UserError for an unknown name, split or option, and for files that do not fit together.
    """
    found: Split = build("data", name, split, **options)
    return found


def create_splits(
    name: str, *, train: str = "train", val: str = "val", verify: Literal["auto", "all", "none"] = "auto", **options: Any
) -> tuple[Split, Split]:
    """The two splits that a training needs, looked at.

    train: split to train on.
    val: split to score.
    verify: samples that are checked before the training; auto: all up to 500, else 500 of them.

    options: the data set's own settings. Raises UserError for unknown names, and one that names what is wrong with the first samples.
    """
    training, validation = create_split(name, train, **options), create_split(name, val, **options)
    for split in (training, validation):
        look_at(split, verify)
    return training, validation
