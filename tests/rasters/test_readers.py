"""Readers: every kind of file gives the pixels that were written into it, whole and in pieces, or one sentence."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fcn
from fcn.data.images import read_image
from fcn.rasters import opening
from fcn.rasters.rows import Rows
from fcn.tools.predict.rasters import state_of

rasterio = pytest.importorskip("rasterio")
tifffile = pytest.importorskip("tifffile")
zarr = pytest.importorskip("zarr")

warnings.filterwarnings("ignore", message="Dataset has no geotransform")


def values(*shape, dtype="uint8"):
    return np.random.default_rng(0).integers(1, 250, shape).astype(dtype)


def gdal(path, pixels, **settings):
    settings = {"driver": "GTiff", "tiled": True, "blockxsize": 64, "blockysize": 48, "compress": "deflate"} | settings
    count, height, width = pixels.shape
    with rasterio.open(path, "w", count=count, height=height, width=width, dtype=pixels.dtype, **settings) as file:
        file.write(pixels)


def by_tifffile(path, pixels, **settings):
    tifffile.imwrite(path, pixels, **settings)


def by_zarr(path, pixels, **settings):
    zarr.open(path, mode="w", shape=pixels.shape, dtype=pixels.dtype, chunks=(pixels.shape[0], 40, 50), **settings)[...] = pixels


def ome_zarr(path, pixels, **settings):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for level, step in enumerate((1, 2)):
        small = pixels[:, ::step, ::step]
        group.create_array(str(level), shape=(1, *small.shape), dtype=pixels.dtype, chunks=(1, 1, 32, 32))[...] = small[None]
    axes = [{"name": name} for name in "tcyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]


def pyramid(path, pixels, **settings):
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(pixels, subifds=1, tile=(32, 48), metadata={"axes": "CYX"}, photometric="minisblack")
        file.write(pixels[:, ::2, ::2], subfiletype=1, tile=(32, 48), photometric="minisblack")


FILES = {
    "tiled.tif": (gdal, {}),
    "striped.tif": (gdal, {"tiled": False, "blockysize": 7, "blockxsize": 331}),
    "planes.tif": (gdal, {"interleave": "band"}),
    "big.tif": (gdal, {"BIGTIFF": "YES"}),
    "cloud.tif": (gdal, {"driver": "COG", "tiled": None, "blockxsize": None, "blockysize": None}),
    "scene.jp2": (gdal, {"driver": "JP2OpenJPEG", "REVERSIBLE": "YES", "QUALITY": "100", "tiled": None, "compress": None}),
    "pages.btf": (by_tifffile, {"bigtiff": True, "photometric": "minisblack", "metadata": {"axes": "CYX"}}),
    "planar.btf": (by_tifffile, {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 64), "compression": "zlib"}),
    "strips.btf": (by_tifffile, {"photometric": "minisblack", "rowsperstrip": 11, "compression": "lzw", "metadata": {"axes": "CYX"}}),
    "one.ome.tif": (by_tifffile, {"photometric": "minisblack", "ome": True, "metadata": {"axes": "CYX"}}),
    "levels.ome.tif": (pyramid, {}),
    "array.zarr": (by_zarr, {}),
    "levels.zarr": (ome_zarr, {}),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_all_pixels_of_all_pieces(name, dtype, tmp_path):
    write, settings = FILES[name]
    if name == "scene.jp2" and dtype == "float32":
        pytest.skip("JPEG 2000 has no floating point")
    pixels, path = values(3, 203, 331, dtype=dtype), tmp_path / name
    write(path, pixels, **settings)
    with fcn.open_raster(path, bands=[3, 1]) as raster:
        assert (raster.shape, raster.dtype) == ((2, 203, 331), dtype)
        assert 1 <= raster.block[0] <= 203
        assert 1 <= raster.block[1] <= 331
        expected = torch.from_numpy(pixels[[2, 0]])
        assert torch.equal(raster.read(0, 0, 203, 331), expected)
        for top, left, height, width in ((0, 0, 1, 1), (202, 330, 1, 1), (31, 47, 2, 2), (17, 100, 150, 131)):
            assert torch.equal(raster.read(top, left, height, width), expected[:, top : top + height, left : left + width])
        rows = Rows(raster)
        assert torch.equal(torch.cat([rows[:, first : first + 9] for first in range(0, 203, 9)], 1), expected)
        assert torch.equal(rows[:, 10:90, 5:77], expected[:, 10:90, 5:77])


def test_each_block_is_decoded_once_on_the_way_down(tmp_path):
    gdal(tmp_path / "a.tif", values(3, 500, 700))
    raster, asked = fcn.open_raster(tmp_path / "a.tif"), []
    read = raster.read
    raster.read = lambda top, left, height, width: asked.append((top, top + height)) or read(top, left, height, width)
    rows = Rows(raster)
    rows.step = 48
    for first in range(0, 500, 5):
        rows[:, first : first + 5]
    ends = [0, *(end for _, end in asked)]
    assert [first for first, _ in asked] == ends[:-1]
    assert ends[-1] == 500


def test_place_levels_and_pages(tmp_path):
    from rasterio.transform import from_origin

    pixels = values(4, 120, 90, dtype="int16")
    gdal(tmp_path / "a.tif", pixels, crs="EPSG:32632", transform=from_origin(5e5, 5e6, 10, 20), nodata=-9999, blockxsize=16, blockysize=16)
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.build_overviews([2], rasterio.enums.Resampling.nearest)
    with fcn.open_raster(tmp_path / "a.tif") as raster:
        assert raster.dtype == "float32"
        assert raster.nodata == (-9999.0,) * raster.channels
        assert raster.georeference.transform == (10, 0, 5e5, 0, -20, 5e6)
        assert "UTM zone 32N" in raster.georeference.crs
    with fcn.open_raster(tmp_path / "a.tif", level=1) as raster:
        assert raster.shape[1:] == (60, 45)
        assert raster.georeference.transform == (20, 0, 5e5, 0, -40, 5e6)
    by_tifffile(tmp_path / "stack.tif", values(5, 30, 40), photometric="minisblack")
    by_tifffile(tmp_path / "stack.btf", values(5, 30, 40), photometric="minisblack", metadata={"axes": "ZYX"})
    for name in ("stack.tif", "stack.btf"):
        with fcn.open_raster(tmp_path / name, page=3) as raster:
            assert torch.equal(raster.read(0, 0, 30, 40), torch.from_numpy(values(5, 30, 40)[3:4]))
    for name in ("levels.ome.tif", "levels.zarr"):
        FILES[name][0](tmp_path / name, values(3, 101, 77))
        with fcn.open_raster(tmp_path / name, level=1) as raster:
            assert torch.equal(raster.read(0, 0, 51, 39), torch.from_numpy(values(3, 101, 77)[:, ::2, ::2]))


def test_what_is_no_data(tmp_path):
    pixels = values(3, 40, 50)
    pixels[:, :10] = 0
    pixels[0, 20] = 0  # in one band alone it is a value
    gdal(tmp_path / "a.tif", pixels, nodata=0)
    alpha = np.full((1, 40, 50), 255, np.uint8)
    alpha[:, :, 30:] = 0
    gdal(tmp_path / "b.tif", np.concatenate([pixels, alpha]), photometric="RGB", ALPHA="YES")
    by_tifffile(tmp_path / "b.btf", np.concatenate([pixels, alpha]).transpose(1, 2, 0), photometric="rgb", extrasamples=["unassalpha"])
    floats = pixels.astype(np.float32)
    floats[1, :, 7] = np.nan
    gdal(tmp_path / "c.tif", floats)
    expected = {"a.tif": ~(pixels == 0).all(0), "b.tif": alpha[0] != 0, "b.btf": alpha[0] != 0, "c.tif": ~np.isnan(floats[1])}
    for name, valid in expected.items():
        with fcn.open_raster(tmp_path / name) as raster:
            assert raster.channels == 3, name
            found = Rows(raster, fill=(7, 8, 9))
            read = found[:, :]
            assert np.array_equal(found.valid(0, 40, 0, 50), valid), name
            assert (read[:, torch.from_numpy(~valid)] == torch.tensor([7, 8, 9])[:, None]).all()
    with fcn.open_raster(tmp_path / "b.tif", bands=[4, 1]) as raster:  # asked for as a band, it is one
        assert raster.read_valid(0, 0, 40, 50)[1] is None
        assert torch.equal(raster.read(0, 0, 40, 50)[0], torch.from_numpy(alpha[0]))


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "gray.png", "clear.png", "palette.png"])
def test_photographs_are_as_a_viewer_shows_them(name, tmp_path):
    pixels = values(60, 80, 3).repeat(3, 0).repeat(3, 1)
    picture = {"gray": lambda p: p.convert("L"), "clear": lambda p: p.convert("RGBA"), "palette": lambda p: p.convert("P")}
    picture.get(name[:-4], lambda p: p)(Image.fromarray(pixels)).save(tmp_path / name)
    expected = read_image(tmp_path / name)
    with fcn.open_raster(tmp_path / name) as raster:
        found = torch.cat([raster.read(top, 0, 20, 240) for top in range(0, 180, 20)], 1)
        assert torch.equal(found, expected)
        assert torch.equal(raster.read(10, 20, 30, 40), expected[:, 10:40, 20:60])  # back up
    with fcn.open_raster(tmp_path / name, bands=[3, 1]) as raster:
        assert torch.equal(raster.read(0, 0, 180, 240), expected[[2, 0]])


def test_a_file_that_is_cut_off_or_shrinks_is_named(tmp_path):
    gdal(tmp_path / "a.tif", values(3, 400, 300), compress=None)
    by_tifffile(tmp_path / "a.btf", values(3, 400, 300), photometric="minisblack", tile=(32, 32), metadata={"axes": "CYX"})
    by_zarr(tmp_path / "a.zarr", values(3, 400, 300))
    Image.fromarray(values(400, 300, 3)).save(tmp_path / "a.png")
    Image.fromarray(values(400, 300, 3)).save(tmp_path / "a.jpg")
    for chunk in (tmp_path / "a.zarr").rglob("*"):
        if chunk.is_file() and "c" in chunk.parts[-4:-1]:
            chunk.write_bytes(chunk.read_bytes()[:10])
    for name in ("a.tif", "a.btf", "a.png", "a.jpg"):
        cut = tmp_path / f"cut_{name}"
        data = (tmp_path / name).read_bytes()
        cut.write_bytes(data[: len(data) * 2 // 3] if name != "a.btf" else data)
        if name == "a.btf":
            with tifffile.TiffFile(cut) as file:
                end = file.pages[2].dataoffsets[50] + 100
            cut.write_bytes(data[:end])
    for name in ("cut_a.tif", "cut_a.btf", "a.zarr", "cut_a.png", "cut_a.jpg"):
        with pytest.raises(fcn.UserError, match=rf"{name} (is damaged or was cut off|cannot be (opened|decoded)) \(.*\)"):
            fcn.open_raster(tmp_path / name).read(0, 0, 400, 300)
    for name in ("a.tif", "a.btf"):
        raster = fcn.open_raster(tmp_path / name)
        raster.read(0, 0, 10, 10)
        with open(tmp_path / name, "r+b") as file:
            file.truncate(200_000)
        with pytest.raises(fcn.UserError, match=rf"{name} had \d\d\d,\d\d\d bytes when it was opened and has 200,000 now"):
            raster.read(0, 0, 400, 300)


def test_a_closed_file_is_not_called_damaged(tmp_path):
    gdal(tmp_path / "a.tif", values(3, 20, 20))
    by_zarr(tmp_path / "a.zarr", values(3, 20, 20))
    for name in ("a.tif", "a.zarr"):
        with fcn.open_raster(tmp_path / name) as raster:
            pass
        with pytest.raises(fcn.UserError, match=rf"{name} is closed already; .*open it again"):
            raster.read(0, 0, 5, 5)


def test_wrong_calls_are_one_sentence(tmp_path, monkeypatch):
    gdal(tmp_path / "a.tif", values(4, 20, 20))
    (tmp_path / "a.txt").write_text("no image")
    for path, words, message in (
        ("a.tif", {"bands": [5]}, r"a.tif has 4 bands, and bands=\[5\] asks for band 5; they are counted from 1"),
        ("a.tif", {"bands": [0]}, r"bands=\[0\] is not allowed; give a list of bands, counted from 1"),
        ("a.tif", {"bands": "1"}, r"bands='1' is not allowed"),
        ("a.tif", {"page": 2}, r"a.tif has 1 page, counted from 0, and page=2 is asked for"),
        ("a.tif", {"level": 1}, r"a.tif has 1 level, counted from 0, and level=1 is asked for"),
        ("a.tif", {"level": -1}, r"level=-1 is not allowed; give a whole number"),
        ("a.txt", {}, r"a.txt cannot be opened \(.*not recognized as being in a supported file format.*\)"),
    ):
        with pytest.raises(fcn.UserError, match=message):
            fcn.open_raster(tmp_path / path, **words)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fcn.open_raster(tmp_path / "none.tif")
    monkeypatch.setattr(opening, "find_spec", lambda package: None)
    for name, package, extra in (
        ("a.tif", "rasterio", "rasters"),
        ("a.svs", "openslide", "slides"),
        ("a.zarr", "zarr", "rasters"),
    ):
        Path(tmp_path / name).touch()
        with pytest.raises(fcn.UserError, match=rf'{name} needs ({package}), which is not there: pip install "fcn-toolkit\[{extra}\]"'):
            fcn.open_raster(tmp_path / name)


def test_a_slide(tmp_path):
    openslide = pytest.importorskip("openslide")
    path = tmp_path / "slide.svs"
    pixels = values(300, 400, 3)
    about = "Aperio Image Library v10\r\n400x300 [0,0 400x300] (256x256)|AppMag = 20"
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, tile=(256, 256), compression="jpeg", photometric="rgb", description=about, metadata=None)
    slide = openslide.OpenSlide(path)
    with fcn.open_raster(path) as raster:
        assert type(raster).__name__ == "SlideRaster"
        assert (raster.shape, raster.block) == ((3, 300, 400), (256, 256))
        expected = np.array(slide.read_region((50, 20), 0, (100, 200)))[..., :3]
        assert np.array_equal(raster.read(20, 50, 200, 100).permute(1, 2, 0), expected)
        assert raster.read_valid(20, 50, 200, 100)[1].all()


def vrt(path, sources, height=40, width=50):
    """A VRT whose bands are the first ones of files. sources: (file, GDAL's type) for each band."""
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for number, (name, kind) in enumerate(sources, 1)
    )
    path.write_text(f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{bands}</VRTDataset>')


def spread_ome(folder, pixels):
    """An OME-TIFF of a file for each channel."""
    planes = "".join(
        f'<TiffData FirstC="{index}" IFD="0" PlaneCount="1"><UUID FileName="c{index}.ome.tif">urn:uuid:{index}</UUID></TiffData>'
        for index in range(len(pixels))
    )
    count, height, width = pixels.shape
    for index, plane in enumerate(pixels):
        about = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{index}">'
            f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
            f'SizeX="{width}" SizeY="{height}" SizeC="{count}" SizeZ="1" SizeT="1">{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / f"c{index}.ome.tif", plane, description=about, metadata=None, photometric="minisblack", tile=(32, 32))


def later(path):
    """As if the file had been written anew."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


def state(path, **words):
    with fcn.open_raster(path, **words) as raster:
        return state_of(raster)


def test_pages_are_counted_without_reduced_copies(tmp_path):
    first, second = values(90, 80), values(60, 70)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(first, tile=(32, 32), photometric="minisblack")
        file.write(first[::2, ::2], tile=(32, 32), photometric="minisblack", subfiletype=1)
        file.write(second, tile=(32, 32), photometric="minisblack")
    for page, expected in enumerate((first, second)):
        with fcn.open_raster(tmp_path / "a.tif", page=page) as raster:
            assert np.array_equal(raster.read(0, 0, *expected.shape)[0], expected)
    with pytest.raises(fcn.UserError, match=r"a.tif has 2 pages, counted from 0, and page=2 is asked for"):
        fcn.open_raster(tmp_path / "a.tif", page=2)


def test_the_images_of_a_container(tmp_path):
    from rasterio.transform import from_origin

    place = {"crs": "EPSG:3857", "transform": from_origin(0, 0, 10, 10)}
    form = {"driver": "GPKG", "TILE_FORMAT": "PNG", "tiled": None, "compress": None, "blockxsize": 256, "blockysize": 256, **place}
    images = [values(3, 60, 70), values(3, 50, 40)]
    for name, pixels in zip("ab", images, strict=True):
        gdal(tmp_path / "t.gpkg", pixels, RASTER_TABLE=name, APPEND_SUBDATASET="NO" if name == "a" else "YES", **form)
    for page, pixels in enumerate(images):
        with fcn.open_raster(tmp_path / "t.gpkg", page=page) as raster:
            assert np.array_equal(raster.read(0, 0, *pixels.shape[1:]), pixels)
    with pytest.raises(fcn.UserError, match=r"t.gpkg holds 2 images and is none by itself; choose one with page=0 to page=1"):
        fcn.open_raster(tmp_path / "t.gpkg")
    with pytest.raises(fcn.UserError, match=r"t.gpkg has 2 pages, counted from 0, and page=2 is asked for"):
        fcn.open_raster(tmp_path / "t.gpkg", page=2)


def test_an_ome_tiff_of_several_files(tmp_path):
    pixels = values(3, 70, 90)
    spread_ome(tmp_path, pixels)
    for name in ("c0.ome.tif", "c1.ome.tif"):
        with fcn.open_raster(tmp_path / name, bands=[3, 1, 2]) as raster:
            assert torch.equal(raster.read(0, 0, 70, 90), torch.from_numpy(pixels[[2, 0, 1]]))
            assert {Path(file).name for file in raster.files()} == {f"c{index}.ome.tif" for index in range(3)}
        assert all(page.parent.filehandle.closed for page in raster.pages)
    before = state(tmp_path / "c0.ome.tif")
    later(tmp_path / "c2.ome.tif")
    assert state(tmp_path / "c0.ome.tif") != before
    with fcn.open_raster(tmp_path / "c0.ome.tif") as raster:
        os.truncate(tmp_path / "c1.ome.tif", 900)
        with pytest.raises(fcn.UserError, match=r"c1.ome.tif had [\d,]+ bytes when it was opened and has 900 now"):
            raster.read(0, 0, 70, 90)
    (tmp_path / "c1.ome.tif").unlink()
    with pytest.raises(fcn.UserError, match=r"c0.ome.tif lacks 1 of its 3 pages: copy the other files of the OME-TIFF beside it"):
        fcn.open_raster(tmp_path / "c0.ome.tif")


def sparse(path, bands=(1,), **form):
    """A TIFF of three bands and four blocks each. Only the first block of ``bands`` is there."""
    form = {"count": 3, "height": 128, "width": 128, "dtype": "float32", "tiled": True, "blockxsize": 64, "blockysize": 64} | form
    with rasterio.open(path, "w", driver="GTiff", SPARSE_OK=True, **form) as file:
        file.write(np.ones((len(bands), 64, 64), form["dtype"]), bands, window=((0, 64), (0, 64)))


def test_missing_blocks_are_no_data_only_where_the_file_has_some(tmp_path):
    lost, none = "they are read as one value, as 0. If they were lost", "they are read as no data"
    sparse(tmp_path / "a.tif", (1, 2, 3), interleave="pixel")
    sparse(tmp_path / "b.tif", (1, 2, 3), interleave="pixel", nodata=-1)
    for name, fill, nodata in (("a", 0, None), ("b", 7, 7), ("c", 0, 7), ("d", float("nan"), None)):
        about = {} if nodata is None else {"attributes": {"_FillValue": nodata}}
        zarr.create_array(tmp_path / f"{name}.zarr", shape=(1, 80, 80), chunks=(1, 40, 40), dtype="f4", fill_value=fill, **about)
    expected = {"a.tif": lost, "b.tif": none, "a.zarr": lost, "b.zarr": none, "c.zarr": lost, "d.zarr": none}
    for name, said in expected.items():
        with fcn.open_raster(tmp_path / name) as raster:
            (note,) = raster.notes()
            valid = raster.read_valid(0, 0, raster.height, raster.width)[1]
        assert said in note, name
        assert bool(valid[70, 70]) == (said == lost), name


def test_missing_blocks_of_all_planes_are_counted(tmp_path):
    sparse(tmp_path / "a.tif", (1, 2), interleave="band")
    for bands, expected in ((None, (10, 12)), ([3], (4, 4)), ([1, 1], (3, 4))):
        with fcn.open_raster(tmp_path / "a.tif", bands=bands) as raster:
            assert raster.missing_blocks() == expected
    sparse(tmp_path / "b.tif", (1, 2, 3), interleave="pixel")
    with fcn.open_raster(tmp_path / "b.tif") as raster:
        assert raster.missing_blocks() == (3, 4)


def test_bands_of_several_types(tmp_path):
    gdal(tmp_path / "a.tif", values(1, 40, 50))
    gdal(tmp_path / "b.tif", values(1, 40, 50, dtype="uint16") + 1000)
    vrt(tmp_path / "m.vrt", [("a.tif", "Byte"), ("b.tif", "UInt16")])
    with fcn.open_raster(tmp_path / "m.vrt") as raster:
        assert (raster.shape, raster.dtype) == ((2, 40, 50), "float32")
        expected = np.stack([values(40, 50), values(40, 50) + 1000.0])
        assert np.array_equal(raster.read(3, 4, 20, 30), expected[:, 3:23, 4:34])
    with fcn.open_raster(tmp_path / "m.vrt", bands=[2]) as raster:
        assert raster.dtype == "uint16"


def test_a_change_of_any_file_of_a_raster_is_seen(tmp_path):
    """By what tells a run that goes on whether it is the same image."""
    gdal(tmp_path / "a.tif", values(1, 40, 50), compress=None)
    gdal(tmp_path / "b.tif", values(1, 40, 50), compress=None)
    vrt(tmp_path / "inner.vrt", [("b.tif", "Byte")])
    vrt(tmp_path / "m.vrt", [("a.tif", "Byte"), ("inner.vrt", "Byte")])
    by_zarr(tmp_path / "a.zarr", values(3, 90, 80))
    sources = {"m.vrt": ["m.vrt", "a.tif", "inner.vrt", "b.tif"], "a.zarr": ["a.zarr/zarr.json", "a.zarr/c/0/1/1"]}
    for name, files in sources.items():
        before = state(tmp_path / name)
        assert state(tmp_path / name) == before
        for file in files:
            later(tmp_path / file)
            after = state(tmp_path / name)
            assert after != before, file
            before = after
    (tmp_path / "a.zarr/c/0/0/0").unlink()
    assert state(tmp_path / "a.zarr") != before
    found = (tmp_path / "a.tif").stat()
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset />")  # as a viewer leaves it
    (tmp_path / "a.tif.ovr").write_bytes(b"")
    assert state(tmp_path / "a.tif") == f"{found.st_size} {found.st_mtime_ns}"
    with fcn.open_raster(tmp_path / "m.vrt") as raster:
        os.truncate(tmp_path / "b.tif", 700)
        with pytest.raises(fcn.UserError, match=r"b.tif had [\d,]+ bytes when it was opened and has 700 now"):
            raster.read(0, 0, 40, 50)


def test_of_a_zarr_only_the_chosen_bands_are_decoded(tmp_path):
    pixels = values(12, 60, 70)
    zarr.create_array(tmp_path / "a.zarr", shape=pixels.shape, chunks=(1, 60, 70), dtype="u1")[...] = pixels
    zarr.create_array(tmp_path / "gray.zarr", shape=(60, 70), chunks=(60, 70), dtype="u1")[...] = pixels[0]
    for band in (0, 4, 11):
        (tmp_path / f"a.zarr/c/{band}/0/0").write_bytes(b"damaged")
    for bands in ([2], [2, 3, 4], [10, 2, 10], [4, 2]):
        with fcn.open_raster(tmp_path / "a.zarr", bands=bands) as raster:
            assert np.array_equal(raster.read(5, 6, 50, 60), pixels[[band - 1 for band in bands], 5:55, 6:66])
    with fcn.open_raster(tmp_path / "gray.zarr", bands=[1, 1, 1]) as raster:
        assert np.array_equal(raster.read(5, 6, 50, 60), pixels[[0, 0, 0], 5:55, 6:66])


def test_a_file_is_closed_where_it_is_refused(tmp_path):
    gdal(tmp_path / "a.tif", values(3, 40, 50))
    by_tifffile(tmp_path / "a.btf", values(40, 50, 3), photometric="rgb")
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("open files are not listed here")
    for name in ("a.tif", "a.btf"):
        before = len(list(descriptors.iterdir()))
        with pytest.raises(fcn.UserError, match="asks for band 9") as caught:  # its traceback holds the reader
            fcn.open_raster(tmp_path / name, bands=[9])
        assert len(list(descriptors.iterdir())) == before, name
        assert caught.value is not None
