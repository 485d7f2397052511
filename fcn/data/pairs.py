"""Images and label maps in files, paired by name: the one data set class behind VOC, CamVid and a user's own folder.

The reader of a data set says which files belong together, and what the raw values mean. Files are found by stem, checked for missing ones
and read here. Names are compared in Unicode's composed form (NFC): a Mac writes an accent apart from its letter.

EXIF orientation is applied to the image, not to the label map. A quarter turn with a map of the unturned pixels is refused, not guessed at.
For a half turn or a mirror image the sizes would not show it, and one rule must hold for all.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import RGB, ImageKind
from fcn.core.labels import LabelSet
from fcn.core.names import listed, shown
from fcn.data.images import ARRAY_SUFFIXES, IMAGE_SUFFIXES, exif_orientation, read_image
from fcn.data.masks import Masks
from fcn.data.stored import read_stored

_SHOWN = 5  # names listed in a message before "and so on"
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # what Windows leaves in folders of pictures


class Pair(NamedTuple):
    """One sample: its name, unique in the split, and its two files; ``labels`` is empty where the truth is not public (a test split)."""

    name: str
    image: str
    labels: str


class Pairs:
    """A split of images and label maps in files.

    ``labels`` are the classes; ``values`` maps the raw values of the files to class indices or void (default: each index to itself and 255
    to void). Item ``i`` is an image, ``(C, H, W)``, usually uint8 with C = 3, and its label map ``(H, W)`` of class indices or void, uint8,
    or int32 with more than 255 classes. ``notes`` are sentences on what lay beside the pairs and was left out, to be told before the long
    work starts.

    ``masks`` reads the label maps, see :class:`~fcn.data.masks.Masks`; by default by ``values``. ``images`` is the kind of the images,
    which are then read as they are stored; by default they are read as a viewer shows them, and are RGB.

    Raises UserError for repeated names. Reading raises UserError, naming the files, for a file that cannot be decoded, sizes that differ,
    and a value or colour that is neither class nor void.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        labels: LabelSet,
        values: Mapping[int, int] | None = None,
        *,
        masks: Masks | None = None,
        notes: Iterable[str] = (),
        images: ImageKind | None = None,
    ) -> None:
        self.images = images or RGB
        self._read = read_image if images is None else partial(read_stored, kind=images)
        self.pairs = tuple(pairs)
        self.labels = labels
        self.notes = tuple(notes)
        self.masks = Masks(labels, values) if masks is None else masks
        self.names = tuple(pair.name for pair in self.pairs)
        repeated = _repeated(self.names)
        if repeated:
            raise UserError(f"samples must have unique names; given more than once: {_listed(repeated)}")

    def of_kind(self, images: ImageKind) -> "Pairs":
        """The same split, whose images are read as they are stored."""
        return Pairs(self.pairs, self.labels, masks=self.masks, notes=self.notes, images=images)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[index]
        image = self._read(pair.image)
        if not pair.labels:
            return image, torch.full(image.shape[1:], self.labels.void, dtype=getattr(torch, self.labels.dtype))
        labels = self.masks.read(pair.labels)
        if image.shape[1:] != labels.shape:
            raise UserError(_size_message(pair, image, labels))
        return image, labels

    def truth(self, index: int) -> Tensor:
        """The label map of item ``index``, whose image is not read: neither that it can be decoded nor its size is checked."""
        pair = self.pairs[index]
        if not pair.labels:
            raise UserError(f"there is no label map for '{pair.name}': the truth of this split is not public; use another split")
        return self.masks.read(pair.labels)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self[index] for index in range(len(self)))


class Files(dict[str, str]):
    """The files of one ``folder`` by name.

    passed: the names of what else lies there and is not read, folders with a slash, hidden ones left out. unfit: readable files whose names
    do not fit the ``pattern``.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        found: Mapping[str, str],
        passed: Sequence[str],
        suffixes: Collection[str],
        unfit: Sequence[str] = (),
        pattern: str = "{}",
    ) -> None:
        super().__init__(found)
        self.folder, self.passed, self.suffixes, self.unfit, self.pattern = (
            str(folder),
            tuple(passed),
            tuple(suffixes),
            tuple(unfit),
            pattern,
        )

    def note(self) -> str | None:
        """One sentence that counts and names what was passed over; None where nothing was."""
        if self.passed:
            return (
                f"{self.folder}: passed over {self.kinds()} ({_listed(self.passed)}); "
                f"read are {', '.join(self.suffixes)} in the folder itself: convert or move the others"
            )
        if self.unfit:
            return f"{self.folder}: passed over {len(self.unfit)} pictures whose names do not fit {self.pattern} ({_listed(self.unfit)})"
        return None

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


def files_by_stem(folder: str | PathLike[str], suffixes: Collection[str] = IMAGE_SUFFIXES, pattern: str = "{}") -> Files:
    """The files of a folder with one of the suffixes (in either case; hidden ones left out), by name in composed Unicode (NFC), sorted.

    A name is the file's stem. With a ``pattern``, as ``{}_mask`` or ``{}_mask.png``, it is what stands for ``{}``. If the folder itself
    holds no such file, those in its folders are taken: their names are paths, as ``berlin/0001``. Arrays (.npy) are taken where there is
    no picture.

    FileNotFoundError where there is no such folder; UserError names two files of one name.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    files = _files_below(folder, suffixes, pattern)
    if not files and any(Path(name).suffix.lower() in ARRAY_SUFFIXES for name in files.passed):
        return _files_below(folder, ARRAY_SUFFIXES, pattern)
    return files


def _files_below(folder: str | PathLike[str], suffixes: Collection[str], pattern: str) -> Files:
    """The files of a folder, or of the folders in it where it has none itself."""
    found, passed, unfit = _files_in(Path(folder), "", suffixes, pattern)
    inner = [name for name in passed if name.endswith("/")]
    if not found and inner:
        passed = [name for name in passed if name not in inner]
        for name in inner:
            for path, _, _ in sorted(os.walk(Path(folder, name))):
                place = Path(path).relative_to(folder).as_posix() + "/"
                if not any(part.startswith(".") for part in place.split("/")):
                    more, left, other = _files_in(Path(path), place, suffixes, pattern)
                    found |= more
                    passed += [each for each in left if not each.endswith("/")]
                    unfit += other
    return Files(folder, found, passed, suffixes, unfit, pattern)


def _files_in(folder: Path, place: str, suffixes: Collection[str], pattern: str) -> tuple[dict[str, str], list[str], list[str]]:
    """Of one folder: the files by name, what is not read, and what does not fit the pattern. place: stands before the names."""
    before, _, after = pattern.partition("{}")
    whole = "." + after.rpartition(".")[2].lower() in (*IMAGE_SUFFIXES, *ARRAY_SUFFIXES)  # the pattern has the file's suffix, too
    found: dict[str, str] = {}
    passed, unfit = [], []
    with os.scandir(folder) as entries:
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries if not entry.name.startswith("."))
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        if not stem or dot + suffix.lower() not in suffixes:
            passed += [place + name] if name.lower() not in _SYSTEM_FILES else []
            continue
        word = unicodedata.normalize("NFC", name if whole else stem)
        if not (word.startswith(before) and word.endswith(after) and len(word) > len(before) + len(after)):
            unfit.append(place + name)
            continue
        key = place + word[len(before) : len(word) - len(after)]
        if key in found:
            first = Path(found[key]).name
            alike = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", name)
            form = " (which differ only in how Unicode writes their accents)" if alike else ""
            raise UserError(f"{folder} holds both {first} and {name}{form}: keep one file for '{key}'")
        found[key] = str(folder / name)
    return found, passed, unfit


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
    if (mask_height, mask_width) == (width, height):
        turned = exif_orientation(pair.image) >= 5
        message += (
            " (the image is shown turned, by its EXIF orientation; turn the label map too, or save the image without EXIF)"
            if turned
            else ". The map is turned by a quarter: turn it back"
        )
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
