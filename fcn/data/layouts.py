"""Folders as tools export them: where the images are, where their masks are, and which belongs to which split.

``LAYOUTS`` is the table: each entry looks at a folder and says what it found, or nothing. A layout never reads pixels. ``folder.py`` makes
pairs of what a layout found.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.data.images import IMAGE_SUFFIXES
from fcn.data.pairs import read_text

IMAGES = ("images", "image", "imgs", "img", "jpegimages", "photos", "pictures", "frames", "rgb", "inputs", "input", "x")
MASKS = (
    *("masks", "mask", "labels", "label", "segmentationclasspng", "segmentationclass", "annotations", "annotation", "annot"),
    *("ground_truth", "groundtruth", "gt", "labelids", "segmentations", "segmentation", "seg", "targets", "target", "y"),
)
SPLITS = ("train", "val", "test", "trainval", "training", "valid", "validation")
_BESIDE = ("annot", "_annot", "_masks", "_mask", "_labels", "_label", "_gt")  # train and trainannot, of CamVid's kind
_MIXED = "{}_mask"  # masks beside their images, of Roboflow's kind


class Place(NamedTuple):
    """Folders of images and masks, and the patterns of their file names, in which ``{}`` is the name of the sample."""

    images: Path
    masks: Path
    image: str = "{}"
    mask: str = "{}"


class Layout(NamedTuple):
    """What was found in a folder.

    places: by split; under "" one place for all splits, which lists or a hash of the names tell apart.
    lists: the list of each split for the place ""; under "" one list of all samples.
    sure: whether the lists are lists for certain; else they are texts that may be notes.
    """

    name: str
    places: Mapping[str, Place]
    lists: Mapping[str, Path] = {}
    sure: bool = False

    @property
    def splits(self) -> list[str]:
        """The splits that the folder itself has; none where a hash of the names makes train and val."""
        return sorted(self.lists if "" in self.places else self.places)


def find_layout(root: Path, image: str | None = None, mask: str | None = None) -> Layout | None:
    """The layout of a folder; None for one that is not known. image, mask: patterns of file names that the user gave."""
    for pattern, setting in ((image, "data.image_pattern"), (mask, "data.mask_pattern")):
        if pattern is not None and pattern.rpartition("/")[2].count("{}") != 1:
            raise UserError(
                f"{said(setting)}={pattern} needs {{}} once in the file's name, where the name of the sample stands, as {{}}_mask.png"
            )
    if image is not None and mask is not None and "/" in image and "/" in mask:
        return _patterns(root, image, mask)
    if "/" in (image or "") + (mask or ""):
        raise UserError("image_pattern and mask_pattern need folders both, or none: as images/{split}/{}.jpg and masks/{split}/{}.png")
    found = next((layout for look in LAYOUTS if (layout := look(root)) is not None), None)
    if found is None or (image is None and mask is None):
        return found
    places = {split: place._replace(image=image or place.image, mask=mask or place.mask) for split, place in found.places.items()}
    return found._replace(places=places)


def _voc(root: Path) -> Layout | None:
    """Pascal VOC, and CVAT's "Segmentation mask": lists in ImageSets/Segmentation."""
    lists = root / "ImageSets" / "Segmentation"
    if not (lists.is_dir() and (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir()):
        return None
    found = lists_in(lists)
    alone = len(found) == 1 and next(iter(found)) not in SPLITS  # CVAT's "default": all images, of which a hash makes train and val
    place = Place(root / "JPEGImages", root / "SegmentationClass")
    return Layout("Pascal VOC", {"": place}, {"": next(iter(found.values()))} if alone else found, sure=True)


def _splits(root: Path) -> Layout | None:
    """``SPLIT/images`` and ``SPLIT/masks``."""
    if folders(root, IMAGES):
        return None
    places = {}
    for base in visible(root):
        images = folders(base, IMAGES) if base.is_dir() else None
        if images:
            places[base.name] = Place(images, masks_in(base) or base / "masks")
    return Layout("a folder for each split", places) if places else None


def _flat(root: Path) -> Layout | None:
    """``images`` and ``masks``, with a folder in both for each split or all together."""
    images, masks = folders(root, IMAGES), masks_in(root)
    if images is None or masks is None:
        return None
    inner = [path.name for path in visible(images) if path.is_dir() and path.name.lower() in SPLITS]
    if inner and not any(is_picture(path) for path in visible(images)):
        return Layout("images and masks with a folder for each split", {name: Place(images / name, masks / name) for name in inner})
    return Layout("images and masks", {"": Place(images, masks)}, lists_in(root))


def _beside(root: Path) -> Layout | None:
    """``train`` and ``trainannot``, ``train`` and ``train_labels``, and so on."""
    places = {}
    for base in visible(root):
        masks = next((path for end in _BESIDE if (path := base.with_name(base.name + end)).is_dir()), None)
        if base.is_dir() and masks is not None:
            places[base.name] = Place(base, masks)
    suffix = "_L" if all(any(place.masks.glob("*_L.*")) for place in places.values()) else ""
    return (
        Layout("SPLIT and a folder of masks beside it", {k: v._replace(mask="{}" + suffix) for k, v in places.items()}) if places else None
    )


def _mixed(root: Path) -> Layout | None:
    """``NAME.jpg`` and ``NAME_mask.png`` in one folder: Roboflow's semantic masks, with a folder for each split, or all together."""
    inner = {base.name: Place(base, base, mask=_MIXED) for base in visible(root) if base.is_dir() and any(base.glob("*_mask.*"))}
    if inner:
        return Layout("Roboflow's semantic masks", inner)
    if any(root.glob("*_mask.*")):
        return Layout("images and masks in one folder", {"": Place(root, root, mask=_MIXED)}, lists_in(root))
    return None


def _nnunet(root: Path) -> Layout | None:
    """nnU-Net's raw data: ``imagesTr/NAME_0000.png`` and ``labelsTr/NAME.png``."""
    if not ((root / "imagesTr").is_dir() and (root / "labelsTr").is_dir()):
        return None
    return Layout("nnU-Net", {"": Place(root / "imagesTr", root / "labelsTr", image="{}_0000")})


def _two_paths(root: Path) -> Layout | None:
    """Lists of an image's and a mask's path a line, and no folders of a known name."""
    lists = {name: path for name, path in lists_in(root).items() if two_paths(next(filter(None, lines_of(path)), ""), root)}
    return Layout("lists of two paths", {"": Place(root, root)}, lists, sure=True) if lists else None


LAYOUTS: tuple[Callable[[Path], Layout | None], ...] = (_voc, _nnunet, _two_paths, _flat, _splits, _beside, _mixed)


def _patterns(root: Path, image: str, mask: str) -> Layout:
    """The layout that two patterns with folders describe; ``{split}`` is the folder of a split."""
    (image_folder, _, image_name), (mask_folder, _, mask_name) = image.rpartition("/"), mask.rpartition("/")
    if ("{split}" in image_folder) != ("{split}" in mask_folder):
        raise UserError(f"{said('data.image_pattern')}={image} and {said('data.mask_pattern')}={mask} need {{split}} both, or none")

    def place(split: str) -> Place:
        return Place(root / image_folder.replace("{split}", split), root / mask_folder.replace("{split}", split), image_name, mask_name)

    if "{split}" not in image_folder:
        return Layout("patterns", {"": place("")}, lists_in(root))
    before, _, after = image_folder.partition("{split}")
    splits = [path.name for path in visible(root / before) if (path / after.lstrip("/")).is_dir()] if (root / before).is_dir() else []
    if not splits:
        raise FileNotFoundError(f"{said('data.image_pattern')}={image} fits no folder in {root}")
    return Layout("patterns", {split: place(split) for split in splits})


def two_paths(line: str, root: Path) -> tuple[Path, Path] | None:
    """The two files that a line of a list names, from ``root`` or as they stand; None where it does not name two files that are there."""
    words = [word.strip() for word in (re.split(r"[\t,;]", line) if re.search(r"[\t,;]", line) else line.split()) if word.strip()]
    if len(words) != 2:
        return None
    paths = [
        next((path for path in (root / word.lstrip("/"), Path(word)) if path.is_file() or (path.suffix == ".zarr" and path.is_dir())), None)
        for word in words
    ]
    return (paths[0], paths[1]) if paths[0] is not None and paths[1] is not None else None


def _is_image(path: Path) -> bool:
    return path.is_file() or (path.suffix == ".zarr" and path.is_dir())


def lines_of(path: Path) -> list[str]:
    """The lines of a text file; none where it is no text, and so no list."""
    try:
        return [line.strip() for line in read_text(path).splitlines()]
    except (UserError, OSError):
        return []


def folders(base: Path, names: tuple[str, ...]) -> Path | None:
    """The folder in ``base`` with the first of the names, in either case."""
    inside = {path.name.lower(): path for path in visible(base) if path.is_dir()}
    return next((inside[name] for name in names if name in inside), None)


def masks_in(base: Path) -> Path | None:
    """The folder of masks in ``base``: of a usual name, with pictures in it (tools keep texts and JSON under the same names)."""
    names = [name for name in MASKS if (path := folders(base, (name,))) is not None and (name == "masks" or _holds_pictures(path))]
    return folders(base, tuple(names))


def _holds_pictures(folder: Path) -> bool:
    return any(is_picture(Path(name)) for _, _, names in os.walk(folder) for name in names)


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def visible(folder: Path) -> Iterator[Path]:
    """What lies in a folder, sorted, without hidden files."""
    return iter(sorted(path for path in folder.iterdir() if not path.name.startswith(".")))


def lists_in(folder: Path) -> dict[str, Path]:
    """The text files in a folder by name: lists of splits, or notes, which ``folder.py`` tells apart."""
    return {path.stem: path for path in visible(folder) if path.suffix == ".txt"}
