"""Images as they are stored: every value of every channel comes back."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from fcn.core.errors import UserError
from fcn.core.images import RGB, ImageKind
from fcn.data import stored
from fcn.data.images import open_image
from fcn.data.stored import open_as, pixels_of, read_stored, stored_kind
from tests.data.painting import painted, png_16_bit_rgb, save

VALUES = np.random.default_rng(0).integers(0, 65536, (6, 9, 5), dtype=np.uint16)
needs_tifffile = pytest.mark.skipif(find_spec("tifffile") is None, reason="needs tifffile")
needs_rasterio = pytest.mark.skipif(find_spec("rasterio") is None, reason="needs rasterio")


def check(path: Path, expected: np.ndarray) -> None:
    kind = stored_kind(path, expected.shape[2])
    assert kind == ImageKind(expected.shape[2], str(expected.dtype))
    found = read_stored(path, kind)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)
    found[0] = 0  # is the caller's to change


@needs_tifffile
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "contig"},
        {"planarconfig": "separate", "compression": "zlib", "predictor": True},
        {"planarconfig": "contig", "byteorder": ">", "tile": (16, 16)},
        {},  # a page for each band
    ],
    ids=["pixels", "planes", "tiles", "pages"],
)
def test_tiff(tmp_path: Path, dtype: str, options: dict[str, object]) -> None:
    import tifffile

    values = VALUES.astype(dtype)
    path = tmp_path / "a.tif"
    options = {key: value for key, value in options.items() if key != "predictor" or dtype != "float32"}  # floats' needs imagecodecs
    first = options.get("planarconfig") != "contig"
    tifffile.imwrite(path, values.transpose(2, 0, 1) if first else values, photometric="minisblack", **options)
    check(path, values)


@needs_tifffile
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_turned_as_its_tag_says(tmp_path: Path, orientation: int) -> None:
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VALUES, photometric="minisblack", planarconfig="contig", extratags=[(274, "H", 1, orientation, True)])
    turned = []
    for band in VALUES.transpose(2, 0, 1):
        picture = Image.fromarray(band.astype(np.int32))
        picture.getexif()[0x0112] = orientation
        turned.append(np.asarray(ImageOps.exif_transpose(picture)))
    check(path, np.stack(turned, 2).astype(np.uint16))


@needs_rasterio
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_compression_that_tifffile_does_not_know(tmp_path: Path) -> None:
    import rasterio

    options = {"driver": "GTiff", "height": 6, "width": 9, "count": 5, "dtype": "uint16", "compress": "lzw", "predictor": 2}
    with rasterio.open(tmp_path / "a.tif", "w", **options) as file:
        file.write(VALUES.transpose(2, 0, 1))
    check(tmp_path / "a.tif", VALUES)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "uint8"])
def test_gray_tiff_needs_no_package(tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "READERS", {})
    check(save(Image.fromarray(VALUES[..., 0].astype(dtype)), tmp_path / "a.tif"), VALUES[..., :1].astype(dtype))


@needs_tifffile
def test_without_the_packages_one_sentence_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack", planarconfig="contig")
    monkeypatch.setattr(stored, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'a\.tif cannot be read: tifffile is not there \(pip install "fcn-toolkit\[tifffile\]"\)'):
        stored_kind(tmp_path / "a.tif", 5)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_arrays(tmp_path: Path, order: tuple[int, ...], dtype: str) -> None:
    np.save(tmp_path / "a.npy", VALUES.astype(dtype).transpose(order))
    check(tmp_path / "a.npy", VALUES.astype(dtype))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "float16", "float64", ">f4"])
def test_other_numbers_become_float32(tmp_path: Path, dtype: str) -> None:
    values = np.arange(-30, 30).clip(0 if dtype == "uint32" else -30).reshape(4, 15).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    check(tmp_path / "a.npy", values[..., None].astype(np.float32))


def test_sixteen_bits_of_a_png_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_16_bit_rgb(VALUES[..., :3]))
    check(tmp_path / "a.png", VALUES[..., :3])
    check(save(Image.fromarray(VALUES[..., 0]), tmp_path / "b.png"), VALUES[..., :1])


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_eight_bits_of_a_png_are_as_they_are(tmp_path: Path, mode: str, channels: int) -> None:
    pixels = VALUES[..., :channels].astype(np.uint8)
    check(save(Image.fromarray(pixels.squeeze(), mode), tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_three_channels_of_eight_bits_are_what_a_viewer_shows(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(Image.fromarray(painted()), tmp_path / f"a.{suffix}", exif=exif)
    assert stored_kind(path, 3) == RGB
    assert torch.equal(read_stored(path, RGB), open_image(path)[:, :])


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(UserError, match=r"5 channels \(its shape is \(6, 9, 5\)\), and images of 4 are expected; .* or channels=5 if all"):
        stored_kind(tmp_path / "a.npy", 4)
    with pytest.raises(UserError, match="holds uint16, and the other images float32"):
        read_stored(tmp_path / "a.npy", ImageKind(5, "float32"))
    with pytest.raises(UserError, match="is an array of NumPy, which is read as it is stored: give channels"):
        open_image(tmp_path / "a.npy")
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    with pytest.raises(UserError, match="an image is numbers"):
        stored_kind(tmp_path / "words.npy", 1)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read as an array"):
        stored_kind(tmp_path / "cut.npy", 5)
    (tmp_path / "cut.tif").write_bytes(b"II*\0" + bytes(40))
    with pytest.raises(UserError, match=r"cut\.tif cannot be read"):
        stored_kind(tmp_path / "cut.tif", 5)


@needs_tifffile
def test_bands_that_are_no_colours_say_how_they_are_used(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", VALUES, photometric="minisblack", planarconfig="contig")
    with pytest.raises(UserError, match="train a network that takes all of them, with channels=5"):
        open_image(tmp_path / "a.tif")


def test_an_array_of_colours_is_an_rgb_image(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", painted())
    assert np.array_equal(open_as(tmp_path / "a.npy", RGB)[:, :].permute(1, 2, 0).numpy(), painted())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "0 channels are not allowed"),
        ((3, "int16"), "the types are uint8, uint16, float32"),
        ((2, "uint8", ((0, 1),)), "ranges has 1 entries for 2 channels"),
        ((1, "uint8", ((1, 1),)), "has its smaller number first"),
        ((2, "uint8", (), (0, 1, 2)), "shows three of the 2 channels"),
    ],
)
def test_kinds_that_there_are_not(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageKind(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "channels", "shape"), [("a.npy", 5, (7, 9, 5)), ("b.npy", 2, (2, 7, 9)), ("c.npy", 1, (7, 9))])
def test_how_many_pixels_an_array_has(tmp_path: Path, name: str, channels: int, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / name, np.zeros(shape, np.uint16))
    assert pixels_of(tmp_path / name, ImageKind(channels, "uint16")) == 63


@needs_tifffile
@pytest.mark.parametrize(  # without options a page for each row
    "options", [{}, {"planarconfig": "contig"}, {"planarconfig": "contig", "bigtiff": True}, {"planarconfig": "separate", "byteorder": ">"}]
)
def test_how_many_pixels_a_tiff_has(tmp_path: Path, options: dict[str, Any]) -> None:
    import tifffile

    shape = (5, 7, 9) if options.get("planarconfig") == "separate" else (7, 9, 5)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint16), **options)
    assert pixels_of(tmp_path / "a.tif", ImageKind(5, "uint16")) == 63


def test_how_many_pixels_a_picture_has(tmp_path: Path) -> None:
    Image.new("L", (9, 7)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY")
    assert [pixels_of(tmp_path / name, RGB) for name in ("a.png", "b.png", "c.npy", "d.png")] == [63, 0, 0, 0]
