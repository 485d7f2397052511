"""Photographs of uncommon kinds (16 bits, bands beside the colours, several pages): read as they are meant, refused, or said."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, features

from fcn.data import opening
from fcn.data.images import Shown, read_image
from fcn.data.labelmaps import read_labels
from tests.data.painting import chunk, hwc, painted, png, save, tiff


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_said", set())


class TestDeepGray:
    """Values of 10 to 16 bits against the levels that their range gives, and what is said where the range is not known."""

    VALUES = np.array([[0, 1, 2000, 4095]], np.uint16)
    LEVELS = np.rint(VALUES / 4095 * 255)[0].tolist()

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("tag", [281, 341])
    def test_the_largest_value_of_a_tiff_is_its_range(self, tmp_path: Path, order: str, tag: int, recwarn: pytest.WarningsRecorder) -> None:
        (tmp_path / "a.tif").write_bytes(tiff(self.VALUES, 1, order, tags={tag: (4095,)}))
        assert hwc(read_image(tmp_path / "a.tif"))[0, :, 0].tolist() == self.LEVELS
        assert not recwarn.list

    def test_twelve_bits_of_a_tiff(self, tmp_path: Path) -> None:
        packed = bytes([0x00, 0x00, 0x01, 0x7D, 0x0F, 0xFF])  # 0x000, 0x001, 0x7d0, 0xfff
        (tmp_path / "a.tif").write_bytes(tiff(self.VALUES, 1, bits=12, data=packed))
        assert hwc(read_image(tmp_path / "a.tif"))[0, :, 0].tolist() == self.LEVELS

    @pytest.mark.parametrize("scaled", [False, True])
    def test_significant_bits_of_a_png(self, tmp_path: Path, scaled: bool, recwarn: pytest.WarningsRecorder) -> None:
        values = np.array([[0, 16, 1024, 4080]], np.uint16) if scaled else self.VALUES  # as the standard asks; as some write it
        (tmp_path / "a.png").write_bytes(png(4, 1, 16, 0, [values.astype(">u2").tobytes()], more=chunk(b"sBIT", bytes([12]))))
        levels = np.rint(values / 65535 * 255)[0].tolist() if scaled else self.LEVELS
        assert hwc(read_image(tmp_path / "a.png"))[0, :, 0].tolist() == levels
        assert len(recwarn.list) == scaled

    @pytest.mark.parametrize("largest", [1023, 4095, 16383])
    @pytest.mark.parametrize("color", [False, True])
    def test_a_range_that_is_not_known_is_said_once(self, tmp_path: Path, largest: int, color: bool) -> None:
        values = np.array([[0, 100, largest]], np.uint16)
        pixels = np.repeat(values[..., None], 3, axis=2)
        for name in ("a", "b"):
            (tmp_path / f"{name}.tif").write_bytes(tiff(pixels if color else values, 2 if color else 1))
        with pytest.warns(UserWarning, match=r"a\.tif has 16 bits a channel, but no value above") as said:
            first, second = (hwc(read_image(tmp_path / f"{name}.tif")) for name in "ab")
        assert len(said) == 1
        assert np.array_equal(first, second)
        assert np.abs(first[0, :, 0] - values[0] / 257).max() <= 1

    @pytest.mark.parametrize("values", [[0, 16384], [0, 0]])
    def test_a_range_that_is_used_is_not_spoken_of(self, tmp_path: Path, values: list[int], recwarn: pytest.WarningsRecorder) -> None:
        read_image(save(Image.fromarray(np.array([values], np.uint16)), tmp_path / "a.png"))
        assert not recwarn.list

    def test_white_is_zero(self, tmp_path: Path) -> None:
        gray = np.array([[0, 1, 100, 254, 255]], np.uint8)
        for name, pixels in (("8.tif", gray), ("16.tif", gray.astype(np.uint16) * 257)):
            (tmp_path / name).write_bytes(tiff(pixels, 0))
            assert hwc(read_image(tmp_path / name))[0, :, 0].tolist() == (255 - gray)[0].tolist()

    @pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u4", "f4"])
    def test_no_known_range(self, tmp_path: Path, dtype: str) -> None:
        kind = {"u": 1, "i": 2, "f": 3}[dtype[0]]
        (tmp_path / "a.tif").write_bytes(tiff(np.zeros((2, 2), dtype), 1, tags={339: (kind,)}))
        with pytest.raises(ValueError, match=r"a\.tif .*unknown range"):
            read_image(tmp_path / "a.tif")

    @pytest.mark.parametrize(("bits", "bands"), [(10, 1), (14, 1), (64, 1), (32, 3)])
    def test_what_is_not_read_is_described(self, tmp_path: Path, bits: int, bands: int) -> None:
        pixels = np.zeros((2, 2, bands), np.uint8)
        (tmp_path / "a.tif").write_bytes(tiff(pixels, 1 if bands == 1 else 2, bits=bits, data=bytes(bits * bands)))
        with pytest.raises(ValueError, match=rf"a\.tif .*a TIFF of {bands} bands? of {bits} bits"):
            read_image(tmp_path / "a.tif")


class TestBands:
    PIXELS = np.arange(2 * 3 * 6, dtype=np.uint8).reshape(2, 3, 6) * 7

    @pytest.mark.parametrize("dtype", ["u1", "u2"])
    @pytest.mark.parametrize(("bands", "extra"), [(4, ()), (4, (0,)), (5, (0, 0)), (6, (0, 0, 0)), (5, (2, 0)), (5, (0, 2))])
    def test_beside_rgb_are_refused_unless_they_are_alpha(self, tmp_path: Path, dtype: str, bands: int, extra: tuple[int, ...]) -> None:
        tags = {338: extra} if extra else {}
        (tmp_path / "a.tif").write_bytes(tiff(self.PIXELS[..., :bands].astype(dtype), 2, tags=tags))
        with pytest.raises(ValueError, match=rf"a\.tif .*{bands} bands"):
            read_image(tmp_path / "a.tif")
        with suppress(UnidentifiedImageError), Image.open(tmp_path / "a.tif") as picture, pytest.raises(ValueError, match=f"{bands} bands"):
            Shown(picture)

    @pytest.mark.parametrize(("photometric", "bands", "extra"), [(1, 2, (0,)), (1, 4, (0, 0, 0)), (5, 5, (0,))])
    def test_beside_gray_and_cmyk(self, tmp_path: Path, photometric: int, bands: int, extra: tuple[int, ...]) -> None:
        (tmp_path / "a.tif").write_bytes(tiff(self.PIXELS[..., :bands], photometric, tags={338: extra}))
        with pytest.raises(ValueError, match=rf"a\.tif .*{bands} bands"):
            read_image(tmp_path / "a.tif")

    @pytest.mark.parametrize("premultiplied", [False, True])
    @pytest.mark.parametrize("bands", [2, 4])
    def test_alpha_shows_white(self, tmp_path: Path, bands: int, premultiplied: bool) -> None:
        pixels = np.array([[[10, 20, 30, 255], [200, 100, 0, 0], [60, 40, 20, 51]]], np.uint8)[..., -bands:]  # opaque, clear, a fifth
        stored = pixels.copy()
        if premultiplied:
            stored[..., :-1] = np.rint(pixels[..., :-1] * (pixels[..., -1:] / 255))
        (tmp_path / "a.tif").write_bytes(tiff(stored, 1 if bands == 2 else 2, tags={338: (1 if premultiplied else 2,)}))
        share = pixels[..., -1:] / 255
        expected = pixels[..., :-1] * share + 255 * (1 - share)
        assert np.abs(hwc(read_image(tmp_path / "a.tif")) - expected).max() <= 1

    def test_a_translucent_tiff_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(tiff(self.PIXELS[..., :4], 2, tags={338: (2,)}))
        with pytest.warns(UserWarning, match=r"a\.tif marks its last band as transparency"):
            read_image(tmp_path / "a.tif")

    def test_of_jpeg_2000(self, tmp_path: Path) -> None:
        if not features.check("jpg_2000"):
            pytest.skip("this Pillow reads no JPEG 2000")
        picture = Image.fromarray(np.dstack([painted(), np.full((24, 32), 255, np.uint8)]))
        assert np.array_equal(hwc(read_image(save(picture, tmp_path / "a.jp2"))), painted())
        with pytest.raises(ValueError, match=r"a\.j2k holds 4 bands"):  # the bare codestream has no place to say what they are
            read_image(save(picture, tmp_path / "a.j2k"))
        assert np.array_equal(hwc(read_image(save(picture.convert("RGB"), tmp_path / "b.j2k"))), painted())

    @pytest.mark.parametrize("mode", ["La", "RGBa", "LA", "RGBA", "PA", "LAB", "HSV", "YCbCr", "CMYK", "I;16B", "1"])
    def test_every_mode_is_shown(self, mode: str) -> None:
        assert Shown(Image.new(mode, (3, 2)))[:, :].shape == (3, 2, 3)


class TestPages:
    def test_of_a_tiff_are_refused(self, tmp_path: Path) -> None:
        first, *others = (Image.new("RGB", (5, 4), color) for color in ("red", "green", "blue"))
        with pytest.raises(ValueError, match=r"a\.tif holds 3 pages"):
            read_image(save(first, tmp_path / "a.tif", save_all=True, append_images=others))

    @pytest.mark.parametrize("first", [True, False])
    @pytest.mark.parametrize("read", [read_image, read_labels])
    def test_a_reduced_copy_is_none(self, tmp_path: Path, first: bool, read: Callable[[Path], torch.Tensor]) -> None:
        page, copy = Image.new("L", (8, 6), 7), Image.new("L", (4, 3), 7)
        pages = (copy, page) if first else (page, copy)
        path = tmp_path / "a.tif"
        with TiffImagePlugin.AppendingTiffWriter(path, new=True) as file:
            for picture in pages:
                picture.save(file, format="TIFF", tiffinfo={254: 1} if picture is copy else {})
                file.newFrame()
        image = read(path)
        assert image.shape[-2:] == (6, 8)
        assert (image == 7).all()

    def test_an_animation_is_said_once(self, tmp_path: Path) -> None:
        first, second = (Image.new("RGB", (5, 4), color) for color in ("red", "blue"))
        paths = [save(first, tmp_path / f"{name}.png", save_all=True, append_images=[second]) for name in "ab"]
        with pytest.warns(UserWarning, match=r"a\.png holds 2 frames: the first is used") as said:
            shown = [hwc(read_image(path)) for path in paths]
        assert len(said) == 1
        assert (np.stack(shown) == [255, 0, 0]).all()

    def test_what_a_phone_adds_is_none(self, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
        path = save(Image.fromarray(painted()), tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))])
        assert read_image(path).shape == (3, 24, 32)
        assert not [warning for warning in recwarn.list if "frames" in str(warning.message)]
