"""A folder in another layout than those of ``data=folder``: what it looks like, and all that it lacks, in one message.

Each annotation tool has its own folders. A user should get one message with everything to change, not one message per run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fcn.core.errors import UserError
from fcn.core.labels import VOID
from fcn.core.names import listed
from fcn.data.labelmaps import read_labels
from fcn.data.pairs import Files, files_by_stem

LAYOUTS = (
    "images/ and masks/, or train/images, train/masks, val/images and val/masks, "
    "or JPEGImages, SegmentationClass and ImageSets/Segmentation"
)
_SAMPLE = 10  # label maps whose values are looked at
_SHOWN = 12  # names listed before "and so on"


class _Look(NamedTuple):
    """A layout of another tool: globs that all match something in it, its name, and what to change."""

    globs: tuple[str, ...]
    name: str
    change: str


_LOOKS = (
    _Look(
        ("leftImg8bit", "gtFine"), "Cityscapes", "copy images and *_labelTrainIds.png, under one name each, to SPLIT/images and SPLIT/masks"
    ),
    _Look(
        ("images/training", "annotations/training"),
        "ADE20K's challenge",
        "move them to train/images and train/masks; value 0 is 'other' in it",
    ),
    _Look(("imagesTr", "labelsTr"), "nnU-Net", "move imagesTr to images (without _0000 in the names) and labelsTr to masks"),
    _Look(("trainannot", "train.txt"), "CamVid of the SegNet tutorial", "use data=camvid"),
    _Look(("VOCdevkit/VOC*",), "Pascal VOC's devkit", "use data=voc2012, or the folder VOCdevkit/VOC2012 as the root"),
    _Look(
        ("labelmap.txt", "SegmentationClass"), "CVAT's 'Segmentation mask'", "its masks hold colours: write class indices in their place"
    ),
    _Look(("JPEGImages", "SegmentationClass*"), "labelme2voc or VOC", "rename JPEGImages to images and the folder of .png masks to masks"),
    _Look(
        ("*/*_mask.png",),
        "Roboflow's semantic masks",
        "move SPLIT/NAME.jpg to SPLIT/images, and NAME_mask.png to SPLIT/masks/NAME.png; take data.val=valid",
    ),
    _Look(("annotations/*.json",), "COCO", "its annotations are polygons in .json: draw them into label maps first"),
    _Look(("labels/*.txt",), "YOLO", "its labels are text: draw them into label maps first"),
    _Look(("labels/*/*.txt",), "YOLO", "its labels are text: draw them into label maps first"),
    _Look(("*.json", "*.[jJ][pP]*"), "labelme", "its annotations are polygons in .json: export label maps, for example with labelme2voc"),
    _Look(("*_mask.png",), "images and masks in one folder", "move the images to images/ and NAME_mask.png to masks/NAME.png"),
)
_IMAGES = ("image", "imgs", "img", "imgs_png", "photos", "pictures", "jpegimages", "rgb", "inputs", "input", "x", "frames")
_MASKS = (
    "mask", "label", "labels", "annotations", "annotation", "annot", "gt", "groundtruth", "ground_truth", "labelids", "segmentation",
    "segmentations", "segmentationclass", "segmentationclasspng", "seg", "targets", "target", "y",
)  # fmt: skip
_CLASS_LISTS = (
    "class_names.txt", "labels.txt", "label.txt", "names.txt", "labelmap.txt", "label_colors.txt", "_classes.csv", "*/_classes.csv",
    "classes.csv", "class_dict.csv", "classes.json", "dataset.json", "*.names", "data.yaml", "*.yaml", "*objectInfo150.txt",
)  # fmt: skip


def explained(root: Path, classes: str, split: str) -> str:
    """What ``root`` looks like, everything that it lacks, and what was found there, in a few sentences."""
    missing = list(_missing(root, classes, split))
    parts = ["; ".join(missing)]
    look = next((look for look in _LOOKS if all(any(root.glob(pattern)) for pattern in look.globs)), None)
    parts += _renames(root) if look is None else [f"It looks like {look.name}: {look.change}"]
    parts += _values(root)
    parts.append(f"Found there: {_contents(root)}")
    return ". ".join(parts)


def _missing(root: Path, classes: str, split: str) -> Iterator[str]:
    inner = [path for path in _visible(root) if path.is_dir()]
    one_deeper = len(inner) == 1 and inner[0].name not in (split, "images", "train", "val")
    deeper = inner[0] if one_deeper and any((inner[0] / name).is_dir() for name in ("images", "ImageSets", "train")) else None
    if deeper is not None:
        yield f"perhaps {deeper} is the folder that is meant"
    if not (root / classes).is_file():
        other = sorted({str(path.relative_to(root)) for pattern in _CLASS_LISTS for path in root.glob(pattern) if path.is_file()})
        more = f" ({', '.join(other[:3])} may have the names; their forms differ)" if other else ""
        yield f"there is no list of classes {root / classes}: write one, with one class name a line in the order of their indices{more}"
    lists = root / "ImageSets" / "Segmentation"
    if lists.is_dir():
        bases, names = [root], ("JPEGImages", "SegmentationClass")
        known = list_names(lists)
        absent = sorted({split, "train", "val"} - {*known})
        if absent:
            yield (
                f"{lists} has the splits {', '.join(known) or 'none'}, not {' and '.join(absent)}: write their lists, one stem a line, "
                "or choose others with data.train and data.val"
            )
    else:
        below = sorted(path.parent for path in root.glob("*/images") if path.parent.name in (split, "train", "val"))
        bases, names = ([root] if (root / "images").is_dir() else below), ("images", "masks")
    for base in bases:
        lacking = [str(base / name) for name in names if not (base / name).is_dir()]
        if lacking:
            yield f"there is no folder {' and no '.join(lacking)}"
    if not bases and deeper is None and not any(root.glob("*/images")):
        yield f"{root} has none of the known layouts: give it {LAYOUTS}"


def _renames(root: Path) -> Iterator[str]:
    """Folders of images or masks under another usual name, in ``root`` and one below."""
    for base in (root, *(path for path in _visible(root) if path.is_dir())):
        inside = {path.name.lower(): path for path in _visible(base) if path.is_dir()}
        if base != root and not {*_IMAGES, "images"} & inside.keys():
            continue  # a folder of masks that has folders, say
        for usual, others in (("images", _IMAGES), ("masks", _MASKS)):
            alike = next((inside[name] for name in others if name in inside), None)
            if usual not in inside and alike is not None:
                yield f"{alike} may be what is read as {base / usual}: rename it"


def _values(root: Path) -> Iterator[str]:
    """What the first label maps hold, where they are in their place: they are the next thing that may be wrong."""
    folder = next((path for path in (root / "masks", root / "train" / "masks", root / "SegmentationClass") if path.is_dir()), None)
    if folder is None:
        return
    try:
        maps = files_by_stem(folder)
        paths = list(maps.values())[:_SAMPLE]
        found = sorted({value for path in paths for value in read_labels(path).unique().tolist()})
    except (UserError, OSError) as error:
        yield str(error)
        return
    if found:
        first = listed(map(str, found), _SHOWN)
        meaning = "they look like binary masks: write 1 in place of 255" if found == [0, VOID] else "the others are indices of classes"
        yield f"The first {len(paths)} label maps in {folder} hold the values {first} (255 is void; {meaning})"
    elif maps.passed:
        yield f"{folder} holds {maps.kinds()}, of which none is read as a label map"


def _contents(root: Path) -> str:
    names = [path.name + ("/" if path.is_dir() else "") for path in _visible(root)]
    folders = [name for name in names if name.endswith("/")]
    files = Files(root, {}, [name for name in names if not name.endswith("/")], ())
    shown = ", ".join(folders[:_SHOWN]) + (f" and {len(folders) - _SHOWN} folders more" if len(folders) > _SHOWN else "")
    return ", ".join(part for part in (shown, files.kinds()) if part) or "nothing"


def list_names(folder: Path) -> list[str]:
    """The splits that have a list ``SPLIT.txt`` in a folder, sorted."""
    return [path.stem for path in _visible(folder) if path.suffix == ".txt"]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
