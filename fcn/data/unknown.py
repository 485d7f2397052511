"""A folder in another layout than those of ``data=folder``: what it looks like, and all that it lacks, in one message.

Each annotation tool has its own folders. A user should get one message with everything to change, not one message per run.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fcn.core.errors import UserError
from fcn.core.names import listed
from fcn.data.labelmaps import read_raw
from fcn.data.layouts import IMAGES, Layout, find_layout, folders, visible
from fcn.data.pairs import Files, files_by_stem

KNOWN = (
    "images/ and masks/, or train/images, train/masks, val/images and val/masks, "
    "or JPEGImages, SegmentationClass and ImageSets/Segmentation, or say where the files are with data.image_pattern and data.mask_pattern"
)
_SAMPLE = 10  # label maps whose values are looked at
_SHOWN = 12  # names listed before "and so on"


class _Look(NamedTuple):
    """A layout of another tool: globs that all match something in it, its name, and what to change."""

    globs: tuple[str, ...]
    name: str
    change: str


_LOOKS = (
    _Look(("leftImg8bit", "gtFine"), "Cityscapes", "use data=cityscapes"),
    _Look(("images/training", "annotations/training"), "ADE20K", "use data=ade20k"),
    _Look(("images/train2017", "annotations/train2017"), "COCO-Stuff", "use data=coco_stuff"),
    _Look(("train2017", "stuffthingmaps*"), "COCO-Stuff", "use data=coco_stuff"),
    _Look(("trainannot", "train.txt"), "CamVid of the SegNet tutorial", "use data=camvid"),
    _Look(("VOCdevkit/VOC*",), "Pascal VOC's devkit", "use data=voc2012, or the folder VOCdevkit/VOC2012 as the root"),
    _Look(("labelmap.txt", "SegmentationClass"), "CVAT's 'Segmentation mask' without its images", "put them into JPEGImages"),
    _Look(("labels/*.txt",), "YOLO", "its labels are text: export masks or COCO's JSON in their place"),
    _Look(("labels/*/*.txt",), "YOLO", "its labels are text: export masks or COCO's JSON in their place"),
)
_CLASS_LISTS = (
    "class_names.txt", "labels.txt", "label.txt", "names.txt", "labelmap.txt", "label_colors.txt", "_classes.csv", "*/_classes.csv",
    "classes.csv", "class_dict.csv", "classes.json", "dataset.json", "*.names", "data.yaml", "*.yaml", "*objectInfo150.txt",
)  # fmt: skip


def explained(root: Path, classes: str, split: str, layout: Layout | None) -> str:
    """What ``root`` looks like, everything that it lacks, and what was found there, in a few sentences. layout: the one it has, if any."""
    missing = list(_missing(root, classes, split, layout))
    parts = ["; ".join(missing)]
    look = next((look for look in _LOOKS if all(any(root.glob(pattern)) for pattern in look.globs)), None)
    parts += [f"It looks like {look.name}: {look.change}"] if look else []
    parts += _values(layout) if layout else []
    parts.append(f"Found there: {_contents(root)}")
    return ". ".join(parts)


def _missing(root: Path, classes: str, split: str, layout: Layout | None) -> Iterator[str]:
    inner = [path for path in visible(root) if path.is_dir()]
    one_deeper = len(inner) == 1 and inner[0].name not in (split, "images", "train", "val")
    deeper = inner[0] if one_deeper and find_layout(inner[0]) is not None else None
    if deeper is not None:
        yield f"perhaps {deeper} is the folder that is meant"
    if not (root / classes).is_file():
        other = sorted({str(path.relative_to(root)) for pattern in _CLASS_LISTS for path in root.glob(pattern) if path.is_file()})
        more = f" ({', '.join(other[:3])} may have the names; their forms differ)" if other else ""
        yield f"there is no list of classes {root / classes}: write one, with one class name a line in the order of their indices{more}"
    if layout is not None:
        absent = sorted({split, "train", "val"} - {*layout.splits}) if layout.splits and not layout.lists else []
        if absent:
            yield (
                f"{root} has the splits {', '.join(layout.splits)}, not {' and '.join(absent)}: "
                "choose others with data.train and data.val, or add a folder"
            )
        return
    images = folders(root, IMAGES)
    if (root / "ImageSets" / "Segmentation").is_dir():
        lacking = [root / name for name in ("JPEGImages", "SegmentationClass") if not (root / name).is_dir()]
    else:
        lacking = [] if images is None else [root / "masks"]
    if lacking:
        yield f"there is no folder {' and no '.join(map(str, lacking))}"
    elif deeper is None:
        yield f"{root} has none of the known layouts: give it {KNOWN}"


def _values(layout: Layout) -> Iterator[str]:
    """What the first label maps hold: the next thing that may be wrong, and what a list of classes must name."""
    place = next(iter(layout.places.values()))
    try:
        maps = files_by_stem(place.masks, pattern=place.mask)
        raws = [read_raw(path).values for path in list(maps.values())[:_SAMPLE]]
    except (UserError, OSError) as error:
        yield str(error)
        return
    if any(raw.ndim == 3 for raw in raws):
        colors = Counter(color for raw in raws if raw.ndim == 3 for color in map(tuple, raw[::4, ::4].reshape(-1, 3).tolist()))
        shown = listed(["#" + bytes(color).hex() for color, _ in colors.most_common()], _SHOWN)
        yield (
            f"The first {len(raws)} masks in {place.masks} hold colours ({shown}): write them after the names, as in 'road #804080', "
            "or export the list of the tool with them"
        )
        return
    found = sorted({value for raw in raws for value in raw.unique().tolist()})
    if found:
        first = listed(map(str, found), _SHOWN)
        meaning = "255 is void; the others are indices of classes"
        if len(found) == 2 and found[0] == 0:
            meaning = f"they look like binary masks: give data.values={{0: background, {found[1]}: thing}}, and no list is needed"
        yield f"The first {len(raws)} label maps in {place.masks} hold the values {first} ({meaning})"
    elif maps.passed:
        yield f"{place.masks} holds {maps.kinds()}, of which none is read as a label map"


def _contents(root: Path) -> str:
    names = [path.name + ("/" if path.is_dir() else "") for path in visible(root)]
    folders = [name for name in names if name.endswith("/")]
    files = Files(root, {}, [name for name in names if not name.endswith("/")], ())
    shown = ", ".join(folders[:_SHOWN]) + (f" and {len(folders) - _SHOWN} folders more" if len(folders) > _SHOWN else "")
    return ", ".join(part for part in (shown, files.kinds()) if part) or "nothing"
