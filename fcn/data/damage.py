"""Damage in a picture file, beyond what Pillow checks.

Decoders are lenient. A zeroed tail, a flipped bit or a wrong size still gives pixels, and so a label map of wrong classes. These checks
come before the pixels are decoded:

- Size. The size in the header is compared with the number of bytes. Each coding needs a least number of bytes for a number of pixels. One
  byte of deflate gives at most 1032 (RFC 1951: 258 bytes for 2 bits). JPEG codes each block of 8x8 in 2 bits or more.
- Checksums. PNG has a CRC for each chunk; checking them takes 1 % of the time of decoding. A TIFF has zlib's checksum for each strip. Its
  decoder does not reach it if damage lengthens the data.
- Parts. The parts of a TIFF must lie within the file, and a PNG must end with its end mark.
- Order. The markers of a JPEG must follow each other, and lengths that a file states twice must agree (``lengths``).

JPEG, WebP, AVIF, JPEG 2000, LZW and raw pixels have no checksum. Damage that leaves them decodable, with right lengths, cannot be seen.
"""

import re
import struct
import zlib
from math import ceil
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    FILLORDER,
    IMAGELENGTH,
    IMAGEWIDTH,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    ROWSPERSTRIP,
    SAMPLESPERPIXEL,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILELENGTH,
    TILEOFFSETS,
    TILEWIDTH,
)

from fcn.core.errors import UserError
from fcn.core.names import shown
from fcn.data.lengths import check_lengths, check_tiff_lzw

_PIECE = 1 << 20  # bytes that are read at once
_DEFLATE = 1032  # bytes out of one, at most
_LZW = 4096  # bytes out of a code of 9 bits or more, at most
_JPEG = 512  # bytes out of one, at most: 8 blocks of a bit each
_RATIO = {  # bytes out of one, at most, by the compression of a TIFF
    "raw": 1,
    "tiff_lzw": _LZW,
    "tiff_adobe_deflate": _DEFLATE,
    "tiff_deflate": _DEFLATE,
    "packbits": 64,
    "tiff_jpeg": _JPEG,
    "jpeg": _JPEG,
}
_PIXELS = {"raw": 8, "ppm": 1, "ppm_plain": 1, "gif": _LZW, "tga_rle": 64}  # out of a byte, at most, by Pillow's decoder

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # Adam7: x, y, and their steps


_CUT = "it ends before its end mark: it was cut off"


class Png(NamedTuple):
    """Where the compressed pixels of a PNG lie (offset, length), and how many bytes they are without compression."""

    pieces: list[tuple[int, int]]
    needed: int
    row: int  # bytes of one row; 0 where it is interlaced
    significant: int  # bits a channel that mean something (sBIT), 0 where it is not said


def check_claim(picture: Image.Image, file: BinaryIO) -> None:
    """Raises UserError where the bytes of an opened picture are too few for the size that its header claims."""
    size = file.seek(0, 2)
    if picture.format in ("JPEG", "MPO"):
        file.seek(0)
        check_jpeg(file.read())
        file.seek(0)
    elif isinstance(picture, TiffImagePlugin.TiffImageFile):
        ratio = _RATIO.get(str(picture.info.get("compression")))
        if ratio and _unpacked(picture) > ratio * size + _PIECE:
            raise UserError(_claim(*picture.size, size))
        _check_directory(file)
        _check_parts(picture, file, size)
    else:
        tiles = getattr(picture, "tile", None)
        ratio = _PIXELS.get(tiles[0][0]) if tiles else None
        if ratio and picture.width * picture.height > ratio * size + _PIECE:
            raise UserError(_claim(*picture.size, size))
        check_lengths(picture.format, file)


_MARK = re.compile(rb"\xff[^\0\xd0-\xd7\xff]", re.DOTALL)  # within coded blocks, no part of them


def check_jpeg(data: bytes) -> None:
    """Raises UserError where a JPEG's markers do not follow each other up to its end mark, or it claims more blocks than are coded.

    A block of a sequential JPEG takes 2 bits or more, one for its mean and one for its end; of a progressive one, 1 bit. What is coded by
    arithmetic (SOF 9 and up) can be less, and is let through. What follows the end mark is not looked at.
    """
    at, coded = 2, 0
    needed, claim = 0, (0, 0)  # bits
    while at + 2 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF or marker == 0:
            raise UserError(f"there is no marker at byte {at:,}, where one is due: it is damaged")
        if marker == 0xD9:
            if needed > 8 * coded:
                raise UserError(_claim(*claim, len(data)))
            return
        if marker == 0xFF or 0xD0 <= marker <= 0xD8 or marker == 0x01:  # padding, and marks without content
            at += 1 if marker == 0xFF else 2
            continue
        if marker in (0xC0, 0xC1, 0xC2):
            height, width, components = struct.unpack_from(">HHB", data, at + 5)
            factors = [(byte >> 4 or 1, byte & 15 or 1) for byte in data[at + 11 : at + 10 + 3 * components : 3]]
            across, down = (max((pair[axis] for pair in factors), default=1) for axis in (0, 1))
            blocks = sum(ceil(width * x / across / 8) * ceil(height * y / down / 8) for x, y in factors)
            needed, claim = blocks * (1 if marker == 0xC2 else 2), (width, height)
        at += 2 + max(2, length)
        if marker == 0xDA:  # coded blocks follow
            found = _MARK.search(data, at)
            if found is None:
                break
            coded += found.start() - at
            at = found.start()
    raise UserError(_CUT)


def check_stored(picture: Image.Image, file: BinaryIO) -> Png | None:
    """Raises UserError where what is stored is damaged, seen before decoding; the layout of a PNG is for ``check_rows``."""
    if picture.format == "PNG":
        position = file.tell()
        png = _chunks(file, *picture.size)
        picture.info["significant_bits"] = png.significant
        file.seek(position)
        return png
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        _check_deflate(picture, file)
    return None


def check_rows(picture: Image.Image, file: BinaryIO, png: Png, *, always: bool) -> None:
    """Raises UserError where the compressed pixels of a decoded PNG are not as many as it claims, or fail zlib's checksum.

    Pillow leaves rows that are missing at 0, and those beyond the last unread. Counting takes a third as long as decoding. So unless
    ``always``, the data are only counted where the last row is 0; of interlaced pictures they always are.
    """
    last = picture.crop((0, picture.height - 1, picture.width, picture.height))
    if png.row and not always and np.asarray(last).any():
        return
    count, _ = _inflated(file, png.pieces)
    if count < png.needed:
        rows = f" after {count // png.row} of {picture.height} rows" if png.row else ""
        raise UserError(f"its pixels end{rows}")
    if count > png.needed:
        raise UserError(f"it claims to be {picture.width}x{picture.height} pixels, and holds more")


def _inflated(file: BinaryIO, pieces: list[tuple[int, int]]) -> tuple[int, bool]:
    """How many bytes come out of the pieces of a zlib stream, and whether it ends, its checksum being right; zlib.error for a wrong one."""
    unpacking, count = zlib.decompressobj(), 0
    for offset, length in pieces:
        file.seek(offset)
        data = file.read(length)
        while data and not unpacking.eof:
            count += len(unpacking.decompress(data, _PIECE))
            data = unpacking.unconsumed_tail
    return count + len(unpacking.flush()), unpacking.eof


def _claim(width: int, height: int, size: int) -> str:
    return f"it claims to be {width}x{height} pixels, which its {size:,} bytes cannot hold"


def _chunks(file: BinaryIO, width: int, height: int) -> Png:
    """The chunks of a PNG, whose checksums are compared."""
    file.seek(8)
    pieces: list[tuple[int, int]] = []
    bits = row = significant = needed = 0
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise UserError(_CUT)
        length, name = struct.unpack(">I4s", head)
        if name == b"IDAT":
            pieces.append((file.tell(), length))
        check, left, data = zlib.crc32(name), length, b""
        while left:
            data = file.read(min(left, _PIECE))
            if not data:
                raise UserError("it ends in the middle of its data: it was cut off")
            check = zlib.crc32(data, check)
            left -= len(data)
        if file.read(4) != struct.pack(">I", check):
            raise UserError(f"its part {shown(name.decode('latin-1'))} fails its checksum: it is damaged")
        if name == b"IHDR":
            depth, color, _, _, interlaced = data[8:13]
            bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color, 1)
            row = 0 if interlaced else 1 + (width * bits + 7) // 8
            needed = _interlaced(width, height, bits) if interlaced else row * height
        elif name == b"sBIT":
            significant = max(data, default=0)
        elif name == b"IEND":
            break
    if needed > _DEFLATE * sum(length for _, length in pieces) + _PIECE:
        raise UserError(_claim(width, height, file.seek(0, 2)))
    return Png(pieces, needed, row, significant)


def _interlaced(width: int, height: int, bits: int) -> int:
    total = 0
    for x, y, across, down in _PASSES:
        columns, rows = ceil((width - x) / across), ceil((height - y) / down)
        total += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
    return total


# --- TIFF, whose tags have the size as stored: the picture's own is that of the turned one ---


def _check_directory(file: BinaryIO) -> None:
    """Raises UserError where an entry of the first directory of a TIFF has no number or no type, as where zeros were written over it."""
    file.seek(0)
    head = file.read(8)
    order: Literal["big", "little"] = "big" if head[:2] == b"MM" else "little"
    if int.from_bytes(head[2:4], order) != 42:  # BigTIFF
        return
    file.seek(int.from_bytes(head[4:], order))
    entries = file.read(12 * int.from_bytes(file.read(2), order))
    if not all(any(entries[place : place + 2]) and any(entries[place + 2 : place + 4]) for place in range(0, len(entries), 12)):
        raise UserError("an entry of its directory is empty: it is damaged")


def _check_parts(picture: TiffImagePlugin.TiffImageFile, file: BinaryIO, size: int) -> None:
    """Raises UserError unless all strips or tiles of the picture are there, lie within the file of ``size`` bytes and have their length.

    JPEG of the old style (6) may be stored elsewhere. Old files state wrong lengths of raw strips, so that 0 and what reaches beyond the
    end do not count. Of LZW the last part is looked at.
    """
    if picture.tag_v2.get(COMPRESSION) == 6:
        return
    tags, tiled = picture.tag_v2, TILEOFFSETS in picture.tag_v2
    rows = tags[TILELENGTH] if tiled else min(tags.get(ROWSPERSTRIP, tags[IMAGELENGTH]), tags[IMAGELENGTH])
    planes = tags.get(SAMPLESPERPIXEL, 1) if tags.get(PLANAR_CONFIGURATION, 1) == 2 else 1
    wanted = (ceil(tags[IMAGEWIDTH] / tags[TILEWIDTH]) if tiled else 1) * ceil(tags[IMAGELENGTH] / max(1, rows)) * planes
    parts, kind = _parts(picture), "tiles" if tiled else "strips"
    if len(parts) > wanted:
        raise UserError(f"it has {len(parts)} {kind}, and its {tags[IMAGEWIDTH]}x{tags[IMAGELENGTH]} pixels take {wanted}")
    missing = wanted - sum(1 for offset, count in parts if offset and count)
    if missing > 0:
        raise UserError(f"{missing} of its {wanted} {kind} are missing")
    beyond = sum(1 for offset, count in parts if offset + count > size)
    if beyond:
        raise UserError(f"{beyond} of its {wanted} {kind} lie beyond its end: it was cut off")
    bits = sum(tags.get(BITSPERSAMPLE, (1,))) if planes == 1 else int(tags.get(BITSPERSAMPLE, (1,))[0])
    row = ceil((tags[TILEWIDTH] if tiled else tags[IMAGEWIDTH]) * bits / 8)
    left = rows if tiled else (tags[IMAGELENGTH] - 1) % max(1, rows) + 1  # rows of the last part
    if tags.get(PHOTOMETRIC_INTERPRETATION) == 6 or tags.get(FILLORDER, 1) != 1:
        return
    if tags.get(COMPRESSION, 1) == 5:
        file.seek(parts[-1][0])
        check_tiff_lzw(file.read(parts[-1][1]), left * row, rows * row)
    elif tags.get(COMPRESSION, 1) == 1:
        stated: tuple[int, ...] = (tags.get(TILEBYTECOUNTS) if tiled else tags.get(STRIPBYTECOUNTS)) or ()
        if len(stated) == wanted and stated[-1] not in (0, left * row, rows * row) and parts[-1][0] + stated[-1] <= size:
            raise UserError(f"its last {kind[:-1]} has {stated[-1]:,} bytes, and {left * row:,} by the size that it claims")


def _parts(picture: TiffImagePlugin.TiffImageFile) -> list[tuple[int, int]]:
    """(offset, bytes) of each strip or tile.

    The bytes are given as 1 if they are not known: old files leave them out. So are those of raw pixels, which are not checked here.
    """
    tags = picture.tag_v2
    places, lengths = (TILEOFFSETS, TILEBYTECOUNTS) if TILEOFFSETS in tags else (STRIPOFFSETS, STRIPBYTECOUNTS)
    offsets, counts = tags.get(places), tags.get(lengths)
    offsets = offsets or ()
    if counts is None or tags.get(COMPRESSION, 1) == 1:
        counts = (1,) * len(offsets)
    return list(zip(offsets, counts, strict=False))


def _unpacked(picture: TiffImagePlugin.TiffImageFile) -> int:
    """Bytes of all pixels without compression; a lower bound where chroma is stored at half the size."""
    tags = picture.tag_v2
    bits = 8 if tags.get(PHOTOMETRIC_INTERPRETATION) == 6 else int(tags.get(BITSPERSAMPLE, (1,))[0]) * int(tags.get(SAMPLESPERPIXEL, 1))
    return int(tags[IMAGELENGTH]) * (int(tags[IMAGEWIDTH]) * bits // 8)


def _check_deflate(picture: TiffImagePlugin.TiffImageFile, file: BinaryIO) -> None:
    """Unpacks each deflated strip or tile to its end, where its checksum is."""
    tags = picture.tag_v2
    if tags.get(COMPRESSION) not in (8, 32946) or tags.get(FILLORDER, 1) != 1:
        return
    position = file.tell()
    for number, (offset, count) in enumerate(_parts(picture)):
        _, whole = _inflated(file, [(offset, count)])
        if not whole:
            raise UserError(f"its part {number + 1} is cut off")
    file.seek(position)
