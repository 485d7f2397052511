"""Lengths that a picture file states twice, compared with each other: BMP, GIF and WebP, and data coded by LZW.

Decoders take as many bytes as they need, wherever these are. So inserted or doubled bytes, or a header with another width or fewer rows,
give wrong pixels without an error. The file itself says twice how long it is.
"""

import struct
from math import ceil
from typing import BinaryIO

from fcn.core.errors import UserError

_SLACK = 3  # bytes of padding that some programs write after the last row
_LZW_COUNTED = 1 << 20  # bytes of LZW codes that are counted, in a quarter of a second; more would take longer than decoding


def check_lengths(form: str | None, file: BinaryIO) -> None:
    """Raises UserError where a picture of Pillow's format ``form`` contradicts itself; others are let through."""
    if form in ("BMP", "GIF", "WEBP"):
        file.seek(0)
        {"BMP": check_bmp, "GIF": check_gif, "WEBP": check_webp}[form](file.read())
        file.seek(0)


def check_bmp(data: bytes) -> None:
    """Pixels that are not compressed are as many as fit between where they begin and the end of the file."""
    begin, header = struct.unpack_from("<II", data, 10)
    if header < 40:  # of OS/2, which says nothing of lengths
        return
    width, height, _, bits, compression, stored = struct.unpack_from("<iiHHII", data, 18)
    if compression not in (0, 3, 6):  # coded by run lengths
        return
    needed = ceil(width * bits / 32) * 4 * abs(height)
    end = begin + needed
    if header >= 124:  # a colour profile may follow, named by its place
        place, length = struct.unpack_from("<II", data, 126)
        end = max(end, 14 + place + length if length else 0)
    if not (0 <= len(data) - end <= _SLACK and (stored == 0 or 0 <= stored - needed <= _SLACK)):
        raise UserError(
            f"it claims to be {width}x{abs(height)} pixels, {needed:,} bytes, and its lengths ({stored:,} bytes of pixels stated, "
            f"{len(data) - begin:,} there) are others"
        )


def check_webp(data: bytes) -> None:
    stated = int.from_bytes(data[4:8], "little") + 8
    if not 0 <= stated - len(data) <= 1:  # some programs leave out the last byte, of padding
        raise UserError(f"it says that it has {stated:,} bytes, and has {len(data):,}")


def check_gif(data: bytes) -> None:
    """The codes of the first picture stand for as many pixels as it claims."""
    place = 13 + _colors(data[10])
    while data[place : place + 1] in (b"\x21", b"\0"):  # extensions come first, and stray ends of blocks
        place = _skipped(data, place + 2) if data[place] else place + 1
    if data[place : place + 1] != b"\x2c":
        raise UserError("a part of it does not begin as it should: it is damaged")
    width, height, flags = struct.unpack_from("<HHB", data, place + 5)
    place += 10 + _colors(flags)
    bits, place, parts = data[place], place + 1, []
    end = _skipped(data, place)
    while place < end - 1:
        parts.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    coded = b"".join(parts)
    if len(coded) <= _LZW_COUNTED:
        check_count(lzw_count(coded, bits, early=0, high_first=False, most=width * height), width * height)


def _colors(flags: int) -> int:
    """Bytes of the table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skipped(data: bytes, place: int) -> int:
    """Where the blocks that begin at ``place`` end."""
    while place < len(data) and data[place]:
        place += 1 + data[place]
    if place >= len(data):
        raise UserError("it ends in the middle of its data: it was cut off")
    return place + 1


def check_count(found: int, needed: int, also: int = 0) -> None:
    """Raises UserError unless the codes stand for ``needed`` bytes (or ``also``)."""
    if found not in (needed, also):
        raise UserError(f"its codes stand for {'more' if found > needed else 'fewer'} pixels than it claims")


def check_tiff_lzw(strip: bytes, needed: int, whole: int) -> None:
    """One strip: ``needed`` bytes, or ``whole`` where the rows after the last are coded too."""
    if len(strip) <= _LZW_COUNTED and not (strip[:1] == b"\0" and strip[1:2] and strip[1] & 1):  # the old style, lowest bits first
        check_count(lzw_count(strip, 8, early=1, high_first=True, most=max(needed, whole)), needed, whole)


def lzw_count(coded: bytes, width: int, *, early: int, high_first: bool, most: int) -> int:
    """How many bytes (pixels) the codes stand for, up to the end code or the end; counting stops beyond ``most``.

    width: bits of what is coded. early: how many codes before the table is full the codes become longer. high_first: the first code is in
    the highest bits. UserError for a code that stands for nothing.
    """
    clear, end = 1 << width, (1 << width) + 1
    lengths = [1] * clear + [0, 0]
    total = previous = held = count = 0
    size = width + 1
    for byte in coded:
        held = held << 8 | byte if high_first else held | byte << count
        count += 8
        while count >= size:
            count -= size
            if high_first:
                code, held = held >> count, held & (1 << count) - 1
            else:
                code, held = held & (1 << size) - 1, held >> size
            if code == end:
                return total
            if code == clear:
                del lengths[end + 1 :]
                size, previous = width + 1, 0
                continue
            if code > len(lengths) or (code == len(lengths) and not previous):
                raise UserError("a code of its pixels stands for nothing: it is damaged")
            length = lengths[code] if code < len(lengths) else previous + 1
            total += length
            if total > most:
                return total
            if previous and len(lengths) < 4096:
                lengths.append(previous + 1)
            previous = length
            if size < 12 and len(lengths) + early >= 1 << size:
                size += 1
    return total
