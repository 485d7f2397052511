"""A user's own images and label maps, paired by stem (``street.jpg`` with ``street.png``), with the classes in ``classes.txt``.

Three layouts are recognised by their folders:

- ``ImageSets/Segmentation/SPLIT.txt``, ``JPEGImages``, ``SegmentationClass``: Pascal VOC's;
- ``SPLIT/images`` and ``SPLIT/masks`` for each split;
- ``images`` and ``masks``, with a list of stems ``SPLIT.txt`` for each split. Without any list, every image goes to ``train`` or
  ``val`` by a hash of its stem. So it stays in its split when others are added.

A text file beside ``images`` is a list if it has a usual name of a split, or if one of its lines names an image. Notes are not lists.
"""

from hashlib import sha256
from pathlib import Path
from typing import Annotated

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.core.registry import register
from fcn.core.settings import inside
from fcn.data.classes import read_classes
from fcn.data.layouts import explained
from fcn.data.pairs import Files, Pair, Pairs, files_by_stem, pair_up, read_list, read_text
from fcn.data.settings import Root
from fcn.data.split import no_split
from fcn.data.voc import voc_layout

_VAL_FRACTION = 0.2
_USUAL_SPLITS = ("train", "val", "test", "trainval")


@register("data", "folder")
def folder(
    split: str,
    *,
    root: Root,
    val_fraction: Annotated[float, inside(0, 1)] | None = None,
    classes: str = "classes.txt",
) -> Pairs:
    """Your own images and label maps; data/README.md shows the layouts.

    val_fraction: share of the images for validation if the folder has no split lists; null: 0.2.
    classes: file in the folder with one class name per line.

    Label maps hold class indices, and 255 for void. Raises
    FileNotFoundError and UserError, naming all that is missing, what is in excess or given twice, and the splits there are.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: set data.root to the folder of your images and label maps")
    if not (root / classes).is_file() or not _has_layout(root):
        raise FileNotFoundError(explained(root, classes, split))
    labels = read_classes(root / classes)
    voc = (root / "ImageSets" / "Segmentation").is_dir()
    flat = not voc and (root / "images").is_dir()
    lists = _lists(root, classes, split) if flat else []
    if val_fraction is not None and (lists or not flat):
        raise UserError(f"val_fraction={val_fraction} is for folders without splits, and {root} has its own: leave it out")
    if voc:
        return voc_layout(root, split, labels)
    if not flat:
        return _folders(root, split, labels)
    if lists:
        return _listed(root, split, labels, lists)
    return _hashed(root, split, _VAL_FRACTION if val_fraction is None else val_fraction, labels, classes)


def _has_layout(root: Path) -> bool:
    """Whether the folders of one of the known layouts are there."""
    if (root / "ImageSets" / "Segmentation").is_dir():
        return (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir()
    if (root / "images").is_dir():
        return (root / "masks").is_dir()
    return any(path.is_dir() for path in root.glob("*/images"))


def _listed(root: Path, split: str, labels: LabelSet, lists: list[str]) -> Pairs:
    """``images``, ``masks`` and ``SPLIT.txt``; images that no list names are left out, and counted."""
    if split not in lists:
        alone = f", or take {lists[0]}.txt away: then images are split by a hash of their names" if len(lists) == 1 else ""
        raise no_split(root, lists, split, f"add {split}.txt with one stem a line{alone}")
    images, masks = _files(root)
    source = root / f"{split}.txt"
    pairs = pair_up(read_list(source), images, masks, source=str(source))
    named = {line for name in lists for line in _lines(root / f"{name}.txt")}
    unnamed = [stem for stem in images if stem not in named]
    files = ", ".join(f"{name}.txt" for name in lists)
    left = (
        f"{root / 'images'}: {len(unnamed)} of {len(images)} images are in none of the lists {files} ('{unnamed[0]}', ...)"
        if unnamed
        else ""
    )
    return Pairs(pairs, labels, notes=[left] if left else [])


def _hashed(root: Path, split: str, val_fraction: float, labels: LabelSet, classes: str) -> Pairs:
    """``images`` and ``masks`` without lists: a stem is in ``val`` when its hash, as a fraction, is below ``val_fraction``."""
    if not 0 < val_fraction < 1:
        raise UserError(f"val_fraction={val_fraction} must be more than 0 and less than 1")
    if split not in ("train", "val"):
        raise UserError(f"{root} has no lists, so its splits are train and val, not '{split}': add {split}.txt with one stem a line")
    images, masks = _files(root)
    pairs = _matched(root, images, masks)
    chosen = [pair for pair in pairs if (_fraction(pair.name) < val_fraction) == (split == "val")]
    if not chosen:
        raise UserError(
            f"none of the {len(pairs)} images in {root / 'images'} falls into {split} with val_fraction={val_fraction}: "
            "choose another fraction, or write train.txt and val.txt with one stem a line"
        )
    texts = [path.name for path in _texts(root, classes) if path.stem.lower() not in ("readme", "license")]
    stray = f"{root}: no line of {', '.join(texts)} names an image, so there is no list: images go to train or val by a hash of their names"
    return Pairs(chosen, labels, notes=_notes(images, masks) + ([stray] if texts else []))


def _folders(root: Path, split: str, labels: LabelSet) -> Pairs:
    """``SPLIT/images`` and ``SPLIT/masks``."""
    splits = sorted(path.parent.name for path in root.glob("*/images") if path.is_dir())
    if split not in splits:
        raise no_split(root, splits, split, f"add {split}/images and {split}/masks")
    images, masks = _files(root / split)
    return Pairs(_matched(root / split, images, masks), labels, notes=_notes(images, masks))


def _files(base: Path) -> tuple[Files, Files]:
    images, masks = files_by_stem(base / "images"), files_by_stem(base / "masks")
    if not images:
        more = f"; it holds {images.kinds()}" if images.passed else ""
        raise UserError(f"{base / 'images'} holds no picture of a kind that is read ({', '.join(images.suffixes)}){more}")
    return images, masks


def _matched(base: Path, images: Files, masks: Files) -> list[Pair]:
    """All pairs of ``images`` and ``masks``, none left over."""
    pairs = pair_up(images, images, masks, source=str(base))
    alone = [masks[stem] for stem in masks if stem not in images]
    if alone:
        more = f"; {images.kinds()} in it {'is' if len(images.passed) == 1 else 'are'} not read" if images.passed else ""
        raise FileNotFoundError(
            f"{alone[0]} has no image of its name in {base / 'images'} ({len(alone)} such{more}): add it, or take the map away"
        )
    return pairs


def _notes(*folders: Files) -> list[str]:
    return [note for files in folders if (note := files.note())]


def _lists(root: Path, classes: str, split: str) -> list[str]:
    """The splits that have a list: ``SPLIT.txt`` of a usual name, of the split that is asked for, or with a line that names an image."""
    images = files_by_stem(root / "images")

    def is_list(path: Path) -> bool:
        return path.stem in (*_USUAL_SPLITS, split) or any(line in images or Path(line).stem in images for line in _lines(path))

    return [path.stem for path in _texts(root, classes) if is_list(path)]


def _texts(root: Path, classes: str) -> list[Path]:
    """The text files beside ``images``, but for the list of classes and hidden ones."""
    return [path for path in sorted(root.glob("*.txt")) if not path.name.startswith(".") and path.name.lower() != classes.lower()]


def _lines(path: Path) -> list[str]:
    """The lines of a text file; none where it is no text, and so no list."""
    try:
        return [line.strip() for line in read_text(path).splitlines()]
    except UserError:
        return []


def _fraction(stem: str) -> float:
    """A number in 0..1 that depends on the stem alone."""
    return int.from_bytes(sha256(stem.encode()).digest()[:8], "big") / 2**64
