"""Regions as polygons, against regions that are labelled and drawn in one piece."""

from types import SimpleNamespace

import numpy as np
import pytest

from fcn.rasters.polygons import save_polygons
from tests.rasters.maps import LABELS, bands, label_map, utm

rasterio, shapely, pyogrio = (pytest.importorskip(name) for name in ("rasterio", "shapely", "pyogrio"))


def read(path):
    about, _, shapes, fields = pyogrio.raw.read(path)
    return about, shapely.from_wkb(shapes), dict(zip(about["fields"], fields, strict=True))


def drawn(shapes, classes, size, transform):
    from rasterio.features import rasterize

    return rasterize(zip(shapes, classes, strict=True), out_shape=size, fill=255, transform=rasterio.Affine(*transform), dtype="uint8")


def test_bands_give_the_regions_of_the_whole(tmp_path):
    from scipy import ndimage

    whole, place = label_map(203, 151, cell=11), utm()
    count = save_polygons(bands(whole, 16), 203, tmp_path / "p.gpkg", label_set=LABELS, georeference=place, simplify=0)
    about, shapes, fields = read(tmp_path / "p.gpkg")
    areas = []
    for index in range(3):
        regions, number = ndimage.label(whole == index)  # four neighbours
        areas += [(index, int(area)) for area in np.bincount(regions.ravel())[1 : number + 1]]
    assert count == len(shapes) == len(areas)
    assert sorted(zip(fields["class"].tolist(), fields["pixels"].tolist(), strict=True)) == sorted(areas)
    assert (drawn(shapes, fields["class"], whole.shape, place.transform) == whole).all()
    assert shapely.is_valid(shapes).all()
    assert rasterio.crs.CRS.from_string(about["crs"]).to_epsg() == 32633
    assert [LABELS.names[index] for index in fields["class"]] == list(fields["name"])


def test_a_spiral_and_a_comb_are_one_region_each(tmp_path):
    whole = np.full((41, 41), 255, np.uint8)
    whole[::4] = 1  # teeth
    whole[:, 0] = 1  # joined on the left
    whole[2::4, 10:] = 2  # between them, apart from each other
    assert save_polygons(bands(whole, 6), 41, tmp_path / "p.gpkg", label_set=LABELS, simplify=0) == 1 + 10
    _, shapes, fields = read(tmp_path / "p.gpkg")
    assert fields["pixels"][fields["class"] == 1].tolist() == [(whole == 1).sum()]
    assert (drawn(shapes, fields["class"], whole.shape, (1, 0, 0, 0, -1, 0)) == whole).all()


def test_outlines_move_by_half_a_pixel_at_most(tmp_path):
    y, x = np.mgrid[:90, :90]
    whole = ((y - 45) ** 2 + (x - 40) ** 2 < 900).astype(np.uint8)
    for name, simplify in (("exact", 0), ("simple", 0.5)):
        save_polygons(bands(whole, 32), 90, tmp_path / f"{name}.gpkg", label_set=LABELS, georeference=utm(), simplify=simplify)
    (_, exact, one), (_, simple, _) = read(tmp_path / "exact.gpkg"), read(tmp_path / "simple.gpkg")
    disc = int(np.flatnonzero(one["class"] == 1)[0])
    assert shapely.get_num_coordinates(simple[disc]) < shapely.get_num_coordinates(exact[disc]) * 0.7
    assert shapely.hausdorff_distance(exact[disc], simple[disc]) <= 0.5 * 10 + 1e-6  # metres, 10 a pixel


def test_nothing_but_void_is_an_empty_layer(tmp_path):
    assert save_polygons([np.full((5, 5), 255, np.uint8)], 5, tmp_path / "p.gpkg", label_set=LABELS) == 0
    assert len(read(tmp_path / "p.gpkg")[1]) == 0


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    import pyogrio

    def full(*args, **kwargs):
        raise pyogrio.errors.FeatureError("Could not add feature to layer at index 1: disk I/O error")

    monkeypatch.setattr(pyogrio.raw, "write", full)
    for free, reason in ((2**30, "the disk reports an error"), (2**10, "the disk is full")):
        monkeypatch.setattr("fcn.rasters.polygons.disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        with pytest.raises(OSError, match=rf"cannot write .*p.gpkg: {reason}"):
            save_polygons([np.zeros((5, 5), np.uint8)], 5, tmp_path / "p.gpkg", label_set=LABELS)
    assert not list(tmp_path.iterdir())
