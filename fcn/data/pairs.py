"""Images and label maps in files, paired by name: the one data set class behind VOC, CamVid and a user's own folder.

The reader of a data set says which files belong together, and what the raw values mean. Files are found by stem, checked for missing ones
and read here. Names are compared in Unicode's composed form (NFC): a Mac writes an accent apart from its letter.

EXIF orientation is applied to the image, not to the label map. A quarter turn with a map of the unturned pixels is refused, not guessed at.
For a half turn or a mirror image the sizes would not show it, and one rule must hold for all.
"""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from os import PathLike, scandir
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import VOID, LabelSet
from fcn.core.names import listed, shown
from fcn.data.images import IMAGE_SUFFIXES, exif_orientation, read_image
from fcn.data.labelmaps import read_labels

_SHOWN = 5  # names listed in a message before "and so on"
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # what Windows leaves in folders of pictures


class Pair(NamedTuple):
    """One sample: its name, unique in the split, and its two files; ``labels`` is empty where the truth is not public (a test split)."""

    name: str
    image: str
    labels: str


class Pairs:
    """A split of images and label maps in files.

    ``labels`` are the classes; ``values`` maps the raw values of the files to class indices or ``VOID`` (default: each index to itself and
    255 to void). Item ``i`` is an image, uint8 ``(3, H, W)``, and its label map, uint8 ``(H, W)`` of class indices or ``VOID``.
    ``notes`` are sentences on what lay beside the pairs and was left out, to be told before the long work starts.

    Raises UserError for repeated names, and on reading one that names the files: for a file that cannot be decoded, sizes that differ, and
    a raw value that is neither class nor void.
    """

    def __init__(
        self, pairs: Iterable[Pair], labels: LabelSet, values: Mapping[int, int] | None = None, *, notes: Iterable[str] = ()
    ) -> None:
        self.pairs = tuple(pairs)
        self.labels = labels
        self.notes = tuple(notes)
        self.names = tuple(pair.name for pair in self.pairs)
        repeated = _repeated(self.names)
        if repeated:
            raise UserError(f"samples must have unique names; given more than once: {_listed(repeated)}")
        identity = {index: index for index in (*range(labels.num_classes), VOID)}
        values = identity if values is None else values
        wrong = sorted(set(values.values()) - identity.keys())
        if wrong or not all(0 <= raw <= 255 for raw in values):
            raise UserError(f"raw values 0 to 255 map to classes 0 to {labels.num_classes - 1} or {VOID}; given {dict(values)}")
        self._allowed = bytes(sorted(values))
        used = set(values.values())
        self._strange = next((value for value in range(256) if value not in used), VOID)  # without one, no raw value is strange
        self._table = bytes(values.get(raw, self._strange) for raw in range(256))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[index]
        image = read_image(pair.image)
        if not pair.labels:
            return image, torch.full(image.shape[1:], VOID, dtype=torch.uint8)
        labels = read_labels(pair.labels)
        if image.shape[1:] != labels.shape:
            raise UserError(_size_message(pair, image, labels))
        return image, self._classes(labels, pair)

    def truth(self, index: int) -> Tensor:
        """The label map of item ``index``, whose image is not read: neither that it can be decoded nor its size is checked."""
        pair = self.pairs[index]
        if not pair.labels:
            raise UserError(f"there is no label map for '{pair.name}': the truth of this split is not public; use another split")
        return self._classes(read_labels(pair.labels), pair)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self[index] for index in range(len(self)))

    def _classes(self, raw: Tensor, pair: Pair) -> Tensor:
        """Raw values to class indices; ``bytes.translate`` is the fastest table look-up at hand."""
        data = raw.numpy().tobytes()
        classes = bytearray(data.translate(self._table))
        strange = -1 if len(self._allowed) == 256 else classes.find(self._strange)
        if strange >= 0:
            row, column = divmod(strange, raw.shape[1])
            raise UserError(
                f"{pair.labels} holds the value {data[strange]} (first in row {row}, column {column}), which is neither a class nor void; "
                f"allowed are {_ranges(self._allowed)}: correct the label map or the list of classes{self._guess(raw)}"
            )
        return torch.frombuffer(classes, dtype=torch.uint8).view(raw.shape)

    def _guess(self, raw: Tensor) -> str:
        """What a label map with a strange value looks like, where it looks like something that is met often; else nothing."""
        found = [value for value in raw.unique().tolist() if value != VOID]
        count, most = self.labels.num_classes, found[-1]
        if count == 2 and len(found) == 2 and found[0] == 0 and most > count:
            return f". It looks like a binary mask of 0 and {most}: write 1 in place of {most}"
        if most == count:
            return f". Values up to {most} need {most + 1} classes: is the line of value 0 (background) missing, or do values begin at 1?"
        if len(found) > max(16, 2 * count):
            return f". It holds {len(found)} different values: was it resized with interpolation, or saved as JPEG once?"
        return ""


class Files(dict[str, str]):
    """The files of one ``folder`` by stem; ``passed``: the names of what else lies there, folders with a slash, hidden ones left out."""

    def __init__(self, folder: str | PathLike[str], found: Mapping[str, str], passed: Sequence[str], suffixes: Collection[str]) -> None:
        super().__init__(found)
        self.folder, self.passed, self.suffixes = str(folder), tuple(passed), tuple(suffixes)

    def note(self) -> str | None:
        """One sentence that counts and names what was passed over; None where nothing was."""
        if not self.passed:
            return None
        return (
            f"{self.folder}: passed over {self.kinds()} ({_listed(self.passed)}); "
            f"read are {', '.join(self.suffixes)} in the folder itself: convert or move the others"
        )

    def kinds(self) -> str:
        """What was passed over, counted by kind: "4 .webp, 1 folder"."""
        kinds = Counter("folder" if name.endswith("/") else Path(name).suffix.lower() or "without a suffix" for name in self.passed)
        return ", ".join(f"{count} {kind}{'s' if kind == 'folder' and count > 1 else ''}" for kind, count in kinds.most_common())


def read_text(path: str | PathLike[str]) -> str:
    """A text file in UTF-8, with or without a byte order mark, in composed Unicode (NFC).

    Raises FileNotFoundError for a missing file. Raises UserError, naming the file, for one that cannot be read, is in another coding, or
    holds NUL bytes. (UTF-16 without a mark is valid UTF-8, with a NUL after each letter.)
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if wide or b"\0" in data:
        raise UserError(f"{path} {'is UTF-16' if wide else 'holds NUL bytes, as UTF-16 does'}, not UTF-8 text: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    return unicodedata.normalize("NFC", text)


def read_list(path: str | PathLike[str]) -> list[str]:
    """The lines of a split's list, without blank ones. UserError, naming the file, where there is none or one is repeated."""
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{path} lists nothing: a split needs at least one sample")
    repeated = _repeated(lines)
    if repeated:
        raise UserError(f"{path} lists more than once: {_listed(repeated)}")
    return lines


def files_by_stem(folder: str | PathLike[str], suffixes: Collection[str] = IMAGE_SUFFIXES) -> Files:
    """The files of a folder with one of the suffixes (in either case; hidden ones left out), by stem in composed Unicode (NFC), sorted.

    FileNotFoundError where there is no such folder; UserError names two files of one stem.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found: dict[str, str] = {}
    passed = []
    with scandir(folder) as entries:
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries if not entry.name.startswith("."))
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        if not stem or dot + suffix.lower() not in suffixes:
            passed += [name] if name.lower() not in _SYSTEM_FILES else []
            continue
        stem = unicodedata.normalize("NFC", stem)
        if stem in found:
            first = Path(found[stem]).name
            alike = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", name)
            form = " (which differ only in how Unicode writes their accents)" if alike else ""
            raise UserError(f"{folder} holds both {first} and {name}{form}: keep one file for '{stem}'")
        found[stem] = str(Path(folder, name))
    return Files(folder, found, passed, suffixes)


def pair_up(stems: Iterable[str], images: Mapping[str, str], masks: Mapping[str, str], *, source: str) -> list[Pair]:
    """A pair for each stem, in order. FileNotFoundError names the stems of ``source`` (a list, a folder) that lack a file."""
    stems = list(stems)
    for kind, files in (("image", images), ("label map", masks)):
        missing = [stem for stem in stems if stem not in files]
        if missing:
            hint = "; stems are listed without suffix" if Path(missing[0]).stem in files else ""
            raise FileNotFoundError(f"{source}: there is no {kind} for {_listed(missing)} (looked in {_folder(files)}{hint})")
    return [Pair(stem, images[stem], masks[stem]) for stem in stems]


def _size_message(pair: Pair, image: Tensor, labels: Tensor) -> str:
    (height, width), (mask_height, mask_width) = image.shape[1:], labels.shape
    message = f"{pair.image} is {width}x{height} pixels, its label map {pair.labels} {mask_width}x{mask_height}: they must be of one size"
    if (mask_height, mask_width) == (width, height) and exif_orientation(pair.image) >= 5:
        message += " (the image is shown turned, by its EXIF orientation; turn the label map too, or save the image without EXIF)"
    return message


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


def _listed(names: Sequence[str]) -> str:
    return listed([f"'{shown(name)}'" for name in names], _SHOWN)


def _folder(files: Mapping[str, str]) -> str:
    """Where files were looked for, and what lies there of a kind that is not read."""
    if not isinstance(files, Files):
        return str(Path(next(iter(files.values()))).parent) if files else "an empty folder"
    if files.passed:
        return f"{files.folder}, where {files.kinds()} {'is' if len(files.passed) == 1 else 'are'} not read: {_listed(files.passed)}"
    return files.folder if files else f"{files.folder}, which is empty"


def _ranges(values: bytes) -> str:
    """``bytes([0, 1, 2, 255])`` as "0 to 2, 255"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in runs)
