"""A user's own images and label maps, in the folders of whatever tool they come from.

Three things are found, each in its own table: the folders (``layouts.py``), the list of classes (``classlists.py``), and what the pixels
of a mask mean (``masks.py``). An image and its mask have the same name, or names that differ by one beginning or end throughout.

Splits are folders or lists. Without any, every image goes to ``train`` or ``val`` by a hash of its name. So it stays in its split when
others are added. A text file beside the images is a list if it has a usual name of a split, or if one of its lines names an image.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NamedTuple

from fcn.core.errors import UserError
from fcn.core.images import MOST, ImageKind
from fcn.core.labels import VOID
from fcn.core.names import said
from fcn.core.registry import register
from fcn.core.settings import at_least, between, items
from fcn.data.classlists import Classes, find_classes, named_classes
from fcn.data.coco import find_coco
from fcn.data.drawn import Annotations, drawn
from fcn.data.labelme import find_labelme
from fcn.data.labelstudio import find_label_studio
from fcn.data.layouts import Layout, find_layout, lines_of, two_paths
from fcn.data.masks import Masks, gray_is_number, is_binary
from fcn.data.matching import files_of, matched
from fcn.data.pairs import Files, Pair, Pairs, files_by_stem, pair_up, read_list
from fcn.data.settings import ClassFile, ImagePattern, MaskPattern, ReduceZeroLabel, Root, Unknown, ValFraction, Values
from fcn.data.split import no_split
from fcn.data.stored import stored_kind
from fcn.data.unknown import explained

_VAL_FRACTION = 0.2
_USUAL_SPLITS = ("train", "val", "test", "trainval")


@register("data", "folder")
def folder(
    split: str,
    *,
    root: Root,
    val_fraction: ValFraction | None = None,
    classes: ClassFile | None = None,
    values: Values | None = None,
    reduce_zero_label: ReduceZeroLabel = False,
    unknown: Unknown = "error",
    image_pattern: ImagePattern | None = None,
    mask_pattern: MaskPattern | None = None,
    channels: Annotated[int, between(1, MOST)] | None = None,
    range: Annotated[list[float], items(count=2, example="[0,4095]")] | None = None,
    shown: Annotated[list[int], items(at_least(1), count=3, example="[4,3,2]")] | None = None,
) -> Pairs:
    """Your own images and label maps; data/README.md shows the layouts.

    channels: channels of the images, which are then read as they are stored: TIFF bands, .npy, 16 bits; null: as a viewer shows them, RGB.
    range: black and white in pictures of images with channels=; null: as measured.
    shown: three channels that such pictures show as red, green and blue, 1 is the first; null: the first three.

    Label maps hold class indices, and 255 for void; or the colours of the classes. Raises
    FileNotFoundError and UserError, naming all that is missing, what is in excess or given twice, and the splits there are.
    """
    if channels is None and (range is not None or shown is not None):
        raise UserError(
            f"{said('data.range')} and {said('data.shown')} are for images that are not RGB: give {said('data.channels')} with them"
        )
    given = (val_fraction, classes, values, reduce_zero_label, unknown, image_pattern, mask_pattern)
    found = _folder(Path(root), split, *given)
    return found if channels is None else found.of_kind(_kind(found, channels, range, shown))


def _kind(pairs: Pairs, channels: int, given: list[float] | None, shown: list[int] | None) -> ImageKind:
    """The kind of a folder's images, whose type its first file tells."""
    kind = stored_kind(pairs.pairs[0].image, channels)
    if given is not None:
        if given[0] >= given[1]:
            raise UserError(f"{said('data.range', given)} is not allowed; give the value of black and then that of white, as [0,4095]")
        kind = replace(kind, ranges=((given[0], given[1]),) * channels)
    if shown is not None:
        if max(shown) > channels:
            raise UserError(f"{said('data.shown', shown)} is not allowed; the images have the channels 1 to {channels}")
        kind = replace(kind, shown=(shown[0] - 1, shown[1] - 1, shown[2] - 1))
    return kind


class Found(NamedTuple):
    """The pairs of files of a split, what their masks mean, and what is to be told of files beside them."""

    pairs: list[Pair]
    classes: Classes
    layout: Layout
    notes: list[str]

    def masks(self, unknown: Literal["error", "void"], *, numbers: bool = False) -> Masks:
        """What reads the masks. numbers: see ``gray_is_number``."""
        known = self.classes
        return Masks(known.labels, known.values, colored=known.colored, unknown=unknown, source=known.source, gray_is_number=numbers)

    def may_be_binary(self, unknown: Literal["error", "void"]) -> bool:
        """Whether 255 in the masks can mean the second of two classes, in place of void."""
        known = self.classes
        return known.values is None and not known.colored and known.labels.num_classes == 2 and unknown == "error"

    def as_binary(self, root: Path) -> "Found":
        """The same, where 255 means the second class."""
        first, second = self.classes.labels.names
        note = (
            f"{root}: the masks hold 0 and 255 only, so 255 is taken for {second}, not for void; "
            f"if it is void, give {said('data.values', {0: first, 1: second, 255: 'void'})}"
        )
        return self._replace(classes=self.classes._replace(values={0: 0, VOID: 1}), notes=[*self.notes, note])


def _folder(
    root: Path,
    split: str,
    val_fraction: float | None,
    classes: str | None,
    values: Mapping[int, str] | None,
    reduce_zero_label: bool,
    unknown: Literal["error", "void"],
    image_pattern: str | None,
    mask_pattern: str | None,
) -> Pairs:
    """The pairs of a split, whatever layout they lie in. The arguments are those of ``folder``."""
    layout = layout_of(root, image_pattern, mask_pattern)
    annotated = find_annotated(root, layout, classes) if image_pattern is None and mask_pattern is None else None
    if annotated is not None:
        given = {"values": values, "reduce_zero_label": reduce_zero_label, "unknown": unknown != "error", "classes": classes}
        if annotated.kind == "labelme":
            del given["classes"]
        if useless := [said(f"data.{name}") for name, value in given.items() if value]:
            raise UserError(f"{root} has annotations of {annotated.kind}, not masks: leave out {' and '.join(useless)}")
        return _annotated(annotated, root, split, val_fraction)
    found = find_pairs(root, split, layout, val_fraction, classes, values, reduce_zero_label)
    if found.may_be_binary(unknown) and is_binary(_all_masks(found.layout, root, found.pairs)):
        found = found.as_binary(root)
    numbers = found.classes.colored and gray_is_number(_all_masks(found.layout, root, found.pairs), found.classes.labels)
    return Pairs(found.pairs, found.classes.labels, masks=found.masks(unknown, numbers=numbers), notes=found.notes)


def layout_of(root: Path, image_pattern: str | None, mask_pattern: str | None) -> Layout | None:
    """The layout of a folder; None for one that is not known. Raises FileNotFoundError where there is no folder."""
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: set {said('data.root')} to the folder of your images and label maps")
    return find_layout(root, image_pattern, mask_pattern)


def find_pairs(
    root: Path,
    split: str,
    layout: Layout | None,
    val_fraction: float | None,
    classes: str | None,
    values: Mapping[int, str] | None,
    reduce_zero_label: bool,
) -> Found:
    """The files of a split and their classes; no pixel is read. The arguments are those of ``folder``."""
    listed = find_classes(root, classes) if classes is None or (root / classes).is_file() else None
    if layout is None or (listed is None and values is None):
        raise FileNotFoundError(explained(root, classes or "classes.txt", split, layout))
    known = _classes(listed, values, reduce_zero_label)
    layout = _with_lists(layout, split, known.source)
    pairs, notes = _pairs(layout, root, split, val_fraction, known.source)
    return Found(pairs, known, layout, notes)


def find_annotated(root: Path, layout: Layout | None, classes: str | None = None) -> Annotations | None:
    """Annotations that are to be drawn. Masks with a layout count for more, but for Label Studio's, of which several belong to an image.
    classes: name of a list of classes."""
    found = find_label_studio(root)
    if found is None and layout is None:
        found = find_coco(root) or find_labelme(root, classes)
    return found


def _annotated(found: Annotations, root: Path, split: str, val_fraction: float | None) -> Pairs:
    """A split of annotations that are drawn."""
    if "" in found.splits:
        pairs, labels = drawn(root, found, "")
        return Pairs(_by_lot(pairs, root, root, split, val_fraction), labels)
    if val_fraction is not None:
        raise UserError(f"val_fraction={val_fraction} is for folders without splits, and {root} has its own: leave it out")
    if split not in found.splits:
        raise no_split(root, sorted(found.splits), split, "export that split too")
    return Pairs(*drawn(root, found, split))


def _classes(listed: Classes | None, values: Mapping[int, str] | None, reduce_zero_label: bool) -> Classes:
    """The classes as the file lists them, with the values that the user gave."""
    if reduce_zero_label and values is not None:
        raise UserError(
            f"{said('data.values')} and {said('data.reduce_zero_label')} are two ways to say what a value means: give one of them"
        )
    if values is not None:
        return named_classes(values, listed.labels if listed else None)
    assert listed is not None
    if reduce_zero_label:
        return listed._replace(
            values={0: listed.labels.void, listed.labels.void: listed.labels.void}
            | {index + 1: index for index in range(listed.labels.num_classes)}
        )
    return listed


def _pairs(layout: Layout, root: Path, split: str, val_fraction: float | None, classes: str) -> tuple[list[Pair], list[str]]:
    """The pairs of a split, and what is to be told of files beside them."""
    hashed = "" in layout.places and (not layout.lists or "" in layout.lists)
    if val_fraction is not None and not hashed:
        raise UserError(f"val_fraction={val_fraction} is for folders without splits, and {root} has its own: leave it out")
    if hashed:
        return _hashed(layout, root, split, val_fraction, classes)
    if "" in layout.places:
        return _listed(layout, root, split)
    if split not in layout.places:
        place = next(iter(layout.places.values()))
        add = f"{split}/{place.images.name} and {split}/{place.masks.name}" if place.images.parent.parent == root else f"a folder {split}"
        raise no_split(root, sorted(layout.places), split, f"add {add}")
    images, masks = files_of(layout.places[split])
    return matched(layout.places[split], images, masks), _notes(images, masks)


def _listed(layout: Layout, root: Path, split: str) -> tuple[list[Pair], list[str]]:
    """The pairs that a list names; images that no list names are left out, and counted."""
    where = next(iter(layout.lists.values())).parent
    below = where != root
    if split not in layout.lists:
        alone = f", or take {next(iter(layout.lists))}.txt away: then images are split by a hash of their names"
        mend = f"write {split}.txt with one stem a line" if below else f"add {split}.txt with one stem a line"
        raise no_split(where, layout.splits, split, mend + (alone if len(layout.lists) == 1 and not below else ""))
    source = layout.lists[split]
    lines = read_list(source)
    if two_paths(lines[0], root) is not None:
        return _two_paths(lines, root, source), []
    images, masks = files_of(layout.places[""])
    pairs = pair_up([_stem(line, images) for line in lines], images, masks, source=str(source))
    if below:  # Pascal VOC, whose folders hold more than what is labelled
        return pairs, []
    named = {_stem(line, images) for path in layout.lists.values() for line in lines_of(path)}
    unnamed = [stem for stem in images if stem not in named]
    files = ", ".join(path.name for path in layout.lists.values())
    left = (
        f"{images.folder}: {len(unnamed)} of {len(images)} images are in none of the lists {files} ('{unnamed[0]}', ...)" if unnamed else ""
    )
    return pairs, [left] if left else []


def _two_paths(lines: list[str], root: Path, source: Path) -> list[Pair]:
    """Pairs from lines of an image's and a mask's path, from ``root`` or absolute."""
    pairs = []
    for line in lines:
        paths = two_paths(line, root)
        if paths is None:
            raise FileNotFoundError(f"{source}: the line '{line}' does not name two files in {root}: an image and its label map")
        image, mask = paths
        inside_root = image.relative_to(root) if image.is_relative_to(root) else image
        pairs.append(Pair(inside_root.with_suffix("").as_posix(), str(image), str(mask)))
    return pairs


def _hashed(layout: Layout, root: Path, split: str, val_fraction: float | None, classes: str) -> tuple[list[Pair], list[str]]:
    """Pairs without lists that tell splits apart."""
    place = layout.places[""]
    images, masks = files_of(place)
    if "" in layout.lists:
        source = layout.lists[""]
        pairs = pair_up([_stem(line, images) for line in read_list(source)], images, masks, source=str(source))
    else:
        pairs = matched(place, images, masks)
    chosen = _by_lot(pairs, root, place.images, split, val_fraction)
    texts = [path.name for path in _texts(root, classes) if path.stem.lower() not in ("readme", "license", "classes")]
    stray = f"{root}: no line of {', '.join(texts)} names an image, so there is no list: images go to train or val by a hash of their names"
    return chosen, _notes(images, masks) + ([stray] if texts else [])


def _by_lot(pairs: list[Pair], root: Path, images: Path, split: str, val_fraction: float | None) -> list[Pair]:
    """The pairs of a split by lot: a name is in ``val`` when its hash, as a fraction, is below ``val_fraction``."""
    share = _VAL_FRACTION if val_fraction is None else val_fraction
    if not 0 < share < 1:
        raise UserError(f"val_fraction={share} must be more than 0 and less than 1")
    if split not in ("train", "val"):
        raise UserError(f"{root} has no lists, so its splits are train and val, not '{split}': add {split}.txt with one stem a line")
    chosen = [pair for pair in pairs if (_fraction(pair.name) < share) == (split == "val")]
    if not chosen:
        raise UserError(
            f"none of the {len(pairs)} images in {images} falls into {split} with val_fraction={share}: "
            "choose another fraction, or write train.txt and val.txt with one stem a line"
        )
    return chosen


def _notes(*folders: Files) -> list[str]:
    return [note for files in folders if (note := files.note())]


def _with_lists(layout: Layout, split: str, classes: str) -> Layout:
    """The layout with only those text files that are lists. A list has a usual name, that of the split, or a line that names an image."""
    if layout.sure or not layout.lists:
        return layout
    place = layout.places[""]
    root = next(iter(layout.lists.values())).parent
    images = files_by_stem(place.images, pattern=place.image)

    def is_list(path: Path) -> bool:
        if path.stem in (*_USUAL_SPLITS, split):
            return True
        return any(_stem(line, images) in images or two_paths(line, root) is not None for line in lines_of(path))

    texts = _texts(root, classes)
    return layout._replace(lists={name: path for name, path in layout.lists.items() if path in texts and is_list(path)})


def _texts(root: Path, classes: str) -> list[Path]:
    """The text files beside the images, but for the list of classes and hidden ones."""
    return [path for path in sorted(root.glob("*.txt")) if not path.name.startswith(".") and str(path).lower() != classes.lower()]


def _stem(line: str, images: Mapping[str, str]) -> str:
    """The name of the image that a line of a list stands for: the name itself, or the path of the file."""
    path = PurePosixPath(line)
    without = path.with_suffix("").as_posix() if path.name else line
    return next((word for word in (line, without, path.stem) if word in images), line)


def _fraction(stem: str) -> float:
    """A number in 0..1 that depends on the stem alone."""
    return int.from_bytes(sha256(stem.encode()).digest()[:8], "big") / 2**64


def _all_masks(layout: Layout, root: Path, pairs: list[Pair]) -> list[str]:
    """The masks of all splits, so that each split is read in the same way; where another split has faults, those of this one."""
    found: list[str] = []
    for place in layout.places.values():
        try:
            found += files_of(place)[1].values()
        except (UserError, OSError):
            continue
    return sorted(found) or [pair.labels for pair in pairs]
