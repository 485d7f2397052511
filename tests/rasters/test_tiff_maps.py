"""Label maps as TIFF: what rasterio and tifffile find in them."""

import json
import os

import numpy as np
import pytest

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.rasters.raster import Georeference
from fcn.rasters.tiff_maps import save_tiff
from tests.rasters.maps import LABELS, bands, label_map, utm

rasterio = pytest.importorskip("rasterio")
tifffile = pytest.importorskip("tifffile")


@pytest.mark.parametrize("cloud", [False, True])
def test_rasterio_finds_the_place_the_palette_the_classes_and_the_overviews(cloud, tmp_path):
    whole, place, path = label_map(1601, 1143), utm(), tmp_path / "labels.tif"
    save_tiff(bands(whole), *whole.shape, path, label_set=LABELS, georeference=place, cloud=cloud)
    with rasterio.open(path) as file:
        assert (file.read(1) == whole).all()
        assert (file.crs.to_epsg(), tuple(file.transform)[:6], file.nodata) == (32633, place.transform, 255)
        assert file.profile["tiled"]
        assert file.profile["compress"] == "deflate"
        assert file.overviews(1) == [2, 4]
        assert [file.colormap(1)[index][:3] for index in (0, 1, 2)] == list(LABELS.colors)
        assert json.loads(file.tags()["classes"]) == list(LABELS.names)
        assert file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == ("COG" if cloud else None)
    with rasterio.open(path, overview_level=0) as half:
        assert half.shape == (801, 572)
        found, quarters = (
            half.read(1),
            np.pad(whole, ((0, 1), (0, 1)), mode="edge").reshape(801, 2, 572, 2).swapaxes(1, 2).reshape(801, 572, 4),
        )
        counts = (quarters[..., None, :] == quarters[..., :, None]).sum(-1)  # of each pixel's label among its four
        chosen = (quarters == found[..., None]).sum(-1)
        assert (chosen == counts.max(-1)).all()
    names = (tmp_path / "labels.tif.aux.xml").read_text()
    assert "<Category>road &amp; &lt;rail&gt;</Category>" in names
    assert path.read_bytes()[:4] == b"II+\0"  # BigTIFF


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (513, 40), (3, 1030)])
def test_any_size_without_a_place(shape, tmp_path):
    whole = np.random.default_rng(1).integers(0, 3, shape, np.uint8)
    save_tiff(bands(whole), *shape, tmp_path / "labels.tif", label_set=LABELS)
    assert (tifffile.imread(tmp_path / "labels.tif") == whole).all()


def test_many_classes_take_sixteen_bits_and_confidence_is_gray(tmp_path):
    many = LabelSet(tuple(f"class {index}" for index in range(300)))
    whole = np.random.default_rng(2).integers(0, 300, (70, 90), np.int32)
    save_tiff([whole], 70, 90, tmp_path / "labels.tif", label_set=many, georeference=Georeference(None, (2.0, 0, 7.0, 0, -2.0, 9.0)))
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert (file.read(1) == whole).all()
        assert (file.dtypes, file.nodata, file.crs, file.transform.a) == (("uint16",), 65535, None, 2)
    sure = np.random.default_rng(3).integers(0, 256, (700, 90), np.uint8)
    save_tiff(bands(sure), 700, 90, tmp_path / "confidence.tif", label_set=None)
    with rasterio.open(tmp_path / "confidence.tif") as file:
        assert (file.read(1) == sure).all()
        assert (file.nodata, file.colorinterp[0].name) == (None, "gray")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*labels\.tif: the disk is full; free some space there"):
        save_tiff([np.zeros((9, 9), np.uint8)], 9, 9, tmp_path / "labels.tif", label_set=LABELS)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("fcn.rasters.packages.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs tifffile: pip install "fcn-toolkit\[rasters\]"'):
        save_tiff([np.zeros((9, 9), np.uint8)], 9, 9, tmp_path / "labels.tif", label_set=LABELS)
