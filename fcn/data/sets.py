"""Data sets by name: one split, or the two that a training needs."""

from typing import Any, Literal

from fcn.core.registry import build
from fcn.data.split import Split
from fcn.data.verify import verify as look_at


def create_split(name: str, split: str, **options: Any) -> Split:
    """One split of the data set of that name. options: its settings. Raises UserError for an unknown name or option."""
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
