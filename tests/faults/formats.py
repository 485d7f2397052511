"""Picture formats read by the letter, without any decoder of the toolkit: does a file still keep every promise that its format makes?

``whole(form, data)`` is True where every length, size and checksum in the file agrees with every other, and what is coded decodes to as
many pixels as are claimed. A damaged file of that sort cannot be told from an undamaged one. What it can hide differs:

- PNG (CRC-32 of each chunk, Adler-32 of the pixels) and deflated TIFF (Adler-32): nothing;
- JPEG, WebP: any change of the coded data, of the tables and of sizes that the coded data can fill; of JPEG the markers must stand,
  from the first to the last, and there is at least one bit for each block of 8 x 8 that is claimed;
- TIFF and GIF with LZW: a change of codes that leaves their number right; tags and colours;
- BMP, TIFF without compression: pixels; tags and colours.
"""

import struct
import zlib
from collections.abc import Iterator

WRONG = (ValueError, IndexError, KeyError, struct.error, zlib.error, ZeroDivisionError, OverflowError)  # what a broken promise raises


def whole(form: str, data: bytes) -> bool:
    readers = {"png": png, "jpeg": jpeg, "tiff": tiff, "bmp": bmp, "gif": gif, "webp": webp}
    try:
        return readers[form](data)
    except WRONG:
        return False


# --- PNG (ISO/IEC 15948) ---

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # first row, column; steps


def png(data: bytes) -> bool:
    found, expected, _ = png_bytes(data)
    return found == expected


def png_of_fewer_rows(data: bytes) -> bool:
    """Whether everything is right, its checksums too, but that a header claims fewer rows than are stored (and nothing is interlaced)."""
    try:
        found, expected, row = png_bytes(data)
    except WRONG:
        return False
    return row > 0 and found > expected and found % row == 0


def png_bytes(data: bytes) -> tuple[int, int, int]:
    """How many bytes the pixels of a PNG with right checksums are, how many they should be, and how many a row is (0: interlaced)."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("no PNG")
    place, chunks = 8, []
    while not chunks or chunks[-1][0] != b"IEND":
        (length,) = struct.unpack_from(">I", data, place)
        content = data[place + 8 : place + 8 + length]
        (crc,) = struct.unpack_from(">I", data, place + 8 + length)
        if crc != zlib.crc32(data[place + 4 : place + 8 + length]):
            raise ValueError("a wrong checksum")
        chunks.append((data[place + 4 : place + 8], content))
        place += 12 + length
    if chunks[0][0] != b"IHDR":
        raise ValueError("no header")
    width, height, depth, color, compression, filters, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    if not (width and height and depth in DEPTHS[color] and compression == filters == 0 and interlace < 2):
        raise ValueError("no such header")
    bits = depth * CHANNELS[color]
    if interlace:
        sizes = [(-(-(height - row) // down), -(-(width - column) // across)) for row, column, down, across in PASSES]
    else:
        sizes = [(height, width)]
    expected = sum(rows * (1 + -(-columns * bits // 8)) for rows, columns in sizes if rows > 0 and columns > 0)
    found = len(zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT")))
    return found, expected, 0 if interlace else 1 + -(-width * bits // 8)


# --- JPEG (ITU-T T.81) ---


def jpeg(data: bytes) -> bool:
    if data[:2] != b"\xff\xd8":
        return False
    place, blocks, coded, scans = 2, 0, 0, 0
    while True:
        if data[place] != 0xFF:
            return False
        while data[place] == 0xFF:  # fill bytes
            place += 1
        marker = data[place]
        place += 1
        if marker == 0xD9:
            return scans > 0 and 8 * coded >= blocks
        length = int.from_bytes(data[place : place + 2], "big")
        if marker < 0xC0 or length < 2 or place + length > len(data):
            return False
        segment = data[place + 2 : place + length]
        place += length
        if marker in (0xC0, 0xC1, 0xC2):
            if blocks:
                return False
            blocks = jpeg_blocks(segment)
        if marker == 0xDA:
            begin = place
            while data[place] != 0xFF or data[place + 1] == 0 or 0xD0 <= data[place + 1] <= 0xD7:
                place += 1
            coded += place - begin
            scans += 1


def jpeg_blocks(frame: bytes) -> int:
    """Blocks of 8 x 8 in all components of the frame, each of which takes a bit at least."""
    height, width, count = struct.unpack_from(">HHB", frame, 1)
    sampling = [(byte >> 4, byte & 15) for byte in frame[7::3][:count]]
    across, down = max(one for one, _ in sampling), max(other for _, other in sampling)
    if not (height and width and len(frame) == 6 + 3 * count):
        raise ValueError("no frame")
    return sum(-(-width * h // (8 * across)) * -(-height * v // (8 * down)) for h, v in sampling)


# --- TIFF 6.0 ---

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8}
CODES = {1: "B", 3: "H", 4: "I"}


def tiff(data: bytes) -> bool:
    if data[:4] != b"II*\0":
        return False
    (ifd,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, ifd)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(ifd + 2, ifd + 2 + 12 * count, 12):
        tag, kind, number, place = struct.unpack_from("<HHII", data, entry)
        if number * SIZES[kind] <= 4:
            place = entry + 8
        if kind in CODES:
            tags[tag] = struct.unpack_from(f"<{number}{CODES[kind]}", data, place)
    struct.unpack_from("<I", data, ifd + 2 + 12 * count)
    width, height = tags[256][0], tags[257][0]
    rows = min(tags.get(278, (height,))[0], height)
    bits = sum(tags.get(258, (1,)))
    if not (width and rows and len(tags.get(258, (1,))) == tags.get(277, (1,))[0]):
        return False
    strips = list(zip(tags[273], tags[279], strict=True))
    if len(strips) != -(-height // rows):
        return False
    for number, (place, length) in enumerate(strips):
        expected = min(rows, height - number * rows) * -(-width * bits // 8)
        if place + length > len(data) or len(tiff_strip(data[place : place + length], tags[259][0])) != expected:
            return False
    return True


def tiff_strip(strip: bytes, compression: int) -> bytes:
    if compression == 1:
        return strip
    return zlib.decompress(strip) if compression == 8 else lzw(strip, 8, early=1, big=True)


# --- BMP ---


def bmp(data: bytes) -> bool:
    size, offset, header = struct.unpack_from("<I4xII", data, 2)
    width, height, planes, bits, compression, pixels = struct.unpack_from("<iiHHII", data, 18)
    expected = -(-width * bits // 32) * 4 * abs(height)
    return (
        data[:2] == b"BM"
        and size == len(data) == offset + expected
        and (header, planes, compression) == (40, 1, 0)
        and bits in (1, 4, 8, 24, 32)
        and width > 0
        and expected > 0
        and pixels in (0, expected)
    )


# --- GIF 89a ---


def gif(data: bytes) -> bool:
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        return False
    wide, tall, flags = struct.unpack_from("<HHB", data, 6)
    place, pictures = 13 + colors(flags), 0
    while data[place] != 0x3B:
        if data[place] == 0x21:
            _, place = sub_blocks(data, place + 2)
        elif data[place] == 0x2C:
            left, top, width, height, flags = struct.unpack_from("<HHHHB", data, place + 1)
            place += 10 + colors(flags)
            coded, end = sub_blocks(data, place + 1)
            if left + width > wide or top + height > tall or len(lzw(coded, data[place], early=0, big=False)) != width * height:
                return False
            place, pictures = end, pictures + 1
        else:
            return False
    return pictures > 0


def colors(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def sub_blocks(data: bytes, place: int) -> tuple[bytes, int]:
    parts = []
    while data[place]:
        parts.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    return b"".join(parts), place + 1


def lzw(coded: bytes, width: int, *, early: int, big: bool) -> bytes:
    """The bytes that the codes stand for, up to the end code, without which it is a ValueError. width: bits of a byte; early: how many
    codes before the table is full the codes become longer; big: the first code in the highest bits."""
    clear, end = 1 << width, (1 << width) + 1
    table: list[bytes] = []
    previous = b""
    found = bytearray()
    bits = lzw_codes(coded, big)
    size = width + 1
    next(bits)
    while True:
        code = bits.send(size)
        if code == clear:
            table, size, previous = [*(bytes([value]) for value in range(clear)), b"", b""], width + 1, b""
        elif code == end:
            return bytes(found)
        else:
            if not table:
                table = [*(bytes([value]) for value in range(clear)), b"", b""]
            entry = table[code] if code < len(table) else previous + previous[:1]
            if not entry or code > len(table):
                raise ValueError("a code that stands for nothing")
            found += entry
            if previous and len(table) < 4096:
                table.append(previous + entry[:1])
            previous = entry
            size = max(size, min(12, (len(table) + early).bit_length()))


def lzw_codes(coded: bytes, big: bool) -> Iterator[int]:
    """Yields a code of as many bits as are sent; ValueError where there are no more."""
    held = count = place = 0
    size = yield 0
    while True:
        while count < size:
            if place == len(coded):
                raise ValueError("the codes end before their end code")
            held = held << 8 | coded[place] if big else held | coded[place] << count
            place, count = place + 1, count + 8
        count -= size
        code = held >> count if big else held & (1 << size) - 1
        held = held & (1 << count) - 1 if big else held >> size
        size = yield code


# --- WebP ---


def webp(data: bytes) -> bool:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or int.from_bytes(data[4:8], "little") + 8 != len(data):
        return False
    place, names = 12, []
    while place < len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        names.append(data[place : place + 4])
        place += 8 + length + length % 2
    return place == len(data) and any(name in (b"VP8 ", b"VP8L") for name in names)
