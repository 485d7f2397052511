"""Which bands of a picture file are colours, which is transparency, and which the file says nothing about.

A fourth band beside red, green and blue may be alpha, or near infrared. Pillow takes it for alpha, or drops it, without a warning. Here it
is alpha only if the file says so. Files with other bands are refused: three of five bands are not the picture that was stored.
"""

from collections.abc import Iterator
from os import PathLike
from typing import Any, BinaryIO

from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import BITSPERSAMPLE, EXTRASAMPLES, IMAGELENGTH, IMAGEWIDTH, PHOTOMETRIC_INTERPRETATION, SAMPLESPERPIXEL

from fcn.core.names import said

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # what such a file begins with; the last two are BigTIFF
_COLORS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # bands by TIFF's photometric interpretation
_ALPHA = (1, 2, 999)  # TIFF's extra samples: premultiplied, not premultiplied, Corel's own number


def strange_bands(picture: Image.Image, file: BinaryIO | None) -> str | None:
    """What is wrong with the bands of an opened picture, as the rest of a sentence after the file's name; None for nothing.

    Only TIFF's can be judged without the file.
    """
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        samples = int(picture.tag_v2.get(SAMPLESPERPIXEL, 1))
        colors = _COLORS.get(int(picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION, 1)), samples)
        extra = tuple(picture.tag_v2.get(EXTRASAMPLES, ()))
        if samples > colors and not (samples == colors + 1 and extra and extra[0] in _ALPHA):
            return f"holds {samples} bands, and does not mark those after the first {colors} as transparency: {_mend(samples)}"
    if (
        file is not None
        and picture.mode in ("LA", "RGBA")
        and ((picture.format == "JPEG2000" and not _alpha_of_jp2(file)) or (picture.format == "TGA" and not _alpha_of_tga(file)))
    ):
        colors = len(picture.mode) - 1
        return f"holds {colors + 1} bands, and does not mark those after the first {colors} as transparency: {_mend(colors + 1)}"
    return None


def _mend(bands: int) -> str:
    return (
        f"save the bands that you need as a file of their own (gray, RGB, or RGB with alpha), "
        f"or train a network that takes all of them, with {said('data.channels', bands)}"
    )


def unread_tiff(file: BinaryIO) -> str | None:
    """What a TIFF holds that Pillow cannot read, as the rest of a sentence after the file's name; None where the file is no TIFF."""
    try:
        tags = next(_directories(file), None)
        if tags is None:
            return None
        bits = sorted({int(value) for value in tags.get(BITSPERSAMPLE, (1,))})
        samples = int(tags.get(SAMPLESPERPIXEL, 1))
        bands = "1 band" if samples == 1 else f"{samples} bands"
        mend = "save it with 8 or 16 bits a channel" if samples in (1, 3) else _mend(samples)
        return f"is a TIFF of {bands} of {' and '.join(map(str, bits))} bits, of a kind that is not read, or damaged; {mend}"
    except Exception:  # of a damaged directory nothing can be said
        return None


def tiff_values(path: str | PathLike[str]) -> int:
    """The number of values that the pages of a TIFF hold, of their tags alone; 0 where the file is no TIFF, or damaged."""
    try:
        with open(path, "rb") as file:
            return sum(int(tags[IMAGELENGTH]) * int(tags[IMAGEWIDTH]) * int(tags.get(SAMPLESPERPIXEL, 1)) for tags in _directories(file))
    except Exception:  # of a damaged directory nothing can be said
        return 0


def tiff_tags(path: str | PathLike[str]) -> dict[int, Any]:
    """The tags of a TIFF's first page, by their numbers; none where the file is no TIFF, or damaged."""
    try:
        with open(path, "rb") as file:
            return dict(next(_directories(file), {}))
    except Exception:  # of a damaged directory nothing can be said
        return {}


def _directories(file: BinaryIO) -> Iterator[TiffImagePlugin.ImageFileDirectory_v2]:
    """The tags of each page of a TIFF; none where the file is no TIFF. Raises whatever Pillow raises for a damaged one."""
    file.seek(0)
    head = file.read(8)
    if head[:4] not in TIFF:
        return
    head += file.read(8) if head[2:4] in (b"+\0", b"\0+") else b""
    place, seen = TiffImagePlugin.ImageFileDirectory_v2(head).next, set[int]()
    while place and place not in seen:
        seen.add(place)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(place)
        tags.load(file)
        place = tags.next
        yield tags


def _alpha_of_tga(file: BinaryIO) -> bool:
    """Whether a TGA says that some bits of a pixel are alpha (the lowest four of byte 17)."""
    file.seek(17)
    return bool(file.read(1)[0] & 15)


def _alpha_of_jp2(file: BinaryIO) -> bool:
    """Whether a JPEG 2000 file defines one of its channels as opacity (box ``cdef``, ISO/IEC 15444-1, I.5.3.6)."""
    file.seek(0)
    head = file.read(1 << 16)  # the header's boxes come before the pixels
    start = head.find(b"cdef", 0, max(0, head.find(b"jp2c")))
    if start < 0:
        return False
    count = int.from_bytes(head[start + 4 : start + 6], "big")
    kinds = [int.from_bytes(head[start + 8 + 6 * i : start + 10 + 6 * i], "big") for i in range(min(count, 64))]
    return any(kind in (1, 2) for kind in kinds)
