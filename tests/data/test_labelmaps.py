"""Readers of label maps against the indices that were written into them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcn.data.labelmaps import read_labels
from tests.data.painting import painted, png_of_few_bits, save, tiff


class TestLabels:
    INDICES = np.array([[0, 1, 2], [20, 255, 3]], np.uint8)

    def test_palette_gives_indices(self, tmp_path: Path) -> None:
        picture = Image.fromarray(self.INDICES, "P")
        picture.putpalette([(i * 37) % 256 for i in range(768)])
        path = save(picture, tmp_path / "a.png")
        assert np.array_equal(read_labels(path).numpy(), self.INDICES)

    @pytest.mark.parametrize(
        ("dtype", "suffix"), [("u1", "png"), ("u1", "bmp"), ("u1", "tif"), ("u2", "png"), ("u2", "tif"), ("i4", "tif")]
    )
    def test_gray_of_any_width(self, tmp_path: Path, dtype: str, suffix: str) -> None:
        path = save(Image.fromarray(self.INDICES.astype(dtype)), tmp_path / f"a.{suffix}")
        labels = read_labels(path)
        assert labels.dtype == torch.uint8
        assert np.array_equal(labels.numpy(), self.INDICES)

    @pytest.mark.parametrize("bits", [1, 2, 4])
    @pytest.mark.parametrize("color_type", [0, 3])
    def test_few_bits_are_not_stretched(self, tmp_path: Path, bits: int, color_type: int) -> None:
        indices = np.arange(2**bits, dtype=np.uint8).reshape(1, -1)
        path = tmp_path / "a.png"
        path.write_bytes(png_of_few_bits(indices, bits, color_type))
        assert np.array_equal(read_labels(path).numpy(), indices)

    def test_values_that_do_not_fit(self, tmp_path: Path) -> None:
        path = save(Image.fromarray(np.array([[0, 300]], np.uint16)), tmp_path / "a.png")
        with pytest.raises(ValueError, match=r"a\.png holds values from 0 to 300"):
            read_labels(path)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
    def test_colours_are_refused(self, tmp_path: Path, mode: str) -> None:
        path = save(Image.fromarray(painted()).convert(mode), tmp_path / "a.png")
        with pytest.raises(ValueError, match=r"a\.png holds colours .* convert it to a palette or grayscale PNG"):
            read_labels(path)

    def test_jpeg_is_refused(self, tmp_path: Path) -> None:
        path = save(Image.fromarray(self.INDICES), tmp_path / "a.jpg")
        with pytest.raises(ValueError, match=r"a\.jpg is a JPEG"):
            read_labels(path)

    @pytest.mark.parametrize(("suffix", "compression"), [("webp", ""), ("jp2", ""), ("avif", ""), ("tif", "jpeg"), ("tif", "webp")])
    def test_lossy_formats_are_refused(self, tmp_path: Path, suffix: str, compression: str) -> None:
        path = tmp_path / f"a.{suffix}"
        try:
            Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path, **({"compression": compression} if compression else {}))
        except (OSError, KeyError, ValueError):
            pytest.skip("this Pillow does not write it")
        with pytest.raises(ValueError, match=rf"a\.{suffix} is .*which may smear the class indices"):
            read_labels(path)

    @pytest.mark.parametrize("suffix", ["tif", "png", "gif"])
    def test_several_pages_are_refused(self, tmp_path: Path, suffix: str) -> None:
        first, *others = (Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (0, 1, 2))
        for index, picture in enumerate((first, *others)):
            picture.putpixel((index, 0), 200)  # GIF leaves out frames that are alike
        path = save(first, tmp_path / f"a.{suffix}", save_all=True, append_images=others)
        with pytest.raises(ValueError, match=rf"a\.{suffix} holds 3 (pages|frames), and a label map is one picture"):
            read_labels(path)

    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".gif", ".pgm", ".pbm", ".pnm", ".tga"])
    def test_every_suffix_that_is_listed(self, tmp_path: Path, suffix: str) -> None:
        indices = {".pbm": np.array([[0, 1, 1, 0]], np.uint8), ".gif": np.arange(256, dtype=np.uint8)[None]}.get(suffix, self.INDICES)
        picture = Image.fromarray(indices * 255).convert("1") if suffix == ".pbm" else Image.fromarray(indices)
        assert np.array_equal(read_labels(save(picture, tmp_path / f"a{suffix}")).numpy(), indices)

    @pytest.mark.parametrize("values", [[0, 255, 0], [0, 1, 2], [0, 0, 0]])
    def test_a_gif_whose_numbers_are_what_it_shows(self, tmp_path: Path, values: list[int]) -> None:
        path = save(Image.fromarray(np.array([values], np.uint8)), tmp_path / "a.gif")  # the encoder makes 0, 1 of 0, 255
        assert read_labels(path).flatten().tolist() == [min(value, 1) if 255 in values else value for value in values]

    @pytest.mark.parametrize("palette", [True, False])
    def test_a_gif_that_may_be_numbered_anew(self, tmp_path: Path, palette: bool) -> None:
        picture = Image.fromarray(np.array([[0, 20, 255]], np.uint8))
        if palette:
            picture.putpalette([(i * 37) % 256 for i in range(768)])
        path = save(picture, tmp_path / "a.gif")
        assert np.asarray(Image.open(path)).tolist() == [[0, 1, 2]]
        with pytest.raises(ValueError, match=r"a\.gif is a GIF of colours"):
            read_labels(path)

    @pytest.mark.parametrize("maximum", [20, 255, 300, 65535])
    @pytest.mark.parametrize("plain", [False, True])
    def test_a_pgm_is_not_stretched(self, tmp_path: Path, maximum: int, plain: bool) -> None:
        indices = [0, 3, 20, 7]
        values = " ".join(map(str, indices)).encode() if plain else np.array(indices, "u1" if maximum < 256 else ">u2").tobytes()
        (tmp_path / "a.pgm").write_bytes(b"P%d 4 1 %d\n" % (2 if plain else 5, maximum) + values)
        assert read_labels(tmp_path / "a.pgm").flatten().tolist() == indices

    def test_a_pgm_with_values_beyond_its_largest(self, tmp_path: Path) -> None:
        (tmp_path / "a.pgm").write_bytes(b"P5 4 1 20\n" + bytes([0, 3, 255, 7]))
        with pytest.raises(ValueError, match=r"a\.pgm holds the value 255, and says that its largest is 20"):
            read_labels(tmp_path / "a.pgm")

    def test_what_is_no_index_is_told_apart(self, tmp_path: Path) -> None:
        for reason, pixels, photometric, tags in (
            ("holds fractions", np.zeros((2, 2), np.float32), 1, {339: (3,)}),
            ("holds signed values", np.zeros((2, 2), np.int8), 1, {339: (2,)}),
            ("counts from white", np.zeros((2, 2), np.uint8), 0, {}),
            ("counts from white", np.zeros((2, 2), np.uint16), 0, {}),
            ("holds 2 bands", np.zeros((2, 2, 2), np.uint8), 1, {338: (0,)}),
            ("holds values from -3", np.full((2, 2), -3, np.int16), 1, {339: (2,)}),
        ):
            (tmp_path / "a.tif").write_bytes(tiff(pixels, photometric, tags=tags))
            with pytest.raises(ValueError, match=rf"a\.tif {reason}"):
                read_labels(tmp_path / "a.tif")

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("bits", [4, 8, 16])
    def test_gray_tiff_of_either_order(self, tmp_path: Path, order: str, bits: int) -> None:
        indices = np.array([[0, 3, 15, 7]], np.uint16 if bits == 16 else np.uint8)
        (tmp_path / "a.tif").write_bytes(tiff(indices, 1, order, bits, b"\x03\xf7" if bits == 4 else b""))
        assert np.array_equal(read_labels(tmp_path / "a.tif").numpy(), indices)

    def test_broken(self, tmp_path: Path) -> None:
        path = save(Image.fromarray(self.INDICES), tmp_path / "a.png")
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(ValueError, match=r"a\.png cannot be decoded"):
            read_labels(path)

    def test_sbd(self, tmp_path: Path) -> None:
        savemat = pytest.importorskip("scipy.io").savemat
        savemat(tmp_path / "a.mat", {"GTcls": {"Segmentation": self.INDICES, "Boundaries": 0}})
        assert np.array_equal(read_labels(tmp_path / "a.mat").numpy(), self.INDICES)
        savemat(tmp_path / "b.mat", {"GTinst": 1})
        (tmp_path / "c.mat").write_bytes(b"nothing of the kind")
        for name in ("b.mat", "c.mat"):
            with pytest.raises(ValueError, match=rf"{name} cannot be read as a class map of SBD"):
                read_labels(tmp_path / name)
        for value in (300, -1, 0.5):  # which would become 44, 255 and 0
            savemat(tmp_path / "d.mat", {"GTcls": {"Segmentation": np.array([[1, value]])}})
            with pytest.raises(ValueError, match=r"d\.mat cannot be read .* holds more than whole numbers from 0 to 255"):
                read_labels(tmp_path / "d.mat")

    def test_sbd_without_scipy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.mat").write_bytes(b"x")
        monkeypatch.setitem(sys.modules, "scipy.io", None)
        with pytest.raises(ValueError, match="pip install scipy"):
            read_labels(tmp_path / "a.mat")
