"""A person's own images and label maps, paired by stem (``street.jpg`` with ``street.png``), with the classes in ``classes.txt``.

Three layouts are known by their folders:

- ``ImageSets/Segmentation/SPLIT.txt``, ``JPEGImages``, ``SegmentationClass``: Pascal VOC's;
- ``SPLIT/images`` and ``SPLIT/masks`` for each split;
- ``images`` and ``masks`` with a list of stems ``SPLIT.txt`` for each split; or with no list at all: then every image goes to ``train`` or
  ``val`` by a hash of its stem, so that it stays where it is when others are added.
"""

from hashlib import sha256
from os import PathLike
from pathlib import Path

from fcn.data.classes import read_classes
from fcn.data.labels import LabelSet
from fcn.data.pairs import Pair, Pairs, files_by_stem, pair_up, read_list
from fcn.data.voc import voc_layout

_VAL_FRACTION = 0.2


def folder(root: str | PathLike[str], split: str, *, val_fraction: float | None = None, classes: str = "classes.txt") -> Pairs:
    """One split of the folder ``root``; ``classes`` is the list of classes in it (see :func:`read_classes`).

    Label maps hold class indices, and 255 for void. ``val_fraction`` (default 0.2) is for folders without lists only. Raises
    FileNotFoundError and ValueError, naming what is missing, in excess or given twice, and the splits there are.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: set data.root to the folder of your images and label maps")
    labels = read_classes(root / classes)
    hashed = (root / "images").is_dir() and not _lists(root, classes)
    if val_fraction is not None and not hashed:
        raise ValueError(f"val_fraction={val_fraction} is for folders without splits, and {root} has its own: leave it out")
    if hashed:
        return _hashed(root, split, _VAL_FRACTION if val_fraction is None else val_fraction, labels)
    if (root / "ImageSets" / "Segmentation").is_dir():
        return voc_layout(root, split, labels)
    if (root / "images").is_dir():
        return _listed(root, split, labels, classes)
    return _folders(root, split, labels)


def _listed(root: Path, split: str, labels: LabelSet, classes: str) -> Pairs:
    """``images``, ``masks`` and ``SPLIT.txt``; files that no list names are nobody's business."""
    lists = _lists(root, classes)
    if split not in lists:
        raise ValueError(f"{root} has the splits {', '.join(lists)}, not '{split}': add {split}.txt with one stem a line")
    source = root / f"{split}.txt"
    return Pairs(pair_up(read_list(source), *_files(root), source=str(source)), labels)


def _hashed(root: Path, split: str, val_fraction: float, labels: LabelSet) -> Pairs:
    """``images`` and ``masks`` without lists: a stem is in ``val`` when its hash, as a fraction, is below ``val_fraction``."""
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction={val_fraction} must be more than 0 and less than 1")
    if split not in ("train", "val"):
        raise ValueError(f"{root} has no lists, so its splits are train and val, not '{split}': add {split}.txt with one stem a line")
    pairs = _matched(root)
    chosen = [pair for pair in pairs if (_fraction(pair.name) < val_fraction) == (split == "val")]
    if not chosen:
        raise ValueError(
            f"none of the {len(pairs)} images in {root / 'images'} falls into {split} with val_fraction={val_fraction}: "
            "choose another fraction, or write train.txt and val.txt with one stem a line"
        )
    return Pairs(chosen, labels)


def _folders(root: Path, split: str, labels: LabelSet) -> Pairs:
    """``SPLIT/images`` and ``SPLIT/masks``."""
    splits = sorted(path.parent.name for path in root.glob("*/images") if path.is_dir())
    if not splits:
        raise FileNotFoundError(
            f"{root} has none of the known layouts: give it images/ and masks/, or train/images, train/masks, val/images and val/masks, "
            "or JPEGImages, SegmentationClass and ImageSets/Segmentation"
        )
    if split not in splits:
        raise ValueError(f"{root} has the splits {', '.join(splits)}, not '{split}': add {split}/images and {split}/masks")
    return Pairs(_matched(root / split), labels)


def _files(base: Path) -> tuple[dict[str, str], dict[str, str]]:
    images, masks = files_by_stem(base / "images"), files_by_stem(base / "masks")
    if not images:
        raise ValueError(f"{base / 'images'} holds no picture (jpg, png, bmp or tif)")
    return images, masks


def _matched(base: Path) -> list[Pair]:
    """All pairs of ``images`` and ``masks``, none left over."""
    images, masks = _files(base)
    pairs = pair_up(images, images, masks, source=str(base))
    alone = [masks[stem] for stem in masks if stem not in images]
    if alone:
        raise FileNotFoundError(
            f"{alone[0]} has no image of its name in {base / 'images'} ({len(alone)} such): add it, or take the map away"
        )
    return pairs


def _lists(root: Path, classes: str) -> list[str]:
    others = (classes.lower(), "readme.txt", "license.txt")
    return sorted(path.stem for path in root.glob("*.txt") if path.name.lower() not in others and not path.name.startswith("."))


def _fraction(stem: str) -> float:
    """A number in 0..1 that depends on the stem alone."""
    return int.from_bytes(sha256(stem.encode()).digest()[:8], "big") / 2**64
