"""Damage that a file can show, done to files that were right: none may be read as something else."""

import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcn.data.damage import check_jpeg, check_stored
from fcn.data.images import read_image
from fcn.data.labelmaps import read_labels
from tests.data.painting import chunk, painted, png, save, tiff

Read = Callable[[Path], torch.Tensor]


def flat() -> Image.Image:
    """A label map as they are: few regions, the last rows of class 0."""
    y, x = np.mgrid[:96, :128]
    indices = ((x // 16 + y // 24 * 3) % 7).astype(np.uint8)
    indices[-12:] = 0
    picture = Image.fromarray(indices, "P")
    picture.putpalette([(i * 37) % 256 for i in range(768)])
    return picture


def noisy() -> Image.Image:
    return Image.fromarray(painted(48, 64) + np.random.default_rng(0).integers(0, 8, (48, 64, 3), dtype=np.uint8))


def damaged(data: bytes) -> list[bytes]:
    """The file with one bit flipped, its tail zeroed, its tail gone, a hole of zeros, or a part taken out."""
    places = range(8, len(data), max(1, len(data) // 40))
    files = []
    for place in places:
        files += [data[:place], data[:place] + bytes(len(data) - place), data[:place] + bytes(8) + data[place + 8 :]]
        files += [data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :], data[:place] + data[place + 3 :]]
    return [file for file in files if file != data]


def refused(read: Read, path: Path, file: bytes, whole: torch.Tensor) -> bool:
    """Whether the file is refused by name; else it must be read as ``whole``."""
    path.write_bytes(file)
    try:
        pixels = read(path)
    except ValueError as error:
        if path.name not in str(error):
            raise
        return True
    assert torch.equal(pixels, whole)
    return False


@pytest.mark.parametrize(("read", "picture"), [(read_labels, flat), (read_image, flat), (read_image, noisy)])
def test_no_damage_to_a_png_is_read_as_other_pixels(tmp_path: Path, read: Read, picture: Callable[[], Image.Image]) -> None:
    path = save(picture(), tmp_path / "a.png")
    whole, data = read(path), path.read_bytes()
    files = damaged(data)
    assert sum(refused(read, path, file, whole) for file in files) > 0.9 * len(files)


@pytest.mark.parametrize("read", [read_labels, read_image])
@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_deflate"])
def test_damage_to_the_strips_of_a_deflated_tiff(tmp_path: Path, read: Read, compression: str) -> None:
    path = save(flat() if read is read_labels else noisy(), tmp_path / "a.tif", compression=compression)
    whole, data = read(path), path.read_bytes()
    with Image.open(path) as picture:
        (start, *_), (count, *_) = picture.tag_v2[273], picture.tag_v2[279]
    for place in range(start, start + count, max(1, count // 100)):
        refused(read, path, data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :], whole)
        refused(read, path, data[:place] + bytes(12) + data[place + 12 :], whole)


class TestPng:
    ROWS = tuple(bytes([value] * 5) for value in (1, 2, 3, 4))

    @pytest.mark.parametrize("read", [read_labels, read_image])
    @pytest.mark.parametrize(("rows", "said"), [(3, 3), (1, 1)])
    def test_fewer_rows_than_it_claims(self, tmp_path: Path, read: Read, rows: int, said: int) -> None:
        (tmp_path / "a.png").write_bytes(png(5, 4, 8, 0, list(self.ROWS[:rows])))
        with pytest.raises(ValueError, match=rf"a\.png cannot be decoded \(its pixels end after {said} of 4 rows\)"):
            read(tmp_path / "a.png")

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    @pytest.mark.parametrize("width", [1, 7, 9])
    def test_rows_of_zeros_are_rows(self, tmp_path: Path, bits: int, width: int) -> None:
        rows = [bytes((width * bits + 7) // 8)] * 3
        (tmp_path / "a.png").write_bytes(png(width, 3, bits, 0, rows))
        assert not read_labels(tmp_path / "a.png").any()

    @pytest.mark.parametrize("size", [(2, 3), (5, 4), (9, 9), (33, 17)])
    def test_interlaced(self, tmp_path: Path, size: tuple[int, int]) -> None:
        width, height = size
        indices = np.random.default_rng(0).integers(0, 250, (height, width), dtype=np.uint8)
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]  # y, x, and their steps
        lines = [b"\0" + line.tobytes() for y, x, down, across in passes for line in indices[y::down, x::across] if line.size]
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1))
        for kept in (len(lines), len(lines) - 1):
            data = chunk(b"IDAT", zlib.compress(b"".join(lines[:kept])))
            (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b""))
            if kept == len(lines):
                assert np.array_equal(read_labels(tmp_path / "a.png").numpy(), indices)
        with pytest.raises(ValueError, match=r"a\.png .*its pixels end"):
            read_labels(tmp_path / "a.png")

    def test_what_follows_the_end_is_nobodys_business(self, tmp_path: Path) -> None:
        path = save(flat(), tmp_path / "a.png")
        whole = read_labels(path)
        path.write_bytes(path.read_bytes() + b"appended by some tool")
        assert torch.equal(read_labels(path), whole)

    def test_a_missing_end_mark(self, tmp_path: Path) -> None:
        path = save(flat(), tmp_path / "a.png")
        path.write_bytes(path.read_bytes()[:-12])
        with pytest.raises(ValueError, match=r"a\.png .*end mark"):
            read_labels(path)

    @pytest.mark.slow
    def test_checking_costs_little(self, tmp_path: Path) -> None:
        path = save(Image.fromarray(painted(1000, 1500)), tmp_path / "a.png")
        checking, decoding = [], []
        for _ in range(9):
            with open(path, "rb") as file, Image.open(file) as picture:
                begin = time.perf_counter()
                check_stored(picture, file)
                checking.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                picture.load()
                decoding.append(time.perf_counter() - begin)
        assert min(checking) < 0.2 * min(decoding)


class TestTiff:
    PIXELS = np.arange(200, dtype=np.uint8).reshape(10, 20)

    @pytest.mark.parametrize("read", [read_labels, read_image])
    @pytest.mark.parametrize(
        ("tags", "reason"),
        [
            ({278: (5,)}, "1 of its 2 strips are missing"),
            ({273: (0,)}, "1 of its 1 strips are missing"),
            ({273: (60000,)}, "1 of its 1 strips lie beyond its end"),
            ({259: (5,), 279: (0,)}, "1 of its 1 strips are missing"),
            ({259: (5,), 279: (60000,)}, "1 of its 1 strips lie beyond its end"),
        ],
    )
    def test_strips_that_are_not_there(self, tmp_path: Path, read: Read, tags: dict[int, tuple[int, ...]], reason: str) -> None:
        (tmp_path / "a.tif").write_bytes(tiff(self.PIXELS, 1, tags=tags))
        with pytest.raises(ValueError, match=rf"a\.tif .*{reason}"):
            read(tmp_path / "a.tif")

    @pytest.mark.parametrize("count", [0, 60000])
    def test_bytes_of_a_raw_strip_that_are_wrong_do_no_harm(self, tmp_path: Path, count: int) -> None:
        (tmp_path / "a.tif").write_bytes(tiff(self.PIXELS, 1, tags={279: (count,)}))
        assert np.array_equal(read_labels(tmp_path / "a.tif").numpy(), self.PIXELS)

    def test_a_strip_of_more_rows_than_there_are(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(tiff(self.PIXELS, 1, tags={278: (65535,)}))
        assert np.array_equal(read_labels(tmp_path / "a.tif").numpy(), self.PIXELS)


class TestClaims:
    """A header of an enormous size over few bytes is refused at once; an enormous flat picture is not."""

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
    @pytest.mark.parametrize("progressive", [False, True])
    @pytest.mark.parametrize("size", [(65535, 65535), (30000, 30000), (3000, 3000)])
    def test_of_a_jpeg(self, tmp_path: Path, mode: str, progressive: bool, size: tuple[int, int]) -> None:
        path = save(Image.new(mode, (16, 16)), tmp_path / "a.jpg", progressive=progressive)
        data = bytearray(path.read_bytes())
        start = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", *size[::-1])
        path.write_bytes(data)
        begin = time.perf_counter()
        with pytest.raises(ValueError, match=rf"a\.jpg .*claims to be {size[0]}x{size[1]} pixels, which its {len(data):,} bytes"):
            read_image(path)
        assert time.perf_counter() - begin < 1

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
    @pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"subsampling": "4:2:0"}, {"quality": 1}])
    def test_the_flattest_jpeg_is_let_through(self, tmp_path: Path, mode: str, options: dict[str, object]) -> None:
        picture = Image.new(mode, (2000, 1000))
        check_jpeg(save(picture, tmp_path / "a.jpg", **options).read_bytes())
        assert read_image(tmp_path / "a.jpg").shape == (3, 1000, 2000)

    @pytest.mark.parametrize("read", [read_labels, read_image])
    def test_of_others(self, tmp_path: Path, read: Read) -> None:
        row = [bytes(5)]
        (tmp_path / "a.png").write_bytes(png(60000, 60000, 8, 0, row))
        (tmp_path / "a.tif").write_bytes(tiff(np.zeros((1, 5), np.uint8), 1, tags={256: (60000,), 257: (60000,), 278: (60000,)}))
        (tmp_path / "a.pgm").write_bytes(b"P5 60000 60000 255\n" + bytes(5))
        (tmp_path / "b.pgm").write_bytes(b"P2 60000 60000 20\n" + b"1 " * 5)
        (tmp_path / "a.tga").write_bytes(bytes([0, 0, 3, *bytes(9), *struct.pack("<HH", 60000, 60000), 8, 0]) + bytes(9))
        gif = save(Image.new("P", (5, 5)), tmp_path / "a.gif").read_bytes()
        (tmp_path / "a.gif").write_bytes(gif[:6] + struct.pack("<HH", 60000, 60000) + gif[10:])
        (tmp_path / "a.bmp").write_bytes(
            b"BM" + struct.pack("<IIIIiiHHII", 70, 0, 54, 40, 60000, 60000, 1, 24, 0, 16) + bytes(16) + bytes(16)
        )
        for path in sorted(tmp_path.iterdir()):
            begin = time.perf_counter()
            with pytest.raises(ValueError, match=rf"{path.name} .*claims to be 60000x60000 pixels"):
                read(path)
            assert time.perf_counter() - begin < 1

    @pytest.mark.slow
    def test_an_enormous_flat_picture_is_read(self, tmp_path: Path) -> None:
        for suffix, options in (("png", {}), ("tif", {"compression": "tiff_adobe_deflate"}), ("tif", {"compression": "tiff_lzw"})):
            path = save(Image.new("L", (20_000, 20_000)), tmp_path / f"a.{suffix}", **options)
            assert read_labels(path).shape == (20_000, 20_000)
