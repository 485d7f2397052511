"""Readers of pictures against what was painted into them."""

import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features

from fcn.data import images
from fcn.data.images import IMAGE_SUFFIXES, Shown, exif_orientation, open_image, read_image
from fcn.data.labelmaps import read_labels
from fcn.tools.measure import measured
from tests.data.painting import hwc, painted, png_16_bit_rgb, save


class TestImages:
    @pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
    def test_every_suffix_that_is_listed(self, tmp_path: Path, suffix: str) -> None:
        if (suffix == ".avif" and not features.check("avif")) or (suffix in (".jp2", ".j2k") and not features.check("jpg_2000")):
            pytest.skip("this Pillow does not read it")
        picture = Image.fromarray(painted()).convert({".pgm": "L", ".pbm": "1"}.get(suffix, "RGB"))
        format = {".jfif": "JPEG", ".jpe": "JPEG"}.get(suffix)
        image = hwc(read_image(save(picture, tmp_path / f"a{suffix}", format=format)))
        assert np.abs(image - np.asarray(picture.convert("RGB")).astype(int)).mean() < (20 if suffix == ".gif" else 5)

    @pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "webp"])
    def test_lossless_files_come_back_exactly(self, tmp_path: Path, suffix: str) -> None:
        options = {"lossless": True} if suffix == "webp" else {}
        path = save(Image.fromarray(painted()), tmp_path / f"a.{suffix}", **options)
        assert np.array_equal(hwc(read_image(path)), painted())

    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_jpeg_equals_pillow(self, tmp_path: Path, mode: str, progressive: bool) -> None:
        path = save(Image.fromarray(painted()).convert(mode), tmp_path / "a.jpg", progressive=progressive)
        expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert np.abs(hwc(read_image(path)) - expected).max() <= 1

    @pytest.mark.parametrize("orientation", [1, 6])
    def test_jpeg_where_torchvision_has_no_decoder(self, tmp_path: Path, orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(Image.fromarray(painted()), tmp_path / "a.jpg", exif=exif)
        fast = read_image(path)
        monkeypatch.delattr("torchvision.io.decode_jpeg")
        assert (read_image(path).int() - fast.int()).abs().max() <= 1

    def test_the_name_does_not_decide(self, tmp_path: Path) -> None:
        path = save(Image.fromarray(painted()), tmp_path / "really_a_png.jpg", format="PNG")
        assert np.array_equal(hwc(read_image(path)), painted())

    @pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
    def test_modes_without_transparent_pixels(self, tmp_path: Path, mode: str) -> None:
        picture = Image.fromarray(painted()).convert(mode)
        path = save(picture, tmp_path / "a.png")
        assert np.array_equal(hwc(read_image(path)), np.asarray(picture.convert("RGB")))

    def test_transparency_shows_white(self, tmp_path: Path) -> None:
        pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
        image = hwc(read_image(save(Image.fromarray(pixels, "RGBA"), tmp_path / "a.png")))
        assert image[0].tolist() == [[10, 20, 30], [255, 255, 255], [127, 127, 127]]

    def test_transparent_palette_entry_shows_white(self, tmp_path: Path) -> None:
        picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
        picture.putpalette([255, 0, 0, 0, 255, 0])
        image = hwc(read_image(save(picture, tmp_path / "a.png", transparency=1)))
        assert image[0].tolist() == [[255, 0, 0], [255, 255, 255]]

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_sixteen_bits_are_scaled(self, tmp_path: Path, suffix: str) -> None:
        gray = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
        image = hwc(read_image(save(Image.fromarray(gray), tmp_path / f"a.{suffix}")))
        assert image[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
        assert (image == image[..., :1]).all()

    def test_sixteen_bit_colour(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(png_16_bit_rgb(painted().astype(np.uint16) * 257))
        assert np.array_equal(hwc(read_image(path)), painted())

    @pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied(self, tmp_path: Path, suffix: str, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(Image.fromarray(painted()), tmp_path / f"a.{suffix}", exif=exif)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(path))).astype(int)
        assert expected.shape[:2] == ((32, 24) if orientation >= 5 else (24, 32))
        assert np.abs(hwc(read_image(path)) - expected).max() <= 1
        assert exif_orientation(path) == orientation

    @pytest.mark.parametrize("orientation", [0, 9])
    def test_an_orientation_that_is_none(self, tmp_path: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(Image.fromarray(painted()), tmp_path / "a.png", exif=exif)
        assert exif_orientation(path) == 1
        assert np.array_equal(hwc(read_image(path)), painted())

    def test_one_pixel(self, tmp_path: Path) -> None:
        for suffix in ("png", "jpg"):
            path = save(Image.new("RGB", (1, 1), (255, 255, 255)), tmp_path / f"a.{suffix}")
            assert read_image(path).flatten().tolist() == [255, 255, 255]

    def test_result_may_be_written_to(self, tmp_path: Path) -> None:
        path = save(Image.fromarray(painted()).convert("L"), tmp_path / "a.png")
        image = read_image(path)
        image[0] = 0
        assert image[1].any()


class TestRows:
    """Rows of a picture are those of all of it, whatever it holds and however it lies."""

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_are_those_of_the_whole(self, tmp_path: Path, mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
        picture = Image.fromarray(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80)
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"transparency": bytes(range(256))} if mode == "P" else {}
        path = save(
            picture if mode == "I;16" else Image.fromarray(painted()).convert(mode),
            tmp_path / ("a.tif" if mode == "CMYK" else "a.png"),
            exif=exif,
            **options,
        )
        whole = read_image(path)
        rows = open_image(path)
        assert isinstance(rows, Shown)
        assert rows.shape == whole.shape
        for first, last in ((0, 1), (5, 12), (23, 99), (3, 3)):
            assert torch.equal(rows[:, first:last], whole[:, first:last])
        monkeypatch.setattr(images, "_BAND", 100)
        assert torch.equal(rows[:, 1:], whole[:, 1:])
        assert torch.equal(read_image(path), whole)

    @pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
    @pytest.mark.filterwarnings("ignore:.* frames")
    def test_are_of_the_first_frame(self, tmp_path: Path, suffix: str) -> None:
        first, second = (Image.new("RGB", (5, 4), color) for color in ("red", "blue"))
        rows = open_image(
            save(first, tmp_path / f"a.{suffix}", save_all=True, append_images=[second], **({"lossless": True} if suffix == "webp" else {}))
        )
        assert rows[:, 1:3].unique(dim=2).flatten(1)[:, 0].tolist() == [255, 0, 0]

    def test_of_jpeg(self, tmp_path: Path) -> None:
        path = save(Image.fromarray(painted()), tmp_path / "a.jpg")
        assert torch.equal(open_image(path)[:, 3:9], read_image(path)[:, 3:9])

    @pytest.mark.parametrize("size", [(1, 1), (50_000, 1), (1, 50_000)])
    def test_of_any_shape(self, tmp_path: Path, size: tuple[int, int]) -> None:
        rows = open_image(save(Image.new("RGB", size, (1, 2, 3)), tmp_path / "a.png"))
        assert rows.shape == (3, size[1], size[0])
        assert rows[:, -1:].unique(dim=2).flatten().tolist() == [1, 2, 3]

    def test_cost_no_second_picture(self, tmp_path: Path) -> None:
        path = save(Image.new("RGB", (3000, 3000)), tmp_path / "a.png")
        found = measured({rows: (reading, (path, rows)) for rows in (100, 3000)}, turns=1)
        assert found[100].memory < 5.5 * 3000**2 < found[3000].memory  # Pillow holds 4 bytes a pixel


def reading(path: Path, rows: int) -> Callable[[], None]:
    def call() -> None:
        image = open_image(path)
        for first in range(0, image.shape[1], rows):
            image[:, first : first + rows]

    return call


class TestBrokenFiles:
    @pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif"])
    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    @pytest.mark.parametrize("keep", [0, 1, 12, 0.5, 0.9])
    def test_truncated(self, tmp_path: Path, suffix: str, keep: float) -> None:
        rng = np.random.default_rng(0)
        path = save(Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)), tmp_path / f"cut.{suffix}")
        data = path.read_bytes()
        path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
        with pytest.raises(ValueError, match=rf"cut\.{suffix}"):
            read_image(path)

    def test_corrupted_png_does_not_end_the_process(self, tmp_path: Path) -> None:
        data = bytearray(save(Image.fromarray(painted()), tmp_path / "bad.png").read_bytes())
        path = tmp_path / "bad.png"
        messages = []
        for position in range(8, len(data), 3):
            broken = data.copy()
            broken[position] ^= 0xFF
            path.write_bytes(broken)
            try:
                assert read_image(path).shape[0] == 3
            except ValueError as error:
                messages.append(str(error))
        assert len(messages) > 20
        assert all("bad.png" in message for message in messages)

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_text("hello")
        with pytest.raises(ValueError, match=r"a\.png .*no picture of a known format"):
            read_image(tmp_path / "a.png")

    def test_missing(self, tmp_path: Path) -> None:
        for read in (read_image, read_labels):
            with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
                read(tmp_path / "nowhere.png")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="cannot be read"):
            read_image(tmp_path)

    def test_float_tiff(self, tmp_path: Path) -> None:
        path = save(Image.fromarray(np.zeros((2, 2), np.float32)), tmp_path / "a.tif")
        with pytest.raises(ValueError, match="unknown range"):
            read_image(path)


class TestSizeLimit:
    @pytest.mark.parametrize("suffix", ["png", "tif", "gif"])
    def test_is_lifted_and_given_back(self, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
        path = save(Image.fromarray(painted()).convert("P" if suffix == "gif" else "RGB"), tmp_path / f"a.{suffix}")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(Image.DecompressionBombError):
            Image.open(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_image(path).shape == (3, 24, 32)
        assert Image.MAX_IMAGE_PIXELS == 100

    def test_is_given_back_after_an_error_and_among_threads(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        good = save(Image.fromarray(painted(200, 300)), tmp_path / "a.png")
        bad = tmp_path / "b.png"
        bad.write_bytes(good.read_bytes()[:100])
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        failures: list[Exception] = []

        def work(path: Path) -> None:
            for _ in range(20):
                try:
                    read_image(path)
                except ValueError as error:
                    if path is good:
                        failures.append(error)

        threads = [threading.Thread(target=work, args=(path,)) for path in (good, bad, good, bad)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert Image.MAX_IMAGE_PIXELS == 100
