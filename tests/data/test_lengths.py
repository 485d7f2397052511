"""Lengths that a picture file states twice: bytes put in and headers of another size are refused; what programs write is not."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.data.images import read_image
from fcn.data.labelmaps import read_labels
from fcn.data.lengths import lzw_count
from tests.data.painting import chunk, painted, save
from tests.faults.mutations import bmp_sizes, gif_sizes, tiff_sizes

FORMS = {
    "a.bmp": {},
    "a.gif": {},
    "a.webp": {"lossless": True},
    "b.webp": {"quality": 60},
    "a.tif": {"compression": "tiff_lzw"},
    "b.tif": {"compression": "raw"},
    "a.jpg": {},
    "b.jpg": {"progressive": True},
}


@pytest.fixture(params=FORMS)
def picture(request, tmp_path: Path) -> Path:
    return save(Image.fromarray(painted(30, 41)), tmp_path / request.param, **FORMS[request.param])


def refused(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        read_image(path)
    except ValueError as error:
        return path.name in str(error)
    return False


def test_bytes_put_in_before_the_pixels_are_seen(picture: Path) -> None:
    data = picture.read_bytes()
    place = {".bmp": 54, ".gif": 13 + 768, ".webp": 20, ".tif": 8, ".jpg": 20}[picture.suffix]
    assert refused(picture, data[:place] + b"\x07\x81\x2c" * 3 + data[place:])


@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.tif", "b.tif"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_header_of_another_size_is_seen(name: str, axis: int, factor: float, tmp_path: Path) -> None:
    path = save(Image.fromarray(painted(30, 40)), tmp_path / name, **FORMS[name])
    data = bytearray(path.read_bytes())
    place, code = {"bmp": bmp_sizes, "gif": lambda data: gif_sizes(data)[2:], "tif": tiff_sizes}[name[2:]](bytes(data))[axis]
    struct.pack_into(code, data, place, int((40, 30)[axis] * factor))
    assert refused(path, bytes(data))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 33])
def test_whole_bitmaps_are_read(mode: str, width: int, tmp_path: Path) -> None:
    path = save(Image.fromarray(painted(7, width)).convert(mode), tmp_path / "a.bmp")
    before = read_image(path)
    for tail in (b"\0\0", b"\0"):  # padding at the end, which some programs write
        path.write_bytes(path.read_bytes() + tail)
        assert read_image(path).equal(before)


@pytest.mark.parametrize("colors", [2, 3, 16, 255])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (300, 200)])
def test_whole_gifs_and_lzw_are_read(colors: int, size: tuple[int, int], tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, colors, size, dtype=np.uint8)  # at its largest, the table of codes fills up several times
    gray = Image.fromarray(values * (255 if colors == 2 else 1))
    for name, options in (("a.gif", {}), ("a.tif", {"compression": "tiff_lzw"})):
        assert np.array_equal(read_image(save(gray, tmp_path / name, **options))[0], np.asarray(gray))


def test_codes_are_counted_by_the_letter() -> None:
    """The example of TIFF 6.0, section 13: 7 7 7 8 8 7 7 6 6 is coded as clear, 7, 258, 8, 8, 258, 6, 6, end."""
    codes = [256, 7, 258, 8, 8, 258, 6, 6, 257]
    bits = "".join(f"{code:09b}" for code in codes)
    coded = bytes(int(bits[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(bits), 8))
    assert lzw_count(coded, 8, early=1, high_first=True, most=100) == 9
    with pytest.raises(ValueError, match="stands for nothing"):
        lzw_count(bytes([0x80, 0x7F, 0xFF]), 8, early=1, high_first=True, most=100)


def test_a_label_map_of_more_rows_than_claimed(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.arange(1, 41, dtype=np.uint8).reshape(8, 5)), tmp_path / "a.png")
    data = path.read_bytes()
    path.write_bytes(data[:8] + chunk(b"IHDR", struct.pack(">II", 5, 4) + data[24:29]) + data[33:])
    with pytest.raises(ValueError, match=r"a\.png .*claims to be 5x4 pixels, and holds more"):
        read_labels(path)


def test_what_follows_the_end_of_a_jpeg_is_nobodys_business(tmp_path: Path) -> None:
    path = save(Image.fromarray(painted(20, 20)), tmp_path / "a.jpg")
    before = read_image(path)
    path.write_bytes(path.read_bytes() + b"appended by a camera")
    assert read_image(path).equal(before)
