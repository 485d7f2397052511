"""From files to tensors: data sets, labels, transforms, and pictures of labels.

A split of a data set gives ``(image, labels)`` for an index: uint8 (3, H, W) in RGB, and uint8 (H, W) of class indices or ``VOID``; it has
``labels`` (a LabelSet), ``names`` (one per sample) and a length. ``DATASETS`` holds the functions that make them.
"""

from collections.abc import Callable
from typing import Any

from fcn.data.camvid import camvid
from fcn.data.folder import folder
from fcn.data.shapes import Shapes, shapes
from fcn.data.voc import voc2012, voc2012aug
from fcn.names import lookup


def drawn(*, split: str, train_count: int = 4000, val_count: int = 200, seed: int = 0) -> Shapes:
    """The built-in shapes, drawn once and held in memory; ``val_count``: pictures of every split but "train"."""
    return shapes(split, count=train_count if split == "train" else val_count, seed=seed, keep=True)


DATASETS: dict[str, Callable[..., Any]] = {
    "shapes": drawn,
    "camvid": camvid,
    "voc2012": voc2012,
    "voc2012aug": voc2012aug,
    "folder": folder,
}


def create_split(name: str, split: str, **options: Any) -> Any:
    """The split of that name of a data set; options: the keyword parameters of its function. Raises ValueError for an unknown name."""
    return lookup(DATASETS, name, "data")(split=split, **options)
