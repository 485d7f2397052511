"""Picture files, opened and decoded. An error is one sentence that names the file.

``damage`` checks the file for damage, ``bands`` checks the meaning of its bands. ``images`` and ``labelmaps`` turn the picture into a
photograph or a label map.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from fcn.core.errors import UserError
from fcn.core.names import shown
from fcn.data.bands import strange_bands, unread_tiff
from fcn.data.damage import check_claim, check_rows, check_stored

_NEW_SUBFILE, _OLD_SUBFILE = 254, 255  # TIFF: what a page is for
_NO_PAGE = 1 | 4  # bits of the former: a reduced copy of another page, a mask of transparency

_said: set[str] = set()


def say_once(kind: str, message: str) -> None:
    """A warning, for the first of its kind in this process: what holds for one file holds for most of a data set."""
    if kind not in _said:
        _said.add(kind)
        warnings.warn(message, stacklevel=2)


@contextmanager
def opened_file(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """The file, open for reading and not empty."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no file {path}") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
        if not file.read(1):
            raise UserError(f"{path} is empty: copy or download it again")
        file.seek(0)
        yield file


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[Image.Image]:
    """The picture with its header read; ``decode`` reads the pixels. Of a TIFF with one page and reduced copies, the page.

    Raises FileNotFoundError for a missing file. Raises UserError, naming the file, for one that is no picture, claims more pixels than its
    bytes can hold, or has bands of unknown meaning.
    """
    with _any_size(), opened_file(path) as file:
        unread = None
        with named(path):
            try:
                picture: Image.Image = Image.open(file)
            except UnidentifiedImageError:
                unread = unread_tiff(file)
                if unread is None:
                    raise UserError("it is no picture of a known format") from None
        if unread is not None:
            raise UserError(f"{path} {unread}")
        with named(path):
            if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.is_animated:
                _to_the_page(picture)
            check_claim(picture, file)
            picture.info["raw_mode"] = raw_mode(picture)
        strange = strange_bands(picture, file)
        if strange:
            raise UserError(f"{path} {strange}")
        yield picture


def decode(picture: Image.Image, path: str | PathLike[str], *, count: bool = False) -> None:
    """Reads the pixels of an ``opened`` picture; count: those of a PNG are counted, in a third of the time more.

    Raises UserError, naming the file, where it is damaged as far as its format can show.
    """
    with named(path):
        file = picture.fp  # type: ignore[attr-defined]
        png = check_stored(picture, file)
        picture.load()
        if png is not None:
            check_rows(picture, file, png, always=count)


def frames(picture: Image.Image, path: str | PathLike[str]) -> int:
    """How many pictures the file holds that may each be the one that is meant: pages of a TIFF, frames of an animation.

    Thumbnails, reduced copies and masks of transparency do not count, nor what a phone stores behind a photograph (MPO), nor layers.
    """
    with named(path):
        if "pages" in picture.info:
            return int(picture.info["pages"])
        return 1 if picture.format in ("TIFF", "MPO", "PSD") else int(getattr(picture, "n_frames", 1))


def raw_mode(picture: Image.Image) -> str:
    """Pillow's name of the layout in the file, which it forgets once the pixels are loaded; empty where it is not known."""
    if "raw_mode" in picture.info:
        return str(picture.info["raw_mode"])
    tiles = getattr(picture, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _to_the_page(picture: TiffImagePlugin.TiffImageFile) -> None:
    """Goes to the first page that is no copy or mask of another, and leaves the number of such pages in ``info``."""
    pages = []
    for number in range(picture.n_frames):
        picture.seek(number)
        if not picture.tag_v2.get(_NEW_SUBFILE, 0) & _NO_PAGE and picture.tag_v2.get(_OLD_SUBFILE) != 2:
            pages.append(number)
    picture.seek(pages[0] if pages else 0)
    picture.info["pages"] = max(1, len(pages))


@contextmanager
def named(path: str | PathLike[str]) -> Iterator[None]:
    """Whatever is raised in here becomes a UserError that names the file: Pillow's plugins raise nearly everything on broken files."""
    try:
        yield
    except Exception as error:
        reason = shown(error, 300).rstrip(".") or type(error).__name__
        raise UserError(f"{path} cannot be decoded ({reason}): replace the file or leave it out") from None


_lock = threading.Lock()
_readers = 0
_limit: int | None = None


@contextmanager
def _any_size() -> Iterator[None]:
    """Lifts Pillow's limit on the size of pictures while any thread is in here, and gives the importing program back its own after.

    Pillow keeps the limit in a module's variable and checks it when a file is opened and, for TIFF, when it is loaded. Threads are counted
    so that they decode side by side and the last one out restores the limit.
    """
    global _readers, _limit
    with _lock:
        if _readers == 0:
            _limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                Image.MAX_IMAGE_PIXELS = _limit
